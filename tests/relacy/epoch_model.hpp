// SPDX-License-Identifier: Apache-2.0
// Reclamation as core/memory/epoch.c makes it, with membarrier(2) and without: a model, statement by statement. One record per reader; what is retired
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

// membarrier(2): each thread passes a full fence somewhere between two of its steps, after the call began and before it ends.
// Threads are fibers of one thread, so that these plain fields are what the kernel knows, not what processors show each other.
static bool epoch_membarrier; // else pins fence
enum { BARRIER_THREADS = 8 };
static struct {
    unsigned wanted, passed[BARRIER_THREADS], threads;
    bool gone[BARRIER_THREADS];
} kernel;

static void barrier_pass() {
    unsigned self = rl::thread_index(), wanted = kernel.wanted;
    if (!epoch_membarrier || self >= kernel.threads || kernel.passed[self] >= wanted) return;
    (rl::atomic_thread_fence)(rl::mo_seq_cst, $); // the kernel's, which no test weakens
    kernel.passed[self] = wanted;
}
static void barrier_all() {
    (rl::atomic_thread_fence)(rl::mo_seq_cst, $); // the caller's own, before and after
    unsigned mine = ++kernel.wanted;
    for (unsigned i = 0; i < kernel.threads; i++) {
        while (i != rl::thread_index() && !kernel.gone[i] && kernel.passed[i] < mine) {
            barrier_pass();
            rl::yield(1, $);
        }
    }
    (rl::atomic_thread_fence)(rl::mo_seq_cst, $);
}

// A suite whose threads can be asked for a barrier before each of their steps.
template <typename Self, unsigned Threads> struct suite : rl::test_suite<Self, Threads> {
    void thread(unsigned index) {
        static_cast<Self *>(this)->act(index);
        (rl::atomic_thread_fence)(rl::mo_seq_cst, $); // it leaves its processor: a barrier too
        kernel.gone[index] = true;
    }
    static void begin() {
        kernel = {};
        kernel.threads = Threads;
        sx_before_step = barrier_pass;
    }
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
        if (!epoch_membarrier) atomic_thread_fence(memory_order_seq_cst);  // [order: epoch-pin]
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
            if (epoch_membarrier && sx_variant != 7) barrier_all();      // 7: nobody is asked
            if (!epoch_membarrier) atomic_thread_fence(memory_order_seq_cst); // [order: epoch-pin] sx_fence_epoch_reclaim
        }
        poll();
    }
};

#endif
