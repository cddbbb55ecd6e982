/* SPDX-License-Identifier: Apache-2.0 */
/* Rules from their text, and the proof that they end: no key that one makes may, by way of others, be matched by that one again. */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/flow/rules/rules.h"

typedef struct parser {
    strata *engine;
    sx_rules *rules;
    const char *text, *at;
    strata_error *error;
    /* of the present rule */
    strata_bytes names[SX_RULE_NAMES_MAX];
    uint32_t name_count;
} parser;

__attribute__((format(printf, 2, 3))) static int32_t refuse(parser *p, const char *format, ...) {
    char why[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    p->error->status = STRATA_E_CONFIG;
    (void)snprintf(p->error->text, sizeof p->error->text, "invalidation rule %u, at byte %zu: %s", (unsigned)p->rules->rule_count + 1,
                   (size_t)(p->at - p->text), why);
    return STRATA_E_CONFIG;
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static void skip(parser *p) {
    while (is_blank(*p->at)) p->at++;
}
static bool ends_text(char c) { return c == 0 || is_blank(c) || c == ',' || c == ';'; }

/* A word of the grammar, which a blank ends. */
static bool take_word(parser *p, const char *word) {
    size_t size = strlen(word);
    if (strncmp(p->at, word, size) != 0 || !is_blank(p->at[size])) return false;
    p->at += size;
    skip(p);
    return true;
}

/* The tokens are never more than the text's bytes. */
static void put(parser *p, sx_template *t, sx_token_kind kind, uint8_t byte) {
    p->rules->tokens[p->rules->token_count++] = (sx_token){(uint8_t)kind, byte};
    t->count++;
}

static int32_t parse_name(parser *p, sx_template *t, bool source) {
    const char *begin = p->at + 1, *end = begin;
    while ((*end >= 'a' && *end <= 'z') || (*end >= '0' && *end <= '9') || *end == '_') end++;
    if (end == begin || *end != '}') return refuse(p, "expected a name of a-z, 0-9 and '_' in braces");
    strata_bytes name = {begin, (size_t)(end - begin)};
    uint32_t number = 0;
    while (number < p->name_count && (p->names[number].size != name.size || memcmp(p->names[number].data, name.data, name.size) != 0)) number++;
    if (source && number < p->name_count) return refuse(p, "{%.*s} twice in a source", (int)name.size, (const char *)name.data);
    if (!source && number == p->name_count) return refuse(p, "{%.*s} is not in the rule's source", (int)name.size, (const char *)name.data);
    if (source && p->name_count == SX_RULE_NAMES_MAX) return refuse(p, "more than %u names in a source", SX_RULE_NAMES_MAX);
    if (source && t->count > 0 && p->rules->tokens[p->rules->token_count - 1].kind == SX_TOKEN_NAME)
        return refuse(p, "two names with nothing between them");
    if (source) p->names[p->name_count++] = name;
    put(p, t, SX_TOKEN_NAME, (uint8_t)number);
    p->at = end + 1;
    return STRATA_OK;
}

/* Bytes, {names} and, where it may be one, the '*' of a pattern. */
static int32_t parse_template(parser *p, sx_template *t, bool source, bool may_be_pattern) {
    *t = (sx_template){p->rules->token_count, 0};
    while (!ends_text(*p->at)) {
        int32_t status = STRATA_OK;
        if (*p->at == '{') {
            status = parse_name(p, t, source);
        } else if (*p->at == '}') {
            status = refuse(p, "'}' without '{'");
        } else if (*p->at == '*') {
            if (!may_be_pattern) return refuse(p, "'*' is for the keys of targets; write \\* for the byte");
            put(p, t, SX_TOKEN_ANY, 0);
            p->at++;
        } else {
            if (*p->at == '\\') p->at++;
            if (*p->at == 0) return refuse(p, "nothing behind '\\'");
            put(p, t, SX_TOKEN_BYTE, (uint8_t)*p->at++);
        }
        if (status != STRATA_OK) return status;
    }
    return t->count == 0 ? refuse(p, "expected a text") : STRATA_OK;
}

static int32_t parse_namespace(parser *p, strata_namespace **out) {
    char name[STRATA_NAMESPACE_BYTES_MAX + 1];
    size_t size = 0;
    while (!ends_text(p->at[size]) && p->at[size] != '@' && size < sizeof name - 1) size++;
    memcpy(name, p->at, size);
    name[size] = 0;
    const char *end = p->at + size;
    unsigned long version = 1;
    if (*end == '@') {
        char *after = NULL;
        version = end[1] >= '0' && end[1] <= '9' ? strtoul(end + 1, &after, 10) : ULONG_MAX;
        if (version > UINT32_MAX) return refuse(p, "the version of a namespace is 0 .. 4294967295");
        end = after;
    }
    if (!ends_text(*end)) return refuse(p, "expected the name of a namespace, or NAME@VERSION");
    int32_t status = strata_namespace_open(p->engine, name, (uint32_t)version, out);
    if (status == STRATA_E_INVALID) return refuse(p, "'%s' is no name of a namespace", name);
    if (status != STRATA_OK) {
        (void)refuse(p, "namespace '%s' can't be opened: %s", name, strata_status_text(status));
        return p->error->status = status;
    }
    p->at = end;
    skip(p);
    return STRATA_OK;
}

static bool has_any(const sx_rules *rules, const sx_template *t) {
    for (uint32_t i = 0; i < t->count; i++) {
        if (rules->tokens[t->at + i].kind == SX_TOKEN_ANY) return true;
    }
    return false;
}

static int32_t parse_target(parser *p) {
    sx_target *target = &p->rules->targets[p->rules->target_count];
    if (take_word(p, "clear")) {
        target->kind = SX_TARGET_CLEAR;
        int32_t status = parse_namespace(p, &target->ns);
        if (status == STRATA_OK) p->rules->target_count++;
        return status;
    }
    bool tag = take_word(p, "tag");
    int32_t status = parse_template(p, &target->text, false, !tag);
    if (status != STRATA_OK) return status;
    target->kind = tag ? SX_TARGET_TAG : has_any(p->rules, &target->text) ? SX_TARGET_PATTERN : SX_TARGET_KEY;
    skip(p);
    if (!tag && take_word(p, "in")) status = parse_namespace(p, &target->ns);
    p->rules->target_count++;
    return status;
}

static int32_t parse_rule(parser *p) {
    if (p->rules->rule_count == STRATA_RULES_MAX) return refuse(p, "more than %d rules", STRATA_RULES_MAX);
    sx_rule *rule = &p->rules->rules[p->rules->rule_count];
    p->name_count = 0;
    int32_t status = parse_template(p, &rule->source, true, false);
    skip(p);
    if (status == STRATA_OK && take_word(p, "in")) status = parse_namespace(p, &rule->ns);
    if (status != STRATA_OK) return status;
    if (!take_word(p, "->")) return refuse(p, "expected '->' behind the source");
    rule->target_at = p->rules->target_count;
    for (;;) {
        skip(p);
        status = parse_target(p);
        if (status != STRATA_OK) return status;
        skip(p);
        if (*p->at != ',') break;
        p->at++;
    }
    if (*p->at != ';' && *p->at != 0) return refuse(p, "expected ',' or ';'");
    rule->target_count = p->rules->target_count - rule->target_at;
    p->rules->rule_count++;
    return STRATA_OK;
}

/* ---- that they end --------------------------------------------------------------------------------------------- */

/* Templates as automata: a name is one byte that is no ':', and then any number of them. Whether some text is of both. */
typedef struct step {
    bool byte, more; /* one byte, or any number of those that are no ':' */
    uint8_t value;
} step;

static uint32_t steps_of(const sx_rules *rules, const sx_template *t, step *out) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        sx_token token = rules->tokens[t->at + i];
        out[count++] = token.kind == SX_TOKEN_BYTE ? (step){true, false, token.byte} : (step){false, false, 0};
        if (token.kind == SX_TOKEN_NAME) out[count++] = (step){false, true, 0};
    }
    return count;
}

