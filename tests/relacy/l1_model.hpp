// SPDX-License-Identifier: Apache-2.0
// L1's kernel: publish, retire, evict, split and merge beside finds, over the model of the epoch. A group has one slot here and
// keys are hashes of one bit; the statements and their orders are those of l1/table.h, find.c, write.c and grow.c.
#ifndef TESTS_RELACY_L1_MODEL_HPP
#define TESTS_RELACY_L1_MODEL_HPP

#include "epoch_model.hpp"

struct group {
    _Atomic(item *) slot;
    _Atomic(int) control; // the level; -1: not made yet
    _Atomic(int) latch;
};

struct root {
    sx_plain<int> base, top;
};

struct table {
    group groups[2];
    root roots[4];
    _Atomic(root *) present;
    epoch_model epoch;
    item items[4];

    void init() {
        for (group &g : groups) {
            g.slot.store(nullptr, rl::mo_relaxed, $);
            g.control.store(-1, rl::mo_relaxed, $);
            g.latch.store(0, rl::mo_relaxed, $);
        }
        groups[0].control.store(0, rl::mo_relaxed, $);
        static const int base[] = {0, 0, 0, 0}, top[] = {0, 1, 1, 0}; // rest, splits, merges, rest
        for (int i = 0; i < 4; i++) {
            roots[i].base = base[i];
            roots[i].top = top[i];
        }
        present.store(&roots[0], rl::mo_relaxed, $);
        epoch.init();
        for (item &i : items) {
            i.key = 1;
            i.n = 0;
            i.books = 0;
        }
    }

    static void latch_acquire(group *g) {
        while (atomic_exchange_explicit(&g->latch, 1, memory_order_acquire) != 0) rl::yield(1, $); // group-lock
    }
    static void latch_release(group *g) {
        atomic_store_explicit(&g->latch, 0, memory_order_release); // group-lock
    }
    static void slot_set(group *g, item *i) {
        atomic_store_explicit(&g->slot, i, memory_order_release); // entry-publish
    }
    static void control_set(group *g, int level) {
        atomic_store_explicit(&g->control, level, memory_order_release); // group-level
    }
    root *root_get() {
        return atomic_load_explicit(&present, memory_order_acquire); // root-swap
    }
    void root_set(int i) {
        roots[i].top = (int)roots[i].top; // made just now
        atomic_store_explicit(&present, &roots[i], memory_order_release); // root-swap
    }

    // find.c: find_from and sx_l1_find_pinned, of the key with bit 1.
    item *find_from(const root *r, bool *again) {
        *again = false;
        int index = 0, top = r->top;
        for (;;) {
            group *g = &groups[index];
            int level = atomic_load_explicit(&g->control, memory_order_acquire); // group-level, before the slot
            RL_ASSERT(level >= 0); // else it was led to a group before that was made
            if (index == 0 && level == 1) {
                *again = top < 1;
                if (*again) return nullptr;
                index = 1;
                continue;
            }
            if (index == 1 && level == 0) {
                *again = true;
                return nullptr;
            }
            item *i = atomic_load_explicit(&g->slot, memory_order_acquire); // entry-publish, tags_match
            if (i != nullptr) i = atomic_load_explicit(&g->slot, memory_order_acquire); // entry-publish, find_at
            if (i != nullptr && (int)i->key == 1) return i;
            if (sx_variant == 3) return nullptr; // doesn't look at the level again
            if (atomic_load_explicit(&g->control, memory_order_acquire) == level) return nullptr; // group-level, after
        }
    }
    item *find() {
        const root *r = root_get();
        for (;;) {
            bool again;
            item *i = find_from(r, &again);
            if (i != nullptr) return i;
            const root *now = root_get();
            if (!again && (now == r || sx_variant == 4)) return nullptr; // 4: doesn't compare the root
            if (again && now == r) rl::yield(1, $);
            r = now;
        }
    }

    // write.c: sx_l1_group_lock.
    group *lock() {
        for (;;) {
            const root *r = root_get();
            int index = 0;
            for (;;) {
                group *g = &groups[index];
                latch_acquire(g);
                int level = atomic_load_explicit(&g->control, memory_order_relaxed);
                if (level == index) return g;
                latch_release(g);
                if (index == 1 || (int)r->top < 1) break;
                index = 1;
            }
            rl::yield(1, $);
        }
    }
    item *slot_get_locked(group *g) {
        return atomic_load_explicit(&g->slot, memory_order_relaxed);
    }
    void put(item *i, int n) {
        i->n = n;
        group *g = lock();
        item *there = slot_get_locked(g);
        slot_set(g, i);
        latch_release(g);
        if (there != nullptr) epoch.retire(there);
    }
    void remove() {
        group *g = lock();
        item *there = slot_get_locked(g);
        if (sx_variant == 5 && there != nullptr) epoch.retire(there); // before it is out of reach
        if (sx_variant == 5) epoch.reclaim();
        slot_set(g, nullptr);
        latch_release(g);
        if (there != nullptr && sx_variant != 5) epoch.retire(there);
    }

