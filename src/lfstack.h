/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lfstack.h - liburcu's lock-free stack, inlined, on the compiler's atomics.
 *
 * liburcu's own uatomic_* are inline assembly, which ThreadSanitizer cannot see. The stack's code
 * is kept as it is; only the primitives below it are routed through the compiler. Only push and
 * pop-all are used: neither ever waits, and together they need no lock and have no ABA problem
 * (liburcu, urcu/lfstack.h, table of operations that may run concurrently).
 *
 * The push takes the address of the first member of what may be a null pointer, which
 * UndefinedBehaviorSanitizer objects to: its preset calls the functions of liburcu-cds instead.
 */
#ifndef BREAKWATER_LFSTACK_H
#define BREAKWATER_LFSTACK_H

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"

#ifndef BREAKWATER_LIBURCU_LINKED
#define _LGPL_SOURCE /* liburcu's switch for its inline code */
#endif
#include <urcu/uatomic.h>

/* The counting build of bench/atomics counts these too. */
#ifndef BENCH_COUNT_LIBURCU
#define BENCH_COUNT_LIBURCU (void)0
#endif

#undef uatomic_cmpxchg
#undef uatomic_xchg
/* Sequentially consistent, as liburcu documents both. The value returned is the one found. */
#define uatomic_cmpxchg(address, expected, desired)                                                \
    __extension__({                                                                                \
        __typeof__(*(address)) uatomic_found = (expected);                                         \
        BENCH_COUNT_LIBURCU;                                                                       \
        (void)__atomic_compare_exchange_n((address), &uatomic_found, (desired), 0,                 \
                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                     \
        uatomic_found;                                                                             \
    })
#define uatomic_xchg(address, value)                                                               \
    (BENCH_COUNT_LIBURCU, __atomic_exchange_n((address), (value), __ATOMIC_SEQ_CST))

#include <urcu/system.h>

/* The load is what cds_lfs_empty() looks at a stack with. Sequentially consistent: who opens the
 * gate looks afterwards, and who defers a free pushes it before looking at the gate (gate_is_open()
 * in gate.c). A relaxed load might come before the exchange that opens the gate is seen. */
#undef CMM_LOAD_SHARED
#undef CMM_STORE_SHARED
#define CMM_LOAD_SHARED(object)         __atomic_load_n(&(object), __ATOMIC_SEQ_CST)
#define CMM_STORE_SHARED(object, value) __atomic_store_n(&(object), (value), __ATOMIC_RELAXED)

#include <urcu/lfstack.h>

#pragma GCC diagnostic pop

#endif
