/* SPDX-License-Identifier: Apache-2.0 */
/* Engines for tests: opened with a few options, and the short words that make a test readable. */
#ifndef SX_TESTS_SUPPORT_ENGINE_H
#define SX_TESTS_SUPPORT_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include <strata/strata.h>

#define TEST_OPTIONS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* pairs: "name", "value", ..., NULL. template may be NULL; its config is replaced. Fails the test on an error. */
strata *test_engine_open(const char *const *pairs, const strata_open_options *template_);
/* As open, with the status. */
int32_t test_engine_try(const char *const *pairs, const strata_open_options *template_, strata **out,
                        strata_error *error);
strata_namespace *test_engine_ns(strata *engine, const char *name);
strata_session *test_engine_session(strata *engine);

strata_bytes test_bytes(const char *text);
/* Reads by peek: the value's text (static buffer per thread, 1023 bytes at most), or NULL where L1 has none. */
const char *test_peek(strata_session *session, strata_namespace *ns, const char *key);
/* Reads by get_wait: the text, or NULL on STRATA_MISS; any other status fails the test. */
const char *test_get(strata_session *session, strata_namespace *ns, const char *key);
int32_t test_set(strata_session *session, strata_namespace *ns, const char *key, const char *value);

int64_t test_metric(strata *engine, const char *name);
/* Waits until the metric is at least value. False after timeout_ms. */
bool test_metric_wait(strata *engine, const char *name, int64_t value, uint32_t timeout_ms);

/* Waits until every partition is trusted, where there are any. Fails the test after timeout_ms. */
void test_engine_await_trust(strata *engine, uint32_t timeout_ms);

int64_t test_now_ms(void);
void test_sleep_ms(uint32_t ms);

/* Takes the step again and again until the condition holds; for half a minute at most, which no machine needs. The test goes on to
   check what it waited for. */
#define TEST_AWAIT(condition, step)                                                                            \
    for (int64_t test_end_ms = test_now_ms() + 30000; !(condition) && test_now_ms() < test_end_ms;) (void)(step)

#endif
