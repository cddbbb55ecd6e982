/* One tag's marker and one entry that has the tag: somebody invalidates the tag, one process loads, stores, reads and serves.
   The source is changed before the tag is invalidated. The marker may be evicted, a message lost, an invalidation sent again
   because nobody heard that it was executed. Answers and messages come over two connections.
   Promise: what was executed before a heartbeat was answered shows in whatever is served after that. */
#ifndef INVALIDATIONS
#define INVALIDATIONS 2
#endif
#ifndef LOADS
#define LOADS 2
#endif
mtype = { TAG, BEAT };
chan push = [2] of { mtype, byte, byte, byte };   /* n, nonce or nothing, ghost: the newest change executed as an invalidation */
chan req  = [1] of { byte };
chan rep  = [1] of { byte, byte, byte };          /* marker's nonce, the stored value's truth and nonce */

byte truth = 0, executed = 0;                     /* changes of the source; the newest that was announced */
byte n = 0, marker = 0, fresh = 1, vtruth = 0, vnonce = 0;  /* L2: counter, nonce (0 absent), the next new one, the value (nonce 0: none) */
byte evictions = 0, losses = 0;
/* the process */
byte gen = 1, last = 0; bool trusted = false, known = false, beating = false;
byte mnonce = 0, mgen = 0, heard = 0;             /* the marker as it knows it; TAGs heard */
bool has = false; byte ltruth = 0, lnonce = 0;    /* L1 */
byte loads = 0, taken = 0, loading = 0;           /* nonce taken, what the loader saw */
byte asked = 0, askgen = 0, m, t, v, g;
#define PROVEN (trusted && mnonce != 0 && mgen == gen)

inline capture() { if :: marker == 0 -> marker = fresh; fresh++ :: else -> skip fi }
inline tell(what) { if :: nfull(push) -> push!TAG,n,marker,executed :: full(push) -> skip fi }
inline check() { assert(!(has && PROVEN && lnonce == mnonce) || ltruth >= g) }

/* Two changes; the invalidation of the first is sent again at the end, for nobody heard that it was executed. */
active proctype Invalidator() { byte first = 0, change = 0;
  do :: truth < INVALIDATIONS -> truth++; change = truth;
        atomic { n++; marker = fresh; fresh++; executed = change; tell(1);
          if :: change == 1 -> first = marker :: else -> skip fi }
     :: truth >= INVALIDATIONS -> break od;
  atomic { n++; first = fresh; fresh++; marker = first; tell(1) } }

active proctype World() {
  do :: atomic { evictions < 1 && marker != 0 -> evictions++; marker = 0 }
     :: atomic { losses < 1 && push?[TAG,_,_,_] -> losses++; push?_,_,_,_ }
     :: timeout -> break od }

active proctype Server() { end: do
  :: atomic { nempty(req) && nfull(rep) -> req?_; capture(); rep!marker,vtruth,vnonce } od }

active proctype Process() { end: do
  /* a load: the nonce first, then the source */
  :: atomic { loads < LOADS && taken == 0 && PROVEN -> taken = mnonce; loads++ }
  :: atomic { loads < LOADS && taken == 0 && !PROVEN -> loads++; capture(); taken = marker }
  :: atomic { taken != 0 && loading == 0 -> loading = truth + 1 }
  :: atomic { loading != 0 -> vtruth = loading - 1; vnonce = taken;
       if :: PROVEN && taken == mnonce -> has = true; ltruth = vtruth; lnonce = taken :: else -> skip fi;
       taken = 0; loading = 0 }
  /* a read: the value, judged by a marker that is proven by the same answer */
  :: atomic { trusted && asked == 0 && (!has || !PROVEN || lnonce != mnonce) && empty(req) && empty(rep) ->
       asked = heard + 1; askgen = gen; req!0 }
  :: atomic { nempty(rep) -> rep?m,t,v;
       if :: trusted && askgen == gen && asked == heard + 1 -> mnonce = m; mgen = gen :: else -> skip fi;
       if :: v != 0 && PROVEN && v == mnonce -> has = true; ltruth = t; lnonce = v :: else -> skip fi;
       asked = 0; m = 0; t = 0; v = 0; g = 0 }
  :: atomic { push?[TAG,_,_,_] -> push?TAG,m,v,_; heard++;
       if :: mnonce != 0 -> mnonce = v :: else -> skip fi;
       if :: known && m == last + 1 -> last = m
          :: known && m != last + 1 -> known = false; trusted = false
          :: else -> skip fi;
       m = 0; v = 0 }
  :: atomic { !beating && nfull(push) -> beating = true; push!BEAT,n,0,executed }
  :: atomic { push?[BEAT,_,_,_] -> push?BEAT,m,_,g; beating = false;
       if :: trusted && m != last -> known = false; trusted = false
          :: !trusted -> if :: known && last == m -> skip :: else -> gen++ fi;
             known = true; last = m; trusted = true
          :: else -> skip fi;
       check(); m = 0; g = 0 }
  od }
