/* SPDX-License-Identifier: Apache-2.0 */
/* The checker: key by key, each read against what had ended before it began: all writes, those of its own process, the
   versions that its process had seen, and what had been seen of L2. */
#include "tests/support/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <strata/strata.h>

const char *history_fault_name(history_fault fault) {
    static const char *const names[] = {"stale",        "older than said", "own write unseen",
                                        "version went back", "resurrected", "loaded twice",
                                        "filled twice", "undone",          "lost version served", "flushed version served",
                                        "forgotten", "swapped twice", "refused write seen", "overridden", "token went back", "held twice",
                                        "miscounted"};
    return fault < HISTORY_FAULTS ? names[fault] : "?";
}

/* What must be seen from a time on; ordered by it, the greatest value so far beside each. */
typedef struct fact {
    int64_t from_ns;
    uint64_t most;
    const history_op *op;
} fact;

typedef struct facts {
    fact *list;
    size_t count;
} facts;

/* One key's operations, and what is known of them. */
typedef struct view {
    const history_op *ops; /* by their beginning */
    size_t count;
    const history_rules *rules;
    history_report *report;
    facts scratch;
    const history_op **ends; /* by their end */
} view;

static int by_key_and_start(const void *left, const void *right) {
    const history_op *a = left, *b = right;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return a->start_ns < b->start_ns ? -1 : a->start_ns > b->start_ns;
}

static int by_end(const void *left, const void *right) {
    const history_op *a = *(const history_op *const *)left, *b = *(const history_op *const *)right;
    return a->end_ns < b->end_ns ? -1 : a->end_ns > b->end_ns;
}

static int by_from(const void *left, const void *right) {
    const fact *a = left, *b = right;
    return a->from_ns < b->from_ns ? -1 : a->from_ns > b->from_ns;
}

static void note(history_report *report, history_fault fault, const history_op *op, const history_op *other) {
    if (report->faults[fault]++ != 0) return;
    report->worst[fault][0] = *op;
    report->worst[fault][1] = *other;
}

static bool is_write(const history_op *op) { return op->kind == HISTORY_SET || op->kind == HISTORY_INVALIDATE; }

/* Not so what was answered as stale: its source says nothing of what is known of it. */
static bool is_from(const history_op *op, strata_source source) {
    return op->kind == HISTORY_READ && op->source == (uint8_t)source && op->allowed_ms == 0;
}

/* How old it may be beside what it is judged by. */
static int64_t allowed_ns(const history_op *read) { return read->allowed_ms * INT64_C(1000000); }

/* ---- losses ---- */

static uint64_t bit_of(const view *v) {
    uint32_t key = v->ops[0].key;
    return UINT64_C(1) << ((v->rules->partition_of != NULL ? v->rules->partition_of[key] : key) & 63);
}

/* The last loss of the key that touches that time, or such a failover that loses nothing; NULL none. */
static const history_loss *loss_within(const view *v, int64_t from_ns, int64_t to_ns, bool or_lossless) {
    const history_loss *found = NULL;
    uint64_t bit = bit_of(v);
    for (size_t i = 0; i < v->rules->loss_count; i++) {
        const history_loss *loss = &v->rules->losses[i];
        if ((loss->partitions & bit) == 0 || (loss->lossless && !or_lossless) || loss->to_ns < from_ns || loss->from_ns > to_ns) continue;
        if (found == NULL || loss->to_ns > found->to_ns) found = loss;
    }
    return found;
}

/* Whether somebody read from L2, after the loss, the very version that it might have taken. */
static bool survived(const view *v, const history_op *write, const history_loss *loss) {
    for (size_t i = 0; i < v->count; i++) {
        const history_op *op = &v->ops[i];
        if (is_from(op, STRATA_FROM_L2) && op->start_ns >= loss->to_ns && op->id == write->id && op->id != 0) return true;
    }
    return false;
}

/* From when on a write must be seen; INT64_MAX: perhaps never. */
static int64_t seen_from(const view *v, const history_op *write) {
    const history_loss *loss = loss_within(v, write->start_ns, write->end_ns, false);
    if (loss == NULL) return write->end_ns;
    if (!survived(v, write, loss)) return INT64_MAX;
    return loss->to_ns > write->end_ns ? loss->to_ns : write->end_ns;
}

