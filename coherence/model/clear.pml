/* Clears of a namespace: floors, one key, a loader that stores under a lease, and a process that reads and serves. The source is
   changed before the namespace is cleared. The counter may be evicted, and the floor with it; a message may be lost. Answers and
   messages come over two connections.
   Promise: what was executed before a heartbeat was answered shows in whatever is served after that. */
#ifndef CLEARS
#define CLEARS 2
#endif
#ifndef LOADS
#define LOADS 2
#endif
mtype = { CLEAR, BEAT, FLOOR, VALUE, FILLED };
chan push = [2] of { mtype, byte, byte };         /* n, ghost: the newest change executed as a clear */
chan rep  = [1] of { mtype, byte, byte };         /* FLOOR: it; VALUE, FILLED: n (0 none), truth */

byte truth = 0, executed = 0;                     /* changes of the source; the newest whose clear was executed */
byte n = 1, floor = 1, vn = 0, vtruth = 0; bool lease = false;  /* L2: counter, floor, the value (n 0: none), a lease in its place */
byte evictions = 0, losses = 0;
/* the process */
byte gen = 1, last = 0; bool trusted = false, known = false, beating = false;
byte pf = 0, pgen = 0, heard = 0;                 /* the floor as it knows it; CLEARs heard */
bool has = false, proven = false; byte ltruth = 0, ln = 0;      /* L1 */
byte loads = 0, loading = 0, taken = 0, minn = 0; /* what the loader saw; the floor known before it; the flight's */
byte asked = 0, askgen = 0, m, t, g; bool waits = false;
#define KNOWN (trusted && pgen == gen)

inline tell() { if :: nfull(push) -> push!CLEAR,n,executed :: full(push) -> skip fi }
inline check() { assert(!(has && proven && trusted) || ltruth >= g) }
inline lose() { known = false; trusted = false }
inline insert() { if :: trusted && askgen == gen && m >= minn -> has = true; proven = true; ltruth = t; ln = m :: else -> skip fi }

active proctype Clearer() { byte change = 0;
  do :: truth < CLEARS -> truth++; change = truth;
        atomic { n++; floor = n; executed = change; tell() }
     :: truth >= CLEARS -> break od }

/* A counter made anew starts higher, with a floor for all that was before it. */
active proctype World() {
  do :: atomic { evictions < 1 -> evictions++; n = n + 2; floor = n }
     :: atomic { losses < 1 && push?[CLEAR,_,_] -> losses++; push?_,_,_ }
     :: timeout -> break od }

active proctype Process() { end: do
  :: atomic { !waits && !KNOWN && trusted && nfull(rep) -> waits = true; asked = heard + 1; askgen = gen; rep!FLOOR,floor,0 }
  /* a read of what L1 can't serve; what a header proves is the same value, and what it is judged by is the same floor */
  :: atomic { !waits && KNOWN && loading == 0 && !(has && proven) && nfull(rep) ->
       waits = true; askgen = gen; minn = 0; rep!VALUE,vn,vtruth }
  /* a load: the lease where nothing is, or what is below the floor, then the source, then the fill */
  :: atomic { loads < LOADS && loading == 0 && !waits && KNOWN && (vn == 0 || vn < pf) ->
       loads++; vn = 0; lease = true; taken = pf; minn = 0; askgen = gen; loading = truth + 1 }
  :: atomic { loading != 0 && !waits && nfull(rep) -> waits = true;
       if :: lease && floor == taken -> vn = n; vtruth = loading - 1; rep!FILLED,n,vtruth
          :: else -> rep!FILLED,0,0 fi; lease = false }
  :: atomic { rep?[FLOOR,_,_] -> rep?FLOOR,m,_; waits = false;
       if :: trusted && askgen == gen && asked == heard + 1 -> pf = m; pgen = gen :: else -> skip fi;
       asked = 0; m = 0 }
  :: atomic { rep?[VALUE,_,_] -> rep?VALUE,m,t; waits = false;
       if :: m != 0 && KNOWN && m >= pf -> insert() :: else -> skip fi; m = 0; t = 0 }
  :: atomic { rep?[FILLED,_,_] -> rep?FILLED,m,t; waits = false; loading = 0;
       if :: m != 0 -> insert() :: else -> skip fi; m = 0; t = 0 }
  :: atomic { push?[CLEAR,_,_] -> push?CLEAR,m,_; heard++;
       minn = (minn < m -> m : minn); pf = (pf < m -> m : pf); proven = false;
       if :: known && m == last + 1 -> last = m
          :: known && m != last + 1 -> lose()
          :: else -> skip fi; m = 0 }
  :: atomic { !beating && nfull(push) -> beating = true; push!BEAT,n,executed }
  :: atomic { push?[BEAT,_,_] -> push?BEAT,m,g; beating = false;
       if :: trusted && m != last -> lose()
          :: !trusted -> if :: known && last == m -> skip :: else -> gen++; proven = false fi;
             known = true; last = m; trusted = true
          :: else -> skip fi;
       check(); m = 0; g = 0 }
  od }
