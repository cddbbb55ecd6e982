/* SPDX-License-Identifier: Apache-2.0 */
/* A mutex with a rank: in debug builds a thread that takes locks out of order, or unpins a rule, stops at once. */
#ifndef SX_CORE_MEMORY_LOCK_H
#define SX_CORE_MEMORY_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include <pthread.h>

/* A thread may take a lock only while every lock it holds has a lower rank. Callbacks run with none held. */
enum {
    SX_RANK_ENGINE = 10,   /* sessions and namespaces of an engine */
    SX_RANK_WARM = 20,     /* what is told of one warming */
    SX_RANK_FLIGHT = 30,   /* a stripe of flights */
    SX_RANK_MARKS = 40,    /* markers of tags */
    SX_RANK_ANALYSIS = 45, /* what is seen of one namespace's usage */
    SX_RANK_EPOCH = 50,    /* records and retired batches */
    SX_RANK_LOG = 60
};

typedef struct sx_lock {
    pthread_mutex_t mutex;
    uint32_t rank; /* const after init */
} sx_lock;

int32_t sx_lock_init(sx_lock *lock, uint32_t rank);
void sx_lock_deinit(sx_lock *lock);
void sx_lock_acquire(sx_lock *lock);
/* Takes it where nobody holds it; never waits. */
bool sx_lock_try(sx_lock *lock);
void sx_lock_release(sx_lock *lock);
/* Debug: whether this thread holds it; release builds answer true. For assertions of _locked functions. */
bool sx_lock_is_held(const sx_lock *lock);
/* Debug: whether this thread holds no lock of ours; release builds answer true. For assertions before callbacks. */
bool sx_lock_none_held(void);

#endif