    // grow.c: a round of splits, and of merges.
    void split() {
        root_set(1);
        group *low = &groups[0], *high = &groups[1];
        latch_acquire(low);
        // group_init: nobody can see it yet
        high->slot.store(nullptr, rl::mo_relaxed, $);
        high->latch.store(1, rl::mo_relaxed, $);
        atomic_store_explicit(&high->control, 1, memory_order_relaxed);
        item *moved = slot_get_locked(low);
        slot_set(high, moved);
        if (sx_variant == 6) slot_set(low, nullptr); // before the level says where to look
        control_set(low, 1);
        slot_set(low, nullptr);
        latch_release(high);
        latch_release(low);
    }
    // keep.c: the hand comes by the upper half of a group that was split.
    void evict_upper() {
        const root *r = root_get();
        if ((int)r->top < 1) return;
        if (atomic_load_explicit(&groups[0].control, memory_order_acquire) != 1) return; // group-level
        latch_acquire(&groups[1]);
        item *there = slot_get_locked(&groups[1]);
        slot_set(&groups[1], nullptr);
        latch_release(&groups[1]);
        if (there != nullptr) epoch.retire(there);
    }
    void merge() {
        root_set(2);
        group *low = &groups[0], *high = &groups[1];
        latch_acquire(low);
        latch_acquire(high);
        slot_set(low, slot_get_locked(high));
        control_set(low, 0);
        control_set(high, 0);
        slot_set(high, nullptr);
        latch_release(high);
        latch_release(low);
        root_set(3);
    }
};

// The key stays while its group is split and merged back: no find may miss it.
struct stays : suite<stays, 2> {
    table t;
    void before() {
        this->begin();
        t.init();
        t.items[0].n = 1;
        t.groups[0].slot.store(&t.items[0], rl::mo_relaxed, $);
    }
    void act(unsigned index) {
        if (index == 0) {
            t.split();
            t.merge();
            return;
        }
        for (int k = 0; k < 2; k++) {
            t.epoch.pin(0);
            item *i = t.find();
            RL_ASSERT(i != nullptr && (int)i->n == 1);
            t.epoch.unpin(0);
        }
    }
};

// Put, told, removed, told, with a split beside it, and everything that left is freed as early as it may be.
struct told : suite<told, 3> {
    table t;
    _Atomic(int) below; // entries of a smaller n are gone
    void before() {
        this->begin();
        t.init();
        below.store(0, rl::mo_relaxed, $);
        t.items[0].n = 1;
        t.groups[0].slot.store(&t.items[0], rl::mo_relaxed, $);
    }
    void act(unsigned index) {
        if (index == 0) {
            t.put(&t.items[1], 2);
            below.store(2, rl::mo_release, $); // as a lease would
            t.epoch.reclaim();
            t.remove();
            below.store(3, rl::mo_release, $);
            t.epoch.reclaim();
        } else if (index == 1) {
            t.split();
        } else {
            for (int k = 0; k < 2; k++) {
                int least = below.load(rl::mo_acquire, $);
                t.epoch.pin(0);
                item *i = t.find();
                if (i != nullptr) {
                    int n = i->n;
                    RL_ASSERT(n != 0 && n >= least);
                }
                t.epoch.unpin(0);
            }
        }
    }
};

// The epoch alone: a writer who retires, a keeper who frees, two readers, one of whom stays pinned for two looks.
struct grace : suite<grace, 4> {
    table t;
    void before() {
        this->begin();
        t.init();
        t.items[0].n = 1;
        t.groups[0].slot.store(&t.items[0], rl::mo_relaxed, $);
    }
    void look(unsigned r, int times) {
        t.epoch.pin(r);
        item *i = atomic_load_explicit(&t.groups[0].slot, memory_order_acquire); // entry-publish
        for (int k = 0; k < times && i != nullptr; k++) RL_ASSERT((int)i->n != 0);
        t.epoch.unpin(r);
    }
    void act(unsigned index) {
        if (index == 0) {
            t.put(&t.items[1], 2);
        } else if (index == 1) {
            t.epoch.reclaim();
            t.epoch.reclaim();
        } else {
            look(index - 2, index == 2 ? 3 : 1);
            look(index - 2, 1);
        }
    }
};

// The hand takes from the upper half while the split is not over yet, and what it took is freed.
struct evicts : suite<evicts, 3> {
    table t;
    void before() {
        this->begin();
        t.init();
        t.items[0].n = 1;
        t.groups[0].slot.store(&t.items[0], rl::mo_relaxed, $);
    }
    void act(unsigned index) {
        if (index == 0) {
            t.split();
        } else if (index == 1) {
            t.evict_upper();
            t.epoch.reclaim();
        } else {
            for (int k = 0; k < 2; k++) {
                t.epoch.pin(0);
                item *i = t.find();
                if (i != nullptr) RL_ASSERT((int)i->n != 0);
                t.epoch.unpin(0);
            }
        }
    }
};

// Epochs follow each other because another reader pins afresh each time; who pins late must not look with an old eye.
struct moves_on : suite<moves_on, 2> {
    table t;
    void before() {
        this->begin();
        t.init();
        t.items[0].n = 1;
        t.groups[0].slot.store(&t.items[0], rl::mo_relaxed, $);
    }
    void act(unsigned index) {
        if (index == 0) {
            t.put(&t.items[1], 2);
            for (int k = 0; k < 3; k++) {
                t.epoch.pin(1);
                t.epoch.reclaim();
                t.epoch.unpin(1);
                t.epoch.pin(1);
                t.epoch.poll();
                t.epoch.unpin(1);
            }
        } else {
            t.epoch.pin(0);
            item *i = atomic_load_explicit(&t.groups[0].slot, memory_order_acquire); // entry-publish
            RL_ASSERT((int)i->n != 0);
            t.epoch.unpin(0);
        }
    }
};

#endif
