/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run_cache.h - runs freed a moment ago, kept for the next who needs one of the same length.
 *
 * Buffers of 64 KiB to 1 MiB come and go on servers. Each thread keeps one of their runs, and each
 * arena a few, outside the page heap, whose lock all threads share. Such a run is in use as far as
 * the page heap is concerned: it is not joined with its neighbours, and its memory stays. Of slabs
 * bins keep empty ones themselves. */
#ifndef BREAKWATER_RUN_CACHE_H
#define BREAKWATER_RUN_CACHE_H

#include "region.h"

#define RUN_CACHE_UNITS 16 /* the longest run that is kept */
#define RUN_CACHE_SLOTS 6  /* a cache line, with what is beside them */

/* Zeroed memory is an empty one that keeps one run. Lock-free; any thread. */
struct run_cache {
    _Alignas(CACHE_LINE_BYTES) _Atomic uintptr_t slots[RUN_CACHE_SLOTS];
    _Atomic size_t units_most; /* in all slots together, if they are more than one run */
    struct run_cache *next;    /* of all that are registered; constant from then on */
};

/* Let time pass for the runs of this one too, from now on and for good. Callers hold the life lock.
 */
void run_cache_register(struct run_cache *cache);

/* A kept run of that length, the caller's from now on, or NULL. Its memory is as it was. */
struct span *run_cache_take(struct run_cache *cache, size_t units);

/* Keep a large block's run. False if it is too long, if there is no room, or if memory is limited:
 * it stays the caller's, for page_heap_free(), and may be marked as freed. */
bool run_cache_put(struct run_cache *cache, struct span *span);

/* From now on, keep runs of `units` together at most, or one run. */
void run_cache_limit(struct run_cache *cache, size_t units);

/* Give runs of all that are registered to the page heap: those that were put before this tick, or
 * all of them. Inside the gate. */
void run_cache_age_all(void);
void run_cache_empty_all(void);

/* The bytes of the runs it keeps, or all together, as of a moment ago. */
size_t run_cache_bytes(const struct run_cache *cache);
size_t run_cache_bytes_all(void);

/* How much more than usual is to be kept, in RUN_CACHE_QUIET_TICKS for each doubling: after a tick
 * in which threads had to wait `waits` times for the page heap's lock, and from what it was before.
 */
#define RUN_CACHE_QUIET_TICKS 16
unsigned run_cache_demand(unsigned demand, uint64_t waits);

/* Panics unless every run that a registered one keeps is marked as kept, and whole. At rest. */
void run_cache_check_all(void);

#endif
