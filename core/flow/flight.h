/* SPDX-License-Identifier: Apache-2.0 */
/* Flights: at most one fetch or load per key and process, and what every message and write does to it. */
#ifndef SX_CORE_FLOW_FLIGHT_H
#define SX_CORE_FLOW_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <strata/strata.h>

#include "coherence/foreign.h"
#include "coherence/trust.h"
#include "core/flow/floors.h"
#include "core/flow/marks.h"
#include "core/flow/pack.h"
#include "core/loop/loop.h"
#include "core/memory/item.h"
#include "core/memory/lock.h"
#include "l2/store.h"

#define SX_STRIPES 256
#define SX_STRIPE_BUCKETS 64
/* A stripe keeps this many flights' memory, of keys and commands that are no longer than this: 4096 in all, 4 MiB. A
   sanitizer that looks for use after free gets each flight's memory back at once. */
#if defined(__SANITIZE_ADDRESS__)
#define SX_STRIPE_SPARES 0
#else
#define SX_STRIPE_SPARES 16
#endif
#define SX_FLIGHT_KEY_ROOM 64
#define SX_FLIGHT_COMMAND_KEEP 256

struct sx_op;
struct sx_gather;

typedef enum sx_flight_state {
    SX_FLIGHT_NEW,      /* nothing sent yet */
    SX_FLIGHT_FETCHING, /* L2 was asked: header, value or lease */
    SX_FLIGHT_WAITING,  /* another process loads under its lease: for its message, or the lease's end */
    SX_FLIGHT_LOADING,  /* a loader was asked */
    SX_FLIGHT_FILLING,  /* a load's result is on its way to L2 */
    SX_FLIGHT_DONE      /* out of the table; freed once nothing points at it */
} sx_flight_state;

typedef struct sx_flight {
    /* const after create */
    strata *engine;
    strata_namespace *ns;
    uint64_t hash;
    uint32_t partition;
    uint32_t stripe;
    uint32_t key_size;
    struct sx_span *span; /* of the op that began it, once that has joined; a reference, or NULL */
    uint32_t key_room; /* bytes behind the struct; const as long as the memory is a flight's */

    /* lock: stripe */
    struct sx_flight *next; /* in its bucket, or among the stripe's spare ones */
    sx_flight_state state;
    bool in_table;
    bool posted;        /* task lies in the loop's mailbox */
    bool fill;          /* some waiter wants L1 filled */
    bool tagged;        /* counted among those that depend on tags */
    uint64_t min_n;     /* raised by everything that matches: nothing older gets into L1 */
    uint64_t seq;       /* counts what matched; a result without a version is good for those who joined no later */
    uint64_t phase_seq; /* seq when the present request was sent or the loader asked */
    uint64_t heard_seq; /* seq of the last match that was no renewal */
    uint64_t barrier;   /* seq of the last match that has no n: a version proves nothing across it */
    struct sx_op *waiters, *waiters_tail;
    uint32_t waiter_count; /* without refreshes, which nobody waits for */
    bool cancelled;      /* the last waiter to leave was cancelled, and nobody has joined since */
    int64_t earliest_ns; /* least deadline among the waiters, as armed */
    struct strata_load *load; /* unfinished, still wanted */
    const struct sx_op *asker; /* whose loader it runs; NULL once that op has left */
    int64_t asked_ttl_ms;      /* the asker's, 0 none */
    uint64_t awaited;   /* token of the other process's lease */
    bool filled;        /* that lease has ended: FILLED said so */
    int64_t wait_until_ns; /* WAITING: when to look again */
    bool loaded;        /* the fields below hold a loader's answer */
    int32_t loaded_status;
    sx_item *loaded_item;
    sx_packed loaded_packed;
    sx_item *fallback;     /* may be answered where this fails, see aged.c; a reference */
    uint64_t fallback_seq; /* seq at which it was the key's value */
    bool fallback_read;    /* it is what L2 answered, not what L1 held */
    sx_trust_mark fallback_mark; /* then: of when it was asked, with the namespace's clears; term 0 where that proves nothing */
    int64_t loaded_ttl_ms;
    uint32_t loaded_flags;
    bool unmodified;    /* it is what is to be refreshed, as its source still has it */

    /* owner: loop */
    sx_task task;
    sx_timer timer;
    sx_store_op store_op;
    bool in_store;      /* store_op is under way */
    bool passes;        /* as that came back nobody wanted L1 filled: who joins later may have it filled all the same */
    struct sx_span *asked_span; /* of that; a reference, or NULL */
    void (*asked_done)(sx_store_op *op, int32_t status, const sx_resp *reply); /* then: what goes on with it */
    bool leased;        /* our token is in L2 */
    bool shown;         /* loaded_item was given to those who could not wait for L2 to take it: it changes no more */
    bool without;       /* L2 is not asked in this round: none of those who wait wants it, or the key is without it */
    bool no_lease;      /* L2 has no memory for one: what is loaded is not cached */
    uint64_t token;
    const sx_redis_node *lease_node; /* who granted it: a successor may have missed what took it away */
    int64_t load_deadline_ns;
    int64_t lease_end_ns; /* of the awaited lease, at the latest */
    int64_t backoff_ns;   /* between looks at a lease whose messages we can't be sure to hear; 0 none yet */
    sx_trust_mark mark;
    uint64_t identity;  /* of the connection that the last answer about the key came from */
    uint8_t *tags;      /* those of the load to come, with nonces taken before it; core/flow/tags.h. Of one that failed: written
                           under the lock by who ends it, and the loop looks at them when it knows of that */
    size_t tags_size, tags_room;
    int64_t send_deadline_ns; /* of what this round asks */
    size_t tag_at, tag_next; /* where the taking or judging is */
    sx_marks_asked tag_asked;
    sx_floors_asked floor_asked;
    sx_foreign_read tracked; /* of a foreign key, by a tracking connection */
    uint64_t floor;     /* of its namespace, as it was known before the loader was asked */
    sx_item *judged;    /* an item whose tags are being judged */
    bool judged_candidate;
    bool over;          /* the version below was judged invalid: a lease may take its place */
    uint64_t over_n, over_id;
    int64_t over_written_ms;
    int64_t load_start_ns; /* lock: stripe */
    sx_item *candidate; /* unproven entry to be revalidated; given by the creator before the post */
    sx_item *old;       /* what is to be refreshed, once that is claimed; may be given likewise */
    sx_item *claimed;   /* leased, but beside this value, which stays in L2 */
    struct sx_flight *active_next, *active_previous;
    bool active;

    uint8_t key[];
} sx_flight;

