/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench: one program, a subcommand per job. */
#include <stdio.h>
#include <strata/strata.h>
#include <string.h>

#include "bench/budget.h"
#include "bench/coherence/main.h"
#include "bench/compare/compare.h"
#include "bench/hitratio/main.h"
#include "bench/html/export.h"
#include "bench/l1/main.h"
#include "bench/l2/main.h"
#include "bench/scale.h"
#include "bench/stampede.h"
#include "bench/tiered.h"
#include "bench/tour.h"
#include "bench/trace_info.h"

static int list_main(int argc, char **argv);

static const struct {
    const char *name;
    const char *doc;
    int (*main)(int argc, char **argv); /* without the program and subcommand */
} commands[] = {
    {"tour", "a minute for newcomers: L1, both tiers, coherence, a stampede, a server killed; ends in a page", bench_tour_main},
    {"tiered",
     "processes over L1, L2 and a loader: throughput, hit ratio and latency per tier, every read checked",
     bench_tiered_main},
    {"faults", "tiered while servers die or hang: what fails, for how long, is any read wrong", bench_faults_main},
    {"stampede", "thousands of readers of one cold key, in several processes: loader calls, who is answered, when", bench_stampede_main},
    {"restart", "tiered while a process is killed and started anew: how its L1 gets warm", bench_restart_main},
    {"l1", "the in-process store beside other caches and maps; real traces beside a true LRU", bench_l1_main},
    {"budget", "what fits into an L1 that keeps values compressed, and what readers notice when its budget changes", bench_budget_main},
    {"hitratio", "misses of the in-process store on real traces, beside other policies and the best there could be",
     bench_hitratio_main},
    {"l2", "what an answer from L2 costs: the client beside a peer, and the whole engine", bench_l2_main},
    {"coherence", "how fast processes hear of writes, and what that costs the servers", bench_coherence_main},
    {"scale", "what processes and nodes cost each other, fitted, and what that says of a fleet", bench_scale_main},
    {"compare", "what changed between two results, and how sure that is", bench_compare_main},
    {"report", "a result as one self-contained HTML page, CSV or HdrHistogram tables", bench_report_main},
    {"trace-info", "what a trace is made of: keys, sizes, popularity, reuse", bench_trace_info_main},
    {"list", "this list", list_main},
};

static void print_commands(FILE *out) {
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].doc);
}

static int list_main(int argc, char **argv) {
    if (argc > 0 && strcmp(argv[0], "--help") != 0) {
        fprintf(stderr, "strata-bench list takes no options: '%s'\n", argv[0]);
        return BENCH_EXIT_USAGE;
    }
    print_commands(stdout);
    return BENCH_EXIT_GOOD;
}

int main(int argc, char **argv) {
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        printf("strata-bench %d.%d.%d\n", STRATA_VERSION_MAJOR, STRATA_VERSION_MINOR, STRATA_VERSION_PATCH);
        return BENCH_EXIT_GOOD;
    }
    for (size_t i = 0; argc >= 2 && i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].main(argc - 2, argv + 2);
    int asked = argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    if (argc >= 2 && !asked) fprintf(stderr, "strata-bench: unknown subcommand '%s'\n", argv[1]);
    fprintf(asked ? stdout : stderr, "usage: strata-bench SUBCOMMAND [options]\n\n");
    print_commands(asked ? stdout : stderr);
    fprintf(asked ? stdout : stderr, "\nstrata-bench SUBCOMMAND --help explains its options.\n");
    return asked ? BENCH_EXIT_GOOD : BENCH_EXIT_USAGE;
}
