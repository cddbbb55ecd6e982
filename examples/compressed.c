/* SPDX-License-Identifier: Apache-2.0 */
/* Values that are compressed in both tiers: how many fit into L1, and what a hit shows. */
// ctest: run
#include <stdio.h>
#include <string.h>

#include <strata/strata.h>

static strata_bytes bytes_of(const char *text) { return (strata_bytes){text, strlen(text)}; }

static int32_t run(strata *engine, strata_session *session) {
    strata_error error;
    strata_namespace *pages;
    strata_result result;
    char page[8000] = "";
    while (strlen(page) < 7900) strcat(page, "<li class=\"entry\"><a href=\"/item\">an item</a></li>\n");
    int32_t status = strata_namespace_open(engine, "pages", 1, &pages);
    strata_namespace_policy policy = {.struct_size = sizeof policy,
                                      .flags = STRATA_POLICY_L1_COMPRESSED,
                                      .compress = STRATA_COMPRESS_LZ4,
                                      .compress_min_bytes = 512};
    if (status == STRATA_OK) status = strata_namespace_policy_set(pages, &policy, &error);
    if (status == STRATA_OK) status = strata_set_wait(session, pages, bytes_of("home"), bytes_of(page), NULL, NULL);
    if (status == STRATA_OK) status = strata_peek(session, pages, bytes_of("home"), &result);
    if (status != STRATA_OK) return status;
    int64_t saved = 0;
    (void)strata_stats_value(engine, "flow.compress_saved", &saved);
    printf("%zu bytes, %lld of them saved\n", result.value.size, (long long)saved);
    strata_result_release(session, &result); /* frees what was decompressed for it */
    return STRATA_OK;
}

int main(void) {
    strata_config *config = NULL;
    strata *engine = NULL;
    strata_session *session = NULL;
    strata_error error;
    int32_t status = strata_config_create(&config);
    if (status == STRATA_OK) status = strata_config_set(config, "l2.mode", "none", &error);
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    if (status == STRATA_OK) status = strata_open(&options, &engine, &error);
    if (status == STRATA_OK) status = strata_session_open(engine, &session);
    if (status == STRATA_OK) status = run(engine, session);
    if (status != STRATA_OK) fprintf(stderr, "%s\n", strata_status_text(status));
    strata_session_close(session);
    if (engine != NULL) (void)strata_close(engine, 1000);
    strata_config_destroy(config);
    return status == STRATA_OK ? 0 : 1;
}
