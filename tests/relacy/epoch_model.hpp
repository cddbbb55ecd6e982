// SPDX-License-Identifier: Apache-2.0
// Reclamation as core/memory/epoch.c makes it where there is no membarrier: a model, statement by statement. (Where there is,
// the pins' fence is made by the kernel at some point between the keeper's two sides.) One record per reader; what is retired
// is poisoned instead of freed, so that a late look is a race or a fault.
#ifndef TESTS_RELACY_EPOCH_MODEL_HPP
#define TESTS_RELACY_EPOCH_MODEL_HPP

#include "kernel.hpp"

// An immutable item. n is 0 once it was freed.
struct item {
    sx_plain<int> key;
    sx_plain<int> n;
    sx_plain<int> books; // of the batch that it is retired in
};

enum { EPOCH_RECORDS = 2, EPOCH_PENDING = 4 };

struct epoch_model {
    _Atomic(unsigned) time;
    _Atomic(unsigned) seen[EPOCH_RECORDS];
    _Atomic(item *) open; // a batch of one, of the thread that retires
    item *pending[EPOCH_PENDING];
    unsigned stamps[EPOCH_PENDING];
    int freed;

    void init() {
        time.store(2, rl::mo_relaxed, $);
        for (_Atomic(unsigned) &s : seen) s.store(0, rl::mo_relaxed, $);
        open.store(nullptr, rl::mo_relaxed, $);
        for (item *&p : pending) p = nullptr;
        freed = 0;
    }

    // sx_epoch_pin, with sx_fence_epoch_pin.
    void pin(unsigned r) {
        unsigned now = atomic_load_explicit(&time, memory_order_acquire);  // [order: epoch-pin]
        atomic_store_explicit(&seen[r], now, memory_order_release);        // earlier pins are done
        atomic_thread_fence(memory_order_seq_cst);                         // [order: epoch-pin]
    }
    void unpin(unsigned r) {
        atomic_store_explicit(&seen[r], 0u, memory_order_release); // [order: epoch-unpin]
    }

    void retire(item *i) {
        i->books = 1;
        item *none = atomic_exchange_explicit(&open, (item *)nullptr, memory_order_acquire); // own: keeps the keeper away
        RL_ASSERT(none == nullptr);
        atomic_store_explicit(&open, i, memory_order_release); // retire-handover publishes
    }

    // look and free_ready.
    void poll() {
        unsigned safe = atomic_load_explicit(&time, memory_order_relaxed);
        for (_Atomic(unsigned) &s : seen) {
            unsigned at = atomic_load_explicit(&s, memory_order_acquire); // [order: epoch-unpin]
            if (sx_variant == 1) continue; // an older pin is overlooked
            if (at != 0 && at < safe) safe = at;
        }
        for (int k = 0; k < EPOCH_PENDING; k++) {
            item *&p = pending[k];
            if (p == nullptr || stamps[k] >= safe + (sx_variant == 2 ? 1 : 0)) continue; // 2: a grace period too early
            p->n = 0;
            p = nullptr;
            freed++;
        }
    }
    // sx_epoch_reclaim.
    void reclaim() {
        unsigned now = atomic_load_explicit(&time, memory_order_relaxed);
        item *i = atomic_exchange_explicit(&open, (item *)nullptr, memory_order_acquire); // retire-handover observes
        if (i != nullptr) {
            RL_ASSERT((int)i->books == 1);
            int k = 0;
            while (pending[k] != nullptr) k++;
            pending[k] = i;
            stamps[k] = now;
            atomic_store_explicit(&time, now + 2, memory_order_release); // [order: epoch-pin]
            atomic_thread_fence(memory_order_seq_cst);                   // [order: epoch-pin] sx_fence_epoch_reclaim
        }
        poll();
    }
};

#endif
