/* SPDX-License-Identifier: Apache-2.0 */
/* Markers: a table that readers walk without a lock, whose nonces messages renew, and what an item's tags are worth.

   A marker is proven like an entry: at a generation of its partition, and only while that partition is trusted. The order
   is that of entries too: a nonce is replaced first, then the epoch grows; a reader takes the epoch before it compares. So
   who still compares with the old nonce stamps an epoch that is over. */
#include "core/flow/marks.h"

#include <string.h>

#include "core/flow/engine.h"

struct sx_mark {
    _Atomic(sx_mark *) next;     /* atomic: release / acquire [order: mark-publish] */
    _Atomic uint64_t nonce;      /* atomic: relaxed; ordered by generation where it is proven, by the epoch where it changes */
    _Atomic uint64_t generation; /* atomic: release / acquire [order: mark-proof]; its partition's; 0 not proven */
    uint64_t n;                  /* lock: marks */
    int64_t since_ns;            /* lock: marks; when this nonce was learnt */
    int64_t asked_ns;            /* lock: marks; when L2 was last asked for it */
    uint64_t hash;               /* const, as all below */
    uint32_t partition;
    uint32_t size;
    sx_heap *heap;
    uint8_t name[];
};

static uint64_t hash_of(const strata *engine, const void *name, size_t size) {
    return sx_key_hash(&engine->secret, UINT16_MAX, name, size);
}

static _Atomic(sx_mark *) *bucket_of(const strata *engine, uint64_t hash) {
    return &engine->marks->buckets[hash % SX_MARKS_BUCKETS];
}

static sx_mark *find(const strata *engine, const void *name, size_t size) {
    uint64_t hash = hash_of(engine, name, size);
    /* [order: mark-publish] observes the marker's bytes */
    sx_mark *mark = atomic_load_explicit(bucket_of(engine, hash), memory_order_acquire);
    while (mark != NULL && (mark->hash != hash || mark->size != size || memcmp(mark->name, name, size) != 0))
        mark = atomic_load_explicit(&mark->next, memory_order_acquire); /* [order: mark-publish] */
    return mark;
}

/* ---- readers ------------------------------------------------------------------------------------------------- */

/* The nonce, or 0 where it is not proven now. Word first, then the marker: what is proven at that generation, under that
   lease, was renewed by every message before. */
static uint64_t proven_nonce(const strata *engine, const sx_mark *mark, int64_t now_ns, int64_t *lease_ns) {
    uint64_t generation;
    sx_trust_read(&engine->words[mark->partition], lease_ns, &generation);
    if (now_ns >= *lease_ns) return 0;
    /* [order: mark-proof] observes the nonce that goes with it */
    if (atomic_load_explicit(&mark->generation, memory_order_acquire) != generation) return 0;
    return atomic_load_explicit(&mark->nonce, memory_order_relaxed); /* relaxed: ordered by the generation or the epoch */
}

sx_verdict sx_marks_judge_pinned(const strata *engine, const sx_item *item, int64_t now_ns, int64_t *lease_ns) {
    const sx_item_tagging *tagging = sx_item_tagging_of(item);
    sx_verdict verdict = SX_VALID;
    sx_tag tag;
    for (size_t at = 0; tagging != NULL && sx_tags_next(tagging->bytes, tagging->size, &at, &tag);) {
        int64_t until_ns = INT64_MIN;
        const sx_mark *mark = find(engine, tag.name, tag.size);
        uint64_t nonce = mark == NULL ? 0 : proven_nonce(engine, mark, now_ns, &until_ns);
        if (nonce == 0) verdict = SX_UNPROVEN;
        else if (nonce != tag.nonce && !SX_BROKEN(tag_nonce)) return SX_OUTDATED;
        if (until_ns < *lease_ns) *lease_ns = until_ns;
    }
    return verdict;
}

