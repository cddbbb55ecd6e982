/* SPDX-License-Identifier: Apache-2.0 */
/* A result that is never released: writers are refused within the budget, the log names the reader, and all goes on after. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/engine.h"

static char last[1024];
static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER;

static void note_line(void *context, strata_log_level level, const char *line) {
    (void)context;
    if (level != STRATA_LOG_WARN || strstr(line, "L1 refuses") == NULL) return;
    pthread_mutex_lock(&last_lock);
    strncpy(last, line, sizeof last - 1);
    pthread_mutex_unlock(&last_lock);
}

static bool said(const char *text) {
    pthread_mutex_lock(&last_lock);
    bool found = strstr(last, text) != NULL;
    pthread_mutex_unlock(&last_lock);
    return found;
}

typedef struct reader {
    strata *engine;
    strata_namespace *ns;
    _Atomic int holds, let_go;
    long thread;
} reader;

static void *hold_a_result(void *argument) {
    reader *r = argument;
    (void)pthread_setname_np(pthread_self(), "slow-reader");
    r->thread = (long)syscall(SYS_gettid);
    strata_session *session = test_engine_session(r->engine);
    strata_result result;
    int32_t status = strata_peek(session, r->ns, test_bytes("held"), &result);
    atomic_store(&r->holds, status == STRATA_OK ? 1 : -1);
    while (!atomic_load(&r->let_go)) test_sleep_ms(1);
    if (status == STRATA_OK) strata_result_release(session, &result);
    strata_session_close(session);
    return NULL;
}

/* Goes round among so many keys. */
static void set_until(strata_session *session, strata_namespace *ns, int32_t wanted, int times_max, int keys) {
    char value[1001], key[16];
    memset(value, 'v', 1000);
    value[1000] = '\0';
    int32_t status = STRATA_MISS;
    for (int i = 0; i < times_max && status != wanted; i++) {
        (void)snprintf(key, sizeof key, "k%d", i % keys);
        status = test_set(session, ns, key, value);
        if (wanted == STRATA_OK && status != STRATA_OK) test_sleep_ms(10);
    }
    assert_int_equal(status, wanted);
}

/* Fills with keys that are overwritten, or that are new each time as in a load of what was never read. */
static void hold_and_write(int keys) {
    pthread_mutex_lock(&last_lock);
    last[0] = '\0';
    pthread_mutex_unlock(&last_lock);
    strata_open_options options = {.log = note_line};
    reader r = {.engine = test_engine_open(TEST_OPTIONS("l2.mode", "none", "l1.bytes", "1MiB"), &options)};
    r.ns = test_engine_ns(r.engine, "users");
    strata_session *session = test_engine_session(r.engine);
    assert_int_equal(test_set(session, r.ns, "held", "value"), STRATA_OK);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, hold_a_result, &r), 0);
    while (atomic_load(&r.holds) == 0) test_sleep_ms(1);
    assert_int_equal(atomic_load(&r.holds), 1);
    set_until(session, r.ns, STRATA_E_OVERLOADED, 10000, keys);
    assert_true(test_metric(r.engine, "l1.bytes_used") <= 1 << 20);
    assert_int_equal(test_metric(r.engine, "l1.too_large"), 0);
    for (int i = 0; i < 3000 && !said("L1 refuses"); i++) test_sleep_ms(10);
    char name[64];
    (void)snprintf(name, sizeof name, "thread %ld (slow-reader)", r.thread);
    assert_true(said(name));
    atomic_store(&r.let_go, 1);
    pthread_join(thread, NULL);
    set_until(session, r.ns, STRATA_OK, 500, keys);
    strata_session_close(session);
    assert_int_equal(strata_close(r.engine, 1000), STRATA_OK);
}

static void the_log_names_who_holds_up_overwrites(void **state) {
    (void)state;
    hold_and_write(10);
}
static void the_log_names_who_holds_up_new_keys(void **state) {
    (void)state;
    hold_and_write(100000);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_log_names_who_holds_up_overwrites),
                                       cmocka_unit_test(the_log_names_who_holds_up_new_keys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
