/* SPDX-License-Identifier: Apache-2.0 */
/* What C11 atomics lack: a pause for spinning, the cache line's size, and the only fences in the tree, named by use. */
#ifndef SX_CORE_MEMORY_ATOMIC_H
#define SX_CORE_MEMORY_ATOMIC_H

#include <stdatomic.h>
#include <stdint.h>

#define SX_CACHE_LINE 64
/* Two lines: neighbours fetched in pairs by the prefetcher don't share either. */
#define SX_NO_SHARING 128

#if defined(__SANITIZE_THREAD__)
#define SX_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SX_TSAN 1
#endif
#endif
#ifndef SX_TSAN
#define SX_TSAN 0
#endif

/* A field that is not atomic and yet handed from thread to thread. Where tests run a source under a model checker, that
   is told so, and looks for races. */
#ifndef SX_PLAIN
#define SX_PLAIN(type) type
#endif

#define SX_LIKELY(x) __builtin_expect(!!(x), 1)
#define SX_UNLIKELY(x) __builtin_expect(!!(x), 0)

static inline void sx_cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

/* Of a pin whose epoch has no membarrier: the pin's store comes before the section's loads. Pairs with the next but one. */
static inline void sx_fence_epoch_pin(void) {
#if !SX_TSAN /* which understands no fences; pins are exchanges there */
    atomic_thread_fence(memory_order_seq_cst); /* [order: epoch-pin] */
#endif
}
/* Of any other pin: the compiler keeps that order, the processor does when who reclaims asks it to. */
static inline void sx_fence_epoch_light(void) { atomic_signal_fence(memory_order_seq_cst); /* [order: epoch-pin] */ }
/* Of slots read as vectors: the compiler keeps them before what is read next, the processor does so by itself. */
static inline void sx_fence_slots_light(void) { atomic_signal_fence(memory_order_acquire); /* [order: entry-publish] */ }
/* Of who reclaims, where pins fence: what was unlinked comes before the look at the records. */
static inline void sx_fence_epoch_reclaim(void) {
#if !SX_TSAN
    atomic_thread_fence(memory_order_seq_cst); /* [order: epoch-pin] */
#endif
}

#endif
