/* SPDX-License-Identifier: Apache-2.0 */
/* Cases as tables: those whose rounds have the same numbers stand in one, a column per number. */
#include "bench/html/cases.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bench/html/chart.h"
#include "bench/median.h"

#define COLUMNS_MAX 24u
#define NAME_MAX_BYTES 64u
#define COLUMNS_SHOWN 9u

typedef struct columns {
    char names[COLUMNS_MAX][NAME_MAX_BYTES];
    uint32_t count;
} columns;

static void add_column(columns *all, const char *name) {
    for (uint32_t i = 0; i < all->count; i++)
        if (strcmp(all->names[i], name) == 0) return;
    if (all->count < COLUMNS_MAX && strlen(name) < NAME_MAX_BYTES) memcpy(all->names[all->count++], name, strlen(name) + 1);
}

static void add_numbers(columns *all, const json_t *object) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
        if (json_is_number(value)) add_column(all, key);
}

static const json_t *case_at(const json_t *root, size_t i) { return json_array_get(json_object_get(root, "cases"), i); }
static const json_t *rounds_of(const json_t *one) { return json_object_get(one, "rounds"); }

static bool has_suffix(const char *text, const char *suffix) {
    size_t size = strlen(text), end = strlen(suffix);
    return size >= end && strcmp(text + size - end, suffix) == 0;
}

/* The median of a number over a case's rounds; NAN where it has none. */
static double median_of(const json_t *one, const char *name) {
    size_t rounds = json_array_size(rounds_of(one)), count = 0;
    double *values = malloc((rounds + 1) * sizeof *values), middle;
    if (values == NULL) return NAN;
    for (size_t i = 0; i < rounds; i++) {
        const json_t *value = json_object_get(json_array_get(rounds_of(one), i), name);
        if (json_is_number(value)) values[count++] = json_number_value(value);
    }
    middle = bench_median(values, count);
    free(values);
    return middle;
}

/* Names end in their unit. */
static void print_number(FILE *out, const char *name, double value) {
    char text[48];
    if (!isfinite(value) || value < 0) fputs("<td>–</td>", out);
    else if (has_suffix(name, "_ns") || strcmp(name, "ns") == 0) fprintf(out, "<td>%s</td>", bench_say(BENCH_UNIT_NS, value, text, sizeof text));
    else if (has_suffix(name, "_us")) fprintf(out, "<td>%s</td>", bench_say(BENCH_UNIT_NS, 1000 * value, text, sizeof text));
    else if (has_suffix(name, "_bytes")) fprintf(out, "<td>%s</td>", bench_say(BENCH_UNIT_BYTES, value, text, sizeof text));
    else if (has_suffix(name, "millions_per_second")) fprintf(out, "<td>%.1f M/s</td>", value);
    else if (has_suffix(name, "per_second")) fprintf(out, "<td>%s/s</td>", bench_say(BENCH_UNIT_COUNT, value, text, sizeof text));
    else fprintf(out, "<td>%.4g</td>", value);
}

/* "p99_ns" without its unit, which stands with the number; of a relation, what is set in relation to what. */
static void print_title(FILE *out, const char *name) {
    static const char *const units[] = {"_ns", "_us", "millions_per_second"};
    static const char *const relations[][2] = {{"ratio", "ours / theirs"}, {"cpu_ratio", "cpu / client's"}, {"rate_ratio", "rate / client's"},
                                               {"p50_ratio", "p50 / round trip's"}, {"p99_ratio", "p99 / round trip's"}};
    size_t size = strlen(name);
    for (size_t i = 0; i < sizeof relations / sizeof relations[0]; i++)
        if (strcmp(name, relations[i][0]) == 0) {
            fprintf(out, "<th>%s</th>", relations[i][1]);
            return;
        }
    char text[NAME_MAX_BYTES];
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (has_suffix(name, units[i])) size = strlen(name) - strlen(units[i]);
    snprintf(text, sizeof text, "%.*s", (int)size, size == 0 || strcmp(name, "ns") == 0 ? "" : name);
    for (char *at = text; *at != '\0'; at++)
        if (*at == '_') *at = ' ';
    fputs("<th>", out);
    bench_html_text(out, text[0] != '\0' ? text : strcmp(name, "ns") == 0 ? "time" : "rate");
    fputs("</th>", out);
}

static void print_times(FILE *out, double times) { fprintf(out, times >= 99.5 ? "%.0f" : "%.3g", times); }

/* A relation to another case: "0.81 (0.77–0.9)". */
static void print_ratio(FILE *out, const json_t *one, const char *name) {
    char bound[NAME_MAX_BYTES + 8];
    const json_t *ratio = json_object_get(one, name);
    if (!json_is_number(ratio)) {
        fputs("<td>–</td>", out);
        return;
    }
    fputs("<td>", out);
    print_times(out, json_number_value(ratio));
    snprintf(bound, sizeof bound, "%s_low", name);
    const json_t *low = json_object_get(one, bound);
    snprintf(bound, sizeof bound, "%s_high", name);
    const json_t *high = json_object_get(one, bound);
    if (json_is_number(low) && json_is_number(high)) {
        fputs(" (", out);
        print_times(out, json_number_value(low));
        fputs("–", out);
        print_times(out, json_number_value(high));
        fputs(")", out);
    }
    fputs("</td>", out);
}

static void numbers_of(columns *numbers, const json_t *one) {
    *numbers = (columns){.count = 0};
    for (size_t i = 0; i < json_array_size(rounds_of(one)); i++) add_numbers(numbers, json_array_get(rounds_of(one), i));
}

