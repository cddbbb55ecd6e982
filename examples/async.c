/* SPDX-License-Identifier: Apache-2.0 */
// ctest: run
/* Many reads at once from one thread with an event loop of its own: start them all, poll the session's descriptor, run the
   callbacks of what has completed. Give the nodes of a cluster as the first argument; without, there is no L2. */
#include <poll.h>
#include <stdio.h>
#include <strata/strata.h>

enum { READS = 8 };

typedef struct request {
    char key[16];
    int *unanswered;
} request;

static void say(const request *one, const strata_result *result) {
    printf("%s: %s, %zu bytes\n", one->key, strata_status_name(result->status), result->value.size);
    --*one->unanswered;
}

/* Runs in strata_session_dispatch, on this thread; the value lives until it returns. */
static void answered(void *user, const strata_result *result) {
    say(user, result);
}

static void load_square(strata_load *load, void *user) {
    (void)user;
    strata_bytes key = strata_load_key(load);
    char value[32];
    int number = 0;
    for (size_t i = 0; i < key.size; i++) {
        char c = ((const char *)key.data)[i];
        if (c >= '0' && c <= '9') number = number * 10 + (c - '0');
    }
    int size = snprintf(value, sizeof value, "%d", number * number);
    strata_load_finish(load, STRATA_OK, (strata_bytes){value, (size_t)size}, NULL);
}

static int run(strata_session *session, strata_namespace *squares) {
    static request requests[READS];
    int unanswered = READS;
    for (int i = 0; i < READS; i++) {
        request *one = &requests[i];
        strata_result result;
        int size = snprintf(one->key, sizeof one->key, "square:%d", i);
        one->unanswered = &unanswered;
        int32_t status = strata_get_or_load(session, squares, (strata_bytes){one->key, (size_t)size}, NULL,
                                            load_square, NULL, &result, answered, one);
        if (status == STRATA_PENDING) continue; /* exactly one call of answered() follows */
        if (status < 0) return 1;
        say(one, &result); /* L1 had it: answered at once, without a callback */
        strata_result_release(session, &result);
    }
    while (unanswered > 0) {
        struct pollfd sources[] = {
            {.fd = strata_session_fd(session), .events = POLLIN}}; /* and the program's own */
        if (poll(sources, 1, 5000) <= 0) return 1;
        strata_session_dispatch(session, 0);
    }
    return 0;
}

int main(int argc, char **argv) {
    strata_config *config = NULL;
    strata_config_create(&config);
    strata_config_set(config, "l2.mode", argc > 1 ? "cluster" : "none", NULL);
    if (argc > 1) strata_config_set(config, "l2.nodes", argv[1], NULL);
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    strata_error error;
    strata *engine = NULL;
    if (strata_open(&options, &engine, &error) != STRATA_OK) {
        fprintf(stderr, "strata_open: %s\n", error.text);
        return 1;
    }
    strata_config_destroy(config);
    strata_session *session = NULL;
    strata_namespace *squares = NULL;
    int failed = strata_session_open(engine, &session) != STRATA_OK ||
                 strata_namespace_open(engine, "squares", 1, &squares) != STRATA_OK ||
                 run(session, squares) != 0;
    strata_session_close(session);
    return strata_close(engine, 1000) == STRATA_OK && !failed ? 0 : 1;
}