sx_verdict sx_marks_check_pinned(const strata *engine, const sx_item *item, int64_t now_ns, int64_t *lease_ns) {
    const sx_marks *marks = engine->marks;
    sx_item_tagging *tagging = sx_item_tagging_of(item);
    /* [order: marks-lease] the lease before the epoch: it covers every renewal that the epoch counts */
    int64_t until_ns = atomic_load_explicit(&marks->lease_ns, memory_order_acquire);
    uint64_t epoch = atomic_load_explicit(&marks->epoch, memory_order_acquire); /* [order: marks-epoch] */
    /* relaxed: compared with the epoch that was acquired; noting it publishes nothing else */
    if (SX_LIKELY(atomic_load_explicit(&tagging->epoch, memory_order_relaxed) == epoch && now_ns < until_ns)) {
        if (until_ns < *lease_ns) *lease_ns = until_ns;
        return SX_VALID;
    }
    sx_verdict verdict = sx_marks_judge_pinned(engine, item, now_ns, lease_ns);
    if (verdict == SX_VALID) atomic_store_explicit(&tagging->epoch, epoch, memory_order_relaxed); /* relaxed: as above */
    return verdict;
}

/* ---- the table ----------------------------------------------------------------------------------------------- */

static void bump(sx_marks *marks) {
    atomic_fetch_add_explicit(&marks->epoch, 1, memory_order_release); /* [order: marks-epoch] */
}

static void free_mark(void *memory) {
    sx_mark *mark = memory;
    sx_release(&mark->heap->alloc, mark, sizeof *mark + mark->size);
}

/* Makes room for others: what the next buckets hold is forgotten, and proven anew when it is met again. */
static void forget_locked(strata *engine, sx_epoch_record *record) {
    sx_marks *marks = engine->marks;
    bump(marks);
    for (uint32_t target = marks->count_max - marks->count_max / 16; marks->count >= target && marks->count > 0;) {
        _Atomic(sx_mark *) *bucket = &marks->buckets[marks->hand++ % SX_MARKS_BUCKETS];
        /* relaxed: who changes it holds the lock */
        sx_mark *mark = atomic_exchange_explicit(bucket, NULL, memory_order_relaxed);
        for (sx_mark *next; mark != NULL; mark = next) {
            next = atomic_load_explicit(&mark->next, memory_order_relaxed); /* relaxed: const once it is published */
            marks->count--;
            marks->in_partition[mark->partition]--;
            sx_epoch_retire(record, mark, sizeof *mark + mark->size, free_mark);
        }
    }
}

static void look_at_leases(strata *engine);

/* The marker, new where it is not known. NULL when out of memory. */
static sx_mark *get_locked(strata *engine, sx_epoch_record *record, const void *name, size_t size) {
    sx_marks *marks = engine->marks;
    sx_mark *mark = find(engine, name, size);
    if (mark != NULL) return mark;
    if (marks->count >= marks->count_max) forget_locked(engine, record);
    mark = sx_allocate_zero(&engine->heap->alloc, sizeof *mark + size);
    if (mark == NULL) return NULL;
    mark->heap = engine->heap;
    mark->hash = hash_of(engine, name, size);
    mark->partition = sx_key_partition(name, size, engine->partitions);
    mark->size = (uint32_t)size;
    memcpy(mark->name, name, size);
    _Atomic(sx_mark *) *bucket = bucket_of(engine, mark->hash);
    sx_mark *head = atomic_load_explicit(bucket, memory_order_relaxed); /* relaxed: who changes it holds the lock */
    atomic_init(&mark->next, head);
    atomic_store_explicit(bucket, mark, memory_order_release); /* [order: mark-publish] */
    marks->count++;
    /* Before anything relies on it, its partition's lease counts too. */
    if (marks->in_partition[mark->partition]++ == 0) look_at_leases(engine);
    return mark;
}

