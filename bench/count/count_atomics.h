/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* count_atomics.h - included before every file of the counting build (bench/atomics): the
 * read-modify-write operations of <stdatomic.h>, and the stores that x86-64 makes by one, are
 * counted. The only compare-and-exchange of 32 bits with acquire order is the lock's. */
#ifndef BENCH_COUNT_ATOMICS_H
#define BENCH_COUNT_ATOMICS_H

#include <stdatomic.h>

enum { COUNT_ATOMICS, COUNT_LOCKS, COUNT_CALLS, COUNT_KINDS };

extern unsigned long bench_counted[COUNT_KINDS];

#define BENCH_COUNT(kind, value)                                                                   \
    (void)__atomic_fetch_add(&bench_counted[kind], (value), __ATOMIC_RELAXED)
#define BENCH_COUNTED(operation) (BENCH_COUNT(COUNT_ATOMICS, 1), (operation))

#undef atomic_exchange_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_or_explicit
#undef atomic_fetch_and_explicit
#undef atomic_store_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak_explicit

#define atomic_exchange_explicit(object, value, order)                                             \
    BENCH_COUNTED(__atomic_exchange_n((object), (value), (order)))
#define atomic_fetch_add_explicit(object, value, order)                                            \
    BENCH_COUNTED(__atomic_fetch_add((object), (value), (order)))
#define atomic_fetch_sub_explicit(object, value, order)                                            \
    BENCH_COUNTED(__atomic_fetch_sub((object), (value), (order)))
#define atomic_fetch_or_explicit(object, value, order)                                             \
    BENCH_COUNTED(__atomic_fetch_or((object), (value), (order)))
#define atomic_fetch_and_explicit(object, value, order)                                            \
    BENCH_COUNTED(__atomic_fetch_and((object), (value), (order)))
#define atomic_store_explicit(object, value, order)                                                \
    (BENCH_COUNT(COUNT_ATOMICS, (order) == memory_order_seq_cst),                                  \
     __atomic_store_n((object), (value), (order)))
#define atomic_compare_exchange_strong_explicit(object, expected, value, success, failure)         \
    (BENCH_COUNT(COUNT_LOCKS,                                                                      \
                 (success) == memory_order_acquire && sizeof(*(object)) == sizeof(int)),           \
     BENCH_COUNTED(                                                                                \
         __atomic_compare_exchange_n((object), (expected), (value), 0, (success), (failure))))
#define atomic_compare_exchange_weak_explicit(object, expected, value, success, failure)           \
    BENCH_COUNTED(                                                                                 \
        __atomic_compare_exchange_n((object), (expected), (value), 1, (success), (failure)))

/* liburcu's, as lfstack.h routes them. */
#define BENCH_COUNT_LIBURCU BENCH_COUNT(COUNT_ATOMICS, 1)

#endif
