/* SPDX-License-Identifier: Apache-2.0 */
// ctest: run
/* A page shows many users: one query brings those that no tier holds. Give the nodes of a cluster as the first argument; without,
   there is no L2. */
#include <stdio.h>
#include <string.h>
#include <strata/strata.h>

#define USERS 5

static strata_bytes text(const char *zero_terminated) {
    return (strata_bytes){zero_terminated, strlen(zero_terminated)};
}

/* Stands for SELECT name FROM users WHERE id IN (...). */
static void load_users(strata_load *const *loads, size_t count, void *user) {
    int *queries = user;
    *queries += 1;
    printf("query for");
    for (size_t i = 0; i < count; i++) {
        strata_bytes key = strata_load_key(loads[i]);
        printf(" %.*s", (int)key.size, (const char *)key.data);
    }
    printf("\n");
    for (size_t i = 0; i < count; i++) {
        char name[32];
        strata_bytes key = strata_load_key(loads[i]);
        int size = snprintf(name, sizeof name, "user number %.*s", (int)key.size, (const char *)key.data);
        strata_load_finish(loads[i], STRATA_OK, (strata_bytes){name, (size_t)size}, NULL);
    }
}

static int32_t show(strata_session *session, strata_namespace *users, const char *const *ids, int *queries) {
    strata_bytes keys[USERS];
    strata_result results[USERS];
    for (int i = 0; i < USERS; i++) keys[i] = text(ids[i]);
    int32_t status = strata_mget_or_load_wait(session, users, keys, USERS, NULL, load_users, queries, results);
    for (int i = 0; i < USERS && status == STRATA_OK; i++) {
        if (results[i].status == STRATA_OK) printf("%.*s\n", (int)results[i].value.size, (const char *)results[i].value.data);
        else printf("%s: %s\n", ids[i], strata_status_text(results[i].status)); /* each has its own */
        strata_result_release(session, &results[i]);
    }
    return status;
}

static int32_t run(strata_session *session, strata_namespace *users) {
    static const char *const first[] = {"1", "2", "3", "4", "5"}, *const second[] = {"4", "5", "6", "7", "8"};
    int queries = 0;
    int32_t status = show(session, users, first, &queries);
    if (status == STRATA_OK) status = show(session, users, second, &queries); /* asks for 6, 7 and 8 */
    printf("%d queries\n", queries);
    return status;
}

int main(int argc, char **argv) {
    strata_config *config = NULL;
    strata_error error = {0};
    strata *engine = NULL;
    strata_session *session = NULL;
    strata_namespace *users = NULL;
    int32_t status = strata_config_create(&config);
    if (status == STRATA_OK)
        status = strata_config_set(config, argc > 1 ? "l2.nodes" : "l2.mode", argc > 1 ? argv[1] : "none", &error);
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    if (status == STRATA_OK) status = strata_open(&options, &engine, &error);
    strata_config_destroy(config);
    if (status == STRATA_OK) status = strata_session_open(engine, &session);
    if (status == STRATA_OK) status = strata_namespace_open(engine, "users", 1, &users);
    if (status == STRATA_OK) status = run(session, users);
    if (status != STRATA_OK) fprintf(stderr, "%s: %s\n", strata_status_name(status), error.text);
    strata_session_close(session);
    strata_close(engine, 1000);
    return status == STRATA_OK ? 0 : 1;
}
