/* SPDX-License-Identifier: Apache-2.0 */
/* What a program's keys are used for: the hot ones, the big ones, and what is read after what, as an operator would see it; and what may follow
   from it by itself: a time to live that follows the writes, and keys that are read ahead. */
// ctest: run
#include <stdio.h>
#include <string.h>

#include <strata/strata.h>

static strata_bytes bytes_of(const char *text) { return (strata_bytes){text, strlen(text)}; }

static int32_t visit(strata_session *session, strata_namespace *ns, const char *key) {
    strata_result result;
    int32_t status = strata_get_wait(session, ns, bytes_of(key), NULL, &result);
    if (status == STRATA_OK) strata_result_release(session, &result);
    return status == STRATA_MISS ? strata_set_wait(session, ns, bytes_of(key), bytes_of("a page"), NULL, NULL) : status;
}

/* Both are off until somebody wishes them, and hot. */
static int32_t let_it_follow(strata *engine, strata_namespace *pages) {
    strata_error error;
    strata_namespace_policy adaptive = {.struct_size = sizeof adaptive, .ttl_adaptive_min_ms = 5000, .ttl_adaptive_max_ms = 3600000};
    int64_t ttl_ms;
    int32_t status = strata_namespace_policy_set(pages, &adaptive, &error);
    if (status == STRATA_OK) status = strata_option_set(engine, "flow.prefetch", "60%", &error); /* of namespaces that are analysed */
    if (status != STRATA_OK) return status;
    status = strata_namespace_suggested_ttl(pages, &ttl_ms);
    if (status == STRATA_OK) printf("values would live for %lld ms\n", (long long)ttl_ms);
    return status == STRATA_MISS ? STRATA_OK : status; /* too little is known yet */
}

static int32_t run(strata *engine) {
    strata_namespace *pages;
    strata_session *session;
    char text[16384];
    int32_t status = strata_namespace_open(engine, "pages", 1, &pages);
    if (status != STRATA_OK) return status;
    status = strata_session_open(engine, &session);
    if (status != STRATA_OK) return status;
    status = strata_namespace_analyze(pages, STRATA_ANALYZE_ON);
    if (status == STRATA_OK) status = let_it_follow(engine, pages);
    for (int i = 0; i < 1000 && status == STRATA_OK; i++) { /* every visitor begins at the start page */
        char key[32];
        snprintf(key, sizeof key, "article:%d", i % 300);
        status = visit(session, pages, "start");
        if (status == STRATA_OK && i % 2 == 0) status = visit(session, pages, "news");
        if (status == STRATA_OK) status = visit(session, pages, key);
    }
    if (status == STRATA_OK) status = strata_analysis_report(pages, STRATA_REPORT_TEXT, 5, text, sizeof text, NULL);
    if (status == STRATA_OK) printf("%s", text);
    strata_session_close(session);
    return status;
}

int main(void) {
    strata_config *config = NULL;
    strata *engine = NULL;
    strata_error error;
    int32_t status = strata_config_create(&config);
    if (status == STRATA_OK) status = strata_config_set(config, "l2.mode", "none", &error);
    if (status == STRATA_OK) status = strata_config_set(config, "flow.analysis_sample", "4", &error);
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    if (status == STRATA_OK) status = strata_open(&options, &engine, &error);
    if (status == STRATA_OK) status = run(engine);
    if (status != STRATA_OK) fprintf(stderr, "%s\n", strata_status_text(status));
    if (engine != NULL) (void)strata_close(engine, 1000);
    strata_config_destroy(config);
    return status == STRATA_OK ? 0 : 1;
}
