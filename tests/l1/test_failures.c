/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation of every operation of L1 fails once, and from then on: nothing is lost but room, nothing leaks. */
#include "fixture.h"

#include "l1/table.h"

#define ITEMS 1200u

/* What a run did before its allocations were counted. */
typedef struct part {
    const char *name;
    void (*run)(fixture *f, sx_item **items);
} part;

static bool visit_most(void *context, sx_item *item) {
    int64_t *seen = context;
    (*seen)++;
    return item->n % 3 != 0;
}

static void fill(fixture *f, sx_item **items) {
    for (uint64_t i = 0; i < ITEMS; i++) {
        /* Without memory the table stays small and evicts; a put succeeds in any case, and its key is there right after. */
        assert_int_equal(put_with(f, f->record, i, items[i], SX_L1_PUT_NEWER), STRATA_OK);
        assert_true(n_of(f, i) == items[i]->n);
        if (i % 64 == 0) (void)sx_l1_maintain_on_keeper(f->l1, f->record, atomic_load(&f->now_ns));
        if (i % 64 == 32) (void)sx_epoch_reclaim(f->epoch);
    }
}
static void replace(fixture *f, sx_item **items) {
    for (uint64_t i = 0; i < ITEMS; i++) {
        assert_int_equal(put_with(f, f->record, i, items[i], SX_L1_PUT_ALWAYS), STRATA_OK);
    }
}
static void remove_half(fixture *f, sx_item **items) {
    for (uint64_t i = 0; i < ITEMS; i += 2) {
        bool there = n_of(f, i) != UINT64_MAX;
        bool removed = i % 4 == 0 ? remove_below(f, f->record, i, UINT64_MAX)
                                  : sx_l1_remove_item(f->l1, f->record, hash_of(f, i), items[i]);
        assert_int_equal(removed, there);
        assert_true(n_of(f, i) == UINT64_MAX);
    }
}
static void walk(fixture *f, sx_item **items) {
    (void)items;
    int64_t seen = 0, entries = metric(f, SX_L1_METRIC_ENTRIES);
    uint64_t cursor = 0;
    do sx_l1_walk(f->l1, f->record, &cursor, 4, visit_most, &seen);
    while (cursor != 0);
    assert_int_equal(seen, entries);
}
static void expire(fixture *f, sx_item **items) {
    (void)items;
    for (int i = 0; i < 40; i++) {
        int64_t now = atomic_fetch_add(&f->now_ns, 100 * SX_NS_PER_MS);
        (void)sx_l1_maintain_on_keeper(f->l1, f->record, now);
        (void)sx_epoch_reclaim(f->epoch);
    }
    assert_true(metric(f, SX_L1_METRIC_EXPIRATIONS) > 0);
}
static void resize(fixture *f, sx_item **items) {
    (void)items;
    sx_l1_resize(f->l1, 100000);
    for (int i = 0; i < 60; i++) {
        (void)sx_l1_maintain_on_keeper(f->l1, f->record, atomic_load(&f->now_ns));
        (void)sx_epoch_reclaim(f->epoch);
    }
    reclaim_all(f);
    assert_true(metric(f, SX_L1_METRIC_BYTES_USED) <= 100000);
    sx_l1_resize(f->l1, 1 << 22);
}

static const part parts[] = {{"fill", fill}, {"replace", replace}, {"remove", remove_half},
                             {"walk", walk}, {"expire", expire},   {"resize", resize}};
enum { PARTS = sizeof parts / sizeof *parts };

/* Runs all parts in their order; in part p, allocation number at of that part fails (and those after it). Returns how many
   allocations the part asked for. */
static int64_t run(int p, int64_t at, bool on) {
    fixture f;
    fixture_init(&f, 1 << 22, 1 << 16);
    sx_item *items[ITEMS];
    for (uint64_t i = 0; i < ITEMS; i++) {
        items[i] = item_try(&f, i, i + 1, 30, i % 5 == 0 ? 3 * SX_NS_PER_S : SX_EXPIRES_NEVER);
        assert_non_null(items[i]);
    }
    int64_t asked = 0;
    for (int i = 0; i < PARTS; i++) {
        int64_t before = atomic_load(&f.calls);
        f.fail_on = on;
        if (i == p && at >= 0) atomic_store(&f.fail_at, before + at);
        parts[i].run(&f, items);
        if (i == p) asked = atomic_load(&f.calls) - before;
        atomic_store(&f.fail_at, -1);
    }
    for (uint64_t i = 0; i < ITEMS; i++) sx_item_release(items[i]);
    fixture_deinit(&f);
    return asked;
}

static void test_sweep(void **state) {
    (void)state;
    int64_t all = 0;
    for (int p = 0; p < PARTS; p++) {
        int64_t asked = run(p, -1, false);
        all += asked;
        for (int64_t at = 0; at < asked; at++) {
            (void)run(p, at, false);
            (void)run(p, at, true);
        }
        print_message("%s: %lld allocations\n", parts[p].name, (long long)asked);
    }
    assert_true(all > 20); /* splits and merges took place */
}

/* The epoch's own books come from an allocator that has nothing: they are taken from the kernel. */
static void *nothing(void *context, size_t size, size_t alignment) {
    (void)context;
    (void)size;
    (void)alignment;
    return NULL;
}
static void test_retiring_needs_no_allocator(void **state) {
    (void)state;
    fixture f;
    memset(&f, 0, sizeof f);
    fixture_init(&f, 1 << 20, 1 << 16);
    sx_epoch_record *record;
    sx_alloc poor = f.alloc;
    sx_epoch *epoch;
    assert_int_equal(sx_epoch_create(&poor, &epoch), STRATA_OK);
    assert_int_equal(sx_epoch_register(epoch, &record), STRATA_OK);
    void *(*allocate)(void *, size_t, size_t) = poor.allocate;
    poor.allocate = nothing;
    for (int i = 0; i < 500; i++) sx_epoch_retire(record, malloc(16), 16, free);
    assert_int_equal(sx_epoch_retired_bytes(epoch), 500 * 16);
    for (int i = 0; i < 8; i++) (void)sx_epoch_reclaim(epoch);
    assert_int_equal(sx_epoch_retired_bytes(epoch), 0);
    poor.allocate = allocate;
    sx_epoch_unregister(record);
    sx_epoch_destroy(epoch);
    fixture_deinit(&f);
}

/* Memory for groups that is not aligned as was asked for is none: a find would read it by vectors. */
static void *askew_allocate(void *context, size_t size, size_t alignment) {
    bool groups = alignment == SX_CACHE_LINE;
    char *memory = fixture_allocate(context, size + (groups ? SX_CACHE_LINE : 0), alignment);
    return memory == NULL || !groups ? memory : memory + 16;
}
static void askew_release(void *context, void *memory, size_t size) {
    bool groups = (uintptr_t)memory % SX_CACHE_LINE == 16 && size % sizeof(sx_l1_group) == 0;
    fixture_release(context, (char *)memory - (groups ? 16 : 0), size + (groups ? SX_CACHE_LINE : 0));
}
static void test_alignment_is_insisted_on(void **state) {
    (void)state;
    fixture f;
    fixture_prepare(&f);
    f.heap->alloc.allocate = askew_allocate;
    f.heap->alloc.release = askew_release;
    assert_int_equal(fixture_try(&f, 1 << 20, 1 << 16), STRATA_E_NOMEM);
    f.l1 = NULL;
    f.heap->alloc = f.alloc;
    fixture_deinit(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_retiring_needs_no_allocator),
        cmocka_unit_test(test_alignment_is_insisted_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
