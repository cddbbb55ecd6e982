/* SPDX-License-Identifier: Apache-2.0 */
/* Warming: L1 filled in the background before it is asked, with named keys, with what matches a pattern, or with the hot set of
   a process that ran before. Included by strata.h, where operations are explained.

   Warming reads like anybody else, through the same flights and under the same trust: what it brings into L1 comes fresh from
   L2 (or the loader) and is as fresh as what a reader brings. A snapshot holds names of keys, never values, so an old one
   can't bring back anything; it can only name what is not wanted any more. What warming reads is not counted among the reads
   of the program (flow.gets, l1.hits, l1.misses), but by warm.*. */
#ifndef STRATA_WARM_H
#define STRATA_WARM_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One warming under way: a thread of its own. */
typedef struct strata_warm strata_warm;

#define STRATA_WARM_KEYS_DEFAULT 1000000u       /* of a pattern or snapshot where nothing is said */
#define STRATA_WARM_BYTES_MAX (UINT64_C(1) << 30) /* of all keys given, or found by a pattern */

/* How many keys are asked for at once: what the program reads meanwhile waits behind at most so many at one server. */
typedef enum strata_warm_priority {
    STRATA_WARM_NORMAL = 0, /* 1024 */
    STRATA_WARM_LOW = 1,    /* 64 */
    STRATA_WARM_HIGH = 2    /* 8192 */
} strata_warm_priority;

/* How far a warming has come. */
typedef struct strata_warm_progress {
    uint64_t keys;    /* to be warmed in all; of a pattern, once L2 is scanned */
    uint64_t asked;   /* of them, begun */
    uint64_t warmed;  /* of them, found or loaded: L1 has them, unless it had no room or their freshness can't be proven */
    uint64_t absent;  /* of them, held nowhere */
    uint64_t failed;  /* of them, not answered */
    uint64_t skipped; /* entries of a snapshot whose namespace is not open */
    uint32_t full;    /* 1: ended before all were asked, because L1 began to evict for want of room */
    uint32_t reserved;
} strata_warm_progress;

/* Is told about ten times a second and at the end; anything but 0 cancels. Runs on the warming's own thread, under no lock; may
   call Strata, but not strata_warm_wait and strata_warm_close on this warming, nor strata_close. */
typedef int32_t (*strata_warm_fn)(void *user, const strata_warm_progress *progress);

/* How to warm. Zero what is not used; struct_size first. NULL stands for all zero. */
typedef struct strata_warm_options {
    uint32_t struct_size; /* sizeof(strata_warm_options) */
    uint32_t priority;    /* strata_warm_priority */
    uint32_t keys_per_s;  /* at most so many keys a second; 0: no limit but the priority's */
    uint32_t deadline_ms; /* of each key's read; 0 for 5000 */
    uint64_t keys_max;    /* of a pattern or snapshot at most so many keys; 0 for STRATA_WARM_KEYS_DEFAULT */
    strata_warm_fn progress;
    void *progress_user;
    strata_loader_fn loader; /* loads what L2 does not hold, as strata_get_or_load does; NULL: what L2 holds, and no more */
    void *loader_user;       /* must live until strata_warm_close has returned and loads that were started have finished */
} strata_warm_options;

