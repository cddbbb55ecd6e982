/* SPDX-License-Identifier: Apache-2.0 */
/* L1 for one key in a hundred at first, then for all; and one call that does not believe what is cached. */
// ctest: run
#include <stdio.h>

#include <strata/strata.h>

static void answer(strata_load *load, void *user) {
    (void)user;
    (void)strata_load_finish(load, STRATA_OK, (strata_bytes){"Ada", 3}, NULL);
}

static int32_t read_user(strata_session *session, strata_namespace *users, uint32_t flags) {
    strata_op_options options = {.struct_size = sizeof options, .flags = flags};
    strata_result result;
    int32_t status = strata_get_or_load_wait(session, users, (strata_bytes){"42", 2}, &options, answer, NULL, &result);
    if (status != STRATA_OK) return status;
    printf("from %s\n", result.source == STRATA_FROM_L1 ? "L1" : "the loader");
    strata_result_release(session, &result);
    return STRATA_OK;
}

static int32_t run(strata *engine) {
    strata_namespace *users;
    strata_session *session;
    strata_error error;
    int32_t status = strata_namespace_open(engine, "users", 1, &users);
    if (status != STRATA_OK) return status;
    status = strata_session_open(engine, &session);
    if (status != STRATA_OK) return status;
    strata_rollout rollout = {.struct_size = sizeof rollout, .l1_per_mille = 10}; /* one key in a hundred uses L1 */
    status = strata_namespace_rollout_set(users, &rollout, &error);
    if (status == STRATA_OK) status = read_user(session, users, 0);
    rollout.l1_per_mille = 0; /* all keys */
    if (status == STRATA_OK) status = strata_namespace_rollout_set(users, &rollout, &error);
    if (status == STRATA_OK) status = read_user(session, users, 0);
    if (status == STRATA_OK) status = read_user(session, users, 0);
    if (status == STRATA_OK) status = read_user(session, users, STRATA_REFRESH); /* the loader runs all the same */
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
