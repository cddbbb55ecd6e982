/* SPDX-License-Identifier: Apache-2.0 */
/* Dependency rules: what else is invalid once a key is, said once, in the configuration or by the program, instead of at each place that
   writes; and a log of what such events invalidated. Included by strata.h, where operations are explained.

   A rule is "SOURCE -> TARGET, TARGET", and rules are separated by ';':

     client:{id} -> client:{id}:*, tag user_clients, client_list:{id} in lists@2, clear reports

   SOURCE  a key, of any namespace or with "in NAMESPACE" of one: bytes that stand for themselves and {names}, each of which stands for one byte
           or more up to the next byte of the text, or the end, none of them ':'
   TARGET  a key; with a '*' in it a pattern, which has all of L2 scanned (strata_invalidate_pattern), one after the other where an event
           has several; "tag T"; or "clear NAMESPACE". No pattern or clear of a foreign namespace: such an event is refused.
           A key or pattern is of the source's namespace, or with "in NAMESPACE" of another. {names} are those of the source.
   NAMESPACE  its name, and "@" and its version where that is not 1; it is opened with the rules
   A '\' makes the byte behind it stand for itself; a text has no blanks and none of ",;{}*" otherwise.

   A key that a rule names is matched with all rules in its turn; what a pattern finds is not. So rules may not go in circles, nor
   chains be longer than STRATA_RULES_DEPTH_MAX: both are refused when the rules are set, with the rules' numbers. */
#ifndef STRATA_RULES_H
#define STRATA_RULES_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STRATA_RULES_MAX 64
#define STRATA_RULES_DEPTH_MAX 8
#define STRATA_RULES_BYTES_MAX 4096u /* of their text */
#define STRATA_CASCADE_PARTS_MAX 1024 /* what one event may name, its own key included */
#define STRATA_ACTOR_BYTES_MAX 64

/*
 * Replaces the rules, which invalidation.rules had set when the engine was opened.
 *   engine  an engine
 *   text    the rules; "" for none
 *   error   receives the rule, the place and what is wrong; may be NULL
 * Returns: STRATA_OK; STRATA_E_CONFIG: nothing has changed; STRATA_E_INVALID; STRATA_E_NOMEM; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing; the text is copied.
 * Threads: any; an event under way goes by the old rules.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_rules_set(strata *engine, const char *text, strata_error *error);

/* What an event invalidated. */
typedef struct strata_cascade {
    uint32_t keys;     /* its own included */
    uint32_t tags;
    uint32_t patterns;
    uint32_t clears;   /* of namespaces */
    uint64_t found;    /* keys that the patterns found */
    uint32_t failed;   /* of all these but found, those that failed: the status is the first one's */
    uint32_t reserved;
} strata_cascade;

/* How to tell of an event. Zero what is not used; struct_size first. NULL stands for all zero. */
typedef struct strata_cascade_options {
    uint32_t struct_size; /* sizeof(strata_cascade_options) */
    uint32_t deadline_ms; /* of each part but the patterns; 0 for flow.deadline */
    const char *actor;    /* who, for the log: at most STRATA_ACTOR_BYTES_MAX bytes, zero-terminated; copied */
} strata_cascade_options;

/*
 * Invalidates a key, as strata_invalidate does, and all that depends on it by the rules. Parts are independent of one another: one
 * that fails holds up none.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes
 *   options  how, or NULL
 *   out      receives the counts before done is told; must live until then; may be NULL
 *   done     receives the outcome, STRATA_OK where all is invalid, else the first failure: repeat it; NULL to not be told
 *   user     handed to done
 * Returns: STRATA_PENDING: exactly one completion (none where done is NULL); STRATA_OK at once where there is no L2, and patterns clear
 *          their namespaces; STRATA_E_KEY_SIZE, also where a rule makes a key, tag or
 *          pattern that is too long; STRATA_E_FOREIGN: a rule comes to a pattern or a clear of a foreign namespace, and nothing was
 *          done; STRATA_E_OVERLOADED, also beyond STRATA_CASCADE_PARTS_MAX; STRATA_E_INVALID, STRATA_E_NOMEM,
 *          STRATA_E_CLOSED, STRATA_E_FORKED: nothing was invalidated, no completion.
 * Owns:    nothing.
 * Threads: the session's. Closing the session ends its wait, and not what is under way.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_invalidate_cascade(strata_session *session, strata_namespace *ns, strata_bytes key,
                                             const strata_cascade_options *options, strata_cascade *out, strata_done_fn done,
                                             void *user);

/*
 * Invalidates a key and all that depends on it, and waits for the outcome.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes
 *   options  how, or NULL
 *   out      receives the counts where parts were begun; may be NULL
 * Returns: STRATA_OK; a failure: as of strata_invalidate_cascade.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline; with patterns, as long as these take.
 * Since:   0.1
 */
STRATA_API int32_t strata_invalidate_cascade_wait(strata_session *session, strata_namespace *ns, strata_bytes key,
                                                  const strata_cascade_options *options, strata_cascade *out);

/* One event, as this process's log remembers it. */
typedef struct strata_event_entry {
    uint64_t number;    /* 1 for the first since the engine was opened */
    int64_t ended_ms;   /* when it was over, by this machine's wall clock, since 1970 */
    int64_t took_us;
    int32_t status;
    uint32_t key_size;  /* of the whole key */
    strata_cascade counts;
    char actor[STRATA_ACTOR_BYTES_MAX + 1];
    char namespace_name[STRATA_NAMESPACE_BYTES_MAX + 1];
    char key[129];      /* its first 128 bytes, zero-terminated */
} strata_event_entry;

/*
 * Reads the log of the events that this process's strata_invalidate_cascade has ended: the last invalidation.log_entries of them.
 *   engine  an engine
 *   after   the number of the last entry that was read before; 0 for the oldest there is
 *   out     receives up to count entries, oldest first
 *   count   entries at out
 *   read    receives their number
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held while they are copied.
 * Since:   0.1
 */
STRATA_API int32_t strata_event_log_read(strata *engine, uint64_t after, strata_event_entry *out, size_t count, size_t *read);

#ifdef __cplusplus
}
#endif
#endif
