/* SPDX-License-Identifier: Apache-2.0 */
/* Sides of a coherent cache. */
#include "tests/support/side.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/engine.h"

enum { TRUST_MS = 30000, ANSWER_MS = 30000, DEADLINE_MS = 20000 };

void test_side_open(test_side *side, const char *ns, const char *const *pairs, const strata_open_options *template_) {
    *side = (test_side){.engine = test_engine_open(pairs, template_)};
    side->ns = test_engine_ns(side->engine, ns);
    side->session = test_engine_session(side->engine);
    test_engine_await_trust(side->engine, TRUST_MS);
}

void test_side_close(test_side *side) {
    strata_session_close(side->session);
    assert_int_equal(strata_close(side->engine, 5000), STRATA_OK);
}

void test_side_load(strata_load *load, void *user) {
    test_side *side = user;
    strata_bytes tags[4];
    strata_load_result details = {.struct_size = sizeof details, .tags = tags};
    side->calls++;
    if (side->value == NULL) {
        side->kept = load;
        return;
    }
    for (; details.tag_count < 4 && side->late[details.tag_count] != NULL; details.tag_count++)
        tags[details.tag_count] = test_bytes(side->late[details.tag_count]);
    strata_load_finish(load, STRATA_OK, test_bytes(side->value), &details);
}

void test_side_done(void *user, const strata_result *result) {
    test_side *side = user;
    side->answers++;
    side->status = result->status;
    side->at_ms = test_now_ms();
    side->answer[0] = 0;
    if (result->status != STRATA_OK) return;
    assert_true(result->value.size < sizeof side->answer);
    if (result->value.size != 0) memcpy(side->answer, result->value.data, result->value.size);
    side->answer[result->value.size] = 0;
}

void test_side_set_many(test_side *side, const char *word, const char *value, int count) {
    enum { BATCH = 500 };
    static char text[BATCH][32];
    strata_bytes keys[BATCH], values[BATCH];
    strata_result results[BATCH];
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = 10000};
    for (int first = 0; first < count; first += BATCH) {
        int n = count - first < BATCH ? count - first : BATCH;
        for (int i = 0; i < n; i++) {
            snprintf(text[i], sizeof text[i], "%s:%d", word, first + i);
            keys[i] = test_bytes(text[i]);
            values[i] = test_bytes(value);
        }
        assert_int_equal(strata_mset_wait(side->session, side->ns, keys, values, (size_t)n, &options, results), STRATA_OK);
        for (int i = 0; i < n; i++) assert_int_equal(results[i].status, STRATA_OK);
    }
}

uint32_t test_side_tags(strata_bytes out[STRATA_TAGS_MAX], const char *const *names) {
    uint32_t count = 0;
    for (; names != NULL && names[count] != NULL; count++) out[count] = test_bytes(names[count]);
    return count;
}

const char *test_side_read(test_side *side, const char *key, const char *value, const char *const *tags) {
    strata_bytes list[STRATA_TAGS_MAX];
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = DEADLINE_MS, .tags = list};
    strata_result result;
    options.tag_count = test_side_tags(list, tags);
    side->value = value;
    assert_int_equal(strata_get_or_load_wait(side->session, side->ns, test_bytes(key), &options, test_side_load, side, &result),
                     STRATA_OK);
    test_side_done(side, &result);
    strata_result_release(side->session, &result);
    return side->answer;
}

void test_side_start(test_side *side, const char *key, const char *value, const char *const *tags) {
    strata_bytes list[STRATA_TAGS_MAX];
    strata_op_options options = {.struct_size = sizeof options, .deadline_ms = DEADLINE_MS, .tags = list};
    strata_result result;
    options.tag_count = test_side_tags(list, tags);
    side->value = value;
    side->kept = NULL;
    side->answers = side->calls = 0;
    assert_int_equal(strata_get_or_load(side->session, side->ns, test_bytes(key), &options, test_side_load, side, &result,
                                        test_side_done, side), STRATA_PENDING);
}

void test_side_hold(test_side *side, const char *key, const char *const *tags) {
    test_side_start(side, key, NULL, tags);
    for (int64_t end_ms = test_now_ms() + ANSWER_MS; side->kept == NULL && test_now_ms() < end_ms;)
        strata_session_wait(side->session, 10);
    assert_non_null(side->kept);
}

void test_side_await(test_side *side, int answers) {
    for (int64_t end_ms = test_now_ms() + ANSWER_MS; side->answers < answers && test_now_ms() < end_ms;)
        strata_session_wait(side->session, 10);
    assert_int_equal(side->answers, answers);
}

void test_side_await_gone(test_side *side, const char *key) {
    for (int64_t end_ms = test_now_ms() + ANSWER_MS; test_peek(side->session, side->ns, key) != NULL && test_now_ms() < end_ms;)
        test_sleep_ms(1);
    assert_null(test_peek(side->session, side->ns, key));
}
