/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's own structures: who owns what, and which lock or thread guards each field. Private to core/flow. */
#ifndef SX_CORE_FLOW_ENGINE_H
#define SX_CORE_FLOW_ENGINE_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <strata/strata.h>

#include "coherence/foreign.h"
#include "coherence/publish.h"
#include "coherence/trust.h"
#include "core/config/option.h"
#include "core/flow/flight.h"
#include "core/flow/floors.h"
#include "core/flow/gather.h"
#include "core/flow/marks.h"
#include "core/flow/metrics.h"
#include "core/flow/names.h"
#include "core/flow/policy.h"
#include "core/flow/rings.h"
#include "core/flow/scopes.h"
#include "core/flow/session.h"
#include "core/flow/structs.h"
#include "core/flow/trace.h"
#include "core/flow/trail.h"
#include "core/key/key.h"
#include "core/loop/loop.h"
#include "core/memory/atomic.h"
#include "core/memory/epoch.h"
#include "core/memory/heap.h"
#include "core/memory/item.h"
#include "core/memory/lock.h"
#include "core/observe/broken.h"
#include "core/observe/log.h"
#include "core/time/clock.h"
#include "l1/l1.h"
#include "l2/envelope.h"
#include "l2/redis/cluster.h"
#include "l2/redis/tls.h"
#include "l2/store.h"

#define SX_BATCH_MAX 65536
#define SX_UNKNOWN_BUCKETS 8192
#define SX_RECOVERY_PACE_NS (50 * SX_NS_PER_US) /* between the first attempts of what a failover makes due at once */
#define SX_LONG_PAST_MS 1 /* any time that is over: the scripts refuse what is later than its deadline */
#define SX_LARGE_SLOTS 4096
#define SX_TTL_MS_MAX (INT64_C(100) * 366 * 24 * 3600 * 1000)

#define SX_CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct strata_namespace {
    strata *engine;
    char name[SX_NAMESPACE_BYTES_MAX + 1];
    uint32_t name_size;
    uint32_t version;
    uint16_t index; /* nth opened; the ns of items */
    uint16_t prefix_size; /* of a foreign namespace; 0: it is none */
    /* How many keys are without L1 and without L2 (core/flow/rollout.h); 0: none. atomic: relaxed, a number that stands for itself */
    _Atomic uint32_t without;
    strata_rollout rollout; /* lock: engine; as it was set */
    _Atomic(const struct sx_dictionary *) dictionary; /* atomic: release by who sets it, acquire by who compresses [order: dictionary]; NULL none */
    bool dictionary_given;  /* lock: engine; by the program */
    sx_quota quota;         /* lock: engine; as it was set; zeros leave it to the configuration */
    sx_policy given;        /* lock: engine; as it was set; what holds is in policy */
    strata_analyze analyze; /* lock: engine; as it was set */
    _Atomic bool opened; /* atomic: release by sx_names_add, acquire by finds [order: namespace-open] */
    /* How entries that can't be proven are read: (max_ms << 2) | strata_untrusted in one word. atomic: relaxed, a number
       that stands for itself */
    _Atomic int64_t untrusted;
    sx_policy_place policy;
    const char *prefix;   /* const; of a foreign namespace: what names in L2 begin with. A copy */
    sx_task follow;       /* foreign: has the loop follow it */
    /* Added to the generation of what a hit compares; grows with each clear. atomic: relaxed, ordered by the lease that is
       read before it */
    _Atomic uint64_t clears;
    /* What is known of its write intervals. atomic: release by who makes it, acquire by who reads [order: intervals]; NULL: nothing */
    struct sx_intervals *_Atomic intervals;
    struct sx_ns_stats *stats; /* const after open; what its numbers are guarded by is said there */
    struct sx_recovery_clear *reclear; /* owner: loop; by partition, what a failover undoes (core/flow/repair/recovery.c); NULL: nothing */
    uint64_t *floors; /* owner: loop; by partition, when it was cleared last (core/flow/floors.h); NULL: never, as far as is known */
};

/* Values of the liveness page. A forked child reads 0 there: the page is wiped on fork. */
enum { SX_LIVE_FORKED = 0, SX_LIVE_OPEN = 1, SX_LIVE_CLOSED = 2 };

enum { SX_UNTRUSTED_REVALIDATE = 0, SX_UNTRUSTED_BYPASS = 1, SX_UNTRUSTED_SERVE_STALE = 2 };

