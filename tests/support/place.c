/* SPDX-License-Identifier: Apache-2.0 */
/* A table of hash tags for each question: tests ask few. */
#include "tests/support/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

test_place test_place_at(uint32_t partition) {
    sx_key_tags *tags;
    assert_int_equal(sx_key_tags_create(sx_alloc_default(), TEST_PARTITIONS, &tags), 0);
    test_place place = {.partition = partition, .slot = tags->tags[partition].slot};
    memcpy(place.tag, tags->tags[partition].text, sizeof place.tag);
    sx_key_tags_destroy(tags);
    return place;
}

test_place test_place_of(const char *key) { return test_place_at(sx_key_partition(key, strlen(key), TEST_PARTITIONS)); }

uint32_t test_node_of(sx_cluster *cluster, const char *key) {
    int owner = sx_cluster_owner(cluster, test_place_of(key).slot);
    assert_true(owner >= 0);
    return (uint32_t)owner;
}
