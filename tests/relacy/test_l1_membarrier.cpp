// SPDX-License-Identifier: Apache-2.0
// L1's kernel where a pin is a plain store, and who reclaims has every thread pass a barrier.
#include "l1_model.hpp"

int main() {
    epoch_membarrier = true;
    const unsigned long times = 10000; // a barrier waits for every thread: each run is long
    bool good = holds<stays>("stays", times) && holds<told>("told", times) && holds<grace>("grace", times) &&
                holds<evicts>("evicts", times) && holds<moves_on>("moves on", times);
    sx_tally t;
    judge_variants<stays, told, grace, evicts, moves_on>(times, 7, t);
    return good && t.faults == 0 && t.caught == 7 ? 0 : 1;
}
