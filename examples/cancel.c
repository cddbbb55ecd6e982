/* SPDX-License-Identifier: Apache-2.0 */
/* A request whose client goes away: what it began is cancelled, who else waits for the same goes on. */
// ctest: run
#include <stdio.h>

#include <strata/strata.h>

typedef struct request {
    uint64_t id;
    const char *client;
    int answers;
} request;

static void answered(void *user, const strata_result *result) {
    request *r = user;
    r->answers++;
    printf("%s: %s\n", r->client, strata_status_text(result->status));
}

/* A source that takes its time: its answer comes later, by whoever reads it. */
static void ask_source(strata_load *load, void *user) { *(strata_load **)user = load; }

/* Between two steps of a long answer. */
static int32_t go_on(strata_load *load) {
    if (strata_load_is_cancelled(load)) return strata_load_finish(load, STRATA_E_CANCELLED, (strata_bytes){NULL, 0}, NULL);
    return strata_load_finish(load, STRATA_OK, (strata_bytes){"Ada", 3}, NULL);
}

static int32_t begin(strata_session *session, strata_namespace *users, request *r, strata_load **asked) {
    strata_op_options options = {.struct_size = sizeof options, .cancel_id = r->id};
    strata_result result;
    return strata_get_or_load(session, users, (strata_bytes){"42", 2}, &options, ask_source, asked, &result, answered, r);
}

static int32_t run(strata *engine) {
    strata_namespace *users;
    strata_session *session;
    strata_load *asked = NULL;
    request first = {.id = 1, .client = "first"}, second = {.id = 2, .client = "second"};
    int32_t status = strata_namespace_open(engine, "users", 1, &users);
    if (status != STRATA_OK) return status;
    status = strata_session_open(engine, &session);
    if (status != STRATA_OK) return status;
    if (begin(session, users, &first, &asked) != STRATA_PENDING || begin(session, users, &second, &asked) != STRATA_PENDING) return STRATA_E_INVALID;
    while (asked == NULL) (void)strata_session_wait(session, 100); /* runs the loader, once */
    int32_t ended = strata_cancel(session, first.id);
    printf("%d ended; its load is %s\n", (int)ended, strata_load_is_cancelled(asked) ? "wanted by nobody" : "still wanted");
    status = go_on(asked);
    while (first.answers + second.answers < 2) (void)strata_session_wait(session, 100);
    strata_session_close(session);
    return status;
}

int main(void) {
    strata_config *config = NULL;
    strata *engine = NULL;
    strata_error error;
    int32_t status = strata_config_create(&config);
    if (status == STRATA_OK) status = strata_config_set(config, "l2.mode", "none", &error);
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    if (status == STRATA_OK) status = strata_open(&options, &engine, &error);
    if (status == STRATA_OK) status = run(engine);
    if (status != STRATA_OK) fprintf(stderr, "%s\n", strata_status_text(status));
    if (engine != NULL) (void)strata_close(engine, 1000);
    strata_config_destroy(config);
    return status == STRATA_OK ? 0 : 1;
}
