/* SPDX-License-Identifier: Apache-2.0 */
/* Rules as they are kept: templates of bytes and names, parsed and checked once, matched for each event. Private to core/flow. */
#ifndef SX_CORE_FLOW_RULES_RULES_H
#define SX_CORE_FLOW_RULES_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/flow/engine.h"

extern const sx_option_table sx_rules_options;

#define SX_RULE_NAMES_MAX 8u

/* One byte of a template, or one of what is not bytes. */
typedef enum sx_token_kind { SX_TOKEN_BYTE, SX_TOKEN_NAME, SX_TOKEN_ANY } sx_token_kind;
typedef struct sx_token {
    uint8_t kind; /* sx_token_kind */
    uint8_t byte; /* or the number of the name, in the source */
} sx_token;
typedef struct sx_template {
    uint32_t at, count; /* of sx_rules.tokens */
} sx_template;

typedef enum sx_target_kind { SX_TARGET_KEY, SX_TARGET_PATTERN, SX_TARGET_TAG, SX_TARGET_CLEAR } sx_target_kind;
typedef struct sx_target {
    sx_target_kind kind;
    strata_namespace *ns; /* NULL: the source's, or none */
    sx_template text;
} sx_target;

typedef struct sx_rule {
    strata_namespace *ns; /* NULL: any */
    sx_template source;
    uint32_t target_at, target_count; /* of sx_rules.targets */
} sx_rule;

/* const once they are in force; lock: engine for who uses them, and for who puts others in their place */
typedef struct sx_rules {
    uint32_t rule_count, target_count, token_count;
    sx_rule rules[STRATA_RULES_MAX];
    sx_target targets[STRATA_RULES_BYTES_MAX / 2];
    sx_token tokens[STRATA_RULES_BYTES_MAX];
} sx_rules;

/* Parses text into rules, which are zero; opens the namespaces they name. STRATA_OK; STRATA_E_CONFIG; a failure to open. error: never
   NULL. */
int32_t sx_rules_parse(strata *engine, const char *text, sx_rules *rules, strata_error *error);

/* What an event comes to: its own key first, nothing twice. */
typedef struct sx_part {
    sx_target_kind kind;
    strata_namespace *ns; /* NULL: a tag */
    uint32_t at, size;    /* of sx_parts.bytes */
} sx_part;
typedef struct sx_parts {
    uint32_t count;
    sx_part parts[STRATA_CASCADE_PARTS_MAX];
    sx_buf bytes;
} sx_parts;
/* Expands (rules may be NULL). STRATA_OK; STRATA_E_KEY_SIZE; STRATA_E_OVERLOADED; STRATA_E_NOMEM. */
int32_t sx_rules_expand(const sx_rules *rules, strata_namespace *ns, strata_bytes key, sx_parts *parts);

/* cascade.c */
int32_t sx_cascades_open(strata *engine, strata_error *error); /* the rules of the configuration, and the log */
void sx_cascades_destroy(strata *engine);

#endif
