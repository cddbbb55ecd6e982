/* SPDX-License-Identifier: Apache-2.0 */
/* The checker: finds by their ends, each placed as early as it may be, which leaves all later ones the most room. */
#include "tests/support/linear.h"

#include <stdlib.h>

/* A place in a key's history: after so many writes, twice that, and one more where what was written has vanished. */
typedef uint64_t place;

typedef struct placed {
    uint64_t end;
    place latest; /* of the finds up to this one */
} placed;

static int by_key_kind_time(const void *left, const void *right) {
    const linear_op *a = left, *b = right;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    if (a->write != b->write) return a->write ? -1 : 1;
    uint64_t x = a->write ? a->begin : a->end, y = b->write ? b->begin : b->end;
    return x < y ? -1 : x > y;
}

/* How many of count sorted times lie before a time; read from ops at begin or end. */
static size_t before(const linear_op *writes, size_t count, uint64_t time, bool by_end) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((by_end ? writes[middle].end : writes[middle].begin) < time) low = middle + 1;
        else high = middle;
    }
    return low;
}

static place floor_of(const placed *done, size_t count, uint64_t begin) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (done[middle].end < begin) low = middle + 1;
        else high = middle;
    }
    return low == 0 ? 0 : done[low - 1].latest;
}

/* The earliest place for a find, or UINT64_MAX. */
static place place_of(const linear_op *writes, size_t count, const linear_op *find, place floor, bool may_vanish) {
    place least = 2 * (place)before(writes, count, find->begin, true);
    place most = 2 * (place)before(writes, count, find->end, false) + 1;
    for (place p = least > floor ? least : floor; p <= most; p++) {
        bool vanished = p % 2 == 1;
        if (vanished && (!may_vanish || find->value != 0)) continue;
        uint64_t value = vanished || p == 0 ? 0 : writes[p / 2 - 1].value;
        if (value == find->value) return p;
    }
    return UINT64_MAX;
}

static bool check_key(const linear_op *ops, size_t count, size_t writes, bool may_vanish, placed *done, linear_op *fault) {
    for (size_t i = 1; i < writes; i++) {
        if (ops[i].begin > ops[i - 1].end) continue;
        *fault = ops[i]; /* two writers: nothing this checker knows of */
        return false;
    }
    place latest = 0;
    for (size_t i = writes; i < count; i++) {
        place p = place_of(ops, writes, &ops[i], floor_of(done, i - writes, ops[i].begin), may_vanish);
        if (p == UINT64_MAX) {
            *fault = ops[i];
            return false;
        }
        if (p > latest) latest = p;
        done[i - writes] = (placed){ops[i].end, latest};
    }
    return true;
}

bool linear_check(linear_op *ops, size_t count, bool may_vanish, linear_op *fault) {
    qsort(ops, count, sizeof *ops, by_key_kind_time);
    placed *done = malloc((count + 1) * sizeof *done);
    if (done == NULL) return false;
    bool good = true;
    for (size_t begin = 0, end; good && begin < count; begin = end) {
        size_t writes = 0;
        for (end = begin; end < count && ops[end].key == ops[begin].key; end++) writes += ops[end].write;
        good = check_key(ops + begin, end - begin, writes, may_vanish, done, fault);
    }
    free(done);
    return good;
}
