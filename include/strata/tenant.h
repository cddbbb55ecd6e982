/* SPDX-License-Identifier: Apache-2.0 */
/* Tenants and namespaces as guests of one L1: what each occupies there, what it may occupy at most, and a tenant's end. Included by
   strata.h; key.h says how a key names its tenant. */
#ifndef STRATA_TENANT_H
#define STRATA_TENANT_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

struct strata_pattern_options; /* groups.h */

/* Who leaves L1 first where room is wanted. Entries of a lower priority do before any of a higher one, whatever their use; none ever leaves for one
   of a lower priority: what would need that is not kept in L1 (STRATA_E_OVERLOADED where there is no L2, l1.priority_refused). So what is high, and may
   fill L1, should have a limit. An entry keeps the priority that its namespace had as it was put. */
typedef enum strata_priority {
    STRATA_PRIORITY_DEFAULT = 0, /* namespace.NAME.l1_priority of the configuration, or normal */
    STRATA_PRIORITY_LOW = 1,
    STRATA_PRIORITY_NORMAL = 2,
    STRATA_PRIORITY_HIGH = 3
} strata_priority;

/* What is counted, and limited, with flow.l1_usage on. A guest's entries are evicted for its own from its limit on, to a sixteenth: what
   the others have stays. Tenants are told apart by their names, whatever the namespace, as far as there is room for flow.tenants_max; the
   rest is one guest. Those without a limit of their own have flow.tenant_part of l1.bytes. */
typedef struct strata_usage {
    uint32_t struct_size;  /* sizeof(strata_usage) */
    uint32_t priority;     /* strata_priority; a tenant's entries have their namespaces' */
    int64_t entries;
    int64_t bytes;         /* with all that belongs to an entry; until its memory is free again */
    int64_t bytes_max;     /* INT64_MAX: no limit */
    int64_t hits;          /* reads by the program that L1 answered, fresh or stale; since open, or since strata_stats_reset */
    int64_t misses;        /* and those that it did not; a tenant's since it first had an entry */
    int64_t entries_max;   /* INT64_MAX: no limit */
} strata_usage;

#define STRATA_L1_UNLIMITED INT64_MAX

/* A namespace's part of L1. Zero leaves a field to the configuration (`[namespace.NAME]`), struct_size first. */
typedef struct strata_quota {
    uint32_t struct_size; /* sizeof(strata_quota) */
    uint32_t priority;    /* strata_priority */
    int64_t bytes_max;    /* 65536 or more; STRATA_L1_UNLIMITED; 0: l1_bytes_max, or no limit */
    int64_t entries_max;  /* 64 or more; STRATA_L1_UNLIMITED; 0: l1_entries_max, or no limit. A put then costs a few sums of some dozen numbers more */
} strata_quota;

/*
 * Limits what a tenant occupies in this process's L1.
 *   engine     an engine with flow.l1_usage
 *   tenant     its name, as given to strata_key_tenant
 *   bytes_max  65536 or more; STRATA_L1_UNLIMITED; 0: flow.tenant_part again. What is there beyond it leaves as the tenant puts
 *   error      receives what was refused; may be NULL
 * Returns: STRATA_OK; STRATA_E_CONFIG where nothing is counted, or bytes_max is too small; STRATA_E_OVERLOADED where there is no room for
 *          another tenant; STRATA_E_INVALID; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_tenant_limit(strata *engine, strata_bytes tenant, int64_t bytes_max, strata_error *error);

/*
 * Tells what a tenant occupies in this process's L1, and how its reads fare there.
 *   engine  an engine with flow.l1_usage
 *   tenant  its name, as given to strata_key_tenant
 *   out     struct_size set; receives it
 * Returns: STRATA_OK, with zeros for one that was never met; STRATA_E_CONFIG where nothing is counted; STRATA_E_OVERLOADED where it is counted
 *          with others, for want of room; STRATA_E_INVALID; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held by session open and close.
 * Since:   0.1
 */
STRATA_API int32_t strata_tenant_usage(strata *engine, strata_bytes tenant, strata_usage *out);

/*
 * Limits what a namespace occupies in this process's L1.
 *   ns         a namespace of an engine with flow.l1_usage
 *   bytes_max  65536 or more; STRATA_L1_UNLIMITED; 0: namespace.NAME.l1_bytes_max of the configuration, or no limit
 *   error      receives what was refused; may be NULL
 * Returns: as strata_tenant_limit; STRATA_E_OVERLOADED where an L1 so small has no room to count another namespace.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_namespace_limit(strata_namespace *ns, int64_t bytes_max, strata_error *error);

/*
 * Gives a namespace its part of this process's L1, as a whole: limits, to a sixteenth, and who leaves first. What is there beyond a limit
 * leaves as the namespace puts.
 *   ns     a namespace of an engine with flow.l1_usage
 *   quota  copied
 *   error  receives what was refused; may be NULL
 * Returns: as strata_namespace_limit; STRATA_E_INVALID for a struct that can't be read.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_namespace_quota_set(strata_namespace *ns, const strata_quota *quota, strata_error *error);

/*
 * Tells what a namespace occupies in this process's L1, and how its reads fare there.
 *   ns   a namespace of an engine with flow.l1_usage
 *   out  struct_size set; receives it
 * Returns: as strata_tenant_usage.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held by session open and close.
 * Since:   0.1
 */
STRATA_API int32_t strata_namespace_usage(const strata_namespace *ns, strata_usage *out);

/*
 * Invalidates every key of one tenant in a namespace: strata_invalidate_pattern of what begins with it, which says what that costs and
 * promises, and of the key that is the tenant's name alone, which progress counts as found. Where there is no L2 all of the namespace is cleared.
 *   session  a session
 *   ns       a namespace
 *   tenant   its name, as given to strata_key_tenant
 *   options  how, or NULL
 *   done     receives the outcome; NULL to not be told
 *   user     handed to done
 * Returns: as strata_invalidate_pattern (STRATA_E_FOREIGN); STRATA_E_KEY_SIZE where the name is too long for a pattern.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_tenant_clear(strata_session *session, strata_namespace *ns, strata_bytes tenant,
                                       const struct strata_pattern_options *options, strata_done_fn done, void *user);

/*
 * Invalidates every key of one tenant in a namespace and waits for the outcome.
 *   session  a session
 *   ns       a namespace
 *   tenant   its name, as given to strata_key_tenant
 *   options  how, or NULL
 * Returns: as strata_invalidate_pattern_wait; STRATA_E_KEY_SIZE.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  as long as it takes; options->progress can end it.
 * Since:   0.1
 */
STRATA_API int32_t strata_tenant_clear_wait(strata_session *session, strata_namespace *ns, strata_bytes tenant,
                                            const struct strata_pattern_options *options);

#ifdef __cplusplus
}
#endif
#endif
