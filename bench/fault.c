/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a schedule of faults, and carries it out. */
#include "bench/fault.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *word, *done;
} kinds[BENCH_FAULT_KINDS] = {
    [BENCH_FAULT_KILL] = {"kill", "killed"},          [BENCH_FAULT_PAUSE] = {"pause", "paused"},
    [BENCH_FAULT_RESUME] = {"resume", "resumed"},     [BENCH_FAULT_RESTART] = {"restart", "restarted empty"},
    [BENCH_FAULT_FLUSH] = {"flush", "flushed"},       [BENCH_FAULT_CLIENTS] = {"clients", "dropped its clients"},
    [BENCH_FAULT_FAILOVER] = {"failover", "took over"},
};

static int by_time(const void *left, const void *right) {
    const bench_fault *a = left, *b = right;
    return (a->seconds > b->seconds) - (a->seconds < b->seconds);
}

static int parse(bench_faults *faults, const char *text, uint32_t nodes) {
    bench_fault fault = {.kind = BENCH_FAULT_KINDS};
    size_t size = strcspn(text, ":");
    char *end;
    for (uint32_t i = 0; i < BENCH_FAULT_KINDS; i++)
        if (strlen(kinds[i].word) == size && memcmp(kinds[i].word, text, size) == 0) fault.kind = (bench_fault_kind)i;
    if (fault.kind == BENCH_FAULT_KINDS || text[size] != ':') return -1;
    unsigned long node = strtoul(text + size + 1, &end, 10);
    if (end == text + size + 1 || *end != '@' || node >= nodes) return -1;
    fault.node = (uint32_t)node;
    const char *time = end + 1;
    fault.seconds = strtod(time, &end);
    if (end == time || !isfinite(fault.seconds) || fault.seconds < 0) return -1;
    faults->list[faults->count++] = fault;
    if ((*end == '+') != (fault.kind == BENCH_FAULT_PAUSE)) return -1; /* a pause ends, nothing else does */
    if (*end != '+') return *end == '\0' ? 0 : -1;
    time = end + 1;
    double lasts = strtod(time, &end);
    if (end == time || *end != '\0' || !isfinite(lasts) || lasts <= 0) return -1;
    fault.kind = BENCH_FAULT_RESUME;
    fault.seconds += lasts;
    faults->list[faults->count++] = fault;
    return 0;
}

int bench_faults_parse(bench_faults *faults, const bench_list *texts, uint32_t nodes, char *error, size_t error_size) {
    *faults = (bench_faults){.count = 0};
    for (uint32_t i = 0; i < texts->count; i++) {
        if (parse(faults, texts->items[i], nodes) == 0) continue;
        snprintf(error, error_size, "--fault: '%s' is not %s, a kind of", texts->items[i], BENCH_FAULT_FORM);
        for (uint32_t k = 0; k < BENCH_FAULT_KINDS; k++)
            snprintf(error + strlen(error), error_size - strlen(error), "%s %s", k > 0 ? "," : "", kinds[k].word);
        snprintf(error + strlen(error), error_size - strlen(error), " and a node below %u; only pause, and it always, has an end", nodes);
        return -1;
    }
    qsort(faults->list, faults->count, sizeof faults->list[0], by_time);
    return 0;
}

static bool command(sx_cluster *cluster, uint32_t node, const char *text) {
    char *answer = sx_cluster_command(cluster, node, "%s", text);
    bool good = answer != NULL && answer[0] != '-';
    free(answer);
    return good;
}

static bool carry_out(const bench_fault *fault, sx_cluster *cluster) {
    switch (fault->kind) {
    case BENCH_FAULT_KILL: return sx_cluster_kill(cluster, fault->node) == 0;
    case BENCH_FAULT_PAUSE: return sx_cluster_pause(cluster, fault->node) == 0;
    case BENCH_FAULT_RESUME: return sx_cluster_resume(cluster, fault->node) == 0;
    case BENCH_FAULT_RESTART: return sx_cluster_restart(cluster, fault->node) == 0;
    case BENCH_FAULT_FLUSH: return command(cluster, fault->node, "FLUSHALL");
    case BENCH_FAULT_CLIENTS: {
        bool data = command(cluster, fault->node, "CLIENT KILL TYPE normal SKIPME yes");
        return command(cluster, fault->node, "CLIENT KILL TYPE pubsub") && data;
    }
    case BENCH_FAULT_FAILOVER: return command(cluster, fault->node, "CLUSTER FAILOVER");
    case BENCH_FAULT_KINDS: break;
    }
    return false;
}

void bench_faults_note(bench_faults *faults, double seconds, const char *text) {
    if (faults->event_count == BENCH_EVENTS_MAX) return;
    bench_event *event = &faults->events[faults->event_count++];
    event->seconds = seconds;
    snprintf(event->text, sizeof event->text, "%s", text);
}

void bench_faults_run(bench_faults *faults, sx_cluster *cluster, double seconds) {
    for (; faults->next < faults->count && faults->list[faults->next].seconds <= seconds; faults->next++) {
        const bench_fault *fault = &faults->list[faults->next];
        char text[sizeof faults->events[0].text];
        snprintf(text, sizeof text, "node %u %s%s", fault->node, kinds[fault->kind].done, carry_out(fault, cluster) ? "" : ": FAILED");
        bench_faults_note(faults, seconds, text);
    }
}
