/* SPDX-License-Identifier: Apache-2.0 */
/* C11 atomics as the model checker has them: production sources that keep to `_Atomic(type)` and the _explicit forms are
   compiled as they are. Each memory order that is written down is a site of its own, which a test can weaken. */
#ifndef TESTS_RELACY_STDATOMIC_H
#define TESTS_RELACY_STDATOMIC_H

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <relacy/relacy.hpp>

enum sx_site_kind { SX_SITE_UNUSED, SX_SITE_LOAD, SX_SITE_STORE, SX_SITE_RMW, SX_SITE_FENCE };
struct sx_site {
    sx_site_kind kind;
    rl::memory_order order;
    const char *file;
    int line;
};
struct sx_order {
    int site;
};
enum { SX_SITES_MAX = 512 };
static sx_site sx_sites[SX_SITES_MAX];
static int sx_mutated = -1; /* the site whose order is weakened, or none */
static rl::memory_order sx_instead;

static inline sx_order sx_order_at(int site, rl::memory_order order, const char *file, int line) {
    if (site >= SX_SITES_MAX) std::terminate();
    sx_site &s = sx_sites[site];
    s.order = order;
    s.file = file;
    s.line = line;
    return sx_order{site};
}
static void (*sx_before_step)(); /* runs before each atomic access and plain load, on the accessing thread; NULL: nothing */
static inline rl::memory_order sx_order_of(sx_order o, sx_site_kind kind) {
    if (sx_before_step != nullptr) sx_before_step();
    sx_sites[o.site].kind = kind;
    return o.site == sx_mutated ? sx_instead : sx_sites[o.site].order;
}
#define SX_ORDER_AT(order) (sx_order_at(__COUNTER__, rl::order, __FILE__, __LINE__))
/* relacy has its own idea of these names. */
#undef memory_order_relaxed
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst
#define memory_order_relaxed SX_ORDER_AT(mo_relaxed)
#define memory_order_acquire SX_ORDER_AT(mo_acquire)
#define memory_order_release SX_ORDER_AT(mo_release)
#define memory_order_acq_rel SX_ORDER_AT(mo_acq_rel)
#define memory_order_seq_cst SX_ORDER_AT(mo_seq_cst)

#define _Atomic(type) rl::atomic<type>

template <typename T> T sx_do_load(const rl::atomic<T> &a, sx_order o, rl::debug_info_param info) {
    return a.load(sx_order_of(o, SX_SITE_LOAD), info);
}
template <typename T, typename V> void sx_do_store(rl::atomic<T> &a, V v, sx_order o, rl::debug_info_param info) {
    a.store((T)v, sx_order_of(o, SX_SITE_STORE), info);
}
template <typename T, typename V> T sx_do_exchange(rl::atomic<T> &a, V v, sx_order o, rl::debug_info_param info) {
    return a.exchange((T)v, sx_order_of(o, SX_SITE_RMW), info);
}
template <typename T, typename V> T sx_do_add(rl::atomic<T> &a, V v, sx_order o, rl::debug_info_param info) {
    return a.fetch_add((T)v, sx_order_of(o, SX_SITE_RMW), info);
}
/* The order of a failure is relaxed throughout. */
template <typename T, typename V>
bool sx_do_swap(rl::atomic<T> &a, T *expected, V v, sx_order o, sx_order, rl::debug_info_param info) {
    return a.compare_exchange_weak(*expected, (T)v, sx_order_of(o, SX_SITE_RMW), info, rl::mo_relaxed, info);
}
#define atomic_load_explicit(a, order) sx_do_load(*(a), order, $)
#define atomic_store_explicit(a, v, order) sx_do_store(*(a), v, order, $)
#define atomic_exchange_explicit(a, v, order) sx_do_exchange(*(a), v, order, $)
#define atomic_fetch_add_explicit(a, v, order) sx_do_add(*(a), v, order, $)
#define atomic_compare_exchange_weak_explicit(a, e, v, order, failure) sx_do_swap(*(a), e, v, order, failure, $)
#define atomic_thread_fence(order) rl::atomic_thread_fence(sx_order_of(order, SX_SITE_FENCE), $)
#define atomic_signal_fence(order) (void)(order)
#define atomic_init(a, v) (a)->store(v, rl::mo_relaxed, $)

/* A field that is not atomic and yet handed from thread to thread: the checker watches it for races. */
template <typename T> class sx_plain {
    rl::var<T> it;

public:
    operator T() const {
        if (sx_before_step != nullptr) sx_before_step();
        return it($).load();
    }
    T operator=(T value) {
        it($).store(value);
        return value;
    }
    T operator=(const sx_plain &other) { return *this = (T)other; }
};
#define SX_PLAIN(type) sx_plain<type>

/* Spinning lets the others run. */
#define __builtin_ia32_pause() rl::yield(1, $)

#endif