/* Options that may change while open. atomic: relaxed, each is a number that stands for itself. */
typedef struct sx_hot {
    _Atomic int64_t deadline_ms;
    _Atomic int64_t ttl_ms;
    _Atomic int64_t ttl_jitter_percent;
    _Atomic int64_t l2_timeout_ns;
    _Atomic int64_t load_timeout_ns;
    _Atomic int64_t untrusted;
    _Atomic int64_t serve_stale_max_ns;
    _Atomic int64_t audit_per_s;
    _Atomic int64_t compress; /* sx_compression */
    _Atomic int64_t compress_min;
    _Atomic int64_t carry_bytes_max; /* coherence.value_bytes_max */
    _Atomic int64_t analysis_sample;
    _Atomic int64_t prefetch_percent; /* 0: off */
    _Atomic int64_t prefetch_per_s;
    sx_breaker_limits breaker;
} sx_hot;

/* Acknowledged invalidations, of keys and tags, that a failover may still undo, oldest first. owner: loop */
typedef struct sx_recovery {
    struct sx_recovery_entry *entries;
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t count;
    uint64_t head;
    uint32_t owed;     /* of count */
    uint64_t newest[SX_UNKNOWN_BUCKETS]; /* of those that were owed, by hash */
    int64_t bytes;
    int64_t *replaced; /* per partition: until when its former primary was proven; INT64_MIN: not replaced */
    bool posted, waiting; /* to be looked at */
    bool reclears;        /* some namespace may have to be cleared again */
    sx_task task;
    sx_timer timer;
    sx_log_gate gate;
} sx_recovery;

/* The audit's own. owner: loop */
typedef struct sx_audit {
    sx_timer timer;
    int64_t credit;    /* tenths of a check */
    uint64_t cursor;   /* of the walk through L1 */
    uint32_t under_way;
    struct sx_audit_check *checks;
    sx_log_gate gate;
} sx_audit;

struct strata {
    /* const after open */
    sx_alloc alloc;
    sx_heap *heap;
    sx_clock clock;
    sx_log log;
    strata_executor executor;
    strata_credentials credentials; /* const after open */
    strata_tracer tracer;
    sx_key_secret secret;
    _Atomic uint32_t *live;      /* atomic: relaxed; a page of its own; handles only decide whether to refuse */
    bool l2_on;
    bool l1_on;
    uint32_t partitions;
    int64_t value_bytes_max;
    int64_t bulk_bytes;          /* larger values come over a second connection; 0 none do */
    int64_t pending_max, pending_bytes_max;
    int64_t lease_ms;
    uint32_t recovery_ops_max;
    int64_t recovery_bytes_max;
    int64_t replay_window_ns;
    sx_epoch *epoch;
    sx_l1 *l1;
    sx_trust_word *words; /* of partitions, then SX_FOREIGN_WORDS of foreign keys' slots */
    struct sx_tenants *tenants; /* NULL: nobody is counted by itself */
    sx_flights *flights;
    sx_marks *marks;
    sx_floor *floors;            /* owner: loop; by partition */
    sx_loop *loop;
    sx_redis_tls *tls; /* NULL: plain. owner: loop, once it runs */
    sx_redis_settings redis_settings;
    sx_redis_cluster *cluster;
    sx_store *store;
    sx_trust *trust;
    sx_foreign *foreign;
    sx_key_tags *tags;
    pthread_key_t thread_key;

    sx_hot hot;
    _Atomic uint64_t span_ids;   /* atomic: relaxed; spans that have got one */
    _Atomic int64_t pending;     /* atomic: a count for limits; close polls it [order: close-idle] */
    _Atomic int64_t pending_bytes; /* atomic: relaxed count for limits */
    _Atomic int64_t idle;        /* atomic: relaxed, before pending [order: close-idle]; those pending that close does not wait for: refreshes
                                    that only a session's thread can load */
    _Atomic int64_t refs;        /* atomic: acq_rel on release [order: engine-free]; owner, sessions, loads */
    _Atomic int32_t refused;     /* atomic: relaxed; status that L2 operations end with, 0 for none */
    _Atomic uint32_t posters;    /* atomic: loads' posts release, close acquires [order: loop-posters] */

    sx_names *names; /* const after open; added to under lock, found by any thread */

