/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign namespaces: plain Redis keys that programs without Strata write. Included by strata.h, where operations are
   explained. */
#ifndef STRATA_FOREIGN_H
#define STRATA_FOREIGN_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STRATA_PREFIX_BYTES_MAX 128

/* What makes a namespace a foreign one; struct_size first. */
typedef struct strata_foreign_options {
    uint32_t struct_size; /* sizeof(strata_foreign_options) */
    uint32_t reserved;    /* 0 */
    strata_bytes prefix;  /* 1 .. STRATA_PREFIX_BYTES_MAX bytes, copied: what the names of its keys in Redis begin with */
} strata_foreign_options;

/*
 * Opens a foreign namespace, or finds it where it is already open with the same prefix.
 *
 * The name of a key in Redis is the prefix and then the key, byte by byte, and its value is the value, as it is: a string.
 * L1 holds what was read, while Redis's client tracking (a connection per primary, coherence.foreign) proves it: no change,
 * whoever made it, older than coherence.max_staleness is missing from what L1 answers. That is all that is promised; docs/PROTOCOL.md,
 * "Foreign writers", says what is not. Other processes' Strata need not know of the namespace.
 *   get, peek          as elsewhere; STRATA_E_TYPE where the key holds no string. A value lives in L1 no longer than in Redis, nor
 *                      than the namespace's ttl; one larger than l2.bulk_bytes may be read from Redis each time
 *   set, invalidate    SET with the value's ttl, and UNLINK; this process reads nothing older once they are done. A
 *                      set whose outcome is unknown may still be executed, after a later one
 *   get_or_load        what is loaded is for those who wait, and stored nowhere: it might be older than what is written meanwhile
 *   STRATA_E_FOREIGN   tags, app_version, writes with a condition, strata_exists, strata_touch, strata_incr, strata_clear,
 *                      strata_invalidate_pattern, warming by a pattern
 *   STRATA_E_CONFIG    policies, from the program or the configuration (then of this call), that refresh ahead, serve what is past its end, keep absences or errors, or forget what is idle
 * Of a rollout (strata/rollout.h) L1's part holds: L2 is where these keys are, flow.l2_part or not.
 * Where l2.mode is none it is a namespace like any other.
 *   engine   an engine
 *   name     1 .. STRATA_NAMESPACE_BYTES_MAX bytes of [A-Za-z0-9_.-]; not the name of another namespace of version 0
 *   options  the prefix. No foreign namespace's prefix may begin with another's, nor what Strata names its own keys
 *   out      receives the namespace
 *   error    receives what is wrong with the prefix or name; may be NULL
 * Returns: STRATA_OK; STRATA_E_INVALID for the name or a struct that can't be read; STRATA_E_CONFIG: error says why;
 *          STRATA_E_OVERLOADED at the limit of 64 foreign namespaces, or 1024 of all kinds; STRATA_E_NOMEM; STRATA_E_CLOSED;
 *          STRATA_E_FORKED.
 * Owns:    nothing; *out lives as long as the engine.
 * Threads: any.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_namespace_open_foreign(strata *engine, const char *name, const strata_foreign_options *options,
                                                 strata_namespace **out, strata_error *error);

#ifdef __cplusplus
}
#endif
#endif
