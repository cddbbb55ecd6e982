/* One key and its partition's counter, a primary that may be replaced by one that lags, one process with L1.
   What the first model lacks: entries survive a loss of trust and are proven by (n, id); the counter may reach the same
   number again after a failover by writes of other keys; fills take the present counter without moving it; a data
   connection may still lead to the replaced primary; a message may vanish without a trace.
   A heartbeat carries, as ghosts, which version stood there when it was answered, and how many had been born. */
#ifndef MAXW
#define MAXW 3
#endif
mtype = { KEY, OTHER, BEAT };
chan push = [3] of { mtype, byte, byte, byte, byte };   /* type, n, ghost id, ghost births, node */
chan req  = [1] of { byte };
chan rep  = [1] of { byte, byte, byte };                /* n, id, node of a value */

byte n = 0, vn = 0, vid = 0, node = 1, births = 0;      /* primary: counter, the key's version, run id */
byte rn = 0, rvn = 0, rvid = 0;                         /* replica (lags) */
byte zvn = 0, zvid = 0; bool zombie = false;            /* what the replaced primary would still answer */
bool subscribed = false, beating = false;
byte writes = 0, failovers = 0, cuts = 0, losses = 0, troubles = 0;
#ifndef TROUBLES
#define TROUBLES 2
#endif
/* client */
byte gen = 1, last = 0, seen = 0; bool trusted = false, known = false, hole = false;
bool has = false; byte ln = 0, lid = 0, lgen = 0;
bool flight = false, reval = false; byte fmin = 0, fgen = 0;
byte m, g, b, d;

inline cut() { subscribed = false; trusted = false; beating = false;
  do :: nempty(push) -> push?_,_,_,_,_ :: empty(push) -> break od }
inline tell(kind) { if :: subscribed && nfull(push) -> push!kind,n,0,0,node :: subscribed && full(push) -> cut()
                       :: !subscribed -> skip fi }
inline check() { assert(!(trusted && has && lgen == gen) || lid == g || lid > b) }

active proctype Writer() {
  do :: atomic { writes < MAXW -> writes++;
         if :: n++; births++; vn = n; vid = births; tell(KEY)         /* set */
            :: n++; vn = 0; vid = 0; tell(KEY)                        /* invalidate */
            :: n++; tell(OTHER)                                       /* another key of the partition */
            :: vid == 0 -> births++; vn = n; vid = births fi }        /* a load's fill */
     :: writes >= MAXW -> break od }

active proctype World() {
  do :: atomic { rn != n || rvid != vid -> rn = n; rvn = vn; rvid = vid }
     :: atomic { failovers < 1 && troubles < TROUBLES -> failovers++; troubles++; zvn = vn; zvid = vid; zombie = true;
          n = rn; vn = rvn; vid = rvid; node++; cut() }
     :: atomic { zombie -> zombie = false }
     :: atomic { cuts < 1 && troubles < TROUBLES && subscribed -> cuts++; troubles++; cut() }
     :: atomic { losses < 1 && troubles < TROUBLES && (push?[KEY,_,_,_,_] || push?[OTHER,_,_,_,_]) -> losses++; troubles++; push?_,_,_,_,_ }
     :: timeout -> break od }

active proctype Server() { end: do
  :: atomic { nempty(req) && nfull(rep) -> req?_;
       if :: rep!vn,vid,node :: zombie -> rep!zvn,zvid,node-1 fi } od }

active proctype Reader() { end: do
  :: atomic { trusted && !flight && (!has || lgen != gen) -> flight = true; reval = has; fmin = 0; fgen = gen; req!0 }
  :: atomic { nempty(rep) -> rep?m,g,d;
       if :: trusted && fgen == gen && d == seen && m >= fmin ->
             if :: reval && has && m == ln && g == lid -> lgen = gen
                :: else -> if :: g != 0 -> has = true; ln = m; lid = g; lgen = gen :: else -> skip fi fi
          :: else -> skip fi;
       flight = false; m = 0; g = 0; d = 0 }
  :: atomic { !subscribed -> subscribed = true }
  :: atomic { subscribed && !beating && nfull(push) -> beating = true; push!BEAT,n,vid,births,node }
  :: atomic { push?[KEY,_,_,_,_] || push?[OTHER,_,_,_,_] ->
       if :: push?[KEY,_,_,_,_] -> push?KEY,m,_,_,_;
             if :: flight && fmin < m -> fmin = m :: else -> skip fi;
             if :: has && ln < m -> has = false; ln = 0; lid = 0; lgen = 0 :: else -> skip fi
          :: else -> push?OTHER,m,_,_,_ fi;
       if :: known && !hole && m == last + 1 -> last = m
          :: known && !hole && m != last + 1 -> hole = true; trusted = false
          :: else -> skip fi;
       m = 0 }
  :: atomic { push?[BEAT,_,_,_,_] -> push?BEAT,m,g,b,d; beating = false;
       if :: trusted && m != last -> hole = true; trusted = false
          :: !trusted ->
             if :: known && !hole && last == m && seen == d -> skip
                :: else -> gen++ fi;
             known = true; hole = false; last = m; seen = d; trusted = true
          :: else -> skip fi;
       check(); m = 0; g = 0; b = 0; d = 0 }
  od }
