/* SPDX-License-Identifier: Apache-2.0 */
/* Parses, checks and explains command lines from the tables of options.h. */
#include "bench/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *suffix;
    double factor;
    int bytes;
} units[] = {
    {"", 1, 0},          {"k", 1e3, 0},          {"m", 1e6, 0},  {"B", 1, 1},    {"KiB", 1024, 1},
    {"MiB", 1048576, 1}, {"GiB", 1073741824, 1}, {"KB", 1e3, 1}, {"MB", 1e6, 1}, {"GB", 1e9, 1},
};

/* A number and its unit from text[0 .. size - 1]; 0 on success. */
static int parse_number(const char *text, size_t size, int bytes, double *out) {
    char copy[64], *end;
    if (size == 0 || size >= sizeof copy || !(isdigit((unsigned char)text[0]) || text[0] == '.')) return -1;
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (copy[0] == '0' && (copy[1] == 'x' || copy[1] == 'X')) return -1;
    errno = 0;
    *out = strtod(copy, &end);
    if (end == copy || errno != 0 || !isfinite(*out)) return -1;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(end, units[i].suffix) == 0 && (!units[i].bytes || bytes)) {
            *out *= units[i].factor;
            return 0;
        }
    return -1;
}

static int in_range(const bench_option *row, double value) {
    return value >= row->min && value <= row->max;
}

static int parse_range(const bench_option *row, const char *text, bench_range *out) {
    size_t size = strcspn(text, ":");
    const char *dash = memchr(text, '-', size);
    bench_shape shape = BENCH_SHAPE_UNIFORM;
    double min, max;
    if (text[size] != '\0') {
        shape = strcmp(text + size, ":log") == 0 ? BENCH_SHAPE_LOG : BENCH_SHAPE_PARETO;
        if (strcmp(text + size, bench_shape_suffix(shape)) != 0) return -1;
    }
    if (parse_number(text, dash != NULL ? (size_t)(dash - text) : size, 1, &min) != 0) return -1;
    max = min;
    if (dash != NULL && parse_number(dash + 1, (size_t)(text + size - dash - 1), 1, &max) != 0) return -1;
    if (!in_range(row, min) || !in_range(row, max) || max < min || (shape != BENCH_SHAPE_UNIFORM && min < 1)) return -1;
    *out = (bench_range){(uint64_t)min, (uint64_t)max, shape};
    return 0;
}

static int parse_choice(const bench_option *row, const char *text, uint32_t *out) {
    size_t size = strlen(text);
    uint32_t index = 0;
    for (const char *at = row->choices; at != NULL; index++) {
        const char *end = strchr(at, '|');
        size_t length = end != NULL ? (size_t)(end - at) : strlen(at);
        if (length == size && memcmp(at, text, size) == 0) {
            *out = index;
            return 0;
        }
        at = end != NULL ? end + 1 : NULL;
    }
    return -1;
}

static int parse_value(const bench_option *row, const char *text, void *field) {
    double number;
    switch (row->kind) {
    case BENCH_OPTION_COUNT:
    case BENCH_OPTION_BYTES:
        if (parse_number(text, strlen(text), row->kind == BENCH_OPTION_BYTES, &number) != 0) return -1;
        if (!in_range(row, number) || number != floor(number)) return -1;
        *(uint64_t *)field = (uint64_t)number;
        return 0;
    case BENCH_OPTION_NUMBER:
        if (parse_number(text, strlen(text), 0, &number) != 0 || !in_range(row, number)) return -1;
        *(double *)field = number;
        return 0;
    case BENCH_OPTION_RANGE: return parse_range(row, text, field);
    case BENCH_OPTION_CHOICE: return parse_choice(row, text, field);
    case BENCH_OPTION_TEXT:
        if (text[0] == '\0') return -1;
        *(const char **)field = text;
        return 0;
    case BENCH_OPTION_LIST: {
        bench_list *list = field;
        if (text[0] == '\0' || list->count == BENCH_LIST_MAX) return -1;
        list->items[list->count++] = text;
        return 0;
    }
    case BENCH_OPTION_FLAG: *(uint8_t *)field = 1; return 0;
    }
    return -1;
}

static void say_number(double value, char *text, size_t size) {
    snprintf(text, size, value == floor(value) && fabs(value) < 1e15 ? "%.0f" : "%g", value);
}

static void refuse(const bench_option *row, const char *text, char *error, size_t size) {
    char min[32], max[32];
    say_number(row->min, min, sizeof min);
    say_number(row->max, max, sizeof max);
    if (row->kind == BENCH_OPTION_CHOICE)
        snprintf(error, size, "--%s: '%s' is none of %s", row->name, text, row->choices);
    else if (row->kind == BENCH_OPTION_TEXT || row->kind == BENCH_OPTION_LIST)
        snprintf(error, size, "--%s: %s", row->name,
                 text[0] == '\0' ? "the value is empty" : "given too many times");
    else
        snprintf(error, size, "--%s: '%s' is not %s in %s .. %s", row->name, text, row->argument, min, max);
}

