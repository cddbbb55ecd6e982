/* SPDX-License-Identifier: Apache-2.0 */
/* One table of what changed between two sides, each one or several result files; and conditions that make it fail. */
#include "bench/compare/compare.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bench/compare/metrics.h"
#include "bench/tiered.h"

#define CONDITIONS_MAX 32u

static const char help[] =
    "usage: strata-bench compare A.json[,A2.json...] B.json[,B2.json...] [--fail-if 'METRIC>+N%']... [--all]\n\n"
    "Shows how the medians of B differ from those of A. Several files of a side, and the rounds within a file, are samples:\n"
    "from three a side on, the 95 % interval of the ratio (by resampling) stands beside it, and a change whose interval\n"
    "holds no change is printed as '~'. With fewer samples 'better?' and 'WORSE?' may be noise.\n\n"
    "  --fail-if COND  exit status 1 where the condition holds: a metric, > or <, and a signed change in percent, as in\n"
    "                  'l2_hit.p99>+5%' or 'operations_per_second<-3%'. A change that could be noise (its interval holds no\n"
    "                  change) does not count. Repeatable. A metric may be named without its beginning and unit.\n"
    "  --all           also metrics that changed by less than 1 %, and counts\n\n"
    "Exit status: 0 fine, 1 a condition holds, 2 wrong command line, 3 a file can't be read.\n";

typedef struct condition {
    const char *text;
    char metric[BENCH_METRIC_NAME_BYTES];
    bool above;
    double percent;
    uint32_t matches;
    bool holds;
} condition;

typedef struct comparison {
    bench_metrics a, b;
    condition conditions[CONDITIONS_MAX];
    uint32_t condition_count;
    bool all;
} comparison;

static bool parse_condition(const char *text, condition *out) {
    size_t size = strcspn(text, "<>");
    char *end;
    if (size == 0 || size >= sizeof out->metric || text[size] == '\0') return false;
    out->text = text;
    memcpy(out->metric, text, size);
    out->metric[size] = '\0';
    out->above = text[size] == '>';
    const char *number = text + size + 1;
    if (*number != '+' && *number != '-') return false;
    out->percent = strtod(number, &end);
    return end != number && strcmp(end, "%") == 0 && isfinite(out->percent);
}

/* What is known of one metric on both sides. */
typedef struct change {
    double before, after, ratio, low, high;
    bool sure; /* there is an interval */
    bool zero; /* it was 0 on both sides */
} change;

static change change_of(const bench_metric *a, const bench_metric *b) {
    change c = {.before = bench_metric_median(a), .after = bench_metric_median(b)};
    c.sure = bench_metric_ratio(a, b, &c.ratio, &c.low, &c.high);
    c.zero = c.before == 0 && c.after == 0;
    return c;
}

/* Nothing is known to have changed. */
static bool could_be_noise(const change *c) { return c->zero || (c->sure && c->low <= 1 && c->high >= 1); }

static void judge(comparison *all, const bench_metric *metric, const change *c) {
    for (uint32_t i = 0; i < all->condition_count; i++) {
        condition *one = &all->conditions[i];
        if (!bench_metric_is_meant(metric, one->metric)) continue;
        one->matches++;
        double percent = c->zero ? 0 : 100 * (c->ratio - 1); /* from 0 to something is infinitely more */
        bool beyond = one->above ? percent > one->percent : percent < one->percent;
        one->holds = one->holds || (beyond && !could_be_noise(c));
    }
}

static void print_change(FILE *out, int width, const bench_metric *metric, const change *c) {
    int direction = bench_metric_direction(metric->name);
    double percent = 100 * (c->ratio - 1);
    const char *verdict = c->zero || percent == 0           ? ""
                          : could_be_noise(c)               ? "~"
                          : direction == 0                  ? ""
                          : (percent > 0) == (direction > 0) ? (c->sure ? "better" : "better?")
                          : c->sure                         ? "WORSE"
                                                             : "WORSE?";
    fprintf(out, "%-*s %12.6g %12.6g ", width, metric->name, c->before, c->after);
    if (c->zero) fprintf(out, "%9s", "0 %");
    else if (isfinite(percent)) fprintf(out, "%+8.1f %%", percent);
    else fprintf(out, "%10s", "from 0");
    if (c->sure) fprintf(out, "  %+7.1f .. %+7.1f %%", 100 * (c->low - 1), 100 * (c->high - 1));
    else fprintf(out, "  %20s", "");
    fprintf(out, "  %s\n", verdict);
}