/* ---- facts ---- */

static void add_fact(facts *f, int64_t from_ns, const history_op *op) {
    if (from_ns != INT64_MAX) f->list[f->count++] = (fact){from_ns, op->value, op};
}

static void order(facts *f) {
    qsort(f->list, f->count, sizeof *f->list, by_from);
    for (size_t i = 1; i < f->count; i++)
        if (f->list[i].most < f->list[i - 1].most) f->list[i].most = f->list[i - 1].most;
}

/* The first fact beyond that value; NULL where none is known by then. */
static const fact *missed(const facts *f, uint64_t value, int64_t by_ns) {
    size_t low = 0, high = f->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (f->list[middle].most > value) high = middle;
        else low = middle + 1;
    }
    return low < f->count && f->list[low].from_ns <= by_ns ? &f->list[low] : NULL;
}

/* ---- reads ---- */

/* Whether the value came from a loader that began before that invalidation and ended after it. */
static bool is_old_load(const view *v, const history_op *read, const history_op *invalidation) {
    for (size_t i = 0; i < v->count; i++) {
        const history_op *op = &v->ops[i];
        if (op->kind == HISTORY_LOAD && op->value == read->value && op->start_ns < invalidation->end_ns &&
            op->end_ns > invalidation->start_ns)
            return true;
    }
    return false;
}

/* When L2 was asked at the earliest: what this read joined began then. */
static int64_t asked_ns(const view *v, const history_op *read) {
    int64_t earliest_ns = read->start_ns;
    for (const history_op *op = read; op-- > v->ops && op->start_ns >= read->start_ns - v->rules->join_ns;) {
        bool reads = op->kind == HISTORY_READ || op->kind == HISTORY_FAILED_READ;
        if (reads && op->process == read->process && (op->end_ns >= read->start_ns || op->kind == HISTORY_FAILED_READ))
            earliest_ns = op->start_ns;
    }
    return earliest_ns;
}

static bool is_judged(const view *v, const history_op *read) {
    /* A loader's answer goes to those who asked before it could know. */
    if (read->kind != HISTORY_READ || read->source == STRATA_FROM_LOADER) return false;
    return read->source == STRATA_FROM_L1 || read->allowed_ms != 0 ||
           (!v->rules->sets_may_be_lost && loss_within(v, asked_ns(v, read), read->end_ns, true) == NULL);
}

/* blind: it misses a write of its own process, which is worse. */
static void judge_read(const view *v, const facts *writes, const history_op *read, bool blind) {
    bool stale = read->allowed_ms != 0, l1 = read->source == STRATA_FROM_L1 || stale;
    int64_t bound_ns = stale ? allowed_ns(read) : v->rules->bound_ns;
    const fact *first = missed(writes, read->value, read->start_ns);
    if (blind || first == NULL) return;
    int64_t age_ns = read->start_ns - first->from_ns;
    int64_t *oldest_ns = stale ? &v->report->oldest_stale_ns : &v->report->oldest_ns;
    if (l1 && age_ns > *oldest_ns) *oldest_ns = age_ns;
    if (!is_judged(v, read)) return;
    if (l1 && read->said_us != 0 && age_ns > ((int64_t)read->said_us + 1) * 1000)
        note(v->report, HISTORY_UNDERSTATED, read, first->op);
    bool tag = v->rules->tags_from != 0 && read->key >= v->rules->tags_from;
    if (l1 || tag ? age_ns <= bound_ns : first->from_ns > asked_ns(v, read)) return;
    bool back = first->op->kind == HISTORY_INVALIDATE && is_old_load(v, read, first->op);
    note(v->report, back ? HISTORY_RESURRECTED : HISTORY_STALE, read, first->op);
}

/* What a process has written, or was to have removed: it looks past that from then on. */
static bool is_own(const history_op *op) {
    return is_write(op) || (op->kind == HISTORY_FAILED_WRITE && op->invalidates);
}

