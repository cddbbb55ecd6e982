/* SPDX-License-Identifier: Apache-2.0 */
/* The sketch of what is most frequent, against exact counts of skewed, even and changing streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/flow/analysis/sketch.h"
#include "tests/support/alloc.h"

enum { NUMBERS = 5000, CAPACITY = 64, LENGTH = 200000 };

typedef struct stream {
    double below[NUMBERS]; /* of its power law, summed up */
    uint64_t random;
} stream;

static double next_random(stream *s) {
    s->random = s->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(s->random >> 11) / 9007199254740992.0;
}

/* 1 / rank, so that a hundredth of the numbers makes up about half of the stream. */
static void stream_init(stream *s) {
    double sum = 0;
    for (int i = 0; i < NUMBERS; i++) s->below[i] = sum += 1.0 / (i + 1);
    for (int i = 0; i < NUMBERS; i++) s->below[i] /= sum;
    s->random = 42;
}

static int draw(stream *s) {
    double at = next_random(s);
    int low = 0, high = NUMBERS - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (s->below[middle] > at) high = middle;
        else low = middle + 1;
    }
    return low;
}

/* As the keys' hashes are: spread, though some begin at one place of the index. */
static uint64_t hash_of(int number) {
    uint64_t hash = ((uint64_t)number + 1) * UINT64_C(0x9E3779B97F4A7C15);
    return number % 3 == 0 ? (hash & UINT64_C(0xffffffff)) | UINT64_C(7) << 32 : hash;
}

/* All that the header promises. owner: by place, whose it is. */
static void check(const sx_sketch *sketch, const int *owner, const uint64_t *exact, uint64_t total) {
    assert_int_equal(sketch->total, total);
    uint32_t ranking[CAPACITY], used = sx_sketch_ranking(sketch, ranking);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < used; i++) {
        const sx_sketch_place *place = &sketch->places[ranking[i]];
        assert_true(place->hash == hash_of(owner[ranking[i]]));
        assert_int_equal(sx_sketch_find(sketch, place->hash), ranking[i]);
        uint64_t truly = exact[owner[ranking[i]]];
        assert_true(place->count >= truly && place->count - place->error <= truly);
        assert_true(place->error <= total / CAPACITY);
        if (i > 0) assert_true(place->count <= sketch->places[ranking[i - 1]].count);
        sum += place->count;
    }
    assert_int_equal(sum, total);
    for (int i = 0; i < NUMBERS; i++)
        if (exact[i] > total / CAPACITY) assert_int_not_equal(sx_sketch_find(sketch, hash_of(i)), SX_SKETCH_NONE);
}

static void run(int (*number)(stream *s, int i), int length) {
    test_alloc alloc;
    test_alloc_init(&alloc);
    stream *s = malloc(sizeof *s);
    stream_init(s);
    uint64_t *exact = calloc(NUMBERS, sizeof *exact);
    int owner[CAPACITY];
    memset(owner, -1, sizeof owner);
    sx_sketch sketch;
    assert_true(sx_sketch_init(&sketch, &alloc.table, CAPACITY));
    for (int i = 0; i < length; i++) {
        int drawn = number(s, i);
        bool fresh;
        uint32_t place = sx_sketch_add(&sketch, hash_of(drawn), &fresh);
        assert_true(place < CAPACITY && (fresh || owner[place] == drawn));
        owner[place] = drawn;
        exact[drawn]++;
        if (i % 10007 == 0 || i == length - 1) check(&sketch, owner, exact, (uint64_t)i + 1);
    }
    sx_sketch_clear(&sketch);
    assert_int_equal(sx_sketch_find(&sketch, hash_of(0)), SX_SKETCH_NONE);
    bool fresh;
    (void)sx_sketch_add(&sketch, hash_of(0), &fresh);
    assert_true(fresh && sketch.used == 1 && sketch.total == 1);
    sx_sketch_deinit(&sketch, &alloc.table);
    test_alloc_check_empty(&alloc);
    free(exact);
    free(s);
}

static int skewed(stream *s, int i) {
    (void)i;
    return draw(s);
}
static int even(stream *s, int i) {
    (void)s;
    return i % NUMBERS;
}
/* What was hot is not asked for any more after half the time. */
static int changing(stream *s, int i) { return i < LENGTH / 2 ? draw(s) : NUMBERS - 1 - draw(s); }

static void a_skewed_stream(void **state) {
    (void)state;
    run(skewed, LENGTH);
}
static void an_even_stream(void **state) {
    (void)state;
    run(even, 4 * NUMBERS);
}
static void a_stream_that_changes(void **state) {
    (void)state;
    run(changing, LENGTH);
}

static void without_memory_there_is_none(void **state) {
    (void)state;
    test_alloc alloc;
    for (int k = 1; k <= 3; k++) {
        test_alloc_init(&alloc);
        test_alloc_fail_at(&alloc, k);
        sx_sketch sketch;
        assert_false(sx_sketch_init(&sketch, &alloc.table, CAPACITY));
        test_alloc_check_empty(&alloc);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_skewed_stream),
        cmocka_unit_test(an_even_stream),
        cmocka_unit_test(a_stream_that_changes),
        cmocka_unit_test(without_memory_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