static bool meet(step a, step b) {
    if (a.byte && b.byte) return a.value == b.value;
    return !(a.byte && a.value == ':') && !(b.byte && b.value == ':');
}

/* From the end: row i of the table says whether what follows step i of a has a text in common with what follows each step of b. */
static bool overlap(const step *a, uint32_t a_count, const step *b, uint32_t b_count, bool *below, bool *row) {
    for (uint32_t i = a_count + 1; i-- > 0;) {
        for (uint32_t j = b_count + 1; j-- > 0;) {
            bool good = i == a_count && j == b_count;
            if (i < a_count && a[i].more) good = good || below[j];
            if (j < b_count && b[j].more) good = good || row[j + 1];
            if (i < a_count && j < b_count && meet(a[i], b[j])) {
                if (a[i].more && b[j].more) {} /* one more byte of both leads nowhere else */
                else if (a[i].more) good = good || row[j + 1];
                else if (b[j].more) good = good || below[j];
                else good = good || below[j + 1];
            }
            row[j] = good;
        }
        memcpy(below, row, (b_count + 1) * sizeof *row);
    }
    return row[0];
}

/* Whether a key of one rule's targets may be a source of the other. A target of no namespace is of any that its source may be. */
static bool leads(const sx_rules *rules, const sx_rule *from, const sx_rule *to, step *steps, bool *tables) {
    enum { HALF = 2 * STRATA_RULES_BYTES_MAX };
    for (uint32_t i = 0; i < from->target_count; i++) {
        const sx_target *target = &rules->targets[from->target_at + i];
        if (target->kind != SX_TARGET_KEY) continue;
        const strata_namespace *ns = target->ns != NULL ? target->ns : from->ns;
        if (ns != NULL && to->ns != NULL && ns != to->ns) continue;
        uint32_t a = steps_of(rules, &target->text, steps), b = steps_of(rules, &to->source, steps + HALF);
        if (overlap(steps, a, steps + HALF, b, tables, tables + HALF + 1)) return true;
    }
    return false;
}

