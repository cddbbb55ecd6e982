// SPDX-License-Identifier: Apache-2.0
// The trust word as production compiles it, beside a slot of the table: what a hit may show, whatever it saw when.
#include "kernel.hpp"

#include "coherence/trust_word.h"

// The item and the slot as in core/memory/item.h and l1/table.h: immutable bytes, a generation that is restamped.
struct item {
    sx_plain<int> version;
    _Atomic(uint64_t) generation;
};
typedef _Atomic(item *) slot;

static void slot_set(slot *s, item *i) {
    /* [order: entry-publish] */
    atomic_store_explicit(s, i, memory_order_release);
}
static item *slot_get(slot *s) {
    /* [order: entry-publish] */
    return atomic_load_explicit(s, memory_order_acquire);
}

// Leases: 10 from the first heartbeat; 20 after the removal of version 1; trust lost and version 2 missed; 30 after the gain,
// where version 1 may have come back as an entry that nobody proved; 40 after it was proven to be version 3.
struct leases : rl::test_suite<leases, 3> {
    sx_trust_word word;
    slot s;
    item items[3];

    void before() {
        word.lease_until_ns.store(10, rl::mo_relaxed, $);
        word.generation.store(1, rl::mo_relaxed, $);
        word.proven_ns.store(0, rl::mo_relaxed, $);
        for (int i = 0; i < 3; i++) {
            items[i].version = i + 1;
            items[i].generation.store(1, rl::mo_relaxed, $);
        }
        s.store(&items[0], rl::mo_relaxed, $);
    }
    void loop() {
        slot_set(&s, nullptr); // a message: version 1 is old
        if (sx_variant == 1) return_lease_first();
        else sx_trust_word_lease(&word, 20, 15);
        items[1].version = 12; // a fill
        items[1].generation.store(1, rl::mo_relaxed, $);
        slot_set(&s, &items[1]);
        sx_trust_word_end(&word); // the subscription is lost, and version 13 is written elsewhere
        if (sx_variant == 2) sx_trust_word_lease(&word, 30, 25); // before what it says is doubted
        sx_trust_word_doubt(&word);
        if (sx_variant != 2) sx_trust_word_lease(&word, 30, 25);
        items[2].version = 13;
        items[2].generation.store(2, rl::mo_relaxed, $);
        slot_set(&s, &items[2]);
    }
    void return_lease_first() {
        slot_set(&s, &items[0]);
        sx_trust_word_lease(&word, 20, 15);
        slot_set(&s, nullptr);
    }
    void reader() {
        int64_t lease;
        uint64_t generation;
        item *i = nullptr;
        if (sx_variant == 3) i = slot_get(&s); // the entry before the word
        sx_trust_read(&word, &lease, &generation);
        if (sx_variant != 3) i = slot_get(&s);
        if (i == nullptr || lease == INT64_MIN) return;
        if (i->generation.load(rl::mo_relaxed, $) != generation) return;
        int version = i->version;
        if (lease == 20) RL_ASSERT(version >= 12);
        if (lease == 30) RL_ASSERT(version >= 13);
    }
    void thread(unsigned index) {
        if (index == 0) {
            loop();
            return;
        }
        reader();
        reader();
    }
};

// An entry of an old generation is proven again: its stamp changes in place while hits compare it.
struct restamp : rl::test_suite<restamp, 2> {
    sx_trust_word word;
    slot s;
    item it;

    void before() {
        word.lease_until_ns.store(30, rl::mo_relaxed, $);
        word.generation.store(2, rl::mo_relaxed, $);
        word.proven_ns.store(0, rl::mo_relaxed, $);
        it.version = 1;
        it.generation.store(1, rl::mo_relaxed, $);
        s.store(&it, rl::mo_relaxed, $);
    }
    void thread(unsigned index) {
        if (index == 0) {
            it.generation.store(2, rl::mo_relaxed, $); // L2 said: still this version
            slot_set(&s, nullptr);                     // and then a message: not any more
            sx_trust_word_lease(&word, 40, 35);
        } else {
            int64_t lease;
            uint64_t generation;
            sx_trust_read(&word, &lease, &generation);
            item *i = slot_get(&s);
            if (i == nullptr || i->generation.load(rl::mo_relaxed, $) != generation) return;
            RL_ASSERT(lease != 40);
        }
    }
};

int main() {
    bool good = holds<leases>("leases", 100000) && holds<restamp>("restamp", 20000);
    sx_tally t = judge<leases, restamp>(100000, 3,
        // trust-generation: the lease's own pair orders both words and the table, docs/CONCURRENCY.md.
        {{"atomic_load_explicit(&word->generation, memory_order_acquire)", rl::mo_acquire},
         {"atomic_store_explicit(&word->generation", rl::mo_release},
         {"lease_until_ns, INT64_MIN, memory_order_release", rl::mo_release}});
    return good && t.faults == 0 && t.caught >= 4 ? 0 : 1;
}
