/* SPDX-License-Identifier: Apache-2.0 */
/* What statistics cost an operation, for callgrind to count: stats counter|histogram ROUNDS. What is counted is what happens inside of
   rounds_of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/flow/engine.h"
#include "open.h"

__attribute__((noinline)) static void rounds_of(int rounds, bool times, strata_session *session, const strata_namespace *ns) {
    for (int i = 0; i < rounds; i++) {
        if (times) sx_histogram_add(&ns->stats->latency[STRATA_LATENCY_L2], 1000 + i);
        else (void)sx_session_count(session, ns, SX_SESSION_METRIC_L1_HITS);
    }
}

int main(int argc, char **argv) {
    strata *engine;
    strata_session *session;
    strata_namespace *ns;
    if (argc != 3 || !count_open(NULL, &engine, &session, &ns)) return 2;
    int64_t hits = 0;
    int rounds = atoi(argv[2]);
    bool times = strcmp(argv[1], "histogram") == 0;
    rounds_of(rounds, times, session, ns);
    int status = strata_stats_value(engine, "l1.hits", &hits) == STRATA_OK && hits == (times ? 0 : rounds) ? 0 : 1;
    strata_session_close(session);
    return strata_close(engine, 1000) == STRATA_OK ? status : 2;
}
