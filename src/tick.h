/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* tick.h - the coarse clock that free memory is stamped with, and the number of the pass through
 * all of it that looks for what is due; purge.c lets both run. */
#ifndef BREAKWATER_TICK_H
#define BREAKWATER_TICK_H

#include <stdatomic.h>

#include "util.h"

/* Free memory has rested for the decay time when so many ticks have gone by. */
#define TICKS_PER_DECAY 4

extern _Atomic uint32_t tick_current;
extern _Atomic uint8_t pass_current;

/* Relaxed throughout: a stamp that is a tick off changes when memory goes back, nothing else. */
static inline uint32_t tick_count(void)
{
    return atomic_load_explicit(&tick_current, memory_order_relaxed);
}

/* What of it a stamp has room for: it begins anew every 256 ticks. */
static inline uint8_t tick_now(void)
{
    return (uint8_t)tick_count();
}

static inline void tick_advance(void)
{
    atomic_fetch_add_explicit(&tick_current, 1, memory_order_relaxed);
}

/* A pass that takes long goes on over ticks. What is marked as seen with its number, it does not
 * look at again; with one that is long past, the mark costs no more than a pass. */
static inline uint8_t pass_now(void)
{
    return atomic_load_explicit(&pass_current, memory_order_relaxed);
}

/* Unless somebody else has since it was `seen`. */
static inline void pass_advance_from(uint8_t seen)
{
    (void)atomic_compare_exchange_strong_explicit(&pass_current, &seen, (uint8_t)(seen + 1),
                                                  memory_order_relaxed, memory_order_relaxed);
}

/* What is free now has been so for a tick from now on, and looks for such memory begin anew. */
static inline void tick_make_due(void)
{
    tick_advance();
    pass_advance_from(pass_now());
}

#endif
