/* SPDX-License-Identifier: Apache-2.0 */
/* Linearizability of one-writer registers: per key, writes that follow each other and finds that may overlap anything. */
#ifndef SX_TESTS_SUPPORT_LINEAR_H
#define SX_TESTS_SUPPORT_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* begin and end are ticks of one counter that all threads advance. value 0: nothing there. The values of a key's writes are
   unique but for 0. Keys begin with nothing. */
typedef struct linear_op {
    uint64_t begin, end;
    uint64_t value;
    uint32_t key;
    bool write;
} linear_op;

/* Whether there is an order of all operations of each key, each at a moment between its begin and end, in which every find
   answers what was written last. may_vanish: what is there may vanish at any moment by itself (eviction). Sorts ops; where
   there is none, *fault is the first find that fits nowhere. */
bool linear_check(linear_op *ops, size_t count, bool may_vanish, linear_op *fault);

#endif
