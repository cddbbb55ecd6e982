/* SPDX-License-Identifier: Apache-2.0 */
// ctest: run
/* Namespaces: another version of the keys, everything that matches a pattern, and all of it, out of every cache at once. Give the nodes of
   a cluster as the first argument; without, there is no L2. */
#include <stdio.h>
#include <string.h>
#include <strata/strata.h>

static strata_bytes text(const char *zero_terminated) {
    return (strata_bytes){zero_terminated, strlen(zero_terminated)};
}

static void show(strata_session *session, strata_namespace *ns, const char *what, const char *key) {
    strata_result result;
    int32_t status = strata_get_wait(session, ns, text(key), NULL, &result);
    printf("%s: %s\n", what, strata_status_name(status));
    if (status == STRATA_OK) strata_result_release(session, &result);
}

static int32_t run(strata *engine, strata_session *session) {
    strata_namespace *users, *next;
    int32_t status = strata_namespace_open(engine, "users", 1, &users);
    if (status == STRATA_OK) status = strata_namespace_open(engine, "users", 2, &next); /* the program that writes a new format */
    /* What L1 holds and can't be proven fresh, since L2 is away, is better than nothing here, for five seconds. */
    if (status == STRATA_OK) status = strata_namespace_set_untrusted(users, STRATA_UNTRUSTED_SERVE_STALE, 5000);
    static const char *const keys[] = {"7:name", "7:mail", "8:name"};
    for (int i = 0; i < 3 && status == STRATA_OK; i++) status = strata_set_wait(session, users, text(keys[i]), text("v"), NULL, NULL);
    if (status != STRATA_OK) return status;
    show(session, users, "version 1", "7:name");
    show(session, next, "version 2", "7:name");
    status = strata_invalidate_pattern_wait(session, users, text("7:*"), NULL);
    show(session, users, "after its pattern", "7:name");
    if (status == STRATA_OK) status = strata_set_wait(session, users, text("8:name"), text("w"), NULL, NULL);
    if (status == STRATA_OK) status = strata_clear_wait(session, users, NULL);
    show(session, users, "after the clear", "8:name");
    return status;
}

int main(int argc, char **argv) {
    strata_config *config = NULL;
    strata_error error = {0};
    strata *engine = NULL;
    strata_session *session = NULL;
    int32_t status = strata_config_create(&config);
    if (status == STRATA_OK)
        status = strata_config_set(config, argc > 1 ? "l2.nodes" : "l2.mode", argc > 1 ? argv[1] : "none", &error);
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    if (status == STRATA_OK) status = strata_open(&options, &engine, &error);
    strata_config_destroy(config);
    if (status == STRATA_OK) status = strata_session_open(engine, &session);
    if (status == STRATA_OK) status = run(engine, session);
    if (status != STRATA_OK) fprintf(stderr, "%s: %s\n", strata_status_name(status), error.text);
    strata_session_close(session);
    if (engine != NULL) (void)strata_close(engine, 1000);
    return status == STRATA_OK ? 0 : 1;
}
