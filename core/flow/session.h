/* SPDX-License-Identifier: Apache-2.0 */
/* A thread's session and what lies in its mailbox: operations, from call to completion, batches of them, and loads. */
#ifndef SX_CORE_FLOW_SESSION_H
#define SX_CORE_FLOW_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <strata/strata.h>

#include "core/flow/flight.h"
#include "core/flow/gather.h"
#include "core/flow/metrics.h"
#include "core/flow/names.h"
#include "core/flow/rings.h"
#include "core/flow/scopes.h"
#include "core/flow/trace.h"
#include "core/flow/trail.h"
#include "core/loop/loop.h"
#include "core/memory/epoch.h"
#include "core/memory/item.h"

#define SX_SESSION_FREE_OPS_MAX 4096

typedef enum sx_mail_kind { SX_MAIL_OP, SX_MAIL_LOAD, SX_MAIL_BATCH } sx_mail_kind;

/* What lies in a session's mailbox. */
typedef struct sx_letter {
    sx_mail mail;
    sx_mail_kind kind;
} sx_letter;

typedef enum sx_op_kind { SX_OP_GET, SX_OP_LOAD, SX_OP_SET, SX_OP_INVALIDATE, SX_OP_ERRAND } sx_op_kind;

struct sx_op;

/* What an op may wait on where that is no flight; embedded in it. lock: the op's stripe */
typedef struct sx_work {
    struct sx_op *op; /* NULL: nobody waits, or it was given up */
    /* const; NULL: nothing is to be done. The op is given up; false: the work keeps the op, and completes it. Stripe's lock held. */
    bool (*leave_locked)(struct sx_work *work);
} sx_work;

/* One operation that was not answered at once: from the starting call to its completion. */
typedef struct sx_op {
    sx_letter letter;
    /* const while under way */
    struct strata_session *session;
    strata_namespace *ns; /* NULL where it is about none */
    sx_op_kind kind;
    uint32_t flags;
    strata_done_fn done;
    void *user;
    strata_loader_fn loader;
    void *loader_user;
    uint64_t cancel_id; /* as its caller said: 0 none */
    int64_t start_ns;
    uint64_t hash;  /* of its key, once it is under way */
    int64_t deadline_ns;
    int64_t ttl_ms; /* as its caller said: 0 nothing */
    bool refresh;   /* in the background: nobody waits for it */
    bool undecided; /* lock: stripe, while linked; see sx_gather */
    struct sx_gather *gather; /* of its batch; a reference, or NULL */
    uint8_t *tags;  /* core/flow/tags.h; NULL none */
    size_t tags_size;
    struct sx_span *span; /* told when it is completed; a reference, or NULL */
    struct sx_batch *batch;
    uint32_t batch_index;
    bool sync;
    /* lock: stripe of the key, while linked */
    struct sx_op *wait_next, *wait_previous;
    sx_flight *flight; /* the flight it waits on, or NULL */
    struct sx_work *work; /* what else it waits on, or NULL */
    int64_t soft_ns; /* when it would rather have a value past its end; INT64_MAX never */
    uint64_t join_min_n;
    uint64_t join_seq;
    uint32_t stripe;
    /* owner: session's thread */
    struct sx_op *out_next, *out_previous;
    bool arrived;
    /* written by the completer before the post, read after the drain */
    bool delivered; /* done has run on the loop */
    int32_t status;
    uint8_t source;
    uint8_t reason; /* strata_reason */
    sx_item *item; /* a reference of its own */
    uint64_t version_n, version_id;
    int64_t staleness_us;
} sx_op;

#define SX_SESSION_CLOSING 1u
#define SX_SESSION_TRACED  2u

struct strata_session {
    strata *engine;             /* const */
    sx_epoch_record *record;    /* owner: thread */
    int fd;                     /* const */
    sx_mailbox mailbox;
    _Atomic uint32_t posters;   /* atomic: posts release, close acquire [order: session-posters] */
    _Atomic bool signalled;     /* atomic: acq_rel [order: session-signal]; fd is readable, or about to be */
    sx_turn_end wake;           /* owner: loop; set while completions wait for the turn's end to be announced */
    /* owner: thread */
    sx_letter *backlog_head, *backlog_tail;
    uint32_t backlog_loads;     /* among those */
    sx_op *outstanding;
    sx_op *free_ops;
    uint32_t free_count;
    uint32_t depth;             /* waits within loaders within waits */
    sx_trail trail;
    uint8_t unusual;            /* SX_SESSION_CLOSING, SX_SESSION_TRACED; 0: none of it, one test for a hit */
    sx_span *trace;             /* the context that calls belong to; a reference, or NULL */
    sx_span *span;              /* of the call under way, for the op that it may make; a reference, or NULL */
    bool apart;                 /* const: what it does is not counted as the program's */
    struct strata_session *thread_next; /* the thread's sessions of this engine */
    /* lock: engine */
    struct strata_session *next, *previous;
    sx_counter counters[SX_SESSION_METRIC_COUNT]; /* writer: thread; what is of no namespace */
    /* By namespace. lock: engine for who sets one, which is done before anybody has the namespace's handle */
    sx_tally *tallies[SX_NAMESPACES_MAX];
    struct sx_tenant_reads *reads; /* by tenant's place, const but for its counters, whose writer is the thread; NULL: not counted */
    sx_event_ring *_Atomic events; /* atomic: release by who makes it, acquire by the thread [order: event-ring]; NULL: none yet */
};

