/* SPDX-License-Identifier: Apache-2.0 */
/* A foreign namespace: plain keys that other programs write, read through L1. Needs a Redis; change limits by
   redis-cli SET config:limits ... while it runs. */
#include <stdio.h>
#include <strata/strata.h>

int main(void) {
    strata *cache;
    strata_error error = {0};
    strata_session *session;
    strata_namespace *config;
    strata_result limits;
    if (strata_open(NULL, &cache, &error) != STRATA_OK) return fprintf(stderr, "%s\n", error.text), 1;
    strata_foreign_options options = {.struct_size = sizeof options, .prefix = {"config:", 7}};
    if (strata_namespace_open_foreign(cache, "config", &options, &config, &error) != STRATA_OK)
        return fprintf(stderr, "%s\n", error.text), 1;
    if (strata_session_open(cache, &session) != STRATA_OK) return 1;
    for (int i = 0; i < 1000; i++) {
        int32_t status = strata_get_wait(session, config, (strata_bytes){"limits", 6}, NULL, &limits);
        if (status == STRATA_OK) { /* nearly always from L1, and never older than coherence.max_staleness */
            printf("%.*s%s\n", (int)limits.value.size, (const char *)limits.value.data,
                   limits.source == STRATA_FROM_L1 ? " (L1)" : "");
            strata_result_release(session, &limits);
        } else {
            printf("%s\n", strata_status_text(status));
        }
        (void)strata_session_wait(session, 100);
    }
    strata_session_close(session);
    return strata_close(cache, 1000) == STRATA_OK ? 0 : 1;
}
