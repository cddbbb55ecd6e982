/* SPDX-License-Identifier: Apache-2.0 */
/* The mailbox: a stack that is only ever taken whole, so no push can meet a pop half-way. */
#include "core/loop/mailbox.h"

bool sx_mailbox_post_mpsc(sx_mailbox *mailbox, sx_mail *mail) {
    /* relaxed: only compared and stored, never followed */
    sx_mail *top = atomic_load_explicit(&mailbox->top, memory_order_relaxed);
    for (;;) {
        mail->next = top;
        /* [order: mail-handover, loop-sleep] publishes the mail and all its poster wrote, before the poster looks whether
           the consumer sleeps; relaxed: a failure brings the new top */
        if (atomic_compare_exchange_weak_explicit(&mailbox->top, &top, mail, memory_order_seq_cst,
                                                  memory_order_relaxed)) {
            return top == NULL; /* not mail->next: the consumer owns the mail now */
        }
        sx_cpu_relax();
    }
}

sx_mail *sx_mailbox_drain_mpsc(sx_mailbox *mailbox) {
    /* [order: mail-handover] observes what the posters wrote, of every mail below the top too */
    sx_mail *newest = atomic_exchange_explicit(&mailbox->top, NULL, memory_order_acquire);
    sx_mail *oldest = NULL;
    while (newest != NULL) {
        sx_mail *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

bool sx_mailbox_is_empty(const sx_mailbox *mailbox) {
    /* relaxed: a hint, rechecked by the drain */
    return atomic_load_explicit(&mailbox->top, memory_order_relaxed) == NULL;
}

bool sx_mailbox_stays_empty(const sx_mailbox *mailbox) {
    /* [order: loop-sleep] after the store that says so: one of the two sides sees the other */
    return atomic_load_explicit(&mailbox->top, memory_order_seq_cst) == NULL;
}
