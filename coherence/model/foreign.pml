/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign keys, docs/PROTOCOL.md "Foreign writers": one key, a server that tells of changes only at the end of a turn of its
   loop, one tracking connection that may be lost and made anew, reads and heartbeats down that connection. A plain client
   writes whenever it likes. The server may be paused until trust in it lapses (section 6), be replaced, and go on as if nothing had
   happened, answering what was asked of it; trust comes back only where another primary names it, or with a new connection to its
   successor. What must hold: at the answer to a heartbeat, and after every fill, L1 holds nothing older than
   what stood there, for everybody, when the heartbeat before was sent. Checked by mutants.sh. */
#define WRITES 3
#define BEATS  4
#define READS  2
#define LOSSES 1
mtype = { GET, PING, VALUE, PONG, CHANGED };

byte v;                        /* at the server: counts the writes */
byte all;                      /* likewise, with those that its successor executed */
bool paused, replaced, pauses; /* the server; pauses: it was, once */
bool trusted = true;           /* by the client, whose lease of trust is over before anybody replaces the server */
bool dirty;                    /* changed since the last turn's end */
chan asked = [3] of { mtype }; /* to the server */
chan built = [8] of { mtype, byte }; /* by this turn, not sent yet */
chan told = [8] of { mtype, byte };  /* to the client, in order */

bool l1; byte l1v;
bool reading, beating;
bool before; byte was, is;     /* v when the heartbeat before, and the last, was sent */
bool proven; byte least;       /* nothing older than that is answered */
byte writes, beats, reads, losses;

inline check() { assert(!l1 || !proven || l1v >= least) }

inline flush() { /* what a turn has built goes out at its end, the word of changes last */
  if :: dirty -> built!CHANGED(0); dirty = false :: else -> skip fi;
  do :: nempty(built) -> built?what, arg; told!what(arg) :: empty(built) -> break od
}

active proctype server() {
  mtype what; byte arg;
end:
  do
  :: atomic { writes < WRITES && !paused && !replaced -> writes++; v++; all = v; dirty = true }
  :: atomic { writes < WRITES && replaced -> writes++; all++ }
  :: atomic { !paused && nempty(asked) && len(built) < 4 -> asked?what;
       if :: what == GET -> built!VALUE(v) :: what == PING -> built!PONG(0) fi }
  :: atomic { !pauses && !replaced -> pauses = true; paused = true }
  :: atomic { paused && !trusted -> replaced = true }
  :: atomic { paused -> paused = false }
  :: atomic { !paused && (dirty || nempty(built)) && len(told) + len(built) < 7 -> flush() }
  od
}

active proctype client() {
  mtype what; byte arg;
end:
  do
  :: atomic { reads < READS && !reading && nfull(asked) -> reads++; reading = true; asked!GET }
  :: atomic { beats < BEATS && !beating && nfull(asked) -> beats++; beating = true; is = all; asked!PING }
  :: atomic { paused && trusted -> trusted = false; proven = false } /* its lease is over */
  :: atomic { !trusted && !replaced -> trusted = true } /* another primary names it, asked after the lapse */
  :: atomic { nempty(told) -> told?what, arg;
       if
       :: what == VALUE -> reading = false; l1 = true; l1v = arg; check()
       :: what == CHANGED -> l1 = false
       :: what == PONG -> beating = false;
          if :: before && trusted -> proven = true; least = was; check() :: else -> skip fi;
          before = true; was = is
       fi }
  :: atomic { losses < LOSSES -> losses++; /* with all that was under way; what the new one tells begins with its own turn */
       do :: nempty(asked) -> asked?what :: empty(asked) -> break od;
       do :: nempty(built) -> built?what, arg :: empty(built) -> break od;
       do :: nempty(told) -> told?what, arg :: empty(told) -> break od;
       dirty = false; reading = false; beating = false; before = false; proven = false;
       if :: replaced -> replaced = false; paused = false; trusted = true; v = all :: else -> skip fi;
       l1 = false }
  od
}