/* An own write in progress, as messages see it. owner of its memory: the write. lock: stripe */
typedef struct sx_write_mark {
    struct sx_write_mark *next, *previous;
    const sx_item *item; /* its key and namespace */
    uint64_t hash;
    uint64_t min_n;      /* raised by everything that matches: an older value must not enter L1 */
    bool registered;
} sx_write_mark;

typedef struct sx_flights sx_flights;

int32_t sx_flights_create(const sx_alloc *alloc, sx_flights **out);
void sx_flights_destroy(const sx_alloc *alloc, sx_flights *flights);

static inline uint32_t sx_flight_stripe(uint64_t hash) { return (uint32_t)(hash >> 56) & (SX_STRIPES - 1); }
void sx_flights_lock(sx_flights *flights, uint32_t stripe);
void sx_flights_unlock(sx_flights *flights, uint32_t stripe);
bool sx_flights_is_locked(const sx_flights *flights, uint32_t stripe);

/* Stripe lock held for all _locked ones. */
sx_flight *sx_flight_find_locked(sx_flights *flights, uint64_t hash, uint16_t ns, const void *key, size_t key_size);
/* A flight with no waiters yet, in the table. NULL when out of memory. */
sx_flight *sx_flight_create_locked(strata *engine, strata_namespace *ns, uint64_t hash, uint32_t partition,
                                   const void *key, size_t key_size);
void sx_flight_remove_locked(sx_flight *flight);
/* Its memory, with its command's, is kept for the stripe's next flight, if there are not enough spare ones. On the loop;
   it holds nothing and is linked nowhere. */
void sx_flight_recycle_on_loop(sx_flight *flight);
void sx_flight_join_locked(sx_flight *flight, struct sx_op *op);
/* Who joins from now on wants what is loaded from now on. */
void sx_flight_renew_locked(sx_flight *flight);
void sx_flight_leave_locked(struct sx_op *op);
/* Somebody waits, and the only loader asked is a refresh's, that lies with a session whose thread need never come back. */
bool sx_flight_idles_locked(const sx_flight *flight);
/* Has a flight that waits for another process's load look again. On the loop. */
void sx_flight_wake_locked(sx_flight *flight);
/* Something about the key happened at n (0: unknown, a barrier): its flight and its writes in progress learn of it. */
void sx_flights_mark_locked(sx_flights *flights, uint64_t hash, uint16_t ns, const void *key, size_t key_size,
                            uint64_t n);
/* Loads, judgements and claims under way that depend on the tag, with another nonce than that (0: whatever theirs is): who joins them
   from now on must not have their result. Takes the locks. */
