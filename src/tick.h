/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* tick.h - the coarse clock that free memory is stamped with; purge.c lets it run. */
#ifndef BREAKWATER_TICK_H
#define BREAKWATER_TICK_H

#include <stdatomic.h>

#include "util.h"

extern _Atomic uint8_t tick_current;

/* Relaxed throughout: a stamp that is a tick off changes when memory goes back, nothing else. */
static inline uint8_t tick_now(void)
{
    return atomic_load_explicit(&tick_current, memory_order_relaxed);
}

static inline void tick_advance(void)
{
    atomic_fetch_add_explicit(&tick_current, 1, memory_order_relaxed);
}

/* Unless somebody else has since it was `seen`. */
static inline void tick_advance_from(uint8_t seen)
{
    (void)atomic_compare_exchange_strong_explicit(&tick_current, &seen, (uint8_t)(seen + 1),
                                                  memory_order_relaxed, memory_order_relaxed);
}

#endif
