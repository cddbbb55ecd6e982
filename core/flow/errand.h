/* SPDX-License-Identifier: Apache-2.0 */
/* Errands: single requests to L2 about a key that neither read nor write its value. Private to core/flow. */
#ifndef SX_CORE_FLOW_ERRAND_H
#define SX_CORE_FLOW_ERRAND_H

#include "core/flow/engine.h"

typedef struct sx_errand {
    sx_task task;
    sx_store_op store_op;    /* owner: loop, as all below unless said */
    /* const */
    strata *engine;
    strata_namespace *ns;
    void (*send_on_loop)(struct sx_errand *errand);
    uint64_t hash;
    uint32_t partition;
    int64_t deadline_ns;
    int64_t change;          /* of a number */
    sx_lifetime life;        /* for a number, or for what is touched */
    bool touches;
    sx_work work;            /* lock: stripe */
    sx_item *item;           /* what was found, without its bytes */
    int64_t stale_ms;        /* of it */
    size_t tag_at, tag_next; /* where the judging of its tags is */
    sx_marks_asked tag_asked;
    int64_t span_cost;       /* const */
    uint32_t key_size;
    uint8_t key[];
} sx_errand;

/* What the public calls have in common. */
typedef struct sx_errand_call {
    strata_session *session;
    strata_namespace *ns;
    strata_bytes key;
    const strata_op_options *options; /* of today's size */
    void (*send_on_loop)(sx_errand *errand);
    int64_t change;
    bool touches;
    strata_done_fn done;
    void *user;
    bool sync;
    const char *name; /* of its span */
} sx_errand_call;

/* STRATA_PENDING with *op under way (NULL where nobody waits), or a failure. The call was checked by sx_read_check. */
int32_t sx_errand_start(const sx_errand_call *call, const sx_lifetime *life, sx_op **op);
/* Waits, and gives status and result; out may be NULL. */
int32_t sx_errand_wait(strata_session *session, sx_op *op, strata_result *out);
/* Ends it: with an item, or with numbers for the result's version. */
void sx_errand_end_on_loop(sx_errand *errand, int32_t status, sx_item *item, uint64_t n);
sx_publish_key sx_errand_publish_key(const sx_errand *errand, sx_publish_what what);
/* The server's clock at the errand's deadline; 0 where it is not known. */
int64_t sx_errand_deadline_ms(const sx_errand *errand, const sx_redis_node *node);
/* Sends what encode makes. write: executed twice, it does harm. */
void sx_errand_submit_on_loop(sx_errand *errand, const sx_redis_script *script, bool write,
                              void (*encode)(sx_redis_request *request, const sx_redis_node *node),
                              void (*done)(sx_store_op *op, int32_t status, const sx_resp *reply));

#endif