static void print_table(FILE *out, comparison *all) {
    uint32_t hidden = 0, unsure = 0;
    int width = 20;
    for (size_t i = 0; i < all->a.count; i++)
        if ((int)strlen(all->a.list[i].name) > width) width = (int)strlen(all->a.list[i].name);
    fprintf(out, "%-*s %12s %12s %10s  %20s\n", width, "metric (medians)", "A", "B", "change", "95 % interval");
    for (size_t i = 0; i < all->a.count; i++) {
        const bench_metric *a = &all->a.list[i], *b = bench_metrics_find(&all->b, a->name);
        if (b == NULL) {
            if (all->all) fprintf(out, "%-*s %12.6g %12s\n", width, a->name, bench_metric_median(a), "absent");
            continue;
        }
        change c = change_of(a, b);
        judge(all, a, &c);
        unsure += !c.sure && !c.zero;
        bool small = c.zero || fabs(c.ratio - 1) < 0.01 || bench_metric_direction(a->name) == 0;
        if (small && !all->all) hidden++;
        else print_change(out, width, a, &c);
    }
    if (hidden > 0) fprintf(out, "%u metrics changed by less than 1 %% or are counts: --all shows them\n", hidden);
    if (unsure > 0)
        fprintf(out, "%u metrics have fewer than 3 samples a side: their change may be noise. Run each side several times "
                     "in turns and give all files.\n", unsure);
}

/* 0 fine, 1 where a condition holds, 2 where one names nothing or several. */
static int conclude(FILE *out, FILE *err, const comparison *all) {
    int outcome = BENCH_EXIT_GOOD;
    for (uint32_t i = 0; i < all->condition_count; i++) {
        const condition *one = &all->conditions[i];
        if (one->matches != 1) {
            fprintf(err, "strata-bench compare: --fail-if '%s': %s metric of both sides is named so\n", one->text,
                    one->matches == 0 ? "no" : "more than one");
            return BENCH_EXIT_USAGE;
        }
        if (one->holds) {
            fprintf(out, "FAILED: %s\n", one->text);
            outcome = BENCH_EXIT_BAD;
        }
    }
    return outcome;
}

static int compare(FILE *out, FILE *err, comparison *all, const char *const sides[2]) {
    char error[1024];
    if (bench_metrics_load(&all->a, sides[0], error, sizeof error) != 0 ||
        bench_metrics_load(&all->b, sides[1], error, sizeof error) != 0) {
        fprintf(err, "strata-bench compare: %s\n", error);
        return BENCH_EXIT_SETUP;
    }
    print_table(out, all);
    return conclude(out, err, all);
}

static int refuse(FILE *err, const char *what, const char *which) {
    fprintf(err, "strata-bench compare: %s%s\nTry strata-bench compare --help.\n", what, which);
    return BENCH_EXIT_USAGE;
}

int bench_compare(FILE *out, FILE *err, int argc, char *const *argv) {
    comparison all = {0};
    const char *sides[2] = {NULL, NULL};
    uint32_t side_count = 0;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, out);
            return BENCH_EXIT_GOOD;
        }
        if (strcmp(argv[i], "--all") == 0) {
            all.all = true;
        } else if (strcmp(argv[i], "--fail-if") == 0) {
            if (all.condition_count == CONDITIONS_MAX) return refuse(err, "at most 32 conditions", "");
            if (i + 1 == argc || !parse_condition(argv[i + 1], &all.conditions[all.condition_count]))
                return refuse(err, "--fail-if needs METRIC>+N% or METRIC<-N%, not ", i + 1 == argc ? "nothing" : argv[i + 1]);
            all.condition_count++;
            i++;
        } else if (argv[i][0] == '-') {
            return refuse(err, "unknown option ", argv[i]);
        } else if (argv[i][0] == '\0') {
            return refuse(err, "a side that is empty: files, or lists of files with commas", "");
        } else if (side_count == 2) {
            return refuse(err, "two sides, not also ", argv[i]);
        } else {
            sides[side_count++] = argv[i];
        }
    }
    if (side_count != 2) return refuse(err, "two sides are needed: files, or lists of files with commas", "");
    int outcome = compare(out, err, &all, sides);
    bench_metrics_release(&all.a);
    bench_metrics_release(&all.b);
    return outcome;
}

int bench_compare_main(int argc, char **argv) { return bench_compare(stdout, stderr, argc, argv); }
