/* SPDX-License-Identifier: Apache-2.0 */
/* The markers of tags that this process knows: what nonce each has, and whether that is proven. */
#ifndef SX_CORE_FLOW_MARKS_H
#define SX_CORE_FLOW_MARKS_H

#include "coherence/trust.h"
#include "core/flow/tags.h"
#include "core/loop/loop.h"
#include "core/memory/epoch.h"
#include "core/memory/item.h"
#include "core/memory/lock.h"
#include "l2/store.h"

#define SX_MARKS_BUCKETS 4096
#define SX_MARKS_TTL_MS  (INT64_C(30) * 86400 * 1000) /* of a marker in L2: longer than entries live as a rule */

#define SX_MARKS_TOUCH_MS (SX_MARKS_TTL_MS / 3) /* one that is used is asked for that often, which begins its time anew */

typedef struct sx_mark sx_mark;

/* Renewals of the tags of one bucket. */
typedef struct sx_marks_heard {
    uint64_t count;
    uint64_t nonce; /* the last one's; 0: it may have been one */
} sx_marks_heard;

typedef struct sx_marks {
    /* What a tagged hit compares. An item judged in the present epoch is valid while now < lease_ns. */
    _Atomic int64_t lease_ns; /* atomic: release / acquire [order: marks-lease]; least of the leases of partitions with markers */
    _Atomic uint64_t epoch;   /* atomic: release / acquire [order: marks-epoch]; counts whatever may make an item invalid */

    sx_lock lock;             /* who adds, renews or forgets */
    _Atomic(sx_mark *) buckets[SX_MARKS_BUCKETS]; /* atomic: release / acquire [order: mark-publish] */
    uint32_t count, hand;     /* lock: marks */
    uint32_t count_max;       /* const */
    uint32_t *in_partition;   /* lock: marks; markers of each partition */
    uint64_t *generations;    /* lock: marks; of the partitions, as of the last look */
    uint64_t last_nonce;      /* lock: marks; without L2 */
    sx_marks_heard heard[SX_MARKS_BUCKETS]; /* owner: loop; renewals, whether their markers are known or not */
    sx_turn_end turn;         /* owner: loop */
    strata *engine;           /* const */
} sx_marks;

/* What is noted when a marker is asked for. owner: loop */
typedef struct sx_marks_asked {
    sx_trust_mark mark;
    uint64_t renewals; /* of its bucket: one that is heard before the answer may be later than that */
} sx_marks_asked;

typedef enum sx_verdict {
    SX_VALID,    /* every nonce is its marker's, and proven */
    SX_UNPROVEN, /* no marker is known to differ, but not all are proven */
    SX_OUTDATED  /* a tag was invalidated */
} sx_verdict;

int32_t sx_marks_create(strata *engine, uint32_t count_max);
void sx_marks_destroy(strata *engine);

/* ---- any thread ---- */
/* Whether an item's tags hold now. The caller is pinned. *lease_ns: lowered to until when, where they are valid. */
sx_verdict sx_marks_judge_pinned(const strata *engine, const sx_item *item, int64_t now_ns, int64_t *lease_ns);
/* The same for an entry of L1: by the epoch alone where that suffices, else tag by tag, and noted where they hold. Lowers
   *lease_ns to what the tags allow. The caller is pinned. */
sx_verdict sx_marks_check_pinned(const strata *engine, const sx_item *item, int64_t now_ns, int64_t *lease_ns);
/* Notes that an item was proven at its partition's generation. False, and nothing is noted, where its tags don't hold. */
bool sx_marks_stamp(const strata *engine, sx_epoch_record *record, sx_item *item, uint64_t generation);
/* Without L2 the markers are these alone: takes the nonces that are missing, creating markers. False where memory ends. */
bool sx_marks_take_here(strata *engine, sx_epoch_record *record, const uint8_t *tags, size_t size);
/* Without L2: whether tags have the nonces that their markers have now. */
bool sx_marks_hold_here(const strata *engine, const sx_item_tagging *tagging);
/* Without L2: a new nonce. */
void sx_marks_renew_here(strata *engine, const void *name, size_t size);

/* ---- on the loop ---- */
/* A tag's nonce where it is proven to be the present one, and has been known since since_ns; 0 otherwise, and where the marker
   has not been asked for in so long that it might expire. */
uint64_t sx_marks_nonce_on_loop(const strata *engine, const sx_tag *tag, int64_t since_ns);
/* A marker was renewed: by a message, or by this process. */
void sx_marks_renewed_on_loop(strata *engine, const void *name, size_t size, uint64_t n, uint64_t nonce);
/* It may have been, or not. */
void sx_marks_doubt_on_loop(strata *engine, const void *name, size_t size);
/* Some partition's word has changed. */
void sx_marks_watch_on_loop(strata *engine);
/* Asks L2 for a tag's marker through an op that is not under way; done then hands the reply to answered, which answers
   the nonce, or 0 where there is none to be had. It is proven only where no other renewal was heard of in between. */
void sx_marks_ask_on_loop(strata *engine, sx_store_op *op, const sx_tag *tag, int64_t deadline_ns, sx_marks_asked *asked,
                          void (*done)(sx_store_op *op, int32_t status, const sx_resp *reply));
uint64_t sx_marks_answered_on_loop(strata *engine, const sx_store_op *op, const sx_tag *tag, const sx_marks_asked *asked,
                                   const sx_resp *reply);

/* A marker behind its head, into a new buffer. */
void sx_marks_encode_tail(strata *engine, uint64_t nonce, sx_buf *tail);

#endif