    /* lock: engine */
    sx_lock lock;
    pthread_cond_t changed;      /* open and close wait for the loop's news */
    bool refused_at_open, stopped;
    strata_error refusal;
    sx_config *config;        /* values that are not hot: const after open */
    uint64_t config_version;
    struct sx_config_watch *watch; /* NULL none */
    sx_events events;
    sx_analyses analyses;
    _Atomic(struct sx_known_dictionary *) dictionaries; /* atomic: release under the lock, acquire by finds [order: dictionary]; only grows */
    struct strata_session *sessions;
    uint32_t namespace_count; /* of those in names, by index */
    strata_namespace *namespaces[SX_NAMESPACES_MAX];
    uint32_t foreign_count; /* of those, foreign ones */
    struct sx_rules *rules; /* NULL: none */
    uint32_t warmings; /* whose threads may call the engine */
    int64_t past[SX_SESSION_METRIC_COUNT]; /* counters of closed sessions that are of no namespace */
    int64_t *base;            /* by metric: subtracted from what is told; NULL: never reset */

    /* owner: loop */
    sx_publish publish;
    sx_publish_scripts scripts;
    sx_redis_group_kind gets, writes; /* how reads and writes of one partition and turn go together; const after open */
    size_t value_bytes_met;      /* about the largest value that L2 gave lately */
    sx_epoch_record *loop_record;
    sx_key_random random;
    struct sx_unknown *unknown[SX_UNKNOWN_BUCKETS]; /* keys that owe an invalidation */
    uint32_t unknown_count;      /* those with a write of unknown outcome */
    uint32_t owed_count;         /* the others */
    int64_t owed_bytes;
    sx_recovery window;
    sx_audit audit;
    int64_t asked[SX_SESSION_METRIC_COUNT]; /* what sessions had been asked for when sx_stats_used_on_loop last looked */
    uint32_t asked_first;        /* of these, what it looks at first */
    sx_flight *active_flights;   /* all that the loop knows */
    struct sx_sweep *sweeps;     /* under way */
    sx_gather *gathers;          /* those that loads wait in */
    struct sx_locking *lockings; /* under way */
    uint16_t large[SX_LARGE_SLOTS]; /* fingerprints of keys whose values were large; 0 none */
    sx_task stop_task, start_task;
    bool stopping;

    sx_counter counters[SX_FLOW_METRIC_COUNT]; /* several writers: sx_counter_add_shared */

    /* keeper */
    sx_thread keeper;
    bool keeper_started;
    pthread_mutex_t keeper_mutex;
    pthread_cond_t keeper_wake;
    bool keeper_stop; /* lock: keeper_mutex */
    struct sx_event_log *event_log; /* const after open; its entries under the lock engine */
    bool snapshot_used;             /* lock: lock; a warming from a snapshot has ended well */
    struct sx_snapshots *snapshots; /* const after open; NULL where none are written */
};

/* What a write knows of its slot's migration. owner: loop */
typedef struct sx_asked {
    bool held_back;             /* the attempt under way was sent to be refused */
    bool used;                  /* told was good for the attempt under way */
    const sx_redis_node *told;  /* the owner that has published UNTRUST for the next attempt */
} sx_asked;

/* A write from the call to its outcome. */
typedef struct sx_write {
    sx_task task;
    sx_store_op store_op;       /* owner: loop, as all below unless said */
    sx_timer timer;             /* deadline while queued behind an unknown outcome */
    strata *engine;
    strata_namespace *ns;
    sx_item *item;              /* holds the key; and the value of a set */
    sx_packed packed;           /* set: the value, where it is stored compressed */
    sx_buf tail;                /* set: the envelope after its head */
    bool invalidate;
    sx_publish_condition condition; /* const */
    bool warned;                /* UNTRUST was published because of TRYAGAIN */
    uint64_t hash;
    uint32_t partition;
    sx_lifetime life;
    int64_t deadline_ns;
    uint64_t id;
    int64_t submitted_ns;
    int64_t start_ns;           /* const; of the program's call; 0: it is the engine's own */
    uint64_t done_n;            /* executed at n, but told only when an unknown outcome before it is settled */
    int64_t server_deadline_ms; /* latest one sent */
    sx_asked asked;
    sx_trust_mark mark;
    size_t tag_at, tag_next;    /* where the taking of nonces is */
    sx_marks_asked tag_asked;
    sx_write_mark seen;         /* lock: stripe */
    sx_work work;               /* lock: stripe */
    sx_span *span, *asked_span; /* told at its end, const once it is posted; and of the request under way. References, or NULL */
    void (*ended)(void *context, int32_t status); /* const; on the loop; NULL none */
    void *ended_context;
    struct sx_write *next, *previous; /* an unknown's queue */
} sx_write;

