/* SPDX-License-Identifier: Apache-2.0 */
/* Searches the highest rate: each trial is a run of its own, with engines and servers of its own. */
#include "bench/find_max.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/tiered.h"

#define RATE_MAX   1e9
#define WORDS_MAX  256
#define GAP_SMALL  0.1 /* of the rate: what trials can tell apart */

extern char **environ;

bool bench_goal_parse(const char *text, bench_goal *goal) {
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
    size_t size = strcspn(text, "<");
    char *end;
    if (size == 0 || size >= sizeof goal->metric || text[size] == '\0') return false;
    memcpy(goal->metric, text, size);
    goal->metric[size] = '\0';
    double value = strtod(text + size + 1, &end);
    if (end == text + size + 1 || !isfinite(value) || value <= 0) return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) != 0) continue;
        goal->limit_ns = value * units[i].ns;
        return true;
    }
    return false;
}

double bench_find_max(double first, bench_trial_fn trial, void *context) {
    double held = 0, failed = 0;
    for (double rate = first; failed == 0 && rate <= RATE_MAX; rate *= 2) {
        int outcome = trial(context, rate);
        if (outcome < 0) return -1;
        if (outcome > 0) held = rate;
        else failed = rate;
    }
    while (held > 0 && failed > 0 && failed - held > held * GAP_SMALL) {
        double rate = (held + failed) / 2;
        int outcome = trial(context, rate);
        if (outcome < 0) return -1;
        if (outcome > 0) held = rate;
        else failed = rate;
    }
    return held;
}

typedef struct search {
    bench_goal goal;
    const char *subcommand;
    char **words; /* of the command line, without --find-max, --rate and --json */
    uint32_t word_count;
    char json_path[64];
} search;

/* The exit status of a run at this rate, -1 where it could not be started. */
static int run_at(const search *all, double rate) {
    char rate_text[32], program[] = "/proc/self/exe", rate_word[] = "--rate", json_word[] = "--json", quiet_word[] = "--quiet";
    char *argv[WORDS_MAX + 16];
    uint32_t count = 0;
    pid_t pid;
    int status;
    snprintf(rate_text, sizeof rate_text, "%.0f", rate);
    argv[count++] = program;
    argv[count++] = (char *)(uintptr_t)all->subcommand;
    for (uint32_t i = 0; i < all->word_count; i++) argv[count++] = all->words[i];
    char *const more[] = {rate_word, rate_text, json_word, (char *)(uintptr_t)all->json_path, quiet_word};
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) argv[count++] = more[i];
    argv[count] = NULL;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    int failure = posix_spawn(&pid, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failure != 0) return -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The one metric that the goal means; latency from the intended start where service time is there too. */
static const bench_metric *goal_metric(const search *all, const bench_metrics *metrics) {
    const bench_metric *found = NULL;
    for (size_t i = 0; i < metrics->count; i++) {
        if (!bench_metric_is_meant(&metrics->list[i], all->goal.metric)) continue;
        if (found == NULL || strncmp(metrics->list[i].name, "latency.", 8) == 0) found = &metrics->list[i];
    }
    return found;
}

static int trial(void *context, double rate) {
    const search *all = context;
    char error[512] = "";
    bench_metrics metrics = {0};
    int held = -1, status = run_at(all, rate);
    if (status == BENCH_EXIT_USAGE || status == BENCH_EXIT_SETUP || status < 0) return -1;
    if (bench_metrics_load(&metrics, all->json_path, error, sizeof error) == 0) {
        const bench_metric *metric = goal_metric(all, &metrics);
        const bench_metric *lag = bench_metrics_find(&metrics, "send_lag.p99_ns");
        const bench_metric *reached = bench_metrics_find(&metrics, "result.operations_per_second");
        if (metric == NULL || reached == NULL || lag == NULL) {
            fprintf(stderr, "strata-bench: --find-max: the result has no metric '%s'\n", all->goal.metric);
        } else {
            double value = bench_metric_median(metric), lag_ns = bench_metric_median(lag);
            bool kept_up = lag_ns <= (double)BENCH_SEND_LAG_MAX_NS || lag_ns <= all->goal.limit_ns / 2;
            held = status == BENCH_EXIT_GOOD && value > 0 && value < all->goal.limit_ns && kept_up;
            printf("%12.0f op/s  %s %10.3f ms  generator's lag p99 %.3f ms  %s%s\n", bench_metric_median(reached), all->goal.metric,
                   value / 1e6, lag_ns / 1e6, held ? "holds" : "does not hold",
                   status != BENCH_EXIT_GOOD ? ": operations failed or were wrong" : kept_up ? "" : ": the generator did not keep up");
            fflush(stdout);
        }
    } else {
        fprintf(stderr, "strata-bench: --find-max: %s\n", error);
    }
    bench_metrics_release(&metrics);
    return held;
}

/* Options that trials set themselves; each has a value, in the same word or the next. */
static bool is_ours(const char *word, bool *value_follows) {
    static const char *const names[] = {"--find-max", "--rate", "--json", "--html"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t size = strlen(names[i]);
        if (strncmp(word, names[i], size) != 0 || (word[size] != '\0' && word[size] != '=')) continue;
        *value_follows = word[size] == '\0';
        return true;
    }
    return false;
}

int bench_find_max_main(const char *subcommand, const char *goal_text, double first_rate, int argc, char **argv) {
    char *words[WORDS_MAX];
    search all = {.subcommand = subcommand, .words = words, .json_path = "/tmp/strata-bench-XXXXXX"};
    if (!bench_goal_parse(goal_text, &all.goal)) {
        fprintf(stderr, "strata-bench: --find-max: '%s' is not METRIC<DURATION, as in 'l2_hit.p99<1ms'\n", goal_text);
        return BENCH_EXIT_USAGE;
    }
    for (int i = 0; i < argc && all.word_count < WORDS_MAX; i++) {
        bool value_follows = false;
        if (is_ours(argv[i], &value_follows)) i += value_follows;
        else if (strcmp(argv[i], "--quiet") != 0) words[all.word_count++] = argv[i];
    }
    int file = mkstemp(all.json_path);
    if (file < 0) {
        fprintf(stderr, "strata-bench: %s: %s\n", all.json_path, strerror(errno));
        return BENCH_EXIT_SETUP;
    }
    (void)close(file);
    double rate = bench_find_max(first_rate, trial, &all);
    (void)unlink(all.json_path);
    if (rate < 0) return BENCH_EXIT_SETUP;
    if (rate == 0) printf("%s did not hold at %.0f op/s\n", goal_text, first_rate);
    else printf("the highest rate with %s: %.0f op/s\n", goal_text, rate);
    return rate > 0 ? BENCH_EXIT_GOOD : BENCH_EXIT_BAD;
}
