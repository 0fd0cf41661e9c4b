/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* upkeep.c - what slow paths do for the heap as a whole: age, purge, keep limits, tell of them.
 *
 * Owns         nothing.
 * Concurrency  any thread, no lock held; inside the gate but for upkeep_tell_of_limits().
 * Called by    heap.c and resize.c.
 */
#include "upkeep.h"

#include "limit.h"
#include "page_heap.h"
#include "purge.h"
#include "scavenge.h"

enum { MISSES_PER_POLL = 8 };

size_t upkeep_give_all_back(struct cache *cache, size_t pad_bytes)
{
    if (cache_is_real(cache)) {
        cache_flush_all(cache);
    }
    scavenge_ask_all();
    return purge_all(pad_bytes);
}

/* The soft limit has been passed. */
static void relieve(struct cache *cache)
{
    (void)upkeep_give_all_back(cache, 0);
    /* What was given back on the way is no reason to begin again. */
    (void)limit_take_pressure();
}

void upkeep_poll(struct cache *cache)
{
    if (unlikely(limit_presses()) && limit_take_pressure()) {
        relieve(cache);
    } else {
        (void)purge_poll();
    }
}

/* A look at the clock costs some nanoseconds: not at every miss. */
void upkeep_after_miss(struct cache *cache)
{
    scavenge_cache(cache);
    if (cache->misses % MISSES_PER_POLL == 0 || unlikely(limit_presses())) {
        upkeep_poll(cache);
    }
}

void upkeep_tell_of_limits(void)
{
    struct gate_slot *slot = cache_gate(cache_self);

    if (gate_enter(slot)) {
        size_t held = page_heap_stats().held_units * UNIT_BYTES;

        gate_leave(slot);
        limit_deliver(held);
    }
}
