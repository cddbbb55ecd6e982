/* SPDX-License-Identifier: Apache-2.0 */
/* Reads /proc, uname and what the build told. */
#include "bench/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <strata/strata.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#ifndef STRATA_BENCH_COMMIT
#define STRATA_BENCH_COMMIT "unknown"
#endif
#ifndef STRATA_BENCH_FLAGS
#define STRATA_BENCH_FLAGS "unknown"
#endif

/* The rest of the first line of a file that begins with prefix, after a colon and blanks. */
static void read_line(const char *path, const char *prefix, char *out, size_t out_size) {
    char line[512];
    FILE *file = fopen(path, "r");
    out[0] = '\0';
    if (file == NULL) return;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, prefix, strlen(prefix)) != 0) continue;
        const char *value = line + strlen(prefix);
        value += strspn(value, " \t:");
        snprintf(out, out_size, "%.*s", (int)strcspn(value, "\n"), value);
        break;
    }
    fclose(file);
}

static int64_t ticks_as_us(unsigned long long ticks) {
    return (int64_t)(ticks * 1000000ull / (unsigned long long)sysconf(_SC_CLK_TCK));
}

int64_t bench_cpu_busy_us(void) {
    unsigned long long user, nice, system, idle, wait, hard, soft, steal;
    char line[256];
    read_line("/proc/stat", "cpu ", line, sizeof line);
    if (sscanf(line, "%llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &wait, &hard,
               &soft, &steal) != 8)
        return 0;
    return ticks_as_us(user + nice + system + hard + soft + steal);
}

int64_t bench_cpu_of_us(int64_t pid) {
    unsigned long long user = 0, system = 0;
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    read_line(path, "", line, sizeof line);
    const char *at = strrchr(line, ')'); /* the name before may hold anything */
    if (at == NULL ||
        sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
        return 0;
    return ticks_as_us(user + system);
}

int64_t bench_resident_of_bytes(int64_t pid) {
    unsigned long long pages = 0;
    char path[64], line[128];
    snprintf(path, sizeof path, "/proc/%lld/statm", (long long)pid);
    read_line(path, "", line, sizeof line);
    return sscanf(line, "%*u %llu", &pages) == 1 ? (int64_t)pages * (int64_t)sysconf(_SC_PAGESIZE) : 0;
}

void bench_environment_read(bench_environment *environment) {
    struct utsname name;
    time_t now = time(NULL);
    struct tm utc;
    char text[64];
    *environment = (bench_environment){0};
    read_line("/proc/cpuinfo", "model name", environment->cpu, sizeof environment->cpu);
    if (environment->cpu[0] == '\0') snprintf(environment->cpu, sizeof environment->cpu, "unknown");
    environment->cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    environment->memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * (int64_t)sysconf(_SC_PAGESIZE);
    if (uname(&name) == 0)
        snprintf(environment->kernel, sizeof environment->kernel, "%s %s %s", name.sysname, name.release,
                 name.machine);
    read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "", environment->governor,
              sizeof environment->governor);
#if defined(__clang__)
    snprintf(environment->compiler, sizeof environment->compiler, "%s", __VERSION__);
#else
    snprintf(environment->compiler, sizeof environment->compiler, "gcc %s", __VERSION__);
#endif
    snprintf(environment->flags, sizeof environment->flags, "%s", STRATA_BENCH_FLAGS);
    snprintf(environment->commit, sizeof environment->commit, "%s", STRATA_BENCH_COMMIT);
    read_line("/proc/loadavg", "", text, sizeof text);
    environment->load_average = strtod(text, NULL);
    if (gmtime_r(&now, &utc) != NULL)
        strftime(environment->started_utc, sizeof environment->started_utc, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

void bench_environment_put_fields(bench_json *json, const bench_environment *environment) {
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", STRATA_VERSION_MAJOR, STRATA_VERSION_MINOR, STRATA_VERSION_PATCH);
    bench_json_text(json, "started_utc", environment->started_utc);
    bench_json_text(json, "cpu", environment->cpu);
    bench_json_integer(json, "cpus", environment->cpus);
    bench_json_integer(json, "memory_bytes", environment->memory_bytes);
    bench_json_text(json, "kernel", environment->kernel);
    bench_json_text(json, "governor", environment->governor);
    bench_json_number(json, "load_average_before", environment->load_average);
    bench_json_text(json, "strata_version", version);
    bench_json_text(json, "commit", environment->commit);
    bench_json_text(json, "compiler", environment->compiler);
    bench_json_text(json, "flags", environment->flags);
}
