/* SPDX-License-Identifier: Apache-2.0 */
/* A process that begins with the hot set of the one before: names from a file, values from L2. */
// ctest: run
#include <stdio.h>
#include <string.h>

#include <strata/strata.h>

static strata_bytes text(const char *s) {
    strata_bytes bytes = {s, strlen(s)};
    return bytes;
}

static int32_t show(void *user, const strata_warm_progress *progress) {
    (void)user;
    printf("warmed %llu of %llu\n", (unsigned long long)progress->warmed, (unsigned long long)progress->keys);
    return 0; /* anything else cancels */
}

/* What the process before held, or where there was none, all users. */
static int32_t warm_up(strata *engine, strata_namespace *users, const char *path) {
    strata_warm *warm = NULL;
    strata_error error = {0};
    strata_warm_options options = {
        .struct_size = sizeof options, .priority = STRATA_WARM_LOW, .keys_per_s = 50000, .progress = show};
    int32_t status = strata_warm_snapshot(engine, path, &options, &warm, &error); /* once namespaces are open and have their policies */
    if (status == STRATA_MISS) status = strata_warm_pattern(users, text("*"), &options, &warm); /* the first start of all */
    if (status != STRATA_OK) {
        fprintf(stderr, "not warmed: %s\n", error.text);
        return status;
    }
    status = strata_warm_wait(warm, 30000, NULL); /* or serve at once, and look again later */
    strata_warm_close(warm);
    return status;
}

int main(int argc, char **argv) {
    const char *path = argc > 2 ? argv[2] : "strata-example.hot";
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
    if (status == STRATA_OK) status = warm_up(engine, users, path);
    if (status == STRATA_OK) status = strata_set_wait(session, users, text("42"), text("Ada"), NULL, NULL);
    uint64_t written = 0;
    if (status == STRATA_OK) status = strata_snapshot_write(engine, path, 0, &written, &error);
    if (status == STRATA_OK) printf("%llu names for the next one\n", (unsigned long long)written);
    else fprintf(stderr, "%s: %s\n", strata_status_name(status), error.text);
    strata_session_close(session);
    (void)strata_close(engine, 1000);
    if (argc <= 2) (void)remove(path);
    return status == STRATA_OK ? 0 : 1;
}
