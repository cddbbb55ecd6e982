/* SPDX-License-Identifier: Apache-2.0 */
/* strata-bench hitratio: plays traces at several capacities through the store and the simulated policies, and shows the misses. */
#include "bench/hitratio/main.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/hitratio/play.h"
#include "bench/html/chart.h"
#include "bench/html/style.h"
#include "bench/json.h"
#include "bench/options.h"
#include "bench/result.h"
#include "bench/tiered.h"

#define CAPACITIES_MAX 16u
#define COLUMNS        (HITRATIO_POLICIES + 1u) /* the store is the last */
#define STORE          HITRATIO_POLICIES

typedef struct hitratio_settings {
    bench_list traces;
    const char *capacity, *csv_path, *html_path, *json_path;
    uint32_t policy; /* sx_l1_policy has the same order */
    uint8_t by_bytes;
} hitratio_settings;

#define FIELD(member) offsetof(hitratio_settings, member)
static const bench_option option_rows[] = {
    {"trace", BENCH_OPTION_LIST, "FILE", NULL, 0, 0, NULL, FIELD(traces),
     "a trace: kv12, oracleGeneral, csv or Twitter's, also as .zst; repeatable", "What"},
    {"capacity", BENCH_OPTION_TEXT, "PERCENTS", "1,10,20", 0, 0, NULL, FIELD(capacity),
     "of a trace's distinct keys, up to 16, separated by commas", NULL},
    {"bytes", BENCH_OPTION_FLAG, NULL, NULL, 0, 0, NULL, FIELD(by_bytes),
     "capacity is a part of the distinct keys' bytes: every object counts the size that the trace gives", NULL},
    {"policy", BENCH_OPTION_CHOICE, "NAME", "s3fifo", 0, 0, "s3fifo|lru|clock|adaptive", FIELD(policy), "the store's l1.policy", NULL},
    {"csv", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(csv_path), "write the table there", "Result"},
    {"html", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(html_path), "draw miss ratio over capacity, a chart a trace", NULL},
    {"json", BENCH_OPTION_TEXT, "FILE", NULL, 0, 0, NULL, FIELD(json_path), "write cases there, for strata-bench compare", NULL},
};
#define WORDS(...) (const char *const[]){__VA_ARGS__, NULL}
static const bench_option_preset presets[] = {
    {"curve", "from a thousandth to half of the keys", WORDS("--capacity", "0.1,0.2,0.5,1,2,5,10,20,35,50")},
    {"sizes", "objects count their size", WORDS("--bytes", "--capacity", "1,10,20")},
    {"adaptive", "the store chooses its weights by itself", WORDS("--policy", "adaptive")},
};
static const bench_option_table options = {
    .command = "strata-bench hitratio",
    .about = "Misses on traces: the in-process store, its budget fitted until it holds as much on average as the others may, beside\n"
             "simulated policies. belady knows the future: no policy misses less where every object counts 1.",
    .rows = option_rows,
    .count = sizeof option_rows / sizeof option_rows[0],
    .presets = presets,
    .preset_count = sizeof presets / sizeof presets[0],
};

typedef struct hitratio_bench {
    hitratio_settings settings;
    double percents[CAPACITIES_MAX];
    uint32_t percent_count;
    bench_json json;
    FILE *csv, *html;
} hitratio_bench;

/* Of one trace, per capacity and column. */
typedef struct curve {
    double misses[COLUMNS][CAPACITIES_MAX], bytes[COLUMNS][CAPACITIES_MAX];
} curve;

static const char *column_name(uint32_t column) { return column == STORE ? "store" : hitratio_policy_names[column]; }

static bool parse_capacity(hitratio_bench *bench) {
    const char *text = bench->settings.capacity;
    for (char *end; bench->percent_count < CAPACITIES_MAX; text = end + 1) {
        double percent = strtod(text, &end);
        if (end == text || !(percent > 0 && percent <= 100)) break;
        bench->percents[bench->percent_count++] = percent;
        if (*end == '\0') return true;
        if (*end != ',') break;
    }
    fprintf(stderr, "strata-bench hitratio: --capacity: '%s' must be 1 to %u numbers above 0 up to 100, separated by commas\n",
            bench->settings.capacity, CAPACITIES_MAX);
    return false;
}

static void write_case(hitratio_bench *bench, const char *trace, uint32_t at, uint32_t column, const curve *c) {
    if (bench->csv != NULL)
        fprintf(bench->csv, "%s,%g,%s,%.4f,%.4f\n", trace, bench->percents[at], column_name(column), c->misses[column][at],
                c->bytes[column][at]);
    if (bench->settings.json_path == NULL) return;
    char name[512];
    snprintf(name, sizeof name, "%s %g %s", trace, bench->percents[at], column_name(column));
    bench_json_object_begin(&bench->json, NULL);
    bench_json_text(&bench->json, "name", name);
    bench_json_number(&bench->json, "miss_ratio", c->misses[column][at]);
    bench_json_number(&bench->json, "byte_miss_ratio", c->bytes[column][at]);
    bench_json_object_end(&bench->json);
}

static void draw(hitratio_bench *bench, const char *trace, const curve *c) {
    bench_chart chart = {.title = trace,
                         .note = bench->settings.by_bytes ? "requests missed over percent of distinct bytes"
                                                          : "requests missed over percent of distinct keys",
                         .x = {BENCH_SCALE_LINEAR, BENCH_UNIT_COUNT},
                         .y = {BENCH_SCALE_LINEAR, BENCH_UNIT_COUNT},
                         .line_count = COLUMNS};
    for (uint32_t i = 0; i < COLUMNS; i++)
        chart.lines[i] = (bench_line){column_name(i), bench->percents, c->misses[i], bench->percent_count};
    bench_chart_draw(bench->html, &chart);
}

