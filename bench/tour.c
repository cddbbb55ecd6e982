/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the stops of the tour one after the other, each as a program of its own, and sums their results up. */
#include "bench/tour.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/html/chart.h"
#include "bench/html/page.h"
#include "bench/options.h"
#include "bench/tiered.h"

extern char **environ;

/* Each stop measures for so long as its words say: on a quiet machine all of them take less than a minute. */
#define STOP_SECONDS_MAX  45
#define STOP_SECONDS_MORE 10
#define STILL_FAILING_S   0.5 /* failures so short before the end of a run say that they went on */

#define WORDS(...) (const char *const[]){__VA_ARGS__, NULL}
static const struct {
    const char *name, *title;
    const char *const *words;
} stops[BENCH_TOUR_STOPS] = {
    [BENCH_TOUR_L1] = {"l1", "L1 in the process, beside other caches", WORDS("l1", "--keys", "200k", "--operations", "150k", "--rounds", "12", "--only", "get, all")},
    [BENCH_TOUR_TIERS] = {"tiers", "Both tiers and a loader: 2 processes, 3 Redis servers, 10 000 operations a second",
                          WORDS("tiered", "--seconds", "10", "--loader-us", "1000", "--quiet")},
    [BENCH_TOUR_FAST] = {"fast", "The same as fast as it goes", WORDS("tiered", "--rate", "0", "--seconds", "5", "--warmup", "1", "--quiet")},
    [BENCH_TOUR_COHERENCE] = {"coherence", "Coherence: one operation in four writes, another process looks on",
                              WORDS("tiered", "--rate", "4k", "--set-percent", "20", "--invalidate-percent", "5", "--probe-rate", "300",
                                    "--keys", "20k", "--seconds", "7", "--warmup", "1", "--quiet")},
    [BENCH_TOUR_STAMPEDE] = {"stampede", "A stampede: 10 000 readers of one cold key", WORDS("stampede", "--rounds", "3")},
    [BENCH_TOUR_FAULT] = {"fault", "A Redis primary is killed, its replica takes over",
                          WORDS("faults", "--fault", "kill:0@3", "--rate", "5k", "--seconds", "11", "--warmup", "1", "--quiet")},
};

/* ---- running ------------------------------------------------------------------------------------------------ */

