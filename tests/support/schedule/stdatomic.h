/* SPDX-License-Identifier: Apache-2.0 */
/* C11 atomics with a schedule point before each: sources compiled with this folder in front are interrupted at any step that
   another thread could notice. */
#ifndef TESTS_SUPPORT_SCHEDULE_STDATOMIC_H
#define TESTS_SUPPORT_SCHEDULE_STDATOMIC_H

#include_next <stdatomic.h>

void test_schedule_point(void); /* tests/support/schedule.c */

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak_explicit

#define atomic_load_explicit(at, order)                                                                                \
    __extension__({                                                                                                    \
        test_schedule_point();                                                                                         \
        __auto_type at_ = (at);                                                                                        \
        __typeof__((void)0, *at_) value_;                                                                              \
        __atomic_load(at_, &value_, (order));                                                                          \
        value_;                                                                                                        \
    })
#define atomic_store_explicit(at, value, order)                                                                        \
    __extension__({                                                                                                    \
        test_schedule_point();                                                                                         \
        __auto_type at_ = (at);                                                                                        \
        __typeof__((void)0, *at_) value_ = (value);                                                                    \
        __atomic_store(at_, &value_, (order));                                                                         \
    })
#define atomic_exchange_explicit(at, value, order)                                                                     \
    __extension__({                                                                                                    \
        test_schedule_point();                                                                                         \
        __auto_type at_ = (at);                                                                                        \
        __typeof__((void)0, *at_) value_ = (value), old_;                                                              \
        __atomic_exchange(at_, &value_, &old_, (order));                                                               \
        old_;                                                                                                          \
    })
#define atomic_fetch_add_explicit(at, more, order) (test_schedule_point(), __atomic_fetch_add((at), (more), (order)))
#define atomic_fetch_sub_explicit(at, less, order) (test_schedule_point(), __atomic_fetch_sub((at), (less), (order)))
#define atomic_compare_exchange_strong_explicit(at, expected, wanted, order, failure)                                  \
    __extension__({                                                                                                    \
        test_schedule_point();                                                                                         \
        __auto_type at_ = (at);                                                                                        \
        __typeof__((void)0, *at_) wanted_ = (wanted);                                                                  \
        __atomic_compare_exchange(at_, (expected), &wanted_, 0, (order), (failure));                                   \
    })
#define atomic_compare_exchange_weak_explicit atomic_compare_exchange_strong_explicit

#endif
