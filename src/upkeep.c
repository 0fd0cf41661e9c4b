/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* upkeep.c - what slow paths do for the heap as a whole: age, purge, keep limits, tell of them.
 *
 * Owns         nothing.
 * Concurrency  any thread, no lock held; inside the gate, but for upkeep_poll_outside(),
 *              upkeep_notice_limits() and upkeep_tell_of_limits().
 * Called by    heap.c, heap_free.c, large.c, resize.c, background.c and api.c.
 */
#include "upkeep.h"

#include <errno.h>

#include "balance.h"
#include "limit.h"
#include "page_heap.h"
#include "purge.h"
#include "scavenge.h"

COLD size_t upkeep_give_all_back(struct cache *cache, size_t pad_bytes)
{
    cache_flush_all(cache);
    scavenge_ask_all();
    return purge_all(pad_bytes);
}

/* The soft limit has been passed: one thread at a time acts, and leaves for the next slow path what
 * would take it long. */
COLD static void relieve(struct cache *cache, size_t bytes)
{
    enum limit_pressure pressure = limit_take_pressure();

    if (pressure == LIMIT_PRESSES) {
        cache_flush_all(cache);
        scavenge_ask_all();
        purge_begin_relief();
    }
    if (pressure != LIMIT_QUIET) {
        limit_put_pressure(purge_relieve(bytes) ? LIMIT_RELIEF : LIMIT_QUIET);
    }
}

static void poll_for(struct cache *cache, size_t bytes)
{
    if (unlikely(limit_presses())) {
        relieve(cache, bytes);
        return;
    }
    for (bool more = purge_poll(); more && bytes >= PURGE_STEP_BYTES && gate_is_open();
         bytes -= PURGE_STEP_BYTES) {
        more = purge_go_on();
    }
}

void upkeep_poll_for(struct cache *cache, size_t bytes)
{
    scavenge_without_miss(cache);
    poll_for(cache, bytes);
}

void upkeep_poll(struct cache *cache)
{
    upkeep_poll_for(cache, 0);
}

void upkeep_poll_outside(struct cache *cache)
{
    int saved_errno = errno;

    if (purge_is_due() && gate_enter(&cache->gate)) {
        upkeep_poll(cache);
        gate_leave(&cache->gate);
    }
    errno = saved_errno;
}

void upkeep_after_miss(struct cache *cache)
{
    scavenge_cache(cache);
    balance_cache(cache);
    poll_for(cache, 0);
}

COLD void upkeep_notice_limits(void)
{
    struct gate_slot *slot = cache_gate(cache_self);

    /* While somebody forks, it is left for when units are next handed out. */
    if (gate_enter(slot)) {
        page_heap_notice_limits();
        gate_leave(slot);
    }
}

COLD void upkeep_tell_of_limits(void)
{
    struct gate_slot *slot = cache_gate(cache_self);

    if (gate_enter(slot)) {
        size_t held = page_heap_stats().held_units * UNIT_BYTES;

        gate_leave(slot);
        limit_deliver(held);
    }
}