/* A nonce that was read at that generation, or (0) renewed. */
static void learn_locked(strata *engine, sx_mark *mark, uint64_t n, uint64_t nonce, uint64_t generation) {
    uint64_t before = atomic_load_explicit(&mark->nonce, memory_order_relaxed);      /* relaxed: the lock is held */
    uint64_t proven = atomic_load_explicit(&mark->generation, memory_order_relaxed); /* relaxed: the lock is held */
    int64_t lease_ns;
    uint64_t present;
    sx_trust_read(&engine->words[mark->partition], &lease_ns, &present);
    if (proven == present && (n < mark->n || (n == mark->n && n != 0 && generation == 0))) return; /* more is known */
    mark->n = n;
    if (nonce != before) {
        mark->since_ns = sx_engine_now(engine);
        atomic_store_explicit(&mark->nonce, nonce, memory_order_relaxed); /* relaxed: ordered by what follows */
    } else if (proven != present) {
        mark->since_ns = sx_engine_now(engine); /* it may have been another one meanwhile */
    }
    if (generation != 0)
        atomic_store_explicit(&mark->generation, generation, memory_order_release); /* [order: mark-proof] */
    if (nonce != before && before != 0) bump(engine->marks);
}

/* ---- without L2 ---------------------------------------------------------------------------------------------- */

bool sx_marks_take_here(strata *engine, sx_epoch_record *record, const uint8_t *tags, size_t size) {
    bool all = true;
    sx_tag tag;
    sx_lock_acquire(&engine->marks->lock);
    for (size_t at = 0; tags != NULL && sx_tags_next(tags, size, &at, &tag);) {
        if (tag.nonce != 0) continue;
        sx_mark *mark = get_locked(engine, record, tag.name, tag.size);
        all = all && mark != NULL;
        if (mark == NULL) continue;
        uint64_t nonce = atomic_load_explicit(&mark->nonce, memory_order_relaxed); /* relaxed: the lock is held */
        if (nonce == 0) {
            nonce = ++engine->marks->last_nonce;
            learn_locked(engine, mark, 0, nonce, 1);
        }
        sx_tag_put(&tag, nonce);
    }
    sx_lock_release(&engine->marks->lock);
    return all;
}

bool sx_marks_hold_here(const strata *engine, const sx_item_tagging *tagging) {
    bool all = true;
    sx_tag tag;
    sx_lock_acquire(&engine->marks->lock);
    for (size_t at = 0; all && sx_tags_next(tagging->bytes, tagging->size, &at, &tag);) {
        const sx_mark *mark = find(engine, tag.name, tag.size);
        /* relaxed: the lock is held */
        all = mark != NULL && atomic_load_explicit(&mark->nonce, memory_order_relaxed) == tag.nonce;
    }
    sx_lock_release(&engine->marks->lock);
    return all;
}

void sx_marks_renew_here(strata *engine, const void *name, size_t size) {
    sx_lock_acquire(&engine->marks->lock);
    sx_mark *mark = find(engine, name, size);
    if (mark != NULL) learn_locked(engine, mark, 0, ++engine->marks->last_nonce, 1);
    sx_lock_release(&engine->marks->lock);
}

/* ---- on the loop --------------------------------------------------------------------------------------------- */

uint64_t sx_marks_nonce_on_loop(const strata *engine, const sx_tag *tag, int64_t since_ns) {
    assert(sx_loop_is_current(engine->loop));
    int64_t lease_ns;
    uint64_t nonce = 0;
    sx_lock_acquire(&engine->marks->lock);
    const sx_mark *mark = find(engine, tag->name, tag->size);
    int64_t now_ns = sx_engine_now(engine);
    if (mark != NULL && mark->since_ns <= since_ns &&
        (!engine->l2_on || now_ns - mark->asked_ns < SX_MARKS_TOUCH_MS * SX_NS_PER_MS))
        nonce = proven_nonce(engine, mark, now_ns, &lease_ns);
    sx_lock_release(&engine->marks->lock);
    return nonce;
}

bool sx_marks_stamp(const strata *engine, sx_epoch_record *record, sx_item *item, uint64_t generation) {
    sx_item_tagging *tagging = sx_item_tagging_of(item);
    generation += sx_namespace_clears(engine->namespaces[item->ns]);
    if (tagging != NULL) {
        int64_t lease_ns = INT64_MAX;
        uint64_t epoch = atomic_load_explicit(&engine->marks->epoch, memory_order_acquire); /* [order: marks-epoch] */
        sx_epoch_pin(record);
        sx_verdict verdict = sx_marks_judge_pinned(engine, item, sx_engine_now(engine), &lease_ns);
        sx_epoch_unpin(record);
        if (verdict != SX_VALID) return false;
        atomic_store_explicit(&tagging->epoch, epoch, memory_order_relaxed); /* relaxed: the entry's publication orders it */
        generation |= SX_ITEM_TAGGED;
    }
    /* relaxed: readers compare it with the generation they acquired; nothing is published through it */
    atomic_store_explicit(&item->generation, generation, memory_order_relaxed);
    return true;
}

