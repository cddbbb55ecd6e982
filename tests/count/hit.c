/* SPDX-License-Identifier: Apache-2.0 */
/* Hits in L1 for callgrind to count: hit peek|get[-unsampled] ROUNDS. What is counted is what happens inside of rounds_of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "open.h"

static void never(void *user, const strata_result *result) {
    (void)user;
    (void)result;
    abort(); /* a hit is answered at once */
}

static void tell(void *context, const strata_span *span) {
    (void)context;
    (void)span;
    abort(); /* its context is not sampled */
}

__attribute__((noinline)) static int rounds_of(int rounds, int gets, strata_session *session, strata_namespace *ns, strata_bytes key) {
    strata_result result;
    for (int i = 0; i < rounds; i++) {
        int32_t status = gets ? strata_get(session, ns, key, NULL, &result, never, NULL) : strata_peek(session, ns, key, &result);
        if (status != STRATA_OK) return 1;
        strata_result_release(session, &result);
    }
    return 0;
}

int main(int argc, char **argv) {
    strata *engine;
    strata_session *session;
    strata_namespace *ns;
    const strata_tracer tracer = {.struct_size = sizeof tracer, .span = tell};
    int unsampled = argc == 3 && strstr(argv[1], "-unsampled") != NULL;
    if (argc != 3 || !count_open(unsampled ? &tracer : NULL, &engine, &session, &ns)) return 2;
    const strata_bytes key = {"some:key:17", 11}, value = {"value", 5};
    if (strata_set_wait(session, ns, key, value, NULL, NULL) != STRATA_OK) return 2;
    static const char context[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    if (unsampled && strata_session_trace(session, (strata_bytes){context, sizeof context - 1}, (strata_bytes){NULL, 0}) != STRATA_OK) return 2;
    int gets = strncmp(argv[1], "get", 3) == 0;
    int status = rounds_of(1, gets, session, ns, key); /* what is done once is done */
    if (status == 0) status = rounds_of(atoi(argv[2]), gets, session, ns, key);
    strata_session_close(session);
    return strata_close(engine, 1000) == STRATA_OK ? status : 2;
}
