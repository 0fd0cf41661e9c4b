/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* limit.h - how much memory the heap may hold: over the soft limit memory goes back at once, over
 * the hard one there is none.
 *
 * What is counted are units that are handed out, to slabs or as large blocks, and free ones whose
 * memory has not been given back. page_heap.c counts and compares, upkeep.c acts.
 */
#ifndef BREAKWATER_LIMIT_H
#define BREAKWATER_LIMIT_H

#include <stdatomic.h>

#include "breakwater/breakwater.h"
#include "util.h"

/* The soft limit has been passed, and nobody has acted yet; memory goes back, step by step; a
 * thread is at such a step. */
enum limit_pressure { LIMIT_QUIET, LIMIT_PRESSES, LIMIT_RELIEF, LIMIT_STEP };

struct limit {
    _Atomic size_t soft; /* bytes; 0: none */
    _Atomic size_t hard; /* bytes; 0: none */
    _Atomic(enum limit_pressure) pressure;
    _Atomic bool has_grown;    /* past the soft limit: the program is to be told after the relief */
    _Atomic unsigned notices;  /* a bit for each enum bw_limit that the program is to be told of */
    _Atomic size_t used_bytes; /* handed out by the heap */
};

extern struct limit limit;

/* 0 for none. Any thread. */
void limit_set(size_t soft_bytes, size_t hard_bytes);

/* Relaxed throughout: a thread that sees a change late acts a little later. */
static inline size_t limit_soft(void)
{
    return atomic_load_explicit(&limit.soft, memory_order_relaxed);
}

static inline size_t limit_hard(void)
{
    return atomic_load_explicit(&limit.hard, memory_order_relaxed);
}

static inline void limit_note_used(size_t bytes)
{
    atomic_store_explicit(&limit.used_bytes, bytes, memory_order_relaxed);
}

/* What the heap has handed out. */
static inline size_t limit_used_bytes(void)
{
    return atomic_load_explicit(&limit.used_bytes, memory_order_relaxed);
}

static inline bool limit_is_set(void)
{
    return limit_soft() != 0 || limit_hard() != 0;
}

/* Is there room for so many bytes below `most`; 0: no end to it? What is free in the heap does not
 * count. */
static inline bool limit_has_room(size_t most, size_t bytes)
{
    size_t used = atomic_load_explicit(&limit.used_bytes, memory_order_relaxed);

    return most == 0 || (bytes <= most && used <= most - bytes);
}

/* Does the hard limit leave room for so many bytes outside the heap? What is free in it cannot
 * serve just then, and goes back later. */
static inline bool limit_allows(size_t bytes)
{
    return limit_has_room(limit_hard(), bytes);
}

/* Has the heap handed out less than half of the limits? If not, memory is not held where that only
 * saves time. */
static inline bool limit_is_far(void)
{
    return limit_has_room((limit_soft() + 1) / 2, 0) && limit_has_room((limit_hard() + 1) / 2, 0);
}

static inline bool limit_presses(void)
{
    return atomic_load_explicit(&limit.pressure, memory_order_relaxed) != LIMIT_QUIET;
}

/* LIMIT_PRESSES or LIMIT_RELIEF for the one thread that has to act, and to say then how it stands;
 * LIMIT_QUIET for others. */
enum limit_pressure limit_take_pressure(void);
void limit_put_pressure(enum limit_pressure pressure);

/* The soft limit has been passed: the heap has grown, or only more of it is free. */
void limit_press(bool has_grown);

/* Whom to tell of limits; NULL for nobody. */
void limit_on(bw_limit_callback *callback, void *context);

/* The program is to be told, by the next thread that calls limit_deliver(). */
void limit_notice(enum bw_limit which);

static inline bool limit_has_notice(void)
{
    return atomic_load_explicit(&limit.notices, memory_order_relaxed) != 0;
}

/* Tell the program. Outside the gate, no lock held: the callback may allocate. */
void limit_deliver(size_t held_bytes);

#endif