/* One run of a loader. */
struct strata_load {
    sx_letter letter;
    strata *engine;
    strata_loader_fn loader; /* const */
    void *loader_user;
    strata_session *session; /* const: where it waits to be run; NULL with an executor */
    sx_flight *flight;       /* NULL once nobody wants the result. lock: stripe */
    uint32_t stripe;
    bool started;            /* lock: stripe */
    int64_t deadline_ns;     /* const once started: when it is given up */
    struct sx_gather *gather; /* const: those that go to its loader with it; a reference, or NULL */
    strata_load *more;       /* of them, the next one */
    sx_item *base;           /* const: what is to be refreshed; a reference, or NULL */
    sx_span *span;           /* const once it is known to others; a reference, or NULL */
    uint8_t *tags;           /* const once it is known to others: those of the operation, with their nonces */
    size_t tags_size;
    strata_namespace *ns;
    uint32_t key_size;
    uint8_t key[];
};

typedef struct sx_batch {
    sx_letter letter;
    strata_session *session;
    strata_done_many_fn done;
    void *user;
    bool sync;
    bool over;          /* sync: all have arrived. owner: session's thread */
    uint32_t remaining; /* owner: session's thread */
    uint32_t count;
    sx_span *span;      /* a reference, or NULL */
    strata_result *results; /* sync: the caller's; else behind this struct */
} sx_batch;

static inline bool sx_session_is_closing(const strata_session *session) { return (session->unusual & SX_SESSION_CLOSING) != 0; }

/* Its calls have spans that are told. */
static inline bool sx_session_is_traced(const strata_session *session) { return (session->unusual & SX_SESSION_TRACED) != 0; }

/* session.c */
/* strata_session_open; apart: of the engine itself, and not counted as the program's. */
int32_t sx_session_open(strata *engine, bool apart, strata_session **out);
sx_op *sx_session_op(strata_session *session, sx_op_kind kind, const strata_op_options *options,
                     strata_done_fn done, void *user);
void sx_session_op_free(sx_op *op);
/* Any thread. The session is alive until the op or load has arrived. */
void sx_session_post(strata_session *session, sx_letter *letter);
/* The same on the loop, which wakes the session once a turn, and not at all where it has taken its mail by then. */
void sx_session_post_on_loop(strata_session *session, sx_letter *letter);
/* The same in two steps: what is announced under the stripe's lock keeps the session open until it is posted. */
void sx_session_post_announce(strata_session *session);
void sx_session_post_announced(strata_session *session, sx_letter *letter);
/* Takes back so many announcements, another one being kept. */
void sx_session_post_unannounce(strata_session *session, uint32_t count);
/* Whether the session, whose thread need never wait or dispatch, has room for a refresh; frees those that are over. */
bool sx_session_may_refresh(strata_session *session);
/* Waits until *flag, running loads, leaving other completions for dispatch. */
void sx_session_await(strata_session *session, const bool *flag);
int32_t sx_options_check(const strata_op_options *options);

/* result.c */
void sx_result_init(strata_result *result, int32_t status);
/* Of an entry of L1, by who is pinned; the result then is. One of a packed item is not shown before sx_result_unpack_pinned. */
void sx_result_pinned(strata_result *result, int32_t status, sx_item *item, int64_t now_ns,
                      int64_t staleness_us);
/* Has it show the value undone, and unpins. Returns its status, or why that can't be. */
int32_t sx_result_unpack_pinned(strata_session *session, strata_result *result);
/* Turns a pinned result into a counted one. */
void sx_result_keep(strata_session *session, strata_result *result);
/* Moves what op holds into a result. Returns its status. */
int32_t sx_result_from_op(strata *engine, strata_result *result, sx_op *op);

/* work.c */
void sx_work_link(sx_work *work, sx_op *op);
/* The same, for an op that was just made: *out is op where somebody is told of its end; else it is freed, and *out NULL. */
void sx_work_begin(sx_work *work, sx_op *op, bool sync, sx_op **out);
/* Its op, or NULL, linked to nothing any more: nobody else completes it. No lock held. */
sx_op *sx_work_take(strata *engine, sx_work *work, uint32_t stripe);
sx_op *sx_work_take_locked(sx_work *work);
/* It is given up: whether op, linked to nothing any more, is the caller's to complete now. Else it is on its way to its session already.
   Under its stripe's lock. */
bool sx_op_leave_locked(sx_op *op);
/* Waits for an op that the call began; its status. Frees it. */
int32_t sx_op_wait(sx_op *op);

/* complete.c */
/* Ends an op that is linked nowhere any more; item may be NULL, a reference is taken. Any thread, no lock held. */
void sx_op_complete(sx_op *op, int32_t status, strata_source source, sx_item *item);
void sx_op_complete_version(sx_op *op, int32_t status, uint64_t n, uint64_t id);

/* batch.c: on the session's thread */
void sx_batch_child_arrived(sx_op *op);
void sx_batch_finish(sx_batch *batch);

#endif
