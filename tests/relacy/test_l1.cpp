// SPDX-License-Identifier: Apache-2.0
// L1's kernel where pins fence for themselves: each order weakened, each broken variant.
#include "l1_model.hpp"

int main() {
    const unsigned long times = 40000;
    bool good = holds<stays>("stays", times) && holds<told>("told", times) && holds<grace>("grace", times) &&
                holds<evicts>("evicts", times) && holds<moves_on>("moves on", times);
    sx_tally t = judge<stays, told, grace, evicts, moves_on>(times, 6, {
        // retire-handover: the batch that it takes is the thread's own.
        {"// own: keeps the keeper away", rl::mo_acquire},
        // epoch-pin: the pin's fence acquires as well; where membarrier stands for it, this load must.
        {"unsigned now = atomic_load_explicit(&time, memory_order_acquire)", rl::mo_acquire},
        // epoch-unpin: in C11 a thread's later stores carry its earlier release on; in C17 they don't.
        {"// earlier pins are done", rl::mo_release},
        // group-level: the latch that is taken next observes the same.
        {"!= 1) return; // group-level", rl::mo_acquire},
    });
    return good && t.faults == 0 && t.caught >= 12 ? 0 : 1;
}
