/* Writes of unknown outcome: one process writes a key one time after another; what it has sent may be answered, lost, or
   arrive later than what it sends next. The server has a clock; a write carries a deadline of that clock.
   Promise: once a write has been acknowledged, the key never shows an older one; and no write that may still happen is
   forgotten. */
#define MAXT 5
#define LIFE 1                        /* how long a write may take by its deadline */
#define WRITES 3
byte clock = 0;                       /* the server's */
byte value = 0, acked = 0;            /* 0: nothing there (a loader would find the newest) */
byte deadline[6];                     /* of write w, from 1 */
bool flying[6]; bool settling = false; byte notbefore = 0;
bool unknown = false;                 /* the process has a write of unknown outcome */
bool waiting = false;                 /* its newest write has executed, but is not told as done */
byte mine = 0;

inline seen() { assert(value == 0 || value >= acked) }

active proctype Clock() { do :: atomic { clock < MAXT -> clock++ } :: else -> break od }

/* The network and the server: whatever is under way may execute, in any order, or be refused. */
active proctype Server() { byte w; end: do
  :: atomic { flying[1] -> w = 1; goto execute }
  :: atomic { flying[2] -> w = 2; goto execute }
  :: atomic { flying[3] -> w = 3; goto execute }
  :: atomic { settling && clock > notbefore -> settling = false; value = 0; unknown = false;
       if :: waiting -> waiting = false; acked = mine :: else -> skip fi; seen() }
  continue: skip
  od;
  execute: atomic { flying[w] = false;
       if :: clock > deadline[w] -> skip
          :: else -> value = w; seen() fi;
       goto continue } }

active proctype Process() { end: do
  :: atomic { mine < WRITES && !waiting && !unknown ->
       mine++; deadline[mine] = clock + LIFE; flying[mine] = true }
     if
     :: atomic { !flying[mine] && value == mine && !unknown -> acked = mine; seen() }  /* answered */
     :: atomic { !flying[mine] && value != mine -> skip }                               /* answered: refused */
     :: atomic { unknown = true;                                                         /* lost, or too late */
          if :: notbefore < deadline[mine] -> notbefore = deadline[mine] :: else -> skip fi;
          settling = true }
     fi
  od }