static void judge_reads(view *v) {
    facts *f = &v->scratch;
    size_t places = v->count;
    bool *blind = calloc(places, sizeof *blind);
    if (blind == NULL) abort();
    for (size_t i = 0; i < places; i++) { /* own writes: per writing process, once */
        uint32_t process = v->ops[i].process;
        bool met = !is_own(&v->ops[i]);
        for (size_t j = 0; j < i && !met; j++) met = is_own(&v->ops[j]) && v->ops[j].process == process;
        if (met) continue;
        f->count = 0;
        for (size_t j = i; j < places; j++)
            if (is_own(&v->ops[j]) && v->ops[j].process == process)
                add_fact(f, is_write(&v->ops[j]) ? seen_from(v, &v->ops[j]) : v->ops[j].end_ns, &v->ops[j]);
        order(f);
        for (size_t j = i; j < places; j++) {
            const history_op *read = &v->ops[j];
            if (read->kind != HISTORY_READ || read->process != process) continue;
            const fact *first = missed(f, read->value, read->start_ns);
            if (first == NULL || (v->rules->loss_count != 0 && loss_within(v, read->start_ns, read->end_ns, true))) continue;
            blind[j] = true;
            note(v->report, HISTORY_OWN_WRITE, read, first->op);
        }
    }
    f->count = 0;
    for (size_t i = 0; i < places; i++) {
        if (!is_write(&v->ops[i])) continue;
        int64_t from_ns = seen_from(v, &v->ops[i]);
        v->report->writes++;
        v->report->lost_writes += from_ns == INT64_MAX;
        add_fact(f, from_ns, &v->ops[i]);
    }
    order(f);
    for (size_t i = 0; i < places; i++)
        if (v->ops[i].kind == HISTORY_READ) judge_read(v, f, &v->ops[i], blind[i]);
    free(blind);
}

/* ---- what is repeated ---- */

/* Whether an invalidation is its process's to repeat: it failed, or a failover may have lost it. */
static bool is_repeated(const view *v, const history_op *op) {
    if (op->kind == HISTORY_FAILED_WRITE) return op->invalidates != 0;
    return op->kind == HISTORY_INVALIDATE && loss_within(v, op->start_ns, op->end_ns, false) != NULL;
}

/* From when on that must have happened; INT64_MAX: perhaps never. */
static int64_t repeated_from(const view *v, const history_op *op) {
    const history_rules *rules = v->rules;
    const history_loss *loss = loss_within(v, op->start_ns, op->end_ns, false);
    int64_t from_ns = loss != NULL && loss->to_ns > op->end_ns ? loss->to_ns : op->end_ns;
    size_t i = 0;
    while (i < rules->repeated_count && rules->repeated_ns[i] < from_ns) i++;
    if (i == rules->repeated_count) return INT64_MAX;
    int64_t killed_ns = op->process < rules->killed_count ? rules->killed_ns[op->process] : 0;
    return killed_ns != 0 && killed_ns < rules->repeated_ns[i] ? INT64_MAX : rules->repeated_ns[i];
}

static void judge_repeated(view *v) {
    facts *f = &v->scratch;
    f->count = 0;
    for (size_t i = 0; i < v->count; i++)
        if (is_repeated(v, &v->ops[i])) add_fact(f, repeated_from(v, &v->ops[i]), &v->ops[i]);
    order(f);
    for (size_t i = 0; i < v->count && f->count != 0; i++) {
        const history_op *read = &v->ops[i];
        if (!is_judged(v, read)) continue;
        const fact *first = missed(f, read->value, asked_ns(v, read) - allowed_ns(read));
        if (first != NULL) note(v->report, HISTORY_FORGOTTEN, read, first->op);
    }
}

/* ---- versions ---- */

#define PROCESSES 256

static void judge_versions(view *v) {
    static const history_op *newest[PROCESSES];
    memset(newest, 0, sizeof newest);
    for (size_t i = 0, ended = 0; i < v->count; i++) {
        const history_op *read = &v->ops[i];
        for (; ended < v->count && v->ends[ended]->end_ns <= read->start_ns; ended++) {
            const history_op *op = v->ends[ended], **mine = &newest[op->process % PROCESSES];
            if (op->kind != HISTORY_READ || op->n == 0) continue;
            bool anew = *mine == NULL || (*mine)->process != op->process ||
                        loss_within(v, (*mine)->start_ns, op->end_ns, true) != NULL;
            if (anew || op->n > (*mine)->n) *mine = op;
        }
        const history_op *mine = newest[read->process % PROCESSES];
        if (read->kind != HISTORY_READ || read->n == 0 || mine == NULL || mine->process != read->process) continue;
        if (mine->n > read->n && loss_within(v, mine->start_ns, read->end_ns, true) == NULL)
            note(v->report, HISTORY_BACK, read, mine);
    }
}

