/* SPDX-License-Identifier: Apache-2.0 */
/* What threads have used: processor time and times they went to sleep, as the kernel counts them. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/l2/l2.h"
#include "bench/run.h"

static void read_usage(int who, clockid_t clock, bench_l2_usage *usage) {
    struct rusage used;
    struct timespec cpu;
    (void)getrusage(who, &used);
    (void)clock_gettime(clock, &cpu);
    usage->wall_ns = bench_now_ns();
    usage->cpu_ns = (int64_t)cpu.tv_sec * BENCH_NS_PER_S + cpu.tv_nsec;
    usage->system_ns = (int64_t)used.ru_stime.tv_sec * BENCH_NS_PER_S + (int64_t)used.ru_stime.tv_usec * 1000;
    usage->wakes = used.ru_nvcsw;
}

void bench_l2_usage_thread(bench_l2_usage *usage) { read_usage(RUSAGE_THREAD, CLOCK_THREAD_CPUTIME_ID, usage); }
void bench_l2_usage_process(bench_l2_usage *usage) { read_usage(RUSAGE_SELF, CLOCK_PROCESS_CPUTIME_ID, usage); }

static int64_t wakes_of(const char *thread, const char *name) {
    char path[300], line[256];
    snprintf(path, sizeof path, "/proc/self/task/%s/status", thread);
    FILE *file = fopen(path, "r");
    long long wakes = 0;
    bool wanted = name == NULL;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (name != NULL && strncmp(line, "Name:\t", 6) == 0) wanted = strcmp(line + 6, name) == 0;
        (void)sscanf(line, "voluntary_ctxt_switches: %lld", &wakes);
    }
    if (file != NULL) fclose(file);
    return wanted ? wakes : 0;
}

int64_t bench_l2_wakes(const char *name) {
    int64_t wakes = 0;
    DIR *folder = opendir("/proc/self/task");
    if (folder == NULL) return 0;
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        if (entry->d_name[0] != '.') wakes += wakes_of(entry->d_name, name);
    closedir(folder);
    return wakes;
}

void bench_l2_sample_set(bench_l2_sample *sample, const bench_l2_usage *before, const bench_l2_usage *after,
                         uint64_t operations, const bench_histogram *latency) {
    double count = operations > 0 ? (double)operations : 1;
    sample->per_second = (double)operations * 1e9 / (double)(after->wall_ns - before->wall_ns);
    sample->cpu_us = (double)(after->cpu_ns - before->cpu_ns) / 1e3 / count;
    sample->system_us = (double)(after->system_ns - before->system_ns) / 1e3 / count;
    sample->wakes = (double)(after->wakes - before->wakes) / count;
    sample->loop_wakes = sample->wakes;
    sample->allocations = -1;
    sample->p50_us = (double)bench_histogram_quantile_ns(latency, 0.5) / 1e3;
    sample->p99_us = (double)bench_histogram_quantile_ns(latency, 0.99) / 1e3;
}
