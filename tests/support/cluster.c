/* SPDX-License-Identifier: Apache-2.0 */
/* What tests do to a private cluster besides starting it. */
#include "tests/support/cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* Not test_sleep_ms: who scripts the wire client links this without an engine. */
static void rest(uint32_t ms) {
    struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL);
}

sx_cluster *test_cluster_start(const sx_cluster_options *options) {
    sx_cluster *cluster = NULL;
    char error[256];
    if (sx_cluster_start(options, &cluster, error, sizeof error) != 0) fail_msg("%s", error);
    return cluster;
}

void test_cluster_move_keys(sx_cluster *cluster, uint16_t slot, uint32_t from, uint32_t to, uint32_t rest_ms) {
    char port[8];
    snprintf(port, sizeof port, "%u", sx_cluster_port(cluster, to));
    assert_int_equal(sx_cluster_slot_migrating(cluster, slot, to), 0);
    rest(rest_ms);
    for (;;) {
        char *names = sx_cluster_command(cluster, from, "CLUSTER GETKEYSINSLOT %u 5", slot);
        const char *argv[7 + 5] = {"MIGRATE", "127.0.0.1", port, "", "0", "5000", "KEYS"};
        size_t argc = 7;
        for (char *name = strtok(names, "\n"); name != NULL; name = strtok(NULL, "\n")) argv[argc++] = name;
        if (argc == 7) {
            free(names);
            return;
        }
        char *answer = sx_cluster_command_argv(cluster, from, argc, argv);
        assert_true(strcmp(answer, "OK") == 0 || strcmp(answer, "NOKEY") == 0);
        free(answer);
        free(names);
        rest(rest_ms);
    }
}

void test_cluster_move_slot(sx_cluster *cluster, uint16_t slot, uint32_t from, uint32_t to, uint32_t rest_ms) {
    test_cluster_move_keys(cluster, slot, from, to, rest_ms);
    assert_int_equal(sx_cluster_slot_give(cluster, slot, to), 0);
}

static void *cut_subscriptions(void *argument) {
    test_cutter *cutter = argument;
    while (atomic_load(&cutter->cutting)) {
        for (uint32_t i = 0; i < cutter->nodes; i++)
            free(sx_cluster_command(cutter->cluster, i, "CLIENT KILL TYPE pubsub"));
        rest(2);
    }
    return NULL;
}

void test_cutter_start(test_cutter *cutter, sx_cluster *cluster, uint32_t nodes) {
    cutter->cluster = cluster;
    cutter->nodes = nodes;
    atomic_init(&cutter->cutting, 1);
    assert_int_equal(pthread_create(&cutter->thread, NULL, cut_subscriptions, cutter), 0);
}

void test_cutter_stop(test_cutter *cutter) {
    atomic_store(&cutter->cutting, 0);
    pthread_join(cutter->thread, NULL);
}
