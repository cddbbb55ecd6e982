/* SPDX-License-Identifier: Apache-2.0 */
/* Structs of programs that were built with another header: shorter ones are taken with defaults for what they lack, longer ones
   where what is not known here is zero. Each lies at the end of its memory, so that a sanitizer sees what is read beyond it. */
#include "tests/flow/fixture.h"

static int setup(void **state) {
    fixture *f = fixture_create();
    fixture_open(f, TEST_OPTIONS("l2.mode", "none", "flow.ttl_jitter", "0"), NULL);
    *state = f;
    return 0;
}

/* The first size bytes of a struct in memory of their own; what lies beyond them in ours is not zero. */
static void *cut(const void *whole, uint32_t size) {
    volatile size_t hidden = size; /* else the compiler knows, and objects to what the test is about */
    void *given = malloc(hidden);
    memcpy(given, whole, size);
    memcpy(given, &size, size < sizeof size ? size : sizeof size);
    return given;
}

#define UP_TO(type, field) ((uint32_t)offsetof(type, field))

static void options_of_an_operation(void **state) {
    fixture *f = *state;
    strata_bytes tag = test_bytes("t");
    const strata_op_options ours = {.deadline_ms = 700, .reserved = 77, .ttl_ms = 5000, .app_version = 9, .tags = &tag, .tag_count = 1,
                                    .reserved_2 = 77};
    const strata_bytes keys[] = {test_bytes("k"), test_bytes("l")};
    strata_result result, results[2];
    strata_op_options *timed = cut(&ours, UP_TO(strata_op_options, reserved)), *versioned = cut(&(strata_op_options){.ttl_ms = 5000, .app_version = 9,
                      .tags = &tag, .tag_count = 1}, UP_TO(strata_op_options, tags)), *bare = cut(&ours, sizeof(uint32_t));
    assert_int_equal(strata_set_wait(f->session, f->ns, keys[0], test_bytes("v"), versioned, NULL), STRATA_OK);
    assert_int_equal(strata_mset_wait(f->session, f->ns, &keys[1], &tag, 1, versioned, results), STRATA_OK);
    assert_int_equal(results[0].status, STRATA_OK);
    for (int i = 0; i < 2; i++) {
        const strata_op_options *options = i == 0 ? bare : timed;
        assert_int_equal(strata_get_wait(f->session, f->ns, keys[0], options, &result), STRATA_OK);
        assert_in_range(result.ttl_ms, 1, 5000);
        assert_int_equal(result.app_version, 9);
        strata_result_release(f->session, &result);
        assert_int_equal(strata_mget_wait(f->session, f->ns, keys, 2, options, results), STRATA_OK);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(results[k].status, STRATA_OK);
            strata_result_release(f->session, &results[k]);
        }
        assert_int_equal(fixture_get_or_load(f, i == 0 ? "m" : "n", options), STRATA_OK);
    }
    assert_int_equal(strata_invalidate_tags_wait(f->session, &tag, 1, bare), STRATA_OK);
    assert_string_equal(test_peek(f->session, f->ns, "k"), "v"); /* the tags were beyond its end */
    assert_int_equal(strata_invalidate_wait(f->session, f->ns, keys[0], bare), STRATA_OK);
    assert_int_equal(strata_set_wait(f->session, f->ns, keys[0], test_bytes("v"), bare, NULL), STRATA_OK);
    assert_int_equal(strata_set_if_newer_wait(f->session, f->ns, keys[0], test_bytes("v"), timed, NULL), STRATA_E_INVALID); /* newer than what? */
    assert_int_equal(strata_clear_wait(f->session, f->ns, timed), STRATA_OK);
    assert_null(test_peek(f->session, f->ns, "k"));
    free(timed);
    free(versioned);
    free(bare);
}

static void what_a_loader_says(void **state) {
    fixture *f = *state;
    const strata_load_result ours = {.flags = STRATA_LOAD_DONT_CACHE, .ttl_ms = -1, .reserved_2 = 77};
    strata_load_result *flagged = cut(&ours, UP_TO(strata_load_result, ttl_ms));
    fixture_hold(f, "k");
    assert_int_equal(strata_load_finish(f->kept, STRATA_OK, test_bytes("v"), flagged), STRATA_OK);
    for (int i = 0; i < 3000 && f->answers == 0; i++) (void)strata_session_wait(f->session, 10);
    assert_int_equal(f->answered, STRATA_OK);
    assert_null(test_peek(f->session, f->ns, "k"));
    free(flagged);
}

static void a_policy_and_how_it_is_told(void **state) {
    fixture *f = *state;
    const strata_namespace_policy ours = {.ttl_ms = 4000, .l1_ttl_ms = -1};
    strata_namespace_policy *brief = cut(&ours, UP_TO(strata_namespace_policy, l1_ttl_ms));
    assert_int_equal(strata_namespace_policy_set(f->ns, brief, NULL), STRATA_OK);
    brief->ttl_ms = 0;
    assert_int_equal(strata_namespace_policy_get(f->ns, brief), STRATA_OK);
    assert_int_equal(brief->struct_size, UP_TO(strata_namespace_policy, l1_ttl_ms));
    assert_int_equal(brief->ttl_ms, 4000);
    free(brief);
    struct {
        strata_namespace_policy known;
        int64_t unknown;
    } later;
    memset(&later, 0xff, sizeof later);
    later.known.struct_size = sizeof later;
    assert_int_equal(strata_namespace_policy_get(f->ns, &later.known), STRATA_OK);
    assert_int_equal(later.known.struct_size, sizeof later);
    assert_int_equal(later.known.ttl_ms, 4000);
    assert_int_equal(later.unknown, 0);
    assert_int_equal(strata_namespace_policy_set(f->ns, &later.known, NULL), STRATA_OK);
    later.unknown = 1;
    assert_int_equal(strata_namespace_policy_set(f->ns, &later.known, NULL), STRATA_E_INVALID);
}

