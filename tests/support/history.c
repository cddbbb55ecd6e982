/* SPDX-License-Identifier: Apache-2.0 */
/* The checker: key by key, operations in the order of their beginnings, each read against all that ended before it. */
#include "tests/support/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <strata/strata.h>

const char *history_fault_name(history_fault fault) {
    static const char *const names[] = {"stale", "own write unseen", "version went back", "resurrected", "loaded twice"};
    return fault < HISTORY_FAULTS ? names[fault] : "?";
}

static int by_key_and_start(const void *left, const void *right) {
    const history_op *a = left, *b = right;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return a->start_ns < b->start_ns ? -1 : a->start_ns > b->start_ns;
}

static void note(history_report *report, history_fault fault, const history_op *op, const history_op *other) {
    if (report->faults[fault]++ != 0) return;
    report->worst[fault][0] = *op;
    report->worst[fault][1] = *other;
}

static bool is_write(const history_op *op) { return op->kind == HISTORY_SET || op->kind == HISTORY_INVALIDATE; }

/* Whether the value came from a loader that began before that invalidation and ended after it. */
static bool is_old_load(const history_op *ops, size_t count, const history_op *read, const history_op *invalidation) {
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind == HISTORY_LOAD && ops[i].value == read->value && ops[i].start_ns < invalidation->end_ns &&
            ops[i].end_ns > invalidation->start_ns)
            return true;
    }
    return false;
}

static void judge_read(const history_op *ops, size_t count, const history_op *read, const history_rules *rules,
                       history_report *report) {
    bool l1 = read->source == STRATA_FROM_L1;
    for (size_t i = 0; i < count && ops[i].start_ns < read->start_ns; i++) {
        const history_op *op = &ops[i];
        if (op->end_ns > read->start_ns) continue;
        bool own = op->process == read->process;
        if (own && op->kind == HISTORY_READ && op->n > read->n && read->n != 0) note(report, HISTORY_BACK, read, op);
        if (!is_write(op) || op->value <= read->value) continue;
        int64_t age_ns = read->start_ns - op->end_ns;
        if (own) {
            note(report, HISTORY_OWN_WRITE, read, op);
            continue;
        }
        if (l1 && age_ns > report->oldest_ns) report->oldest_ns = age_ns;
        /* A loader's answer goes to those who asked before it could know. */
        if (read->source == STRATA_FROM_LOADER || age_ns <= (l1 ? rules->bound_ns : 0)) continue;
        if (!l1 && rules->sets_may_be_lost) continue;
        bool back = op->kind == HISTORY_INVALIDATE && is_old_load(ops, count, read, op);
        note(report, back ? HISTORY_RESURRECTED : HISTORY_STALE, read, op);
    }
}

static bool written_between(const history_op *ops, size_t count, int64_t from_ns, int64_t to_ns) {
    for (size_t i = 0; i < count; i++) {
        if (is_write(&ops[i]) && ops[i].start_ns <= to_ns && ops[i].end_ns >= from_ns) return true;
    }
    return false;
}

static void judge_load(const history_op *ops, size_t count, const history_op *load, const history_rules *rules,
                       history_report *report) {
    for (size_t i = 0; i < count && ops[i].start_ns < load->start_ns; i++) {
        const history_op *op = &ops[i];
        if (op->kind != HISTORY_LOAD || op->process == load->process || op->end_ns <= load->start_ns) continue;
        if (load->start_ns - op->start_ns >= rules->lease_ns) continue;
        if (!written_between(ops, count, op->start_ns, load->start_ns)) note(report, HISTORY_LOADED_TWICE, load, op);
    }
}

bool history_check(history_op *ops, size_t count, const history_rules *rules, history_report *report) {
    memset(report, 0, sizeof *report);
    qsort(ops, count, sizeof *ops, by_key_and_start);
    for (size_t begin = 0, end; begin < count; begin = end) {
        for (end = begin; end < count && ops[end].key == ops[begin].key; end++) {}
        for (size_t i = begin; i < end; i++) {
            if (ops[i].kind == HISTORY_READ) judge_read(ops + begin, end - begin, &ops[i], rules, report);
            if (ops[i].kind == HISTORY_LOAD && rules->lease_ns != 0)
                judge_load(ops + begin, end - begin, &ops[i], rules, report);
        }
    }
    for (size_t f = 0; f < HISTORY_FAULTS; f++) {
        if (report->faults[f] != 0) return false;
    }
    return true;
}

int history_read(const char *path, history_op **ops, size_t *count) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return -1;
    history_op op;
    while (fread(&op, sizeof op, 1, file) == 1) {
        if ((*count & (*count - 1)) == 0) { /* a power of two, or nothing yet: full */
            history_op *more = realloc(*ops, (*count == 0 ? 1 : 2 * *count) * sizeof op);
            if (more == NULL) break;
            *ops = more;
        }
        (*ops)[(*count)++] = op;
    }
    int failed = ferror(file) || !feof(file);
    fclose(file);
    return failed ? -1 : 0;
}