/* A time to live as it is kept: 0 for never, and for what is so long that nobody will see its end. */
static inline int64_t sx_ttl_ms(int64_t ttl_ms) { return ttl_ms > SX_TTL_MS_MAX ? 0 : ttl_ms; }

static inline int64_t sx_engine_now(const strata *engine) { return sx_clock_now_ns(&engine->clock); }

/* What a hit adds to its partition's generation. */
static inline uint64_t sx_namespace_clears(const strata_namespace *ns) {
    return atomic_load_explicit(&ns->clears, memory_order_relaxed); /* relaxed: ordered by the lease that was read before */
}
/* Until when, and proven in which generation, an entry of the namespace is served: before it is looked for. */
static inline void sx_namespace_trust(const strata_namespace *ns, const sx_trust_word *word, int64_t *lease_ns, uint64_t *generation) {
    sx_trust_read(word, lease_ns, generation);
    *generation += sx_namespace_clears(ns);
}
/* All entries of the namespace are unproven from here on. */
static inline void sx_namespace_cleared(strata_namespace *ns) {
    if (SX_BROKEN(clear_heard)) return;
    atomic_fetch_add_explicit(&ns->clears, 1, memory_order_relaxed); /* relaxed: as above */
}

/* What an operation under way may hold in memory: its own structures, and a value as item, envelope and bytes to be
   sent; its tags as its own, and with its flight or like the value. */
#define SX_OP_COST 1024
static inline int64_t sx_read_cost(size_t tags_size) { return SX_OP_COST + 2 * (int64_t)tags_size; }
static inline int64_t sx_write_cost(size_t key_size, size_t value_size, size_t tags_size) {
    return SX_OP_COST + (int64_t)key_size + 3 * (int64_t)value_size + 4 * (int64_t)tags_size;
}
/* Whether one more may be begun; its tags count from then on. One that is too large by itself may where nothing else is under way. */
static inline bool sx_pending_fits(strata *engine, int64_t cost) {
    /* relaxed: limits that may be passed by as many as there are threads */
    int64_t bytes = atomic_load_explicit(&engine->pending_bytes, memory_order_relaxed);
    bool fits = (bytes == 0 || bytes <= engine->pending_bytes_max - cost) &&
                atomic_load_explicit(&engine->pending, memory_order_relaxed) < engine->pending_max; /* relaxed: as above */
    if (SX_UNLIKELY(!fits)) sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_OVERLOADED], 1);
    return fits;
}
static inline void sx_pending_begin(strata *engine, int64_t cost) {
    atomic_fetch_add_explicit(&engine->pending, 1, memory_order_relaxed);          /* relaxed: counts for limits */
    atomic_fetch_add_explicit(&engine->pending_bytes, cost, memory_order_relaxed); /* relaxed: as above */
}
static inline void sx_pending_end(strata *engine, int64_t cost) {
    atomic_fetch_sub_explicit(&engine->pending_bytes, cost, memory_order_relaxed); /* relaxed: a count for limits */
    atomic_fetch_sub_explicit(&engine->pending, 1, memory_order_release);          /* [order: close-idle] */
}

/* STRATA_OK, STRATA_E_CLOSED or STRATA_E_FORKED. */
static inline int32_t sx_engine_alive(const strata *engine) {
    /* relaxed: only decides whether to refuse */
    uint32_t live = atomic_load_explicit(engine->live, memory_order_relaxed);
    if (SX_LIKELY(live == SX_LIVE_OPEN)) return STRATA_OK;
    return live == SX_LIVE_FORKED ? STRATA_E_FORKED : STRATA_E_CLOSED;
}
static inline bool sx_engine_forked(const strata *engine) {
    return atomic_load_explicit(engine->live, memory_order_relaxed) == SX_LIVE_FORKED; /* relaxed: as above */
}
static inline int64_t sx_hot_read(const _Atomic int64_t *option) {
    return atomic_load_explicit(option, memory_order_relaxed); /* relaxed: a number that stands for itself */
}