/* ---- what was seen of L2 ---- */

static bool is_version(const history_op *op) {
    return op->id != 0 && (op->kind == HISTORY_SET || op->kind == HISTORY_READ);
}

/* When a version had been seen first; INT64_MAX never. */
static int64_t known_ns(const view *v, uint64_t id) {
    for (size_t i = 0; i < v->count; i++)
        if (is_version(v->ends[i]) && v->ends[i]->id == id) return v->ends[i]->end_ns;
    return INT64_MAX;
}

/* L1 answers a value; since witness, L2 was known to have an older one. */
static void judge_revived(const view *v, const history_op *const *witnesses, size_t count, const history_op *read) {
    static uint64_t last_id; /* most reads are of the version that the one before them read */
    static int64_t known;
    static const history_op *of;
    bool asked = of == v->ops && last_id == read->id;
    for (size_t i = 0; i < count; i++) {
        const history_op *witness = witnesses[i];
        if (witness->end_ns >= read->start_ns - v->rules->bound_ns || witness->value >= read->value) continue;
        if (!asked) known = known_ns(v, read->id);
        asked = true;
        last_id = read->id;
        of = v->ops;
        if (known >= asked_ns(v, witness)) continue;
        note(v->report, HISTORY_REVIVED, read, witness);
        return;
    }
}

/* The newest flush of the key that was over by then; NULL none. */
static const history_loss *flush_before(const view *v, int64_t by_ns) {
    const history_loss *found = NULL;
    uint64_t bit = bit_of(v);
    for (size_t i = 0; i < v->rules->flush_count; i++) {
        const history_loss *flush = &v->rules->flushes[i];
        if ((flush->partitions & bit) != 0 && flush->to_ns <= by_ns && (found == NULL || flush->to_ns > found->to_ns)) found = flush;
    }
    return found;
}

/* A version is known when somebody has first seen it. */
static void judge_flushed(view *v) {
    uint64_t last_id = 0;
    const history_op *first = NULL;
    for (size_t i = 0; i < v->count && v->rules->flush_count != 0; i++) {
        const history_op *read = &v->ops[i];
        if (!is_from(read, STRATA_FROM_L1) || read->id == 0) continue;
        const history_loss *flush = flush_before(v, read->start_ns - v->rules->bound_ns);
        if (flush == NULL) continue;
        if (read->id != last_id) {
            first = NULL;
            for (size_t k = 0; k < v->count && first == NULL; k++)
                if (is_version(v->ends[k]) && v->ends[k]->id == read->id) first = v->ends[k];
            last_id = read->id;
        }
        /* Its replica may have taken over without having heard of it. */
        if (first == NULL || first->end_ns >= flush->from_ns) continue;
        if (loss_within(v, flush->from_ns, read->end_ns, false) == NULL) note(v->report, HISTORY_FLUSHED, read, first);
    }
}

/* Whether a write of unknown outcome wrote that value: it may have happened after whatever was read before. */
static bool is_late(const view *v, const history_op *read) {
    for (const history_op *op = read; op-- > v->ops;)
        if (op->kind == HISTORY_FAILED_WRITE && op->value == read->value) return true;
    return false;
}

static void judge_l2(view *v) {
    facts *f = &v->scratch;
    const history_op **witnesses = calloc(v->count, sizeof *witnesses);
    size_t count = 0;
    if (witnesses == NULL) abort();
    f->count = 0;
    for (size_t i = 0; i < v->count; i++)
        if (is_version(&v->ops[i])) add_fact(f, v->ops[i].end_ns, &v->ops[i]);
    order(f);
    for (size_t i = 0; i < v->count; i++) {
        const history_op *read = &v->ops[i];
        if (!is_from(read, STRATA_FROM_L2) || read->id == 0 || !is_judged(v, read)) continue;
        int64_t asked = asked_ns(v, read);
        const fact *first = missed(f, read->value, asked);
        if (first == NULL || first->op->id == read->id) continue;
        if (loss_within(v, first->op->start_ns, read->end_ns, false) == NULL) {
            if (first->op->kind == HISTORY_READ && !is_late(v, read)) note(v->report, HISTORY_UNDONE, read, first->op); /* else it is stale */
        } else {
            witnesses[count++] = read;
        }
    }
    for (size_t i = 0; i < v->count && count > 0; i++)
        if (is_from(&v->ops[i], STRATA_FROM_L1) && v->ops[i].id != 0) judge_revived(v, witnesses, count, &v->ops[i]);
    free(witnesses);
}

