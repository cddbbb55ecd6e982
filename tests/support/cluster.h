/* SPDX-License-Identifier: Apache-2.0 */
/* What tests do to a private cluster besides starting it. Each of these fails the test where it can't be done. */
#ifndef SX_TESTS_SUPPORT_CLUSTER_H
#define SX_TESTS_SUPPORT_CLUSTER_H

#include <stdatomic.h>
#include <stdint.h>

#include <pthread.h>

#include "bench/cluster/cluster.h"

sx_cluster *test_cluster_start(const sx_cluster_options *options);

/* Moves the keys of a slot, five at a time with rest_ms in between, then the slot. */
void test_cluster_move_keys(sx_cluster *cluster, uint16_t slot, uint32_t from, uint32_t to, uint32_t rest_ms);
void test_cluster_move_slot(sx_cluster *cluster, uint16_t slot, uint32_t from, uint32_t to, uint32_t rest_ms);

/* Closes the subscriptions at the first nodes every two milliseconds, until told to stop. */
typedef struct test_cutter {
    sx_cluster *cluster;
    uint32_t nodes;
    _Atomic int cutting;
    pthread_t thread;
} test_cutter;

void test_cutter_start(test_cutter *cutter, sx_cluster *cluster, uint32_t nodes);
void test_cutter_stop(test_cutter *cutter);

#endif
