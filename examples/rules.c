/* SPDX-License-Identifier: Apache-2.0 */
/* What depends on what, said once: one event invalidates it all, and the log tells who did it. */
// ctest: run
#include <stdio.h>
#include <string.h>

#include <strata/strata.h>

static const char rules[] =
    "client:{id} -> tag user_clients, client_list:{id} in lists;" /* a pattern, as client:{id}:*, would have all of L2 scanned */
    "client_list:{id} in lists -> tag start_page";

static int32_t change_client(strata *engine, strata_session *session, strata_namespace *clients) {
    strata_cascade counts;
    strata_cascade_options options = {.struct_size = sizeof options, .actor = "crm import"};
    int32_t status = strata_invalidate_cascade_wait(session, clients, (strata_bytes){"client:7", 8}, &options, &counts);
    if (status != STRATA_OK) return status;
    printf("%u keys and %u tags invalidated\n", counts.keys, counts.tags);
    strata_event_entry last;
    size_t read = 0;
    status = strata_event_log_read(engine, 0, &last, 1, &read);
    if (read == 1) printf("%s changed %s:%s\n", last.actor, last.namespace_name, last.key);
    return status;
}

int main(int argc, char **argv) {
    strata_config *config = NULL;
    strata_error error = {0};
    strata *engine = NULL;
    strata_session *session = NULL;
    strata_namespace *clients = NULL;
    int32_t status = strata_config_create(&config);
    if (status == STRATA_OK)
        status = strata_config_set(config, argc > 1 ? "l2.nodes" : "l2.mode", argc > 1 ? argv[1] : "none", &error);
    if (status == STRATA_OK) status = strata_config_set(config, "invalidation.rules", rules, &error); /* a circle would be told here below */
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    if (status == STRATA_OK) status = strata_open(&options, &engine, &error);
    strata_config_destroy(config);
    if (status == STRATA_OK) status = strata_session_open(engine, &session);
    if (status == STRATA_OK) status = strata_namespace_open(engine, "clients", 1, &clients);
    if (status == STRATA_OK) status = change_client(engine, session, clients);
    if (status != STRATA_OK) fprintf(stderr, "%s: %s\n", strata_status_name(status), error.text);
    strata_session_close(session);
    (void)strata_close(engine, 1000);
    return status == STRATA_OK ? 0 : 1;
}