/* ---- loads ---- */

static bool written_between(const view *v, int64_t from_ns, int64_t to_ns) {
    for (size_t i = 0; i < v->count; i++) {
        bool writes = is_write(&v->ops[i]) || v->ops[i].kind == HISTORY_FAILED_WRITE;
        if (writes && v->ops[i].start_ns <= to_ns && v->ops[i].end_ns >= from_ns) return true;
    }
    return false;
}

static bool is_calm(const history_rules *rules, int64_t from_ns, int64_t to_ns) {
    if (rules->calm == NULL) return true;
    for (size_t i = 0; i < rules->calm_count; i++)
        if (rules->calm[i].from_ns <= from_ns && to_ns <= rules->calm[i].to_ns) return true;
    return false;
}

static void judge_loads(view *v, const history_op **loads) {
    size_t count = 0;
    for (size_t i = 0; i < v->count; i++) {
        const history_op *load = &v->ops[i];
        if (load->kind != HISTORY_LOAD) continue;
        for (size_t k = count; k-- > 0;) {
            const history_op *op = loads[k];
            if (op->end_ns <= load->start_ns) continue;
            if (op->filled && load->filled && loss_within(v, op->start_ns, load->end_ns, false) == NULL)
                note(v->report, HISTORY_FILLED_TWICE, load, op);
            if (v->rules->lease_ns == 0 || op->process == load->process) continue;
            if (v->rules->patience_ns != 0 && (int64_t)load->said_us * 1000 >= v->rules->patience_ns) continue;
            if (load->start_ns - op->start_ns < v->rules->lease_ns && is_calm(v->rules, op->start_ns, load->start_ns) &&
                !written_between(v, op->start_ns - v->rules->join_ns, load->start_ns)) /* since it asked for its lease */
                note(v->report, HISTORY_LOADED_TWICE, load, op);
        }
        size_t kept = 0; /* those that still run */
        for (size_t k = 0; k < count; k++)
            if (loads[k]->end_ns > load->start_ns) loads[kept++] = loads[k];
        loads[kept] = load;
        count = kept + 1;
    }
}

/* ---- what many share ---- */

static bool touches(const view *v, const history_loss *list, size_t count, int64_t from_ns, int64_t to_ns) {
    for (size_t i = 0; i < count; i++)
        if ((list[i].partitions & bit_of(v)) != 0 && list[i].from_ns <= to_ns && list[i].to_ns >= from_ns) return true;
    return false;
}

/* Whether a server may have forgotten of the key what stood there in that time. */
static bool may_be_gone(const view *v, int64_t from_ns, int64_t to_ns) {
    const history_rules *rules = v->rules;
    return loss_within(v, from_ns, to_ns, false) != NULL || touches(v, rules->flushes, rules->flush_count, from_ns, to_ns) ||
           touches(v, rules->evictions, rules->eviction_count, from_ns, to_ns);
}

static void judge_swaps(const view *v) {
    for (size_t i = 0; i < v->count; i++) {
        const history_op *op = &v->ops[i];
        bool swaps = op->kind == HISTORY_REFUSED || (op->kind == HISTORY_SET && op->before != 0);
        for (size_t k = 0; k < v->count && swaps; k++) {
            const history_op *other = &v->ops[k];
            if (op->kind == HISTORY_REFUSED && other->kind == HISTORY_READ && other->written != 0 && other->value == op->value)
                note(v->report, HISTORY_REFUSED_SEEN, other, op);
            if (k >= i || op->kind != HISTORY_SET || other->kind != HISTORY_SET || op->before != other->before) continue;
            if (loss_within(v, other->start_ns, op->end_ns, false) == NULL) note(v->report, HISTORY_SWAPPED_TWICE, op, other);
        }
    }
}

#define REPLAYED_NS INT64_C(10000000000) /* by then an invalidation is repeated that failed, or that a failover lost */