static bool are_equal(const columns *a, const columns *b) {
    bool equal = a->count == b->count;
    for (uint32_t i = 0; equal && i < a->count; i++) equal = strcmp(a->names[i], b->names[i]) == 0;
    return equal;
}

/* Numbers that say nothing in any of these cases: failures that there were none of, what was not counted. */
static void drop_empty(columns *numbers, const json_t *root, const columns *group) {
    size_t count = json_array_size(json_object_get(root, "cases"));
    numbers->count = 0;
    for (uint32_t k = 0; k < group->count; k++) {
        bool any = false;
        for (size_t i = 0; i < count; i++) {
            columns its;
            numbers_of(&its, case_at(root, i));
            any = any || (are_equal(&its, group) && median_of(case_at(root, i), group->names[k]) > 0);
        }
        if (any || group->count == 1) add_column(numbers, group->names[k]);
    }
}

static void print_head(FILE *out, const columns *numbers, const columns *ratios) {
    fputs("<div class='scroll'><table class='cases'><tr><th>medians</th>", out);
    for (uint32_t i = 0; i < numbers->count; i++) print_title(out, numbers->names[i]);
    for (uint32_t i = 0; i < ratios->count; i++) print_title(out, ratios->names[i]);
    fputs("</tr>\n", out);
}

static void print_row(FILE *out, const json_t *one, const columns *numbers, const columns *ratios) {
    const char *name = json_string_value(json_object_get(one, "name"));
    fputs("<tr><td>", out);
    bench_html_text(out, name != NULL ? name : "");
    fputs("</td>", out);
    for (uint32_t i = 0; i < numbers->count; i++) print_number(out, numbers->names[i], median_of(one, numbers->names[i]));
    for (uint32_t i = 0; i < ratios->count; i++) print_ratio(out, one, ratios->names[i]);
    fputs("</tr>\n", out);
}

static bool has_any(const json_t *one, const columns *ratios) {
    for (uint32_t i = 0; i < ratios->count; i++)
        if (json_is_number(json_object_get(one, ratios->names[i]))) return true;
    return false;
}

static void print_rows(FILE *out, const json_t *root, const columns *group, const columns *numbers, const columns *ratios) {
    print_head(out, numbers, ratios);
    for (size_t i = 0; i < json_array_size(json_object_get(root, "cases")); i++) {
        columns its;
        numbers_of(&its, case_at(root, i));
        if (are_equal(&its, group) && (numbers->count > 0 || has_any(case_at(root, i), ratios))) print_row(out, case_at(root, i), numbers, ratios);
    }
    fputs("</table></div>\n", out);
}

/* All cases with the numbers of this group; done has those that stand in a table. */
static void print_table(FILE *out, const json_t *root, const columns *group, bool *done) {
    columns ratios = {.count = 0}, its, numbers;
    size_t count = json_array_size(json_object_get(root, "cases"));
    for (size_t i = 0; i < count; i++) {
        const char *key;
        json_t *value;
        numbers_of(&its, case_at(root, i));
        if (!are_equal(&its, group)) continue;
        json_object_foreach((json_t *)(uintptr_t)case_at(root, i), key, value)
            if (json_is_number(value) && has_suffix(key, "ratio") && strcmp(key, "hit_ratio") != 0) add_column(&ratios, key);
    }
    drop_empty(&numbers, root, group);
    /* Where both would be too wide for a screen, relations have a table of their own. */
    bool apart = ratios.count > 0 && numbers.count + 2 * ratios.count > COLUMNS_SHOWN;
    const columns none = {.count = 0};
    print_rows(out, root, group, &numbers, apart ? &none : &ratios);
    if (apart) print_rows(out, root, group, &none, &ratios);
    for (size_t i = 0; i < count; i++) {
        numbers_of(&its, case_at(root, i));
        if (are_equal(&its, group)) done[i] = true;
    }
}

void bench_html_cases(FILE *out, const json_t *root) {
    size_t count = json_array_size(json_object_get(root, "cases"));
    bool *done = calloc(count + 1, sizeof *done);
    for (size_t i = 0; done != NULL && i < count; i++) {
        columns numbers;
        numbers_of(&numbers, case_at(root, i));
        if (!done[i] && numbers.count > 0) print_table(out, root, &numbers, done);
    }
    free(done);
}

/* A field of a CSV file; names of cases have commas. */
static void write_text(FILE *out, const char *text) {
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

int bench_csv_cases(FILE *out, const json_t *root) {
    columns all = {.count = 0};
    size_t count = json_array_size(json_object_get(root, "cases"));
    for (size_t i = 0; i < count; i++)
        for (size_t r = 0; r < json_array_size(rounds_of(case_at(root, i))); r++) add_numbers(&all, json_array_get(rounds_of(case_at(root, i)), r));
    if (all.count == 0) return -1;
    fputs("case,round", out);
    for (uint32_t i = 0; i < all.count; i++) fprintf(out, ",%s", all.names[i]);
    fputc('\n', out);
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_object_get(case_at(root, i), "name"));
        for (size_t r = 0; r < json_array_size(rounds_of(case_at(root, i))); r++) {
            write_text(out, name != NULL ? name : "");
            fprintf(out, ",%zu", r + 1);
            for (uint32_t k = 0; k < all.count; k++) {
                const json_t *value = json_object_get(json_array_get(rounds_of(case_at(root, i)), r), all.names[k]);
                fputc(',', out);
                if (json_is_number(value)) fprintf(out, "%.12g", json_number_value(value));
            }
            fputc('\n', out);
        }
    }
    return 0;
}
