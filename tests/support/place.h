/* SPDX-License-Identifier: Apache-2.0 */
/* Where a key is, for engines with as many partitions as they have unless told otherwise. */
#ifndef SX_TESTS_SUPPORT_PLACE_H
#define SX_TESTS_SUPPORT_PLACE_H

#include <stdint.h>

#include "core/key/key.h"
#include "tests/support/cluster.h"

#define TEST_PARTITIONS 256

typedef struct test_place {
    uint32_t partition;
    uint16_t slot;
    char tag[SX_TAG_BYTES_MAX]; /* what its names begin with, in braces */
} test_place;

test_place test_place_at(uint32_t partition);
/* Of a key, a lock's name, a tag. */
test_place test_place_of(const char *key);
/* The node that has its slot. Fails the test where none has. */
uint32_t test_node_of(sx_cluster *cluster, const char *key);

#endif
