/* SPDX-License-Identifier: Apache-2.0 */
/* Watching what a cache does, one event after the other, without anybody waiting for it. */
// ctest: run
#include <stdio.h>

#include <strata/strata.h>

static void answer(strata_load *load, void *user) {
    (void)user;
    (void)strata_load_finish(load, STRATA_OK, (strata_bytes){"Ada", 3}, NULL);
}

static int32_t show(strata *engine) {
    static const char *const names[STRATA_EVENT_KINDS] = {"hit",        "miss",  "stale",   "l2",      "load",    "set",
                                                          "invalidate", "heard", "evicted", "expired", "breaker", "trust"};
    strata_event events[64];
    size_t count;
    uint64_t dropped;
    int32_t status = strata_events_drain(engine, events, 64, &count, &dropped);
    for (size_t i = 0; i < count && status == STRATA_OK; i++)
        printf("%s %016llx %s\n", names[events[i].kind], (unsigned long long)events[i].key_hash, strata_status_text(events[i].status));
    if (status == STRATA_OK && dropped != 0) printf("%llu dropped\n", (unsigned long long)dropped);
    return status;
}

static int32_t run(strata *engine) {
    strata_namespace *users;
    strata_session *session;
    int32_t status = strata_namespace_open(engine, "users", 1, &users);
    if (status != STRATA_OK) return status;
    status = strata_session_open(engine, &session);
    if (status != STRATA_OK) return status;
    status = strata_events_watch(engine, STRATA_EVENTS_ALL, 0);
    for (int i = 0; i < 3 && status == STRATA_OK; i++) {
        strata_result result;
        status = strata_get_or_load_wait(session, users, (strata_bytes){"42", 2}, NULL, answer, NULL, &result);
        if (status == STRATA_OK) strata_result_release(session, &result);
    }
    if (status == STRATA_OK) status = show(engine);
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
