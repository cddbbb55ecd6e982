/* SPDX-License-Identifier: Apache-2.0 */
/* Locks that processes share, for the program's own use: with an end, so that a holder that dies blocks nobody for ever, and with a
   fencing token, so that one that was paused does no harm. Included by strata.h, where operations are explained.

   What a lock promises, and what it does not. While it is held nobody else acquires it, as long as the primary that granted it
   stays, and forgets nothing: FLUSHALL takes locks too, as does eviction (maxmemory-policy). Redis replicates asynchronously: a
   failover may forget a lock that was just granted, and then two hold it; so may a holder that sleeps past its end without
   noticing. The token is what protects: each acquisition of a name has a greater one than any before, so let whatever the lock
   guards (a row, a file, a service) remember the greatest token it has seen, and refuse smaller ones. Tokens are at least the
   server's clock in microseconds: so they go on growing where Redis has forgotten the last one, unless the new primary's clock is
   behind the old one's by more than the failover took. Nobody is promised his turn:
   who waits asks again every 5 to 50 ms. */
#ifndef STRATA_LOCK_H
#define STRATA_LOCK_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One acquisition, or the attempt at one. */
typedef struct strata_lock strata_lock;

#define STRATA_LOCK_TRY 0x1u   /* don't wait for who holds it */
#define STRATA_LOCK_RENEW 0x2u /* renewed by itself, each third of ttl_ms, until it is released or closed */

/* Is told, once, that a lock with STRATA_LOCK_RENEW is not held any more, or not known to be, though nobody released it. Runs on the
   loop thread, where it must be quick and must not call Strata. strata_lock_close waits until it has returned, and it is not
   called after that. */
typedef void (*strata_lost_fn)(void *user);

/* How to acquire a lock. Zero what is not used; struct_size first. */
typedef struct strata_lock_options {
    uint32_t struct_size; /* sizeof(strata_lock_options) */
    uint32_t flags;       /* STRATA_LOCK_TRY | STRATA_LOCK_RENEW */
    int64_t ttl_ms;       /* 10 .. 86400000: how long it is held where it is neither renewed nor released */
    uint32_t deadline_ms; /* of the acquisition, waiting for who holds it included; 0 for flow.deadline */
    uint32_t reserved;    /* 0 */
    strata_lost_fn lost;
    void *lost_user;
} strata_lock_options;

/*
 * Acquires a lock.
 *   session  a session
 *   ns       a namespace: its locks are apart from those of other namespaces, and from its own keys
 *   name     1 .. STRATA_KEY_BYTES_MAX bytes, copied
 *   options  how
 *   out      receives the acquisition, before done is told
 *   done     receives the outcome: STRATA_OK, version_n is the token; STRATA_CONFLICT, another held it until the deadline; a
 *            failure: it may be held for ttl_ms all the same, until strata_lock_close; NULL to not be told
 *   user     handed to done
 * Returns: STRATA_PENDING: exactly one completion (none where done is NULL); STRATA_E_INVALID, also where there is no L2;
 *          STRATA_E_KEY_SIZE, STRATA_E_NOMEM, STRATA_E_OVERLOADED, STRATA_E_CLOSED, STRATA_E_FORKED: no completion.
 * Owns:    the caller owns *out: strata_lock_close, however it ends.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_lock_acquire(strata_session *session, strata_namespace *ns, strata_bytes name,
                                       const strata_lock_options *options, strata_lock **out, strata_done_fn done, void *user);

/*
 * Acquires a lock and waits for it.
 *   session  a session
 *   ns       a namespace
 *   name     1 .. STRATA_KEY_BYTES_MAX bytes
 *   options  how
 *   out      receives the acquisition on STRATA_OK
 * Returns: STRATA_OK; STRATA_CONFLICT: another held it until the deadline; a failure: what was acquired without our knowing is given
 *          back, and free after ttl_ms at the latest.
 * Owns:    the caller owns *out: strata_lock_close.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_lock_acquire_wait(strata_session *session, strata_namespace *ns, strata_bytes name,
                                            const strata_lock_options *options, strata_lock **out);

/*
 * The fencing token: greater than that of every acquisition of this name before.
 *   lock  a lock
 * Returns: the token; 0 where it was never acquired.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API uint64_t strata_lock_token(const strata_lock *lock);

/*
 * For how long it is held yet, counted from before the request that granted or renewed it was sent, less a hundredth for clocks that
 * run at another speed. Ask before each step that needs the lock, and let the token guard what follows.
 *   lock  a lock
 * Returns: milliseconds; 0 where it is not held, or not known to be.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int64_t strata_lock_left_ms(const strata_lock *lock);

/*
 * Renews a lock: it is held for ttl_ms from now on, or for as long as it was where that is longer.
 *   session  a session of the lock's engine
 *   lock     a lock
 *   ttl_ms   10 .. 86400000; 0 for that of the acquisition
 *   done     receives the outcome: STRATA_OK; STRATA_CONFLICT: it was not held any more, and is not; a failure: it is held for as long
 *            as strata_lock_left_ms says; NULL to not be told
 *   user     handed to done
 * Returns: STRATA_PENDING: exactly one completion (none where done is NULL); STRATA_E_INVALID, STRATA_E_NOMEM, STRATA_E_OVERLOADED,
 *          STRATA_E_CLOSED, STRATA_E_FORKED: no completion.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_lock_renew(strata_session *session, strata_lock *lock, int64_t ttl_ms, strata_done_fn done, void *user);

/*
 * Renews a lock and waits for the outcome.
 *   session  a session of the lock's engine
 *   lock     a lock
 *   ttl_ms   10 .. 86400000; 0 for that of the acquisition
 * Returns: STRATA_OK; STRATA_CONFLICT; a failure: as of strata_lock_renew.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to flow.deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_lock_renew_wait(strata_session *session, strata_lock *lock, int64_t ttl_ms);

/*
 * Releases a lock, if it is still its owner's. Once this is known it is not said to be held; an acquisition under way ends as
 * STRATA_E_CANCELLED, and what it was granted is given back.
 *   session  a session of the lock's engine
 *   lock     a lock, which stays to be closed
 *   done     receives the outcome: STRATA_OK; STRATA_CONFLICT: it was not held any more, and whoever holds it goes on doing so; a
 *            failure: it ends by itself; NULL to not be told
 *   user     handed to done
 * Returns: as strata_lock_renew.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_lock_release(strata_session *session, strata_lock *lock, strata_done_fn done, void *user);

/*
 * Releases a lock and waits for the outcome.
 *   session  a session of the lock's engine
 *   lock     a lock, which stays to be closed
 * Returns: STRATA_OK; STRATA_CONFLICT; a failure: as of strata_lock_release.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to flow.deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_lock_release_wait(strata_session *session, strata_lock *lock);

/*
 * Frees a lock; one that is held, or may be, is released in the background. May be called after strata_close, which leaves locks to
 * end by themselves.
 *   lock  a lock, or NULL
 * Returns: nothing.
 * Owns:    takes the lock.
 * Threads: any, outside of lost; nobody else may use it.
 * Blocks:  while lost is running, and on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API void strata_lock_close(strata_lock *lock);

#ifdef __cplusplus
}
#endif
#endif
