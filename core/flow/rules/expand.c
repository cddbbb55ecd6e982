/* SPDX-License-Identifier: Apache-2.0 */
/* What an event comes to: each key is matched with all rules, and what these name is added, keys to be matched in their turn. */
#include <string.h>

#include "core/flow/foreign.h"
#include "core/flow/rules/rules.h"

typedef struct span {
    uint32_t at, size;
} span;

/* Where the names of the source are in the key. A name ends before the first byte that is the source's next. */
static bool match(const sx_rules *rules, const sx_template *source, const uint8_t *key, uint32_t size, span *names) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < source->count; i++) {
        const sx_token *token = &rules->tokens[source->at + i];
        if (token->kind == SX_TOKEN_BYTE) {
            if (at == size || key[at] != token->byte) return false;
            at++;
            continue;
        }
        span *name = &names[token->byte];
        bool last = i + 1 == source->count;
        name->at = at;
        while (at < size && key[at] != ':' && (at == name->at || last || key[at] != token[1].byte)) at++;
        name->size = at - name->at;
        if (name->size == 0) return false;
    }
    return at == size;
}

/* Appends the text that a template makes; of a pattern, what a name stands for matches nothing but itself. */
static void make(const sx_rules *rules, const sx_target *target, const uint8_t *key, const span *names, sx_buf *out) {
    bool pattern = target->kind == SX_TARGET_PATTERN;
    for (uint32_t i = 0; i < target->text.count; i++) {
        const sx_token *token = &rules->tokens[target->text.at + i];
        const uint8_t *from = &token->byte;
        uint32_t size = 1;
        if (token->kind == SX_TOKEN_ANY) {
            sx_buf_append_byte(out, '*');
            continue;
        }
        if (token->kind == SX_TOKEN_NAME) {
            from = key + names[token->byte].at;
            size = names[token->byte].size;
        }
        for (uint32_t k = 0; k < size; k++) {
            if (pattern && strchr("*?[]\\^-", from[k]) != NULL && from[k] != 0) sx_buf_append_byte(out, '\\');
            sx_buf_append_byte(out, from[k]);
        }
    }
}

static size_t limit_of(sx_target_kind kind) {
    switch (kind) {
    case SX_TARGET_KEY: return STRATA_KEY_BYTES_MAX;
    case SX_TARGET_PATTERN: return STRATA_PATTERN_BYTES_MAX;
    case SX_TARGET_TAG: return STRATA_TAG_BYTES_MAX;
    case SX_TARGET_CLEAR: break;
    }
    return 0;
}

/* Takes what was appended behind `at` as a part, unless it is one already. */
static int32_t add(sx_parts *parts, sx_target_kind kind, strata_namespace *ns, uint32_t at) {
    uint32_t size = (uint32_t)parts->bytes.size - at;
    if (parts->bytes.failed) return STRATA_E_NOMEM;
    if (size > limit_of(kind)) return STRATA_E_KEY_SIZE;
    if ((kind == SX_TARGET_PATTERN || kind == SX_TARGET_CLEAR) && sx_namespace_is_foreign(ns)) return STRATA_E_FOREIGN;
    for (uint32_t i = 0; i < parts->count; i++) {
        const sx_part *part = &parts->parts[i];
        if (part->kind != kind || part->ns != ns || part->size != size) continue;
        if (size != 0 && memcmp(parts->bytes.data + part->at, parts->bytes.data + at, size) != 0) continue;
        parts->bytes.size = at;
        return STRATA_OK;
    }
    if (parts->count == STRATA_CASCADE_PARTS_MAX) return STRATA_E_OVERLOADED;
    parts->parts[parts->count++] = (sx_part){kind, ns, at, size};
    return STRATA_OK;
}

static int32_t apply(const sx_rules *rules, const sx_rule *rule, strata_namespace *ns, const uint8_t *key, const span *names, sx_parts *parts) {
    int32_t status = STRATA_OK;
    for (uint32_t i = 0; i < rule->target_count && status == STRATA_OK; i++) {
        const sx_target *target = &rules->targets[rule->target_at + i];
        uint32_t at = (uint32_t)parts->bytes.size;
        if (target->kind != SX_TARGET_CLEAR) make(rules, target, key, names, &parts->bytes);
        status = add(parts, target->kind, target->kind == SX_TARGET_TAG ? NULL : target->ns != NULL ? target->ns : ns, at);
    }
    return status;
}

int32_t sx_rules_expand(const sx_rules *rules, strata_namespace *ns, strata_bytes key, sx_parts *parts) {
    uint8_t copy[STRATA_KEY_BYTES_MAX]; /* the bytes of parts may move */
    span names[SX_RULE_NAMES_MAX];
    sx_buf_append(&parts->bytes, key.data, key.size);
    int32_t status = add(parts, SX_TARGET_KEY, ns, 0);
    for (uint32_t i = 0; i < parts->count && status == STRATA_OK && rules != NULL; i++) {
        sx_part part = parts->parts[i];
        if (part.kind != SX_TARGET_KEY) continue;
        memcpy(copy, parts->bytes.data + part.at, part.size);
        for (uint32_t k = 0; k < rules->rule_count && status == STRATA_OK; k++) {
            const sx_rule *rule = &rules->rules[k];
            if ((rule->ns == NULL || rule->ns == part.ns) && match(rules, &rule->source, copy, part.size, names))
                status = apply(rules, rule, part.ns, copy, names, parts);
        }
    }
    return status;
}
