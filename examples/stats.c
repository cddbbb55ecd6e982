/* SPDX-License-Identifier: Apache-2.0 */
/* What a program shows of its cache: hit ratio of a namespace, the time that loads take, the state of each server. */
// ctest: run
#include <stdio.h>
#include <string.h>

#include <strata/strata.h>

static void answer(strata_load *load, void *user) {
    (void)user;
    (void)strata_load_finish(load, STRATA_OK, (strata_bytes){"Ada", 3}, NULL);
}

static int64_t value_of(const strata_namespace *ns, const char *name) {
    int64_t values[256];
    strata_metric metric;
    if (strata_stats_namespace(ns, values, 256) != STRATA_OK) return 0;
    for (size_t i = 0; i < 256 && strata_metric_describe(i, &metric) == STRATA_OK; i++) {
        if (metric.by_namespace && strcmp(metric.name, name) == 0) return values[i];
    }
    return 0;
}

static void show(strata *engine, strata_namespace *users) {
    int64_t hits = value_of(users, "l1.hits"), gets = value_of(users, "flow.gets");
    printf("users: %lld of %lld gets answered by L1\n", (long long)hits, (long long)gets);
    strata_histogram loads = {.struct_size = sizeof loads};
    if (strata_stats_latency(engine, users, STRATA_LATENCY_LOAD, &loads) == STRATA_OK)
        printf("loads: %lld, 99 %% of them below %lld us\n", (long long)loads.count,
               (long long)strata_histogram_quantile(&loads, 0.99) / 1000);
    strata_node_stats node = {.struct_size = sizeof node, .latency = {.struct_size = sizeof node.latency}};
    for (uint32_t i = 0; strata_stats_node(engine, i, &node) == STRATA_OK; i++)
        printf("%s: %lld requests, %lld failed, median %lld us%s\n", node.address, (long long)node.requests, (long long)node.failures,
               (long long)strata_histogram_quantile(&node.latency, 0.5) / 1000,
               (node.flags & STRATA_NODE_BREAKER_OPEN) != 0 ? ", left alone" : "");
}

int main(void) {
    strata_config *config = NULL;
    strata *engine = NULL;
    strata_session *session = NULL;
    strata_namespace *users = NULL;
    strata_error error;
    int32_t status = strata_config_create(&config);
    if (status == STRATA_OK) status = strata_config_set(config, "l2.mode", "none", &error);
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    if (status == STRATA_OK) status = strata_open(&options, &engine, &error);
    if (status == STRATA_OK) status = strata_namespace_open(engine, "users", 1, &users);
    if (status == STRATA_OK) status = strata_session_open(engine, &session);
    for (int i = 0; i < 100 && status == STRATA_OK; i++) {
        strata_result result;
        status = strata_get_or_load_wait(session, users, (strata_bytes){"42", 2}, NULL, answer, NULL, &result);
        if (status == STRATA_OK) strata_result_release(session, &result);
    }
    if (status == STRATA_OK) show(engine, users);
    if (status == STRATA_OK) status = strata_stats_reset(engine); /* the next hour begins at 0 */
    if (status != STRATA_OK) fprintf(stderr, "%s\n", strata_status_text(status));
    strata_session_close(session);
    if (engine != NULL) (void)strata_close(engine, 1000);
    strata_config_destroy(config);
    return status == STRATA_OK ? 0 : 1;
}
