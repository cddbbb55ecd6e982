/* SPDX-License-Identifier: Apache-2.0 */
/* Engines for tests: opened with a few options, and the short words that make a test readable. */
#include "tests/support/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/flow/engine.h"

static void print_line(void *context, strata_log_level level, const char *line) {
    (void)context;
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if (level <= STRATA_LOG_WARN) fprintf(stderr, "[%s] %s\n", names[level], line);
}

int32_t test_engine_try(const char *const *pairs, const strata_open_options *template_, strata **out,
                        strata_error *error) {
    strata_open_options options = {0};
    strata_config *config = NULL;
    int32_t status = strata_config_create(&config);
    /* A machine that stands still for a second is no test's subject. */
    if (status == STRATA_OK) status = strata_config_set(config, "flow.deadline", "5s", error);
    for (; status == STRATA_OK && pairs != NULL && *pairs != NULL; pairs += 2)
        status = strata_config_set(config, pairs[0], pairs[1], error);
    if (template_ != NULL) options = *template_;
    options.struct_size = sizeof options;
    options.config = config;
    if (options.log == NULL) options.log = print_line;
    if (status == STRATA_OK) status = strata_open(&options, out, error);
    strata_config_destroy(config);
    return status;
}

strata *test_engine_open(const char *const *pairs, const strata_open_options *template_) {
    strata *engine = NULL;
    strata_error error = {0};
    if (test_engine_try(pairs, template_, &engine, &error) != STRATA_OK) fail_msg("open: %s", error.text);
    return engine;
}

strata_namespace *test_engine_ns(strata *engine, const char *name) {
    strata_namespace *ns = NULL;
    assert_int_equal(strata_namespace_open(engine, name, 1, &ns), STRATA_OK);
    return ns;
}

strata_session *test_engine_session(strata *engine) {
    strata_session *session = NULL;
    assert_int_equal(strata_session_open(engine, &session), STRATA_OK);
    return session;
}

strata_bytes test_bytes(const char *text) {
    strata_bytes bytes = {text, strlen(text)};
    return bytes;
}

static const char *keep(strata_session *session, strata_result *result) {
    static _Thread_local char text[1024];
    size_t size = result->value.size < sizeof text - 1 ? result->value.size : sizeof text - 1;
    if (size != 0) memcpy(text, result->value.data, size);
    text[size] = 0;
    strata_result_release(session, result);
    return text;
}

const char *test_peek(strata_session *session, strata_namespace *ns, const char *key) {
    strata_result result;
    int32_t status = strata_peek(session, ns, test_bytes(key), &result);
    if (status == STRATA_MISS) return NULL;
    assert_int_equal(status, STRATA_OK);
    return keep(session, &result);
}

const char *test_get(strata_session *session, strata_namespace *ns, const char *key) {
    strata_result result;
    int32_t status = strata_get_wait(session, ns, test_bytes(key), NULL, &result);
    if (status == STRATA_MISS) return NULL;
    if (status != STRATA_OK) fail_msg("get %s: %s", key, strata_status_name(status));
    return keep(session, &result);
}

int32_t test_set(strata_session *session, strata_namespace *ns, const char *key, const char *value) {
    return strata_set_wait(session, ns, test_bytes(key), test_bytes(value), NULL, NULL);
}

int64_t test_metric(strata *engine, const char *name) {
    int64_t value = 0;
    if (strata_stats_value(engine, name, &value) != STRATA_OK) fail_msg("no metric %s", name);
    return value;
}

bool test_metric_wait(strata *engine, const char *name, int64_t value, uint32_t timeout_ms) {
    int64_t end_ms = test_now_ms() + timeout_ms;
    while (test_metric(engine, name) < value) {
        if (test_now_ms() >= end_ms) return false;
        test_sleep_ms(1);
    }
    return true;
}

void test_engine_await_trust(strata *engine, uint32_t timeout_ms) {
    if (engine->trust == NULL) return;
    if (!test_metric_wait(engine, "coherence.partitions_trusted", engine->partitions, timeout_ms))
        fail_msg("%lld of %u partitions are trusted", (long long)test_metric(engine, "coherence.partitions_trusted"),
                 engine->partitions);
}

int64_t test_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void test_sleep_ms(uint32_t ms) {
    struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL);
}