void sx_flights_mark_tag(strata *engine, const void *name, size_t size, uint64_t nonce);
/* It depends on tags from here on, until its end: before it takes their nonces. */
void sx_flight_tagged_locked(sx_flight *flight);
/* Whether a write of this process is under way to the key. */
bool sx_flights_is_written_locked(const sx_flights *flights, uint64_t hash, uint16_t ns, const void *key,
                                  size_t key_size);
/* The same as mark for everything of a partition (or of SX_PARTITIONS_ALL) and, where ns is not NULL, a namespace. Takes the locks itself. */
#define SX_PARTITIONS_ALL UINT32_MAX
void sx_flights_mark_wide(sx_flights *flights, uint32_t partition, const strata_namespace *ns, uint64_t n);
void sx_write_mark_add_locked(sx_flights *flights, sx_write_mark *mark);
void sx_write_mark_remove_locked(sx_flights *flights, sx_write_mark *mark);
/* True where the caller must post flight->task after unlocking (which keeps it alive). */
bool sx_flight_want_post_locked(sx_flight *flight);
/* journey.c: a flight's life on the loop */
void sx_flight_run_on_loop(sx_task *task);
/* Answers those who may have this result: item or a miss (NULL). wanted: which kinds of op, SX_FLIGHT_EVERYONE or
   SX_FLIGHT_READERS (those without a loader). */
typedef enum sx_flight_whom { SX_FLIGHT_EVERYONE, SX_FLIGHT_READERS } sx_flight_whom;
void sx_flight_answer_on_loop(sx_flight *flight, sx_flight_whom whom, int32_t status, strata_source source,
                              sx_item *item);
/* Unlinks all waiters that the filter takes; chained through wait_next. */
typedef bool (*sx_flight_filter)(const sx_flight *flight, const struct sx_op *op, const void *context);
struct sx_op *sx_flight_take_on_loop(sx_flight *flight, sx_flight_filter filter, const void *context);
/* After the last answer of a round: ends the flight, or starts over for those who joined too late for it. */
void sx_flight_round_over_on_loop(sx_flight *flight);
/* Those whose deadlines are no later than deadline_ns get status: a request under that deadline was all they could have. */
void sx_flight_give_up_on_loop(sx_flight *flight, int64_t deadline_ns, int32_t status);
/* Sets the timer to whatever is due next. */
void sx_flight_arm_on_loop(sx_flight *flight);
/* Answers everyone left, then ends. */
void sx_flight_fail_on_loop(sx_flight *flight, int32_t status);
void sx_flight_end_on_loop(sx_flight *flight);
void sx_flight_cut_off_on_loop(strata *engine);

/* fetch.c: asking L2, on the loop */
void sx_fetch_begin_on_loop(sx_flight *flight);
/* Takes the flight out of the store; false where it had ended meanwhile (and is freed, or will be). */
bool sx_fetch_back_on_loop(sx_flight *flight);
/* Goes on with what stands at the key. */
void sx_fetch_stored_on_loop(sx_flight *flight, const sx_resp *reply);
/* When a request that is sent now must have its answer. Stripe lock held. */
int64_t sx_fetch_deadline_locked(const sx_flight *flight, bool *wants_load);
/* L2 has no value, or can't be used (status < 0): loads if somebody wants that, else answers. */
void sx_fetch_missed_on_loop(sx_flight *flight, int32_t status);
/* Notes the version, and puts the item into L1 if nothing speaks against it. Answers the flight's seq from then on, 0 where
   something happened to the key since the request was sent. */
uint64_t sx_fetch_insert_on_loop(sx_flight *flight, sx_item *item);
/* The same version still stands there, no payload moved. STRATA_FROM_L1: the entry is proven again; STRATA_FROM_L2: it is
   what this answer says, no more; STRATA_FROM_NONE: something happened to the key since it was asked. */
strata_source sx_fetch_proven_on_loop(sx_flight *flight, sx_item *item);
void sx_fetch_submit_on_loop(sx_flight *flight, const sx_redis_script *script, int64_t deadline_ns,
                             void (*done)(sx_store_op *op, int32_t status, const sx_resp *reply));
/* Whether its value was large when it was seen last. */
bool sx_fetch_is_large_on_loop(const sx_flight *flight);
/* The size of the key's value in L2, as far as was seen: decides by which connection it is asked for next. SX_SIZE_FATAL: not known,
   but a connection ended that was asked for it. */
#define SX_SIZE_FATAL SIZE_MAX
void sx_fetch_note_size_on_loop(strata *engine, uint64_t hash, size_t size);
sx_publish_key sx_flight_publish_key(const sx_flight *flight);