static void a_pattern_and_an_engine(void **state) {
    fixture *f = *state;
    strata_pattern_options *slow = cut(&(strata_pattern_options){.keys_per_s = 5}, UP_TO(strata_pattern_options, progress));
    assert_int_equal(test_set(f->session, f->ns, "k", "v"), STRATA_OK);
    assert_int_equal(strata_invalidate_pattern_wait(f->session, f->ns, test_bytes("k*"), slow), STRATA_OK);
    assert_null(test_peek(f->session, f->ns, "k"));
    free(slow);
    strata *engine = NULL;
    strata_config *config = NULL;
    strata_error error;
    assert_int_equal(strata_config_create(&config), STRATA_OK);
    assert_int_equal(strata_config_set(config, "l2.mode", "none", &error), STRATA_OK);
    strata_open_options *brief = cut(&(strata_open_options){.config = config}, UP_TO(strata_open_options, log));
    assert_int_equal(strata_open(brief, &engine, &error), STRATA_OK);
    assert_int_equal(strata_close(engine, 1000), STRATA_OK);
    free(brief);
    strata_config_destroy(config);
}

/* Gets one value so often that one of its times is measured. */
static void how_long_it_took(void **state) {
    fixture *f = *state;
    strata_result result;
    assert_int_equal(test_set(f->session, f->ns, "k", "v"), STRATA_OK);
    for (int i = 0; i < 2048; i++) {
        assert_int_equal(strata_get_wait(f->session, f->ns, test_bytes("k"), NULL, &result), STRATA_OK);
        strata_result_release(f->session, &result);
    }
    struct {
        strata_histogram known;
        int64_t unknown;
    } later;
    memset(&later, 0xff, sizeof later);
    later.known.struct_size = sizeof later;
    assert_int_equal(strata_stats_latency(f->engine, f->ns, STRATA_LATENCY_L1, &later.known), STRATA_OK);
    assert_int_equal(later.known.struct_size, sizeof later);
    assert_int_equal(later.known.count, 2);
    assert_int_equal(later.unknown, 0);
    strata_histogram *brief = cut(&later.known, UP_TO(strata_histogram, counts[1]));
    brief->count = brief->counts[0] = -1;
    assert_int_equal(strata_stats_latency(f->engine, f->ns, STRATA_LATENCY_L1, brief), STRATA_OK);
    assert_int_equal(brief->struct_size, UP_TO(strata_histogram, counts[1]));
    assert_int_equal(brief->count, 2);
    assert_int_equal(brief->counts[0], later.known.counts[0]);
    assert_true(strata_histogram_quantile(brief, 1) >= strata_histogram_quantile(&later.known, 1)); /* what it has no bucket for is beyond its last */
    free(brief);
    brief = cut(&later.known, UP_TO(strata_histogram, count));
    assert_int_equal(strata_stats_latency(f->engine, f->ns, STRATA_LATENCY_L1, brief), STRATA_OK);
    assert_int_equal(strata_histogram_quantile(brief, 0.5), 0);
    free(brief);
}

/* Not even its own size fits into it, or it is no size at all. */
static void what_is_no_struct(void **state) {
    fixture *f = *state;
    static const uint32_t sizes[] = {0, 3, 1 << 20};
    const strata_bytes key = test_bytes("k");
    strata_result result;
    void *cut_short = cut(&(strata_op_options){.flags = 0}, 4);
    memcpy(cut_short, &(uint32_t){3}, 4);
    strata_op_options options = {.struct_size = 0};
    strata_namespace_policy policy = {.struct_size = 0};
    for (int i = 0; i < 3; i++) {
        options.struct_size = policy.struct_size = sizes[i];
        assert_int_equal(strata_set_wait(f->session, f->ns, test_bytes("k"), test_bytes("v"), &options, NULL), STRATA_E_INVALID);
        assert_int_equal(strata_clear_wait(f->session, f->ns, &options), STRATA_E_INVALID);
        assert_int_equal(strata_mget_wait(f->session, f->ns, &key, 1, cut_short, &result), STRATA_E_INVALID);
        assert_int_equal(strata_set_if_newer_wait(f->session, f->ns, test_bytes("k"), test_bytes("v"), &options, NULL), STRATA_E_INVALID);
        assert_int_equal(strata_namespace_policy_set(f->ns, &policy, NULL), STRATA_E_INVALID);
        assert_int_equal(strata_namespace_policy_get(f->ns, &policy), STRATA_E_INVALID);
    }
    free(cut_short);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(options_of_an_operation, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_a_loader_says, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_policy_and_how_it_is_told, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_pattern_and_an_engine, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(how_long_it_took, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_no_struct, setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
