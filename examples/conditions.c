/* SPDX-License-Identifier: Apache-2.0 */
// ctest: run
/* Several processes change one value, and none undoes what another did. Give the nodes of a cluster as the first argument;
   without, there is no L2, and nothing to agree on: the program says so. */
#include <stdio.h>
#include <string.h>
#include <strata/strata.h>

static strata_bytes text(const char *zero_terminated) {
    return (strata_bytes){zero_terminated, strlen(zero_terminated)};
}

#define TURNS 1000

/* Adds a line to a list, however many do so at once. Gives up where somebody else is first each time, or what is read is never what
   the server judges by. */
static int32_t append(strata_session *session, strata_namespace *lists, const char *key, const char *line) {
    for (int turn = 0; turn < TURNS; turn++) {
        strata_result seen;
        char list[256];
        int32_t status = strata_get_wait(session, lists, text(key), NULL, &seen);
        if (status == STRATA_MISS) {
            status = strata_add_wait(session, lists, text(key), text(line), NULL, NULL);
            if (status == STRATA_EXISTS) continue; /* somebody was first */
            return status;
        }
        if (status < 0) return status;
        snprintf(list, sizeof list, "%.*s,%s", (int)seen.value.size, (const char *)seen.value.data, line);
        strata_result_release(session, &seen); /* its version can be used on */
        status = strata_set_if_version_wait(session, lists, text(key), text(list), seen.version_n, seen.version_id, NULL, NULL);
        if (status != STRATA_CONFLICT) return status;
    }
    return STRATA_CONFLICT;
}

/* What a database says, by its own sequence numbers: an update that was committed first and arrives last changes nothing. */
static int32_t update(strata_session *session, strata_namespace *rows, const char *key, const char *row, uint64_t sequence) {
    strata_op_options options = {.struct_size = sizeof options, .app_version = sequence};
    int32_t status = strata_set_if_newer_wait(session, rows, text(key), text(row), &options, NULL);
    return status == STRATA_CONFLICT ? STRATA_OK : status;
}

/* At most so many in a minute, by all processes together. */
static int32_t allow(strata_session *session, strata_namespace *limits, const char *who, int64_t most, int *allowed) {
    strata_op_options minute = {.struct_size = sizeof minute, .ttl_ms = 60 * 1000};
    int64_t count = 0;
    int32_t status = strata_incr_wait(session, limits, text(who), 1, &minute, &count);
    *allowed = status == STRATA_OK && count <= most;
    return status;
}

static int32_t run(strata_session *session, strata_namespace *ns) {
    int32_t status = append(session, ns, "list", "one");
    if (status == STRATA_OK) status = append(session, ns, "list", "two");
    if (status == STRATA_OK) status = update(session, ns, "row", "second", 2);
    if (status == STRATA_OK) status = update(session, ns, "row", "first", 1);
    int allowed = 0;
    if (status == STRATA_OK) status = allow(session, ns, "alice", 100, &allowed);
    if (status == STRATA_OK) printf("alice %s\n", allowed ? "may" : "has to wait");
    return status;
}

int main(int argc, char **argv) {
    strata_config *config = NULL;
    strata_error error = {0};
    strata *engine = NULL;
    strata_session *session = NULL;
    strata_namespace *ns = NULL;
    int32_t status = strata_config_create(&config);
    if (status == STRATA_OK)
        status = strata_config_set(config, argc > 1 ? "l2.nodes" : "l2.mode", argc > 1 ? argv[1] : "none", &error);
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    if (status == STRATA_OK) status = strata_open(&options, &engine, &error);
    strata_config_destroy(config);
    if (status == STRATA_OK) status = strata_session_open(engine, &session);
    if (status == STRATA_OK) status = strata_namespace_open(engine, "lists", 1, &ns);
    if (status == STRATA_OK) status = run(session, ns);
    printf("%s: %s\n", strata_status_name(status), status == STRATA_OK ? "done" : strata_status_text(status));
    strata_session_close(session);
    strata_close(engine, 1000);
    return status == (argc > 1 ? STRATA_OK : STRATA_E_UNAVAILABLE) ? 0 : 1;
}