/* The longest chain from each rule, by relaxing as often as there may be links; one that still grows is a circle. */
static int32_t check_chains(parser *p, const uint64_t *next) {
    uint32_t depth[STRATA_RULES_MAX];
    for (uint32_t i = 0; i < p->rules->rule_count; i++) depth[i] = 1;
    for (uint32_t round = 0; round <= STRATA_RULES_DEPTH_MAX; round++) {
        for (uint32_t i = 0; i < p->rules->rule_count; i++) {
            for (uint32_t j = 0; j < p->rules->rule_count; j++) {
                if ((next[i] >> j & 1) == 0 || depth[j] + 1 <= depth[i]) continue;
                depth[i] = depth[j] + 1;
                if (depth[i] <= STRATA_RULES_DEPTH_MAX) continue;
                p->error->status = STRATA_E_CONFIG;
                (void)snprintf(p->error->text, sizeof p->error->text,
                               "invalidation rules %u and %u are part of a circle, or of a chain of more than %d rules", (unsigned)i + 1,
                               (unsigned)j + 1, STRATA_RULES_DEPTH_MAX);
                return STRATA_E_CONFIG;
            }
        }
    }
    return STRATA_OK;
}

static int32_t check_ends(parser *p) {
    const sx_alloc *alloc = &p->engine->alloc;
    enum { HALF = 2 * STRATA_RULES_BYTES_MAX };
    uint64_t next[STRATA_RULES_MAX] = {0};
    step *steps = sx_allocate_zero(alloc, 2 * HALF * sizeof *steps);
    bool *tables = sx_allocate_zero(alloc, 2 * (HALF + 1) * sizeof *tables);
    bool good = steps != NULL && tables != NULL;
    for (uint32_t i = 0; i < p->rules->rule_count && good; i++) {
        for (uint32_t j = 0; j < p->rules->rule_count; j++) {
            if (leads(p->rules, &p->rules->rules[i], &p->rules->rules[j], steps, tables)) next[i] |= UINT64_C(1) << j;
        }
    }
    if (steps != NULL) sx_release(alloc, steps, 2 * HALF * sizeof *steps);
    if (tables != NULL) sx_release(alloc, tables, 2 * (HALF + 1) * sizeof *tables);
    return good ? check_chains(p, next) : STRATA_E_NOMEM;
}
_Static_assert(STRATA_RULES_MAX <= 64, "a bit for each");

int32_t sx_rules_parse(strata *engine, const char *text, sx_rules *rules, strata_error *error) {
    parser p = {.engine = engine, .rules = rules, .text = text, .at = text, .error = error};
    if (strnlen(text, STRATA_RULES_BYTES_MAX + 1) > STRATA_RULES_BYTES_MAX) return refuse(&p, "the rules are longer than %u bytes", STRATA_RULES_BYTES_MAX);
    for (skip(&p); *p.at != 0; skip(&p)) {
        int32_t status = parse_rule(&p);
        if (status != STRATA_OK) return status;
        if (*p.at == ';') p.at++;
    }
    return check_ends(&p);
}
