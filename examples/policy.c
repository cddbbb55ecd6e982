/* SPDX-License-Identifier: Apache-2.0 */
/* A namespace with a policy: how long its values live, in L2 and in L1, and what is done where their source fails. */
// ctest: run
#include <stdio.h>
#include <string.h>

#include <strata/strata.h>

static strata_bytes text(const char *s) {
    strata_bytes bytes = {s, strlen(s)};
    return bytes;
}

static int run(strata_session *session, strata_namespace *users) {
    strata_error error = {0};
    strata_namespace_policy policy = {.struct_size = sizeof policy,
                                      .ttl_ms = 10 * 60 * 1000, /* in L2, and in L1 at most */
                                      .l1_ttl_ms = 30 * 1000,   /* L1 asks L2 again after that */
                                      .ttl_jitter_percent = 20};
    int32_t status = strata_namespace_policy_set(users, &policy, &error);
    if (status != STRATA_OK) {
        fprintf(stderr, "%s: %s\n", strata_status_name(status), error.text);
        return 1;
    }
    status = strata_set_wait(session, users, text("42"), text("Ada"), NULL, NULL);
    strata_result result;
    if (status == STRATA_OK) status = strata_get_wait(session, users, text("42"), NULL, &result);
    if (status != STRATA_OK) {
        fprintf(stderr, "%s\n", strata_status_name(status));
        return 1;
    }
    printf("42 is %.*s for %lld s more\n", (int)result.value.size, (const char *)result.value.data,
           (long long)(result.ttl_ms / 1000));
    strata_result_release(session, &result);
    strata_op_options endless = {.struct_size = sizeof endless, .ttl_ms = STRATA_EXPIRES_NEVER};
    status = strata_set_wait(session, users, text("43"), text("Grace"), &endless, NULL);
    printf("without an end: %s\n", strata_status_text(status));
    return status == STRATA_E_TTL ? 0 : 1;
}

/* ---- a source that fails ---- */

typedef struct source {
    int fails;
} source;

static void load_price(strata_load *load, void *user) {
    const source *shop = user;
    if (shop->fails) (void)strata_load_finish(load, STRATA_E_LOAD_FAILED, text(""), NULL);
    else (void)strata_load_finish(load, STRATA_OK, text("9.90"), NULL);
}

static int show_price(strata_session *session, strata_namespace *prices, source *shop) {
    strata_result result;
    int32_t status = strata_get_or_load_wait(session, prices, text("book"), NULL, load_price, shop, &result);
    if (status != STRATA_OK && status != STRATA_STALE) {
        fprintf(stderr, "%s\n", strata_status_name(status));
        return 1;
    }
    printf("book: %.*s%s\n", (int)result.value.size, (const char *)result.value.data,
           result.reason == STRATA_REASON_FAILED ? ", as of a while ago" : "");
    strata_result_release(session, &result);
    return 0;
}

static int run_failing(strata_session *session, strata_namespace *prices) {
    static source shop; /* refreshes may use it after the call that started them */
    strata_namespace_policy policy = {.struct_size = sizeof policy,
                                      .ttl_ms = 50,
                                      .refresh_percent = 80,                     /* after 40 ms one reader refreshes it */
                                      .stale_if_failing_ms = 6 * 60 * 60 * 1000, /* nobody sees a failing source, for 6 h */
                                      .throttle_ms = 5 * 1000,                   /* which is asked every 5 s */
                                      .soft_timeout_ms = 200};                   /* and waited for no longer than that */
    if (strata_namespace_policy_set(prices, &policy, NULL) != STRATA_OK || show_price(session, prices, &shop)) return 1;
    shop.fails = 1;
    (void)strata_session_wait(session, 60); /* past its end */
    return show_price(session, prices, &shop);
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
    int failed = 1;
    strata_namespace *prices = NULL;
    if (status == STRATA_OK) status = strata_namespace_open(engine, "prices", 1, &prices);
    if (status == STRATA_OK) failed = run(session, users) + run_failing(session, prices);
    else fprintf(stderr, "%s: %s\n", strata_status_name(status), error.text);
    strata_session_close(session);
    strata_close(engine, 1000);
    return failed;
}
