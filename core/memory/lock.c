/* SPDX-License-Identifier: Apache-2.0 */
/* The ranked mutex: a plain pthread mutex in release builds, one that knows its holder and its rank in debug builds. */
#include "core/memory/lock.h"

#include <assert.h>
#include <errno.h>

#include <strata/status.h>

#ifndef SX_DEBUG
#define SX_DEBUG 0
#endif

#if SX_DEBUG
#define HELD_MAX 8
/* owner: each thread. The locks it holds, in the order it took them. */
static _Thread_local const sx_lock *held[HELD_MAX];
static _Thread_local uint32_t held_count;
#endif

int32_t sx_lock_init(sx_lock *lock, uint32_t rank) {
    lock->rank = rank;
    pthread_mutexattr_t attributes;
    if (pthread_mutexattr_init(&attributes) != 0) return STRATA_E_NOMEM;
#if SX_DEBUG
    (void)pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
#endif
    int failure = pthread_mutex_init(&lock->mutex, &attributes);
    (void)pthread_mutexattr_destroy(&attributes);
    if (failure == ENOMEM) return STRATA_E_NOMEM;
    return failure == 0 ? STRATA_OK : STRATA_E_SYSTEM;
}

void sx_lock_deinit(sx_lock *lock) {
    int failure = pthread_mutex_destroy(&lock->mutex);
    assert(failure == 0 && "destroyed while held");
    (void)failure;
}

static void check_order(const sx_lock *lock) {
#if SX_DEBUG
    for (uint32_t i = 0; i < held_count; i++) assert(held[i]->rank < lock->rank && "locks out of order");
    assert(held_count < HELD_MAX);
#else
    (void)lock;
#endif
}

static void note_held(const sx_lock *lock) {
#if SX_DEBUG
    held[held_count++] = lock;
#else
    (void)lock;
#endif
}

void sx_lock_acquire(sx_lock *lock) {
    check_order(lock);
    int failure = pthread_mutex_lock(&lock->mutex);
    assert(failure == 0);
    (void)failure;
    note_held(lock);
}

bool sx_lock_try(sx_lock *lock) {
    check_order(lock);
    int failure = pthread_mutex_trylock(&lock->mutex);
    assert(failure == 0 || failure == EBUSY);
    if (failure == 0) note_held(lock);
    return failure == 0;
}

void sx_lock_release(sx_lock *lock) {
#if SX_DEBUG
    uint32_t at = held_count;
    while (at > 0 && held[at - 1] != lock) at--;
    assert(at > 0 && "released by a thread that doesn't hold it");
    for (; at < held_count; at++) held[at - 1] = held[at];
    held_count--;
#endif
    int failure = pthread_mutex_unlock(&lock->mutex);
    assert(failure == 0);
    (void)failure;
}

bool sx_lock_is_held(const sx_lock *lock) {
#if SX_DEBUG
    for (uint32_t i = 0; i < held_count; i++) {
        if (held[i] == lock) return true;
    }
    return false;
#else
    (void)lock;
    return true;
#endif
}

bool sx_lock_none_held(void) {
#if SX_DEBUG
    return held_count == 0;
#else
    return true;
#endif
}