/* What its writer did to the key right before. NULL: it is not known to have stored the value that stands there then. */
static const history_op *stored_before(const view *v, const history_op *write) {
    for (const history_op *op = write; op-- > v->ops && op->start_ns >= write->start_ns - REPLAYED_NS;) {
        if (op->kind == HISTORY_SET && op->process == write->process) return op;
        if (is_write(op) || op->kind == HISTORY_FAILED_WRITE) return NULL;
    }
    return NULL;
}

static bool is_owed_since(const view *v, const history_op *write) {
    for (const history_op *op = write; op-- > v->ops && op->start_ns >= write->start_ns - REPLAYED_NS;)
        if (op->kind == HISTORY_FAILED_WRITE) return true;
    return may_be_gone(v, write->start_ns - REPLAYED_NS, write->end_ns);
}

static void judge_yielding(const view *v) {
    for (size_t i = 0; i < v->count; i++) {
        const history_op *op = &v->ops[i], *stored = op->kind == HISTORY_SET && op->yields != 0 ? stored_before(v, op) : NULL;
        if (stored != NULL && !is_owed_since(v, op)) note(v->report, HISTORY_OVERRIDDEN, op, stored);
    }
}

/* Each value is greater than all that had been answered before it was asked for. Tokens are so whatever a server forgets. */
static void judge_growth(const view *v, history_kind kind, history_fault fault) {
    const history_op *most = NULL;
    for (size_t i = 0, ended = 0; i < v->count; i++) {
        const history_op *op = &v->ops[i];
        for (; ended < v->count && v->ends[ended]->end_ns <= op->start_ns; ended++) {
            const history_op *before = v->ends[ended];
            if (before->kind != (uint8_t)kind) continue;
            bool anew = most == NULL || (kind == HISTORY_COUNTED && may_be_gone(v, most->start_ns, before->end_ns));
            if (anew || before->value > most->value) most = before;
        }
        if (op->kind != (uint8_t)kind) continue;
        if (kind == HISTORY_COUNTED && op->value > op->n) note(v->report, fault, op, op);
        bool gone = most != NULL && kind == HISTORY_COUNTED && may_be_gone(v, most->start_ns, op->end_ns);
        if (most != NULL && op->value <= most->value && !gone) note(v->report, fault, op, most);
    }
}

static void judge_held(const view *v) {
    for (size_t i = 0; i < v->count; i++) {
        const history_op *first = &v->ops[i];
        for (size_t k = i + 1; k < v->count && first->kind == HISTORY_HELD && v->ops[k].start_ns < first->end_ns; k++) {
            const history_op *second = &v->ops[k];
            /* It was asked for before it was held. */
            if (second->kind == HISTORY_HELD && !may_be_gone(v, first->start_ns - v->rules->join_ns, second->start_ns))
                note(v->report, HISTORY_HELD_TWICE, second, first);
        }
    }
}

/* ---- all of it ---- */

static void check_key(view *v) {
    v->scratch.list = calloc(v->count, sizeof *v->scratch.list);
    v->ends = calloc(v->count, sizeof *v->ends);
    const history_op **loads = calloc(v->count, sizeof *loads);
    if (v->scratch.list == NULL || v->ends == NULL || loads == NULL) abort();
    for (size_t i = 0; i < v->count; i++) v->ends[i] = &v->ops[i];
    qsort(v->ends, v->count, sizeof *v->ends, by_end);
    judge_reads(v);
    judge_repeated(v);
    judge_versions(v);
    judge_l2(v);
    judge_flushed(v);
    judge_loads(v, loads);
    judge_swaps(v);
    judge_yielding(v);
    judge_growth(v, HISTORY_TOKEN, HISTORY_TOKEN_BACK);
    judge_growth(v, HISTORY_COUNTED, HISTORY_MISCOUNTED);
    judge_held(v);
    free(loads);
    free(v->ends);
    free(v->scratch.list);
}

bool history_check(history_op *ops, size_t count, const history_rules *rules, history_report *report) {
    memset(report, 0, sizeof *report);
    qsort(ops, count, sizeof *ops, by_key_and_start);
    for (size_t begin = 0, end; begin < count; begin = end) {
        for (end = begin; end < count && ops[end].key == ops[begin].key; end++) {}
        view v = {.ops = ops + begin, .count = end - begin, .rules = rules, .report = report};
        check_key(&v);
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
