// SPDX-License-Identifier: Apache-2.0
// Reclamation as core/memory/epoch.c makes it over ck_epoch 0.7: a model, statement by statement, since ck's own accesses are
// assembler. One record per reader; what is retired is poisoned instead of freed, so that a late look is a race or a fault.
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
    _Atomic(unsigned) global;
    struct record {
        _Atomic(unsigned) active;
        _Atomic(unsigned) epoch;
    } records[EPOCH_RECORDS];
    _Atomic(item *) open; // a batch of one, of the thread that retires
    item *pending[EPOCH_PENDING];
    int freed;

    void init() {
        global.store(1, rl::mo_relaxed, $);
        for (record &r : records) {
            r.active.store(0, rl::mo_relaxed, $);
            r.epoch.store(0, rl::mo_relaxed, $);
        }
        open.store(nullptr, rl::mo_relaxed, $);
        for (item *&p : pending) p = nullptr;
        freed = 0;
    }

    // ck_epoch_begin, and sx_fence_epoch_pin behind it.
    void pin(unsigned r) {
        atomic_store_explicit(&records[r].active, 1u, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst); // ck: the pin is visible before what it guards is loaded
        unsigned seen = atomic_load_explicit(&global, memory_order_relaxed);
        atomic_store_explicit(&records[r].epoch, seen, memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire); // [order: epoch-pin]
    }
    // ck_epoch_end.
    void unpin(unsigned r) {
        atomic_thread_fence(memory_order_release); // ck: reads of the pin are done
        atomic_store_explicit(&records[r].active, 0u, memory_order_relaxed);
    }

    void retire(item *i) {
        i->books = 1;
        item *none = atomic_exchange_explicit(&open, (item *)nullptr, memory_order_acquire); // own: keeps the keeper away
        RL_ASSERT(none == nullptr);
        atomic_store_explicit(&open, i, memory_order_release); // retire-handover publishes
    }

    void dispatch(unsigned epoch) {
        item *&p = pending[epoch % EPOCH_PENDING];
        if (p == nullptr) return;
        p->n = 0;
        p = nullptr;
        freed++;
    }
    // ck_epoch_poll_deferred, and sx_fence_epoch_reclaim behind its scan.
    void poll() {
        unsigned epoch = atomic_load_explicit(&global, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst); // ck: what was unlinked is so before pins are looked for
        bool active = false;
        for (record &r : records) {
            unsigned a = atomic_load_explicit(&r.active, memory_order_relaxed);
            active |= a != 0;
            if (sx_variant == 1) continue; // an older pin is overlooked
            if (a != 0 && atomic_load_explicit(&r.epoch, memory_order_relaxed) != epoch) return;
        }
        atomic_thread_fence(memory_order_acquire); // [order: epoch-unpin]
        if (!active) {
            for (unsigned e = 0; e < EPOCH_PENDING; e++) dispatch(e);
            return;
        }
        atomic_store_explicit(&global, epoch + 1, memory_order_release); // ck: a CAS; one thread reclaims
        dispatch(epoch + 1 - (sx_variant == 2 ? 1u : EPOCH_PENDING));    // 2: a grace period too early
    }
    // sx_epoch_reclaim.
    void reclaim() {
        item *i = atomic_exchange_explicit(&open, (item *)nullptr, memory_order_acquire); // retire-handover observes
        if (i != nullptr) RL_ASSERT((int)i->books == 1);
        if (i != nullptr) pending[atomic_load_explicit(&global, memory_order_relaxed) % EPOCH_PENDING] = i;
        for (int step = 0; step < 3; step++) poll();
    }
};

#endif