static bool run_capacity(hitratio_bench *bench, const char *trace, const bench_requests *r, uint32_t at, curve *c) {
    bool by_bytes = bench->settings.by_bytes != 0;
    uint64_t all = by_bytes ? r->distinct_bytes : r->distinct;
    uint64_t capacity = (uint64_t)((double)all * bench->percents[at] / 100 + 1e-6);
    hitratio_misses misses;
    hitratio_play play;
    if (capacity == 0) capacity = 1;
    for (uint32_t i = 0; i < COLUMNS; i++) {
        bool good = i == STORE ? hitratio_play_store(bench->settings.policy, r, capacity, by_bytes, &play)
                               : hitratio_simulate((hitratio_policy)i, r, capacity, by_bytes, &misses);
        if (!good) return false;
        if (i == STORE) misses = play.misses;
        c->misses[i][at] = (double)misses.misses / (double)r->count;
        c->bytes[i][at] = misses.bytes > 0 ? (double)misses.bytes_missed / (double)misses.bytes : 0;
        write_case(bench, trace, at, i, c);
    }
    for (int line = 0; line < (by_bytes ? 2 : 1); line++) {
        printf("%-24.24s %6g %12llu %-7s", trace, bench->percents[at], (unsigned long long)capacity, line == 0 ? "objects" : "bytes");
        for (uint32_t i = 0; i < COLUMNS; i++) printf(" %7.4f", line == 0 ? c->misses[i][at] : c->bytes[i][at]);
        if (line == 0) printf("  %12.0f %12lld%s", play.held, (long long)play.bytes_max, play.fits ? "" : " holds too much");
        printf("\n");
    }
    fflush(stdout);
    return true;
}

static int run(hitratio_bench *bench) {
    printf("%-24s %6s %12s %-7s", "trace", "%", "capacity", "missed");
    for (uint32_t i = 0; i < COLUMNS; i++) printf(" %7s", column_name(i));
    printf("  %12s %12s\n", "store holds", "its budget");
    for (uint32_t t = 0; t < bench->settings.traces.count; t++) {
        const char *path = bench->settings.traces.items[t], *slash = strrchr(path, '/');
        char error[1024], name[256];
        bench_requests r;
        curve c;
        snprintf(name, sizeof name, "%s", slash != NULL ? slash + 1 : path);
        name[strcspn(name, ".")] = '\0';
        if (!bench_requests_read(path, &r, error, sizeof error)) {
            fprintf(stderr, "strata-bench hitratio: %s\n", error);
            return BENCH_EXIT_SETUP;
        }
        bool good = r.count > 0;
        if (!good) fprintf(stderr, "strata-bench hitratio: %s: no request in it\n", path);
        for (uint32_t i = 0; good && i < bench->percent_count; i++) good = run_capacity(bench, name, &r, i, &c);
        if (good && bench->html != NULL) draw(bench, name, &c);
        bench_requests_release(&r);
        if (!good) return BENCH_EXIT_SETUP;
    }
    return BENCH_EXIT_GOOD;
}

static bool open_for(const char *path, FILE **file) {
    if (path == NULL || (*file = fopen(path, "w")) != NULL) return true;
    fprintf(stderr, "strata-bench hitratio: %s: %s\n", path, strerror(errno));
    return false;
}

static bool open_all(hitratio_bench *bench) {
    if (!open_for(bench->settings.csv_path, &bench->csv) || !open_for(bench->settings.html_path, &bench->html)) return false;
    if (bench->csv != NULL) fputs("trace,percent,policy,miss_ratio,byte_miss_ratio\n", bench->csv);
    if (bench->html != NULL)
        fprintf(bench->html, "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
                             "content='width=device-width'><title>Miss ratio</title><style>%s</style></head><body><main>"
                             "<h1>Miss ratio</h1>\n", bench_html_style);
    if (bench->settings.json_path == NULL) return true;
    bool good = bench_result_open(&bench->json, bench->settings.json_path, "strata-bench/hitratio/1");
    if (good) bench_json_array_begin(&bench->json, "cases");
    return good;
}

static bool close_all(hitratio_bench *bench) {
    bool good = true;
    if (bench->html != NULL) fputs("</main></body></html>\n", bench->html);
    if (bench->csv != NULL) good = fclose(bench->csv) == 0;
    if (bench->html != NULL) good = fclose(bench->html) == 0 && good;
    if (!good) fprintf(stderr, "strata-bench hitratio: a result can't be written: %s\n", strerror(errno));
    if (bench->json.file == NULL) return good;
    bench_json_array_end(&bench->json);
    return bench_result_close(&bench->json) && good;
}

int bench_hitratio_main(int argc, char **argv) {
    hitratio_bench bench = {0};
    bench_options_given given;
    int outcome;
    if (!bench_options_take(&options, argc, argv, &bench.settings, &given, &outcome)) return outcome;
    if (bench.settings.traces.count == 0) return bench_options_refuse(&options, "--trace FILE is needed");
    if (!parse_capacity(&bench)) return BENCH_EXIT_USAGE;
    int status = open_all(&bench) ? run(&bench) : BENCH_EXIT_SETUP;
    if (!close_all(&bench) && status == BENCH_EXIT_GOOD) status = BENCH_EXIT_SETUP;
    return status;
}
