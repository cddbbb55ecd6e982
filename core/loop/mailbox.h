/* SPDX-License-Identifier: Apache-2.0 */
/* An unbounded intrusive mailbox, many producers and one consumer: push is one CAS, the consumer takes all at once. */
#ifndef SX_CORE_LOOP_MAILBOX_H
#define SX_CORE_LOOP_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/memory/atomic.h"

typedef struct sx_mail {
    SX_PLAIN(struct sx_mail *) next; /* owner: poster before the push, consumer after the drain */
} sx_mail;

typedef struct sx_mailbox {
    _Atomic(sx_mail *) top; /* atomic: push seq_cst, drain acquire [order: mail-handover, loop-sleep] */
} sx_mailbox;

/* True where it was empty: then, and only then, the poster must wake the consumer. Any thread. Lock-free. */
bool sx_mailbox_post_mpsc(sx_mailbox *mailbox, sx_mail *mail);
/* Takes everything, oldest first; NULL where empty. The consumer only. */
sx_mail *sx_mailbox_drain_mpsc(sx_mailbox *mailbox);
/* A hint for whether a drain would find something. Any thread. */
bool sx_mailbox_is_empty(const sx_mailbox *mailbox);
/* For a consumer that has said, by a seq_cst store, that it is about to sleep: true means that whoever posts from here on
   sees that. The consumer only. */
bool sx_mailbox_stays_empty(const sx_mailbox *mailbox);

#endif