static sx_marks_heard *heard_of(const strata *engine, const void *name, size_t size) {
    return &engine->marks->heard[hash_of(engine, name, size) % SX_MARKS_BUCKETS];
}

static void hear(strata *engine, const void *name, size_t size, uint64_t nonce) {
    sx_marks_heard *heard = heard_of(engine, name, size);
    heard->count++;
    heard->nonce = nonce;
}

void sx_marks_renewed_on_loop(strata *engine, const void *name, size_t size, uint64_t n, uint64_t nonce) {
    hear(engine, name, size, nonce);
    sx_lock_acquire(&engine->marks->lock);
    sx_mark *mark = find(engine, name, size);
    if (mark != NULL) learn_locked(engine, mark, n, nonce, 0);
    sx_lock_release(&engine->marks->lock);
}

void sx_marks_doubt_on_loop(strata *engine, const void *name, size_t size) {
    hear(engine, name, size, 0);
    sx_lock_acquire(&engine->marks->lock);
    sx_mark *mark = find(engine, name, size);
    if (mark != NULL) {
        atomic_store_explicit(&mark->generation, 0, memory_order_release); /* [order: mark-proof] */
        bump(engine->marks);
    }
    sx_lock_release(&engine->marks->lock);
}

/* The least lease of those partitions that have markers; a new generation of one makes what was judged before unproven. */
static void look_at_leases(strata *engine) {
    sx_marks *marks = engine->marks;
    int64_t least_ns = INT64_MAX;
    for (uint32_t i = 0; i < engine->partitions; i++) {
        int64_t lease_ns;
        uint64_t generation;
        if (marks->in_partition[i] == 0) continue;
        sx_trust_read(&engine->words[i], &lease_ns, &generation);
        if (generation != marks->generations[i]) bump(marks);
        marks->generations[i] = generation;
        if (lease_ns < least_ns) least_ns = lease_ns;
    }
    atomic_store_explicit(&marks->lease_ns, least_ns, memory_order_release); /* [order: marks-lease] */
}

static void turn_over(sx_turn_end *end) {
    sx_marks *marks = SX_CONTAINER(end, sx_marks, turn);
    sx_lock_acquire(&marks->lock);
    look_at_leases(marks->engine);
    sx_lock_release(&marks->lock);
}

void sx_marks_watch_on_loop(strata *engine) {
    engine->marks->turn.run_on_loop = turn_over;
    sx_loop_turn_end(engine->loop, &engine->marks->turn);
}

/* ---- asking L2 ----------------------------------------------------------------------------------------------- */

void sx_marks_encode_tail(strata *engine, uint64_t nonce, sx_buf *tail) {
    sx_envelope envelope = {.id = nonce, .ttl_ms = SX_MARKS_TTL_MS, .payload = (const uint8_t *)""};
    sx_buf_init(tail, &engine->alloc);
    sx_envelope_encode_tail(tail, &envelope);
}

void sx_marks_ask_on_loop(strata *engine, sx_store_op *op, const sx_tag *tag, int64_t deadline_ns, sx_marks_asked *asked,
                          void (*done)(sx_store_op *op, int32_t status, const sx_resp *reply)) {
    sx_publish_key key = {.partition = sx_key_partition(tag->name, tag->size, engine->partitions),
                          .key = tag->name,
                          .key_size = tag->size,
                          .what = SX_PUBLISH_TAG};
    sx_buf tail;
    uint64_t nonce = sx_key_random_next(&engine->random);
    sx_marks_encode_tail(engine, nonce, &tail);
    sx_command_clear(&op->request.command);
    sx_publish_encode_mark(&engine->publish, &key, nonce, SX_MARKS_TTL_MS, tail.data, tail.size, &op->request.command);
    if (tail.failed) op->request.command.args.failed = true;
    sx_buf_deinit(&tail);
    op->request.script = &engine->scripts.mark;
    op->request.slot = engine->tags->tags[key.partition].slot;
    op->request.deadline_ns = deadline_ns;
    op->request.encode = NULL;
    op->request.read_only = false;
    op->write = false; /* executed twice, or late, it finds what is there */
    op->done = done;
    asked->mark = sx_trust_mark_on_loop(engine->trust, key.partition);
    asked->renewals = heard_of(engine, tag->name, tag->size)->count;
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_MARKS_ASKED], 1);
    sx_store_submit_on_loop(engine->store, op);
}