/*
 * Warms keys, in their order.
 *   ns       their namespace
 *   keys     count keys of 1 .. STRATA_KEY_BYTES_MAX bytes, copied
 *   count    1 or more, of at most STRATA_WARM_BYTES_MAX bytes
 *   options  how, or NULL
 *   out      receives the warming
 * Returns: STRATA_OK: it has begun; STRATA_E_INVALID, also where there is no L1 (l1.enabled); STRATA_E_KEY_SIZE;
 *          STRATA_E_NOMEM; STRATA_E_SYSTEM; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    the caller owns *out: strata_warm_close.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_warm_keys(strata_namespace *ns, const strata_bytes *keys, size_t count,
                                    const strata_warm_options *options, strata_warm **out);

/*
 * Warms what L2 holds of a namespace and matches a pattern. All of L2 is scanned first, which takes as long as L2 has keys, of
 * whatever namespace; then what was found is read, until L1 begins to evict.
 *   ns       a namespace
 *   pattern  as of strata_invalidate_pattern; copied
 *   options  how, or NULL
 *   out      receives the warming
 * Returns: as strata_warm_keys; STRATA_E_INVALID for the pattern.
 * Owns:    the caller owns *out: strata_warm_close.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_warm_pattern(strata_namespace *ns, strata_bytes pattern, const strata_warm_options *options,
                                       strata_warm **out);

/*
 * Warms what a snapshot names, hottest first, until L1 begins to evict. Entries of namespaces that are not open are skipped: call
 * it once they are open and have their policies, which say how long what is warmed lives in L1.
 *   engine   an engine
 *   path     the file; NULL for warm.snapshot_path
 *   options  how, or NULL
 *   out      receives the warming
 *   error    receives the file and what is wrong with it; may be NULL
 * Returns: STRATA_OK: it has begun; STRATA_E_SYSTEM where the file can't be read (is there none, STRATA_MISS); STRATA_E_CORRUPT
 *          where it is no snapshot, cut short, changed or of another format: nothing of it is used; else as strata_warm_keys.
 * Owns:    the caller owns *out: strata_warm_close.
 * Threads: any.
 * Blocks:  on the file system: all of the file is checked first.
 * Since:   0.1
 */
STRATA_API int32_t strata_warm_snapshot(strata *engine, const char *path, const strata_warm_options *options,
                                        strata_warm **out, strata_error *error);

/*
 * Waits for a warming's end, or says how far it is.
 *   warm        a warming
 *   timeout_ms  longest wait; 0 only asks
 *   progress    receives how far it is; may be NULL
 * Returns: STRATA_PENDING: it goes on; how it ended: STRATA_OK, also where keys were absent, failed or L1 was full;
 *          STRATA_E_CANCELLED; STRATA_E_CLOSED where the engine was closed; STRATA_E_CORRUPT where a snapshot was written into
 *          while it was read; STRATA_E_UNAVAILABLE where for five seconds
 *          nothing but failures came; a failure of the scan.
 * Owns:    nothing.
 * Threads: any but the warming's own.
 * Blocks:  up to timeout_ms.
 * Since:   0.1
 */
STRATA_API int32_t strata_warm_wait(strata_warm *warm, uint32_t timeout_ms, strata_warm_progress *progress);

/*
 * Asks a warming to end; it does within a moment.
 *   warm  a warming
 * Returns: nothing.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API void strata_warm_cancel(strata_warm *warm);

/*
 * Frees a warming; one that goes on is cancelled and waited for. May be called after strata_close, which ends it too.
 *   warm  a warming, or NULL
 * Returns: nothing.
 * Owns:    takes the warming.
 * Threads: any but the warming's own; nobody else may use it.
 * Blocks:  until its thread has ended: what it has asked for is given up.
 * Since:   0.1
 */
STRATA_API void strata_warm_close(strata_warm *warm);

/*
 * Writes the names of L1's hottest entries to a file, which is replaced as a whole once it is complete and on the disk: whatever
 * happens meanwhile, path is the old snapshot or the new one. With warm.snapshot_path the engine does it by itself, every
 * warm.snapshot_every; a program that ends in order may do it once more before strata_close.
 *   engine       an engine
 *   path         the file; NULL for warm.snapshot_path. It is written as path and a suffix of seven characters first
 *   entries_max  most entries; 0 for warm.snapshot_entries
 *   written      receives the number of entries; may be NULL
 *   error        receives the file and what failed; may be NULL
 * Returns: STRATA_OK; STRATA_E_INVALID without a path or an L1; STRATA_E_SYSTEM; STRATA_E_NOMEM; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any, not within callbacks on the loop.
 * Blocks:  on the file system; about a second for a million entries.
 * Since:   0.1
 */
STRATA_API int32_t strata_snapshot_write(strata *engine, const char *path, uint64_t entries_max, uint64_t *written,
                                         strata_error *error);

#ifdef __cplusplus
}
#endif
#endif
