/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* upkeep.c - what slow paths do for the heap as a whole: age, purge, keep limits, tell of them; and
 * when a thread goes to another arena.
 *
 * Owns         nothing.
 * Concurrency  any thread, no lock held; inside the gate but for upkeep_tell_of_limits().
 * Called by    heap.c, large.c and resize.c.
 */
#include "upkeep.h"

#include "life.h"
#include "limit.h"
#include "page_heap.h"
#include "purge.h"
#include "scavenge.h"
#include "tick.h"

enum {
    MISSES_PER_POLL = 8,
    CROWD_MISSES = 256, /* between two looks whether the thread's arena is crowded: */
    CROWD_WAITS = 16,   /* its threads, on an average, waited so often for each other */
};

size_t upkeep_give_all_back(struct cache *cache, size_t pad_bytes)
{
    cache_flush_all(cache);
    scavenge_ask_all();
    return purge_all(pad_bytes);
}

/* The soft limit has been passed. */
static void relieve(struct cache *cache)
{
    (void)upkeep_give_all_back(cache, 0);
    /* What was given back on the way is no reason to begin again, but a fork that has cut it short.
     */
    if (gate_is_open()) {
        (void)limit_take_pressure();
    } else {
        limit_press();
    }
}

void upkeep_poll_for(struct cache *cache, size_t bytes)
{
    if (unlikely(limit_presses()) && limit_take_pressure()) {
        relieve(cache);
        return;
    }
    for (bool more = purge_poll(); more && bytes > PURGE_STEP_BYTES && gate_is_open();
         bytes -= PURGE_STEP_BYTES) {
        more = purge_go_on();
    }
}

void upkeep_poll(struct cache *cache)
{
    upkeep_poll_for(cache, 0);
}

/* Has the cache's arena become crowded since the last look? What others waited before one of them
 * left, or while this thread hardly had a miss, does not count. Relaxed throughout: hints. */
static bool is_crowded(struct cache *cache)
{
    const struct arena *arena = cache->arena;
    uint32_t waits = atomic_load_explicit(&arena->waits, memory_order_relaxed);
    uint32_t since_look = waits - cache->waits_seen;
    uint32_t since_change = waits - atomic_load_explicit(&arena->waits_left, memory_order_relaxed);
    bool is_recent = (uint8_t)(tick_now() - cache->waits_tick) <= 1;
    uint32_t threads = atomic_load_explicit(&arena->threads, memory_order_relaxed);

    cache->waits_seen = waits;
    cache->waits_tick = tick_now();
    return is_recent && size_min(since_look, since_change) >= (size_t)CROWD_WAITS * threads;
}

/* Threads of one arena mostly miss at different times, or in different classes. Where they do not,
 * they wait for each other, and their blocks, which mix in the slabs, go from one processor's cache
 * to the other's: then they are better off apart, for all that each arena costs. */
static void leave_crowd(struct cache *cache)
{
    struct arena *arena = cache->arena;
    uint32_t waits = cache->waits_seen;

    if (life_change_arena(cache)) {
        atomic_store_explicit(&arena->waits_left, waits, memory_order_relaxed);
    }
}

/* A look at the clock costs some nanoseconds: not at every miss. */
void upkeep_after_miss(struct cache *cache)
{
    scavenge_cache(cache);
    if (cache->misses % CROWD_MISSES == 0 && is_crowded(cache)) {
        leave_crowd(cache);
    }
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