/* Counts for a namespace where several threads may write. */
static inline void sx_count(const strata_namespace *ns, uint32_t metric) {
    (void)sx_counter_add_shared(&ns->stats->flow[metric], 1);
}
/* The same of what a session's own thread does; returns what it has counted with that. */
static inline int64_t sx_session_count(strata_session *session, const strata_namespace *ns, uint32_t metric) {
    return sx_counter_add(&session->tallies[ns->index]->counters[metric], 1);
}

/* open.c */
void sx_engine_take_down(strata *engine);
void sx_engine_retain(strata *engine);
void sx_engine_release(strata *engine);

/* options.c */
void sx_engine_apply_hot(strata *engine);

/* reload.c */
typedef struct sx_config_watch sx_config_watch;
/* Ends a watch and waits for it. NULL is nothing to do. */
void sx_config_watch_stop(sx_config_watch *watch);

/* keeper.c */
int32_t sx_keeper_start(strata *engine);
void sx_keeper_stop(strata *engine);

/* read.c */
/* What a read finds in L1 besides an answer; the items with references. */
typedef struct sx_read_more {
    bool loads;         /* in: its caller has a loader */
    bool bare;          /* in: the bytes are not wanted: what is packed is left so */
    sx_item *candidate; /* without an answer: an unproven item, to be revalidated */
    sx_item *refresh;   /* with one: an item for the caller to refresh */
    bool absent;        /* with STRATA_MISS: that is the answer */
} sx_read_more;
/* Answers from L1 if it may: STRATA_OK or STRATA_STALE with a pinned result. Otherwise STRATA_MISS. more may be NULL. */
int32_t sx_read_peek(strata_session *session, uint64_t hash, uint32_t partition, const strata_namespace *ns,
                     strata_bytes key, strata_result *out, sx_read_more *more);
/* L1 was asked for a key of a namespace that is not plain: it is told to who watches, and counted for its tenant. */
void sx_read_note(strata_session *session, const strata_namespace *ns, strata_bytes key, uint64_t hash, int32_t status);
int32_t sx_read_check(const strata_session *session, const strata_namespace *ns, strata_bytes key,
                      const strata_op_options *options);
/* Whether L2 is asked for what L1 does not answer. */
bool sx_read_asks_l2(const strata_namespace *ns, strata_bytes key, uint32_t flags);
/* The loader that an op asks, and when it would rather have what is past its end. */
void sx_read_give_loader(sx_op *op, const strata_namespace *ns, strata_loader_fn loader, void *user);
/* Refreshes more->refresh in the background by the loader; gather: of its batch, or NULL. */
void sx_read_refresh(strata_session *session, strata_namespace *ns, strata_bytes key, uint64_t hash, uint32_t partition,
                     const strata_op_options *options, strata_loader_fn loader, void *user, sx_gather *gather,
                     const sx_read_more *more);
/* Joins the key's flight, or begins one: STRATA_PENDING. Else why not, and op is left as it was. */
int32_t sx_read_slow(strata_session *session, strata_namespace *ns, strata_bytes key, uint64_t hash,
                     uint32_t partition, sx_op *op, const sx_read_more *more);
/* A read that can't wait, for there are too many: STRATA_STALE with a pinned result where the policy has failures covered, and L1 can;
   STRATA_OK where the value has just come; else STRATA_E_OVERLOADED. */
int32_t sx_read_crowded(strata_session *session, const strata_namespace *ns, strata_bytes key, uint64_t hash, uint32_t partition,
                        uint32_t flags, strata_result *out);
/* Ends an op that sx_read_slow refused for that reason, and answers its caller. */
int32_t sx_read_refused(sx_op *op, strata_bytes key, uint32_t partition, int32_t status, strata_result *out);

/* aged.c */
/* An item that is proven, but has passed the least of its times: as sx_read_peek goes on. */
int32_t sx_aged_answer_pinned(strata_session *session, const strata_namespace *ns, sx_item *item, int64_t now_ns,
                              int64_t staleness_us, strata_result *out, sx_read_more *more);

/* write.c */
/* Takes over op where it answers STRATA_PENDING. */
int32_t sx_write_start(strata_session *session, strata_namespace *ns, strata_bytes key, const strata_bytes *value,
                       const strata_op_options *options, const sx_publish_condition *condition, sx_op *op);