static size_t find(const bench_option_table *table, const char *name, size_t size) {
    for (size_t i = 0; i < table->count; i++)
        if (strlen(table->rows[i].name) == size && memcmp(table->rows[i].name, name, size) == 0) return i;
    return table->count;
}

static void *field_of(const bench_option *row, void *settings) {
    return (char *)settings + row->offset;
}

static int check_rules(const bench_option_table *table, const bench_options_given *given, char *error,
                       size_t size) {
    for (size_t i = 0; i < table->rule_count; i++) {
        const bench_option_rule *rule = &table->rules[i];
        int other = bench_options_was_given(table, given, rule->other);
        if (!bench_options_was_given(table, given, rule->name) || other == (rule->rule == BENCH_RULE_NEEDS))
            continue;
        snprintf(error, size,
                 rule->rule == BENCH_RULE_NEEDS ? "--%s means nothing without --%s"
                                                : "--%s and --%s contradict each other",
                 rule->name, rule->other);
        return -1;
    }
    return 0;
}

static void fill_defaults(const bench_option_table *table, void *settings) {
    for (size_t i = 0; i < table->count; i++)
        if (table->rows[i].default_text != NULL)
            (void)parse_value(&table->rows[i], table->rows[i].default_text,
                              field_of(&table->rows[i], settings));
}

/* The preset that argv asks for, else the table's own; its words are right, for a test parses them. */
static int fill_preset(const bench_option_table *table, int argc, char *const *argv, void *settings, char *error,
                       size_t error_size) {
    const char *wanted = table->preset;
    for (int i = 0; i < argc && table->presets != NULL; i++) {
        if (strncmp(argv[i], "--preset=", 9) == 0) wanted = argv[i] + 9;
        else if (strcmp(argv[i], "--preset") == 0) wanted = i + 1 < argc ? argv[i + 1] : "";
    }
    if (wanted == NULL) return 0;
    for (size_t i = 0; i < table->preset_count; i++) {
        if (strcmp(table->presets[i].name, wanted) != 0) continue;
        for (const char *const *word = table->presets[i].words; *word != NULL; word++) {
            const bench_option *row = &table->rows[find(table, *word + 2, strlen(*word + 2))];
            if (parse_value(row, row->kind == BENCH_OPTION_FLAG ? "" : *++word, field_of(row, settings)) != 0) {
                snprintf(error, error_size, "preset %s: --%s is wrong", wanted, row->name);
                return -1;
            }
        }
        return 0;
    }
    snprintf(error, error_size, "--preset: there is none named '%s'", wanted);
    return -1;
}

/* A list that is given takes the place of the preset's. */
static void forget_preset(const bench_option *row, void *settings) {
    if (row->kind == BENCH_OPTION_LIST) ((bench_list *)field_of(row, settings))->count = 0;
}

bench_options_outcome bench_options_parse(const bench_option_table *table, int argc, char *const *argv,
                                          void *settings, bench_options_given *given, char *error,
                                          size_t error_size) {
    given->bits = 0;
    fill_defaults(table, settings);
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return BENCH_OPTIONS_HELP;
    if (fill_preset(table, argc, argv, settings, error, error_size) != 0) return BENCH_OPTIONS_WRONG;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (table->presets != NULL && strncmp(word, "--preset", 8) == 0 && (word[8] == '\0' || word[8] == '=')) {
            i += word[8] == '\0';
            continue;
        }
        if (strncmp(word, "--", 2) != 0) {
            snprintf(error, error_size, "'%s' is not an option", word);
            return BENCH_OPTIONS_WRONG;
        }
        const char *name = word + 2, *value = strchr(name, '=');
        size_t index = find(table, name, value != NULL ? (size_t)(value - name) : strlen(name));
        if (index == table->count) {
            snprintf(error, error_size, "unknown option %s", word);
            return BENCH_OPTIONS_WRONG;
        }
        const bench_option *row = &table->rows[index];
        if (row->kind == BENCH_OPTION_FLAG && value != NULL) {
            snprintf(error, error_size, "--%s takes no value", row->name);
            return BENCH_OPTIONS_WRONG;
        }
        if (row->kind != BENCH_OPTION_FLAG && value == NULL && i + 1 == argc) {
            snprintf(error, error_size, "--%s needs a value: %s", row->name, row->argument);
            return BENCH_OPTIONS_WRONG;
        }
        if (given->bits >> index & 1 && row->kind != BENCH_OPTION_LIST) {
            snprintf(error, error_size, "--%s is given twice", row->name);
            return BENCH_OPTIONS_WRONG;
        }
        const char *text = row->kind == BENCH_OPTION_FLAG ? "" : value != NULL ? value + 1 : argv[++i];
        if ((given->bits >> index & 1) == 0) forget_preset(row, settings);
        if (parse_value(row, text, field_of(row, settings)) != 0) {
            refuse(row, text, error, error_size);
            return BENCH_OPTIONS_WRONG;
        }
        given->bits |= UINT64_C(1) << index;
    }
    return check_rules(table, given, error, error_size) == 0 ? BENCH_OPTIONS_OK : BENCH_OPTIONS_WRONG;
}

