/* SPDX-License-Identifier: Apache-2.0 */
// ctest: run
/* Tags: pages are loaded with the names of what they show, and a change of that makes all of them invalid at once, here and
   in every other process. Give the nodes of a cluster as the first argument; without, there is no L2. */
#include <stdio.h>
#include <string.h>
#include <strata/strata.h>

static int price = 10;

static strata_bytes text(const char *zero_terminated) {
    return (strata_bytes){zero_terminated, strlen(zero_terminated)};
}

/* What a page says depends on the product. The caller has named that as a tag before this ran: so a change of the price
   while the page is made can't leave an old page in any cache. */
static void make_page(strata_load *load, void *user) {
    char page[64];
    (void)user;
    strata_bytes key = strata_load_key(load);
    int size = snprintf(page, sizeof page, "%.*s: costs %d", (int)key.size, (const char *)key.data, price);
    strata_load_finish(load, STRATA_OK, (strata_bytes){page, (size_t)size}, NULL);
}

static int show(strata_session *session, strata_namespace *pages, const char *key) {
    strata_bytes tags[] = {text("product:7"), text("layout")};
    strata_op_options options = {.struct_size = sizeof options, .tags = tags, .tag_count = 2};
    strata_result result;
    int32_t status = strata_get_or_load_wait(session, pages, text(key), &options, make_page, NULL, &result);
    if (status != STRATA_OK) {
        fprintf(stderr, "%s: %s\n", key, strata_status_text(status));
        return 1;
    }
    printf("%.*s%s\n", (int)result.value.size, (const char *)result.value.data,
           result.source == STRATA_FROM_LOADER ? " (made)" : "");
    strata_result_release(session, &result);
    return 0;
}

static int run(strata_session *session, strata_namespace *pages) {
    strata_bytes product = text("product:7");
    int failed = show(session, pages, "detail") + show(session, pages, "search") + show(session, pages, "detail");
    price = 12;
    int32_t status = strata_invalidate_tags_wait(session, &product, 1, NULL);
    if (status != STRATA_OK) {
        fprintf(stderr, "invalidate: %s\n", strata_status_text(status));
        return 1;
    }
    return failed + show(session, pages, "detail") + show(session, pages, "search");
}

int main(int argc, char **argv) {
    strata_config *config = NULL;
    strata_error error = {0};
    strata *engine = NULL;
    strata_session *session = NULL;
    strata_namespace *pages = NULL;
    int32_t status = strata_config_create(&config);
    if (status == STRATA_OK)
        status = strata_config_set(config, argc > 1 ? "l2.nodes" : "l2.mode", argc > 1 ? argv[1] : "none", &error);
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    if (status == STRATA_OK) status = strata_open(&options, &engine, &error);
    strata_config_destroy(config);
    if (status == STRATA_OK) status = strata_session_open(engine, &session);
    if (status == STRATA_OK) status = strata_namespace_open(engine, "pages", 1, &pages);
    int failed = 1;
    if (status == STRATA_OK) failed = run(session, pages);
    else fprintf(stderr, "%s: %s\n", strata_status_name(status), error.text);
    strata_session_close(session);
    strata_close(engine, 1000);
    return failed;
}
