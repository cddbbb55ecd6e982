/* SPDX-License-Identifier: Apache-2.0 */
/* The example of README.md, kept compiling. */
#include <stdio.h>
#include <strata/strata.h>

static void load_user(strata_load *load, void *database) {
    (void)database; /* ask it for strata_load_key(load), here or on another thread */
    strata_load_finish(load, STRATA_OK, (strata_bytes){"Ada Lovelace", 12}, NULL);
}

int main(void) {
    strata_config *config;
    strata_error error;
    strata *cache;
    strata_session *session; /* one per thread */
    strata_namespace *users;
    strata_result user;
    if (strata_config_create(&config) != STRATA_OK) return 1;
    strata_config_set(config, "l2.nodes", "127.0.0.1:7000,127.0.0.1:7001", NULL);
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    if (strata_open(&options, &cache, &error) != STRATA_OK) return fprintf(stderr, "%s\n", error.text), 1;
    if (strata_namespace_open(cache, "users", 1, &users) != STRATA_OK) return 1;
    if (strata_session_open(cache, &session) != STRATA_OK) return 1;
    strata_bytes key = {"42", 2};
    if (strata_get_or_load_wait(session, users, key, NULL, load_user, NULL, &user) == STRATA_OK) {
        printf("%.*s\n", (int)user.value.size, (const char *)user.value.data);
        strata_result_release(session, &user);
    }
    strata_invalidate_wait(session, users, key, NULL); /* gone here, in Redis and in every other process */
    strata_session_close(session);
    strata_close(cache, 1000);
    strata_config_destroy(config);
    return 0;
}