/* tagged.c: on the loop */
/* Takes the nonces of the tags of the load to come, then sends. */
void sx_tagged_take_on_loop(sx_flight *flight);
/* Judges an item with tags, then goes on with it by sx_fetch_judged_on_loop. Takes the reference. */
void sx_tagged_judge_on_loop(sx_flight *flight, sx_item *item, bool candidate);
/* Goes on with what was judged: valid, or not. */
void sx_fetch_judged_on_loop(sx_flight *flight, sx_item *item, bool candidate, bool valid);
void sx_fetch_send_on_loop(sx_flight *flight);
/* A loaded item: takes those nonces of its late tags that were known when the load began. False where some were not: then
   it can't be cached. */
bool sx_tagged_late_on_loop(sx_flight *flight, sx_item *item);
/* Asks for the markers of tags that came too late, so that the next load is cached; then gives the lease back. */
void sx_tagged_learn_on_loop(sx_flight *flight, sx_item *item);

/* aged.c: values past their end */
/* What L1 holds, for who has no answer: with a reference, or NULL. Stripe lock held. */
sx_item *sx_aged_fallback_locked(strata_session *session, const sx_flight *flight);
/* Of ops, which are linked nowhere any more, answers with that instead of a failure those that may have it. Returns the others. */
struct sx_op *sx_aged_rescue_on_loop(sx_flight *flight, struct sx_op *ops, int32_t status);
/* What L1 held is of no use any more, to nobody. */
void sx_aged_drop_fallback_on_loop(sx_flight *flight);
/* A load failed: for some time it is not tried again. */
void sx_aged_failed_on_loop(sx_flight *flight);
void sx_aged_soft_timeout_on_loop(sx_flight *flight, int64_t now_ns);
/* L2 holds a value past its end. Takes the reference, and goes on with the flight. */
void sx_aged_read_on_loop(sx_flight *flight, sx_item *item);
/* Asks L2 for the right to refresh flight->old, then loads. */
void sx_aged_claim_on_loop(sx_flight *flight);
void sx_aged_forget_on_loop(sx_flight *flight);
/* Whether the op wants what a loader says from now on, or what no L2 says: L2's answer is none for it. */
bool sx_aged_is_beyond_l2(const struct sx_op *op);
/* L2 holds a value that holds, but somebody wants it loaded anew: claims it, then loads; the others have had their answer. Takes
   the reference. False, and nothing is done, where nobody does. */
bool sx_aged_renew_on_loop(sx_flight *flight, sx_item *item);

/* await.c: the lease of another process, on the loop */
/* Somebody wants to load, but flight->awaited does: waits for it. */
void sx_await_begin_on_loop(sx_flight *flight);
/* The flight waits and its time has come, or something happened to the key. */
void sx_await_look_on_loop(sx_flight *flight);
/* FILLED: who waits for that lease is woken. */
void sx_await_filled_locked(sx_flight *flight, uint64_t token);

/* load.c */
/* How long a load of the namespace may take. */
int64_t sx_load_timeout_ns(const strata_namespace *ns);
/* Asks the first waiter's loader, a refresh's last, and without an executor only where nobody else waits. STRATA_OK;
   STRATA_MISS where no waiter has one to ask; STRATA_E_NOMEM. No lock held. */
int32_t sx_load_start_on_loop(sx_flight *flight);
/* The same, on the session's thread, for a flight that was created as loading; a failure reaches the waiters through the loop.
   own: the gather of the call that is under way, NULL where it is no batch. The waiter that is asked may be another session's. */
void sx_load_start_on_caller(sx_flight *flight, const strata_session *session, const struct sx_gather *own);
void sx_load_run(struct strata_load *load);
/* It is to be run now: false where nobody wants it any more, and it is gone. */
bool sx_load_begin(struct strata_load *load);
void sx_load_drop(struct strata_load *load); /* it is not to be run: its session closes, or its asker has left */
/* The flight no longer wants its load. Stripe lock held. */
void sx_load_forget_locked(sx_flight *flight);
/* Its load has failed: the flight has the load's tags from now on. */
void sx_load_keep_tags_locked(sx_flight *flight);
void sx_load_loaded_on_loop(sx_flight *flight);
/* Before a fill is sent to a node. */
void sx_load_encode_fill_for(sx_redis_request *request, const sx_redis_node *node);
/* Gives our lease in L2 back, if there is one, then ends the flight. */
void sx_load_abandon_on_loop(sx_flight *flight);

/* replace.c */
/* Its load's answer is given to some and is not in L1: nobody is answered the former value from there after that. */
void sx_load_replaces_on_loop(sx_flight *flight);
/* The same, where L2 takes nothing of what was loaded. For who passes by it, or without it by L1, nothing is replaced. */
void sx_load_not_stored_on_loop(sx_flight *flight);
/* Without L2: into L1, unless something happened to the key since the loader was asked. What does not go in has nothing older stay. */
void sx_load_keep_here_on_loop(sx_flight *flight, sx_item *item);

#endif