/* An invalidation by the engine itself; ended may run inside. */
void sx_write_invalidate_on_loop(strata *engine, strata_namespace *ns, const void *key, size_t key_size, int64_t deadline_ns,
                                 void (*ended)(void *context, int32_t status), void *context);
void sx_write_submit_on_loop(sx_write *write);
/* How sets and invalidations go together, and values' reads. */
sx_redis_group_kind sx_write_group(const strata *engine);
sx_redis_group_kind sx_fetch_group(void);
void sx_write_end_on_loop(sx_write *write, int32_t status, uint64_t n);

/* fetch.c */
/* Whether the namespace was cleared after the item was stored. */
bool sx_fetch_is_cleared_on_loop(const sx_flight *flight, const sx_item *item);
/* A stored value as an item that is not proven yet. STRATA_OK; STRATA_MISS where it expires at this very moment;
   STRATA_E_NOMEM. node: whose clock its times are by; may be NULL. passes: L1 is not to keep it. */
int32_t sx_fetch_item_on_loop(strata *engine, const strata_namespace *ns, uint32_t partition, strata_bytes key,
                              const sx_envelope *envelope, const sx_redis_node *node, bool passes, sx_item **out);

/* sweep.c */
void sx_sweep_cut_off_on_loop(strata *engine);

/* strata_invalidate_pattern, and of a key that goes with what matches: also, empty for none, at most STRATA_PATTERN_BYTES_MAX. sync: waits. */
int32_t sx_sweep_with(strata_session *session, strata_namespace *ns, strata_bytes pattern, strata_bytes also, const strata_pattern_options *options,
                      strata_done_fn done, void *user, bool sync);

/* renew.c */
/* Every partition publishes PATTERN; then the op that waits on from, a sweep's, ends, and who is told by a call
   (ended may be NULL) is told, with status where that is a failure. False, and nothing has happened, when out of memory. */
bool sx_renewal_announce_on_loop(strata *engine, strata_namespace *ns, const void *pattern, uint32_t size, sx_work *from,
                                 int32_t status, void (*ended)(void *context, int32_t status), void *context);
/* Invalidates a tag again, or (ns not NULL) clears a namespace in one partition, for nobody. False when out of memory. */
bool sx_renewal_repeat_on_loop(strata *engine, strata_namespace *ns, uint32_t partition, const void *name, uint32_t size);

/* asked.c: on the loop */
/* Before a write goes to node: makes it one that is refused where UNTRUST must be published first. */
void sx_asked_encode(strata *engine, sx_asked *asked, const sx_redis_node *node, sx_publish_write *write);
/* Of an attempt that was held back: whether the owner must publish UNTRUST before the next, or that may go at once. */
bool sx_asked_must_tell(const strata *engine, const sx_store_op *op, uint32_t partition);
void sx_asked_tell_on_loop(strata *engine, sx_store_op *op, uint32_t partition,
                           void (*done)(sx_store_op *op, int32_t status, const sx_resp *reply));
void sx_asked_told(const strata *engine, sx_asked *asked, uint32_t partition);

/* stats.c: whether sessions were asked for anything since the last call, or can't be looked at because the engine's lock is taken:
   the loop doesn't wait for it. Says so once for each kind of request, where there were several. */
bool sx_stats_used_on_loop(strata *engine);

/* apply.c */
void sx_apply_message_on_loop(void *engine, uint32_t partition, const sx_message *message);
/* The namespace was cleared in the partition at n. */
void sx_apply_clear_on_loop(strata *engine, strata_namespace *ns, uint32_t partition, uint64_t n);
/* What matched a pattern is gone from L2, there or (SX_PARTITIONS_ALL) everywhere. */
void sx_apply_pattern_on_loop(strata *engine, strata_namespace *ns, uint32_t partition);
/* A version n of the key was seen: nothing older stays in L1 or gets in. Stripe lock held. */
void sx_apply_observed_locked(strata *engine, uint64_t hash, uint16_t ns, const void *key, size_t key_size,
                              uint64_t n);
#include "core/flow/analysis.h"
#include "core/flow/events.h"
#include "core/flow/intervals.h"
#include "core/flow/repair.h"
#include "core/flow/rollout.h"
#include "core/flow/tenants.h"
#endif