int bench_options_refuse(const bench_option_table *table, const char *error) {
    fprintf(stderr, "%s: %s\nTry %s --help.\n", table->command, error, table->command);
    return BENCH_EXIT_USAGE;
}

bool bench_options_take(const bench_option_table *table, int argc, char *const *argv, void *settings, bench_options_given *given,
                        int *outcome) {
    char error[1024];
    switch (bench_options_parse(table, argc, argv, settings, given, error, sizeof error)) {
        case BENCH_OPTIONS_OK: return true;
        case BENCH_OPTIONS_HELP:
            bench_options_help(table, stdout);
            *outcome = BENCH_EXIT_GOOD;
            return false;
        default: *outcome = bench_options_refuse(table, error); return false;
    }
}

int bench_options_was_given(const bench_option_table *table, const bench_options_given *given,
                            const char *name) {
    size_t index = find(table, name, strlen(name));
    return index < table->count && (given->bits >> index & 1) != 0;
}

void bench_options_help(const bench_option_table *table, FILE *out) {
    fprintf(out, "usage: %s [options]\n\n%s\n", table->command, table->about);
    for (size_t i = 0; i < table->count; i++) {
        const bench_option *row = &table->rows[i];
        char left[80];
        if (row->section != NULL) fprintf(out, "\n%s\n", row->section);
        snprintf(left, sizeof left, "--%s%s%s", row->name, row->argument != NULL ? " " : "",
                 row->argument != NULL ? row->argument : "");
        fprintf(out, strlen(left) > 32 ? "  %s\n  %-32s  " : "  %-32s%s  ", left, "");
        fprintf(out, "%s", row->doc);
        if (row->kind == BENCH_OPTION_CHOICE) fprintf(out, " (%s)", row->choices);
        if (row->default_text != NULL) fprintf(out, " [%s]", row->default_text);
        fputc('\n', out);
    }
    fprintf(out, "\n  %-32s  %s\n", "--help", "this text");
    if (table->presets == NULL) return;
    fprintf(out, "\nPresets, --preset NAME; options that are given override them\n");
    for (size_t i = 0; i < table->preset_count; i++) {
        const bench_option_preset *preset = &table->presets[i];
        fprintf(out, "  %-16s  %s%s\n  %-16s ", preset->name, preset->doc,
                table->preset != NULL && strcmp(table->preset, preset->name) == 0 ? " [taken where none is given]" : "", "");
        for (const char *const *word = preset->words; *word != NULL; word++) fprintf(out, " %s", *word);
        fputc('\n', out);
    }
}

void bench_options_print(const bench_option *row, const void *settings, char *text, size_t text_size) {
    const void *field = (const char *)settings + row->offset;
    switch (row->kind) {
    case BENCH_OPTION_FLAG:
        snprintf(text, text_size, "%s", *(const uint8_t *)field ? "true" : "false");
        return;
    case BENCH_OPTION_COUNT:
    case BENCH_OPTION_BYTES: snprintf(text, text_size, "%" PRIu64, *(const uint64_t *)field); return;
    case BENCH_OPTION_NUMBER: snprintf(text, text_size, "%g", *(const double *)field); return;
    case BENCH_OPTION_RANGE: {
        const bench_range *range = field;
        snprintf(text, text_size, "%" PRIu64 "-%" PRIu64 "%s", range->min, range->max, bench_shape_suffix(range->shape));
        return;
    }
    case BENCH_OPTION_CHOICE: {
        const char *at = row->choices;
        for (uint32_t i = *(const uint32_t *)field; i > 0; i--) at = strchr(at, '|') + 1;
        snprintf(text, text_size, "%.*s", (int)strcspn(at, "|"), at);
        return;
    }
    case BENCH_OPTION_TEXT: {
        const char *value = *(const char *const *)field;
        snprintf(text, text_size, "%s", value != NULL ? value : "");
        return;
    }
    case BENCH_OPTION_LIST: {
        const bench_list *list = field;
        size_t used = 0;
        text[0] = '\0';
        for (uint32_t i = 0; i < list->count && used < text_size; i++)
            used += (size_t)snprintf(text + used, text_size - used, "%s%s", i > 0 ? " " : "", list->items[i]);
        return;
    }
    }
}
