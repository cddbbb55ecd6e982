/* SPDX-License-Identifier: Apache-2.0 */
/* Option values as text: strict reading with units, range and choices, and printing back in one canonical form. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/config/values.h"
#include "core/time/clock.h"

typedef struct unit {
    const char *name;
    int64_t factor;
} unit;

/* From small to large. */
static const unit byte_units[] = {{"", 1},
                                  {"KiB", INT64_C(1) << 10},
                                  {"MiB", INT64_C(1) << 20},
                                  {"GiB", INT64_C(1) << 30},
                                  {"TiB", INT64_C(1) << 40},
                                  {NULL, 0}};
static const unit duration_units[] = {
    {"us", SX_NS_PER_US},      {"ms", SX_NS_PER_MS},       {"s", SX_NS_PER_S}, {"m", 60 * SX_NS_PER_S},
    {"h", 3600 * SX_NS_PER_S}, {"d", 86400 * SX_NS_PER_S}, {NULL, 0}};
static const unit integer_units[] = {{"", 1}, {NULL, 0}};
static const unit percent_units[] = {{"", 1}, {"%", 1}, {NULL, 0}};

static const unit *units_of(sx_option_type type) {
    switch (type) {
    case SX_OPTION_BYTES: return byte_units;
    case SX_OPTION_DURATION: return duration_units;
    case SX_OPTION_PERCENT: return percent_units;
    default: return integer_units;
    }
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

/* Digits with an optional minus, then one of the units. Too large for int64_t is out of range, not malformed. */
static sx_option_fault parse_number(const unit *units, const char *text, size_t size, int64_t *number) {
    bool negative = size > 0 && text[0] == '-';
    size_t at = negative;
    uint64_t magnitude = 0;
    bool huge = false;
    while (at < size && text[at] >= '0' && text[at] <= '9') {
        huge |= magnitude > (UINT64_MAX - 9) / 10;
        magnitude = magnitude * 10 + (uint64_t)(text[at] - '0');
        at++;
    }
    if (at == (size_t)negative) return SX_OPTION_MALFORMED;
    while (units->name != NULL &&
           (strlen(units->name) != size - at || memcmp(units->name, text + at, size - at) != 0)) {
        units++;
    }
    if (units->name == NULL) return SX_OPTION_MALFORMED;
    if (huge || magnitude > (uint64_t)(INT64_MAX / units->factor)) return SX_OPTION_OUT_OF_RANGE;
    *number = (int64_t)magnitude * units->factor;
    if (negative) *number = -*number;
    return SX_OPTION_FINE;
}

static bool equals(const char *text, size_t size, const char *word, size_t word_size) {
    return size == word_size && memcmp(text, word, size) == 0;
}

static sx_option_fault parse_boolean(const char *text, size_t size, int64_t *number) {
    bool yes = equals(text, size, "true", 4) || equals(text, size, "on", 2);
    if (!yes && !equals(text, size, "false", 5) && !equals(text, size, "off", 3)) return SX_OPTION_MALFORMED;
    *number = yes;
    return SX_OPTION_FINE;
}

static sx_option_fault parse_choice(const char *choices, const char *text, size_t size, int64_t *number) {
    for (int64_t index = 0;; index++) {
        size_t length = strcspn(choices, "|");
        if (equals(text, size, choices, length)) {
            *number = index;
            return SX_OPTION_FINE;
        }
        if (choices[length] == '\0') return SX_OPTION_MALFORMED;
        choices += length + 1;
    }
}

sx_option_fault sx_option_parse(const sx_option *option, const char *text, size_t size, int64_t *number) {
    int64_t value = 0;
    switch (option->type) {
    case SX_OPTION_BOOLEAN: return parse_boolean(text, size, number);
    case SX_OPTION_CHOICE: return parse_choice(option->choices, text, size, number);
    case SX_OPTION_STRING:
    case SX_OPTION_SECRET:
        for (size_t i = 0; i < size; i++) { /* a file's line could not hold them */
            if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) return SX_OPTION_CONTROL_CHARACTER;
        }
        if (size > INT64_MAX || (int64_t)size < option->min || (int64_t)size > option->max) {
            return SX_OPTION_OUT_OF_RANGE;
        }
        *number = 0;
        return SX_OPTION_FINE;
    default: break;
    }
    sx_option_fault fault = parse_number(units_of(option->type), text, size, &value);
    if (fault != SX_OPTION_FINE) return fault;
    if (value < option->min || value > option->max) return SX_OPTION_OUT_OF_RANGE;
    if (option->power_of_two && (value <= 0 || (value & (value - 1)) != 0)) return SX_OPTION_NOT_POWER_OF_TWO;
    *number = value;
    return SX_OPTION_FINE;
}

/* ---- printing ------------------------------------------------------------------------------------------------- */

static void print_choice(const char *choices, int64_t index, char *text, size_t text_size) {
    for (; index > 0; index--) choices += strcspn(choices, "|") + 1;
    (void)snprintf(text, text_size, "%.*s", (int)strcspn(choices, "|"), choices);
}

void sx_option_print(const sx_option *option, int64_t number, char *text, size_t text_size) {
    if (option->type == SX_OPTION_BOOLEAN) {
        (void)snprintf(text, text_size, "%s", number != 0 ? "true" : "false");
        return;
    }
    if (option->type == SX_OPTION_CHOICE) {
        print_choice(option->choices, number, text, text_size);
        return;
    }
    const unit *units = units_of(option->type);
    const unit *best = NULL;
    const char *zero = option->type == SX_OPTION_DURATION  ? "s"
                       : option->type == SX_OPTION_PERCENT ? "%"
                                                           : "";
    for (const unit *u = units; u->name != NULL; u++) {
        if (number % u->factor == 0) best = u;
    }
    if (number == 0) {
        (void)snprintf(text, text_size, "0%s", zero);
    } else if (best != NULL) {
        (void)snprintf(text, text_size, "%" PRId64 "%s", number / best->factor, best->name);
    } else { /* only a bound of a table, no value can be read so */
        (void)snprintf(text, text_size, "%" PRId64 "ns", number);
    }
}

void sx_option_print_range(const sx_option *option, char *text, size_t text_size) {
    char low[32], high[32];
    switch (option->type) {
    case SX_OPTION_BOOLEAN: (void)snprintf(text, text_size, "true|false|on|off"); return;
    case SX_OPTION_CHOICE: (void)snprintf(text, text_size, "%s", option->choices); return;
    case SX_OPTION_STRING:
    case SX_OPTION_SECRET:
        (void)snprintf(text, text_size, "%" PRId64 " .. %" PRId64 " bytes", option->min, option->max);
        return;
    default: break;
    }
    sx_option_print(option, option->min, low, sizeof low);
    sx_option_print(option, option->max, high, sizeof high);
    (void)snprintf(text, text_size, "%s .. %s%s", low, high, option->power_of_two ? ", a power of two" : "");
}

const char *sx_option_noun(const sx_option *option) {
    switch (option->type) {
    case SX_OPTION_INTEGER: return "an integer";
    case SX_OPTION_BYTES: return "a size";
    case SX_OPTION_DURATION: return "a duration";
    case SX_OPTION_PERCENT: return "a percentage";
    case SX_OPTION_BOOLEAN: return "a boolean";
    case SX_OPTION_CHOICE: return "one of the choices";
    default: return "a text";
    }
}
