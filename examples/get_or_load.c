/* SPDX-License-Identifier: Apache-2.0 */
// ctest: run
/* Embedding Strata: open an engine, ask for a key, let a loader produce what no tier has. Runs without an L2; give the
   nodes of a cluster ("127.0.0.1:7000,127.0.0.1:7001") as the first argument to have one. */
#include <stdio.h>
#include <strata/strata.h>
#include <string.h>

/* Called once per key however many ask for it at the same time. */
static void load_user(strata_load *load, void *user) {
    (void)user;
    static const char row[] =
        "{\"name\": \"Ada\"}"; /* a real one asks its database for strata_load_key(load), and for no longer than: */
    if (strata_load_left_ms(load) == 0) printf("nobody waits for it any more\n");
    strata_load_finish(load, STRATA_OK, (strata_bytes){row, strlen(row)}, NULL);
}

int main(int argc, char **argv) {
    strata_config *config = NULL;
    strata_config_create(&config);
    strata_config_set(config, "l1.bytes", "64MiB", NULL);
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

    strata_session *session; /* one per thread */
    strata_namespace *users;
    strata_result result;
    if (strata_session_open(engine, &session) != STRATA_OK) return 1;
    if (strata_namespace_open(engine, "users", 1, &users) != STRATA_OK) return 1;
    for (int i = 0; i < 2; i++) { /* the first answer comes from the loader, the second from L1 */
        int32_t status =
            strata_get_or_load_wait(session, users, (strata_bytes){"42", 2}, NULL, load_user, NULL, &result);
        if (status != STRATA_OK) return 1;
        printf("%.*s from %s\n", (int)result.value.size, (const char *)result.value.data,
               result.source == STRATA_FROM_L1   ? "L1"
               : result.source == STRATA_FROM_L2 ? "L2"
                                                 : "the loader");
        strata_result_release(session, &result);
    }
    strata_session_close(session);
    return strata_close(engine, 1000) == STRATA_OK ? 0 : 1;
}