/* Waits for a stop; one that goes on for far longer than it should is interrupted, as by Ctrl-C, and ended if that does not help. */
static int await_stop(pid_t pid) {
    int64_t began_ns = bench_now_ns();
    int status, signals = 0;
    for (pid_t ended; (ended = waitpid(pid, &status, WNOHANG)) != pid;) {
        if (ended < 0 && errno != EINTR) return -1;
        if (bench_now_ns() - began_ns > (STOP_SECONDS_MAX + signals * STOP_SECONDS_MORE) * BENCH_NS_PER_S)
            (void)kill(pid, signals++ == 0 ? SIGINT : SIGKILL);
        (void)nanosleep(&(struct timespec){.tv_nsec = 20 * BENCH_NS_PER_MS}, NULL);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Runs one stop, its report and its log to a file; its exit status, or -1 where it could not be started or did not end by itself. */
static int run_stop(bench_tour_place place, const char *json_path, const char *text_path) {
    char program[] = "/proc/self/exe", json_word[] = "--json";
    char *argv[32];
    uint32_t count = 0;
    pid_t pid;
    argv[count++] = program;
    for (const char *const *word = stops[place].words; *word != NULL; word++) argv[count++] = (char *)(uintptr_t)*word;
    argv[count++] = json_word;
    argv[count++] = (char *)(uintptr_t)json_path;
    argv[count] = NULL;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, text_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    int failure = posix_spawn(&pid, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return failure == 0 ? await_stop(pid) : -1;
}

/* ---- one screen --------------------------------------------------------------------------------------------- */

/* A number at "result.read_share.l1_hit"; NAN where there is none. */
static double number(const json_t *root, const char *path) {
    char word[64];
    while (root != NULL && *path != '\0') {
        size_t size = strcspn(path, ".");
        snprintf(word, sizeof word, "%.*s", (int)size, path);
        root = json_object_get(root, word);
        path += size + (path[size] == '.');
    }
    return json_is_number(root) ? json_number_value(root) : NAN;
}

/* Times for the screen: several may stand in one line. */
static const char *ns(const json_t *root, const char *path) {
    static char texts[8][32];
    static uint32_t next;
    char *text = texts[next++ % 8];
    return bench_say(BENCH_UNIT_NS, number(root, path), text, sizeof texts[0]);
}

/* The median of a field over the rounds of the case with that name; NAN where there is none. */
static double case_median(const json_t *root, const char *name, const char *field) {
    const json_t *cases = json_object_get(root, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        const char *its = json_string_value(json_object_get(one, "name"));
        if (its != NULL && strcmp(its, name) == 0) return number(one, field);
    }
    return NAN;
}

static void print_l1(FILE *out, const json_t *root) {
    double one = case_median(root, "get, all fits, 1 thread, l1", "median_ns"), hash = case_median(root, "get, all fits, 1 thread, ck_ht", "median_ns");
    double lru = case_median(root, "get, all fits, 1 thread, lru16", "median_ns");
    double two = case_median(root, "get, all fits, 2 threads, l1", "median_millions_per_second");
    fprintf(out, "In the process (L1 alone, the store itself)\n");
    fprintf(out, "  a hit takes %.0f ns; 2 threads do %.1f million a second\n", one, two);
    if (isfinite(hash) && isfinite(lru))
        fprintf(out, "  that is %.2f of the time of ck_ht, a lock-free map that evicts nothing, and %.2f of that of a textbook LRU\n", one / hash, one / lru);
}

static void print_tiers(FILE *out, const json_t *root, const json_t *fast) {
    fprintf(out, "\nBoth tiers: 2 processes, 3 Redis servers, %.0f operations a second, a loader of 1 ms\n", number(root, "result.operations_per_second"));
    fprintf(out, "  %5.1f %% of the reads were answered by L1      in %8s, 99 of 100 within %s\n", 100 * number(root, "result.read_share.l1_hit"),
            ns(root, "service.l1_hit.p50_ns"), ns(root, "service.l1_hit.p99_ns"));
    fprintf(out, "  %5.1f %%                        by Redis (L2)   in %8s, 99 of 100 within %s\n", 100 * number(root, "result.read_share.l2_hit"),
            ns(root, "service.l2_hit.p50_ns"), ns(root, "service.l2_hit.p99_ns"));
    fprintf(out, "  %5.1f %%                        by the loader   in %8s, 99 of 100 within %s\n", 100 * number(root, "result.read_share.load"),
            ns(root, "service.load.p50_ns"), ns(root, "service.load.p99_ns"));
    if (fast != NULL) fprintf(out, "  as fast as it goes: %.0f operations a second\n", number(fast, "result.operations_per_second"));
}

static void print_coherence(FILE *out, const json_t *root) {
    fprintf(out, "\nCoherence: when one process has written, how long does the other one's L1 answer the old value?\n");
    fprintf(out, "  %s after the acknowledgement (median), 99 of 100 within %s; promised: %.0f ms, whatever happens\n",
            ns(root, "invalidation_lag.set_after_ack.p50_ns"), ns(root, "invalidation_lag.set_after_ack.p99_ns"),
            number(root, "verification.staleness_bound_ms"));
}

static void print_stampede(FILE *out, const json_t *root) {
    const json_t *rounds = json_object_get(root, "rounds");
    double most = 0;
    for (size_t i = 0; i < json_array_size(rounds); i++) most = fmax(most, number(json_array_get(rounds, i), "loads"));
    fprintf(out, "\nStampede: %.0f readers in %.0f processes ask for one key that nobody holds\n", number(root, "readers"), number(root, "processes_count"));
    double failed = number(root, "failure_count"), wrong = number(root, "wrong");
    fprintf(out, "  loader calls: %.0f; ", most);
    if (failed > 0 || wrong > 0) fprintf(out, "%.0f were not answered, %.0f wrongly; of the others", failed, wrong);
    else fprintf(out, "everybody was answered,");
    fprintf(out, " 99 of 100 within %s (the loader alone takes 50 ms)\n", ns(root, "p99_ns"));
}

static void print_fault(FILE *out, const json_t *root) {
    const json_t *event = json_array_get(json_object_get(root, "events"), 0);
    double failed = number(event, "failures"), last_s = number(event, "last_failure_s");
    bool to_the_end = last_s > number(root, "result.seconds") - number(event, "seconds") - STILL_FAILING_S;
    fprintf(out, "\nA Redis primary is killed under %.0f operations a second\n", number(root, "result.operations_per_second"));
    if (failed > 0)
        fprintf(out, "  %.0f operations failed, the last one %.1f s after the kill%s\n", failed, last_s,
                to_the_end ? ", which was the end: no replica had taken over" : "; then its replica had taken over");
    else fprintf(out, "  no operation failed\n");
}

static bool has_caution(const json_t *root, const char *text) {
    const json_t *cautions = json_object_get(root, "cautions");
    for (size_t i = 0; i < json_array_size(cautions); i++) {
        const char *one = json_string_value(json_array_get(cautions, i));
        if (one != NULL && strcmp(one, text) == 0) return true;
    }
    return false;
}

/* What the numbers above leave out: stops that ended without a result, and operations that failed where nothing was broken on purpose. */
static void print_failures(FILE *out, json_t *const results[BENCH_TOUR_STOPS]) {
    for (int i = 0; i < BENCH_TOUR_STOPS; i++) {
        double failed = i == BENCH_TOUR_FAULT || i == BENCH_TOUR_STAMPEDE ? 0 : number(results[i], "result.failure_count");
        if (results[i] == NULL) fprintf(out, "CAUTION  %s: no result; what it said is in %s.txt\n", stops[i].name, stops[i].name);
        else if (failed > 0) fprintf(out, "CAUTION  %s: %.0f operations failed\n", stops[i].name, failed);
    }
}

/* Each caution once, with the stops that it is about. */
static void print_cautions(FILE *out, json_t *const results[BENCH_TOUR_STOPS]) {
    static const char *const texts[] = {BENCH_CAUTION_NOISY, BENCH_CAUTION_DISTURBED, BENCH_CAUTION_LAGGED};
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        bool any = false;
        for (int i = 0; i < BENCH_TOUR_STOPS; i++) {
            if (!has_caution(results[i], texts[t])) continue;
            fprintf(out, "%s%s", any ? ", " : "CAUTION  ", stops[i].name);
            any = true;
        }
        if (any) fprintf(out, ": %s\n", texts[t]);
    }
}

void bench_tour_print(FILE *out, json_t *const results[BENCH_TOUR_STOPS]) {
    double checked = 0, wrong = 0;
    for (int i = 0; i < BENCH_TOUR_STOPS; i++) {
        double good = number(results[i], "verification.good"), bad = number(results[i], "verification.wrong");
        if (isfinite(good)) checked += good;
        if (isfinite(bad)) wrong += bad;
    }
    if (results[BENCH_TOUR_L1] != NULL) print_l1(out, results[BENCH_TOUR_L1]);
    if (results[BENCH_TOUR_TIERS] != NULL) print_tiers(out, results[BENCH_TOUR_TIERS], results[BENCH_TOUR_FAST]);
    if (results[BENCH_TOUR_COHERENCE] != NULL) print_coherence(out, results[BENCH_TOUR_COHERENCE]);
    if (results[BENCH_TOUR_STAMPEDE] != NULL) print_stampede(out, results[BENCH_TOUR_STAMPEDE]);
    if (results[BENCH_TOUR_FAULT] != NULL) print_fault(out, results[BENCH_TOUR_FAULT]);
    fprintf(out, "\nChecked: %.0f reads, each against its key, its version and the staleness bound; wrong: %.0f\n", checked, wrong);
    print_failures(out, results);
    print_cautions(out, results);
}

/* ---- the subcommand ----------------------------------------------------------------------------------------- */

typedef struct tour_settings {
    const char *folder;
} tour_settings;

static const bench_option rows[] = {
    {"folder", BENCH_OPTION_TEXT, "FOLDER", "strata-tour", 0, 0, NULL, offsetof(tour_settings, folder),
     "receives tour.html, and a JSON and a text of every stop; made where it is not there", NULL},
};
static const bench_option_table options = {
    .command = "strata-bench tour",
    .about = "About a minute: L1 beside other caches, both tiers under load, coherence between two processes, a stampede, a Redis\n"
             "primary that is killed. Ends in a page and one screen of results. Exit status: 0 fine, 1 where a stop found something wrong.",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
};

static int write_page(const char *folder, json_t *const *results) {
    char path[4096], error[512], *screen = NULL;
    size_t screen_size = 0;
    bench_html_part parts[BENCH_TOUR_STOPS];
    size_t count = 0;
    FILE *memory = open_memstream(&screen, &screen_size);
    if (memory == NULL) return -1;
    bench_tour_print(memory, results);
    (void)fclose(memory);
    for (int i = 0; i < BENCH_TOUR_STOPS; i++)
        if (results[i] != NULL) parts[count++] = (bench_html_part){stops[i].title, results[i]};
    snprintf(path, sizeof path, "%s/tour.html", folder);
    int outcome = bench_html_write_parts("Strata in a minute", screen, parts, count, path, error, sizeof error);
    if (outcome != 0) fprintf(stderr, "strata-bench tour: %s\n", error);
    else printf("\npage:     %s\n", path);
    free(screen);
    return outcome;
}

static int tour(const char *folder) {
    json_t *results[BENCH_TOUR_STOPS] = {NULL};
    int outcome = BENCH_EXIT_GOOD;
    int64_t began_ns = bench_now_ns();
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "strata-bench tour: %s can't be made: %s\n", folder, strerror(errno));
        return BENCH_EXIT_SETUP;
    }
    for (int i = 0; i < BENCH_TOUR_STOPS && !bench_run_was_interrupted(); i++) {
        char json_path[4096], text_path[4096];
        snprintf(json_path, sizeof json_path, "%s/%s.json", folder, stops[i].name);
        snprintf(text_path, sizeof text_path, "%s/%s.txt", folder, stops[i].name);
        fprintf(stderr, "%d of %d  %s\n", i + 1, BENCH_TOUR_STOPS, stops[i].title);
        int status = run_stop((bench_tour_place)i, json_path, text_path);
        if (status != BENCH_EXIT_GOOD) {
            fprintf(stderr, "strata-bench tour: this stop went wrong (status %d): %s\n", status, text_path);
            outcome = BENCH_EXIT_BAD;
        }
        if (status == BENCH_EXIT_GOOD || status == BENCH_EXIT_BAD) results[i] = json_load_file(json_path, 0, NULL);
    }
    fprintf(stderr, "the tour took %.0f s\n", (double)(bench_now_ns() - began_ns) / 1e9);
    printf("\n");
    bench_tour_print(stdout, results);
    if (write_page(folder, results) != 0) outcome = BENCH_EXIT_SETUP;
    for (int i = 0; i < BENCH_TOUR_STOPS; i++) json_decref(results[i]);
    return outcome;
}

int bench_tour_main(int argc, char **argv) {
    tour_settings settings = {NULL};
    bench_options_given given;
    int outcome;
    if (!bench_options_take(&options, argc, argv, &settings, &given, &outcome)) return outcome;
    bench_run_catch_signals();
    return tour(settings.folder);
}
