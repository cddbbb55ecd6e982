/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a mailbox's consumer sleeps: the flag beside the mailbox by which no mail is slept over. */
#ifndef SX_CORE_LOOP_SLEEP_H
#define SX_CORE_LOOP_SLEEP_H

#include <stdatomic.h>
#include <stdbool.h>

typedef struct sx_sleep {
    _Atomic(bool) asleep; /* atomic: seq_cst [order: loop-sleep]; posters must wake the consumer */
} sx_sleep;

/* The consumer is about to sleep, and looks into its mailbox (sx_mailbox_stays_empty) once more after this. */
static inline void sx_sleep_begin(sx_sleep *sleep) {
    atomic_store_explicit(&sleep->asleep, true, memory_order_seq_cst); /* [order: loop-sleep] */
}
static inline void sx_sleep_end(sx_sleep *sleep) {
    /* relaxed: only the consumer writes it; a poster who still sees it wakes in vain */
    if (atomic_load_explicit(&sleep->asleep, memory_order_relaxed))
        atomic_store_explicit(&sleep->asleep, false, memory_order_relaxed); /* relaxed: as above */
}
/* A poster that found the mailbox empty asks after its push whether to wake the consumer. */
static inline bool sx_sleep_must_wake(const sx_sleep *sleep) {
    /* [order: loop-sleep] after the push: a consumer not yet asleep here will see the mail before it sleeps */
    return atomic_load_explicit(&sleep->asleep, memory_order_seq_cst);
}

#endif