uint64_t sx_marks_answered_on_loop(strata *engine, const sx_store_op *op, const sx_tag *tag, const sx_marks_asked *asked,
                                   const sx_resp *reply) {
    sx_envelope front;
    if (reply->type != SX_RESP_STRING ||
        sx_envelope_decode_front(reply->text, reply->size, &front) != SX_ENVELOPE_VALUE || front.id == 0)
        return 0;
    uint32_t partition = sx_key_partition(tag->name, tag->size, engine->partitions);
    /* The answer and a renewal's message come over two connections: either may have overtaken the other. The message of the
       very nonce that was answered is no contradiction: it was created for this question. */
    const sx_marks_heard *heard = heard_of(engine, tag->name, tag->size);
    bool proves = sx_trust_may_fill_on_loop(engine->trust, partition, &asked->mark, op->request.identity) &&
                  (asked->renewals == heard->count || heard->nonce == front.id);
    sx_lock_acquire(&engine->marks->lock);
    sx_mark *known = proves ? get_locked(engine, engine->loop_record, tag->name, tag->size) : NULL;
    if (known != NULL) {
        learn_locked(engine, known, front.n, front.id, asked->mark.generation);
        known->asked_ns = sx_loop_now_ns(engine->loop);
    }
    sx_lock_release(&engine->marks->lock);
    return front.id;
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

int32_t sx_marks_create(strata *engine, uint32_t count_max) {
    sx_marks *marks = sx_allocate_zero(&engine->alloc, sizeof *marks);
    if (marks == NULL) return STRATA_E_NOMEM;
    marks->in_partition = sx_allocate_zero(&engine->alloc, engine->partitions * sizeof *marks->in_partition);
    marks->generations = sx_allocate_zero(&engine->alloc, engine->partitions * sizeof *marks->generations);
    int32_t status = marks->in_partition == NULL || marks->generations == NULL ? STRATA_E_NOMEM
                                                                              : sx_lock_init(&marks->lock, SX_RANK_MARKS);
    if (status != STRATA_OK) {
        sx_release(&engine->alloc, marks->in_partition, engine->partitions * sizeof *marks->in_partition);
        sx_release(&engine->alloc, marks->generations, engine->partitions * sizeof *marks->generations);
        sx_release(&engine->alloc, marks, sizeof *marks);
        return status;
    }
    marks->engine = engine;
    marks->count_max = count_max;
    atomic_init(&marks->lease_ns, INT64_MAX);
    atomic_init(&marks->epoch, 1);
    engine->marks = marks;
    return STRATA_OK;
}

void sx_marks_destroy(strata *engine) {
    sx_marks *marks = engine->marks;
    if (marks == NULL) return;
    for (uint32_t i = 0; i < SX_MARKS_BUCKETS; i++) {
        /* relaxed: nobody else is here any more */
        sx_mark *mark = atomic_load_explicit(&marks->buckets[i], memory_order_relaxed);
        for (sx_mark *next; mark != NULL; mark = next) {
            next = atomic_load_explicit(&mark->next, memory_order_relaxed); /* relaxed: as above */
            free_mark(mark);
        }
    }
    sx_lock_deinit(&marks->lock);
    sx_release(&engine->alloc, marks->in_partition, engine->partitions * sizeof *marks->in_partition);
    sx_release(&engine->alloc, marks->generations, engine->partitions * sizeof *marks->generations);
    sx_release(&engine->alloc, marks, sizeof *marks);
    engine->marks = NULL;
}
