/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a kernel under relacy as it is, which must hold, and then with each of its memory orders weakened by one step, and
   with each of its broken variants: all of these must fail but those that are named with the place that says why not. */
#ifndef TESTS_RELACY_KERNEL_HPP
#define TESTS_RELACY_KERNEL_HPP

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include <stdatomic.h> /* ours, and after the others: relacy makes macros of new and delete */

static int sx_variant; /* a broken variant of a kernel; 0: as it is */

/* An order that may be weakened without a failure here; docs/CONCURRENCY.md says why it is as strong as it is. */
struct sx_survivor {
    const char *text; /* of the statement's line */
    rl::memory_order order;
};

static const char *order_name(rl::memory_order order) {
    switch (order) {
    case rl::mo_relaxed: return "relaxed";
    case rl::mo_acquire: return "acquire";
    case rl::mo_release: return "release";
    case rl::mo_acq_rel: return "acq_rel";
    case rl::mo_seq_cst: return "seq_cst";
    default: return "?";
    }
}

static std::vector<rl::memory_order> weaker(const sx_site &site) {
    if (site.order == rl::mo_acquire || site.order == rl::mo_release) return {rl::mo_relaxed};
    if (site.order == rl::mo_acq_rel) return {rl::mo_acquire, rl::mo_release};
    if (site.order != rl::mo_seq_cst) return {};
    if (site.kind == SX_SITE_LOAD) return {rl::mo_acquire};
    if (site.kind == SX_SITE_STORE) return {rl::mo_release};
    return {rl::mo_acq_rel};
}

static std::string line_of(const sx_site &site) {
    std::ifstream file(site.file);
    std::string line;
    for (int i = 0; i < site.line && std::getline(file, line); i++) {}
    return line.substr(std::min(line.size(), line.find_first_not_of(' ')));
}

/* One simulation; true where it found nothing. relacy replaces new and delete while it runs: its streams must not allocate. */
template <typename Test> bool simulate(unsigned long iterations, bool loud) {
    std::ostream silence(nullptr);
    rl::test_params params;
    params.iteration_count = iterations;
    params.output_stream = loud ? &std::cout : &silence;
    params.progress_stream = &silence;
    params.execution_depth_limit = 4000;
    params.collect_history = params.output_history = loud;
    bool held = rl::simulate<Test>(params);
    if (!held && sx_mutated < 0 && sx_variant == 0) std::printf("%s, iteration %lu\n", rl::test_result_str(params.test_result), (unsigned long)params.stop_iteration);
    return held;
}

struct sx_tally {
    int faults = 0, caught = 0, survived = 0;
};

template <typename Test> bool holds(const char *name, unsigned long iterations) {
    sx_mutated = -1;
    sx_variant = 0;
    bool held = simulate<Test>(iterations, false);
    std::printf("%s: %s\n", name, held ? "holds" : "FAILS");
    std::fflush(stdout);
    if (!held) (void)simulate<Test>(iterations, true);
    if (!held) std::exit(1);
    return held;
}

/* The broken variants alone. */
template <typename... Tests> void judge_variants(unsigned long iterations, int variants, sx_tally &t) {
    for (sx_variant = 1; sx_variant <= variants; sx_variant++) {
        bool caught = !(simulate<Tests>(iterations, false) && ...);
        std::printf("%-9s variant %d\n", caught ? "caught" : "SURVIVES", sx_variant);
        t.caught += caught;
        t.faults += !caught;
    }
    sx_variant = 0;
}

/* Sites are those that some kernel of this program has run into; Tests together must catch each. */
template <typename... Tests> sx_tally judge(unsigned long iterations, int variants, const std::vector<sx_survivor> &may) {
    sx_tally t;
    std::vector<bool> used(may.size(), false);
    for (int i = 0; i < SX_SITES_MAX; i++) {
        if (sx_sites[i].kind == SX_SITE_UNUSED) continue;
        for (rl::memory_order order : weaker(sx_sites[i])) {
            sx_mutated = i;
            sx_instead = order;
            bool caught = !(simulate<Tests>(iterations, false) && ...);
            std::string line = line_of(sx_sites[i]);
            size_t m = 0;
            while (m < may.size() && (line.find(may[m].text) == std::string::npos || may[m].order != sx_sites[i].order)) m++;
            bool expected = m < may.size();
            if (expected) used[m] = true;
            std::printf("%-9s %s -> %s: %s\n", caught ? "caught" : expected ? "justified" : "SURVIVES",
                        order_name(sx_sites[i].order), order_name(order), line.c_str());
            std::fflush(stdout);
            t.caught += caught;
            t.survived += !caught && expected;
            t.faults += caught == expected; /* also one that is caught although it is said to be justified */
        }
    }
    sx_mutated = -1;
    for (size_t m = 0; m < may.size(); m++) {
        if (!used[m]) std::printf("NO SUCH   %s\n", may[m].text);
        t.faults += !used[m];
    }
    judge_variants<Tests...>(iterations, variants, t);
    std::printf("%d weakened or broken caught, %d justified, %d faults\n", t.caught, t.survived, t.faults);
    return t;
}

#endif
