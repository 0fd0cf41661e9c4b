/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* balance.c - which arena a thread belongs to, as it turns out.
 *
 * Threads are spread over the arenas as they start (spread.c). Two things tell later that this was
 * not for the best:
 *
 * A crowd: threads of one arena mostly miss at different times, or in different classes. Where they
 * do not, they wait for each other, and their blocks, which mix in the slabs, go from one
 * processor's cache to the other's: then they are better off apart, for all that each arena costs.
 *
 * An exchange: a thread gets blocks and frees those of another arena's threads, which do the same.
 * Each takes a longer way back, and what one arena has free the other cannot use. In one arena they
 * free whole stacks, and use each other's. Whoever has the higher index goes, so that all who
 * exchange blocks meet. Where it is crowded then, they part again, each time for longer. A
 * thread that only frees, or only gets blocks, stays: what comes back by the bitmaps is in order.
 *
 * Owns         struct cache_balance.
 * Concurrency  a thread moves itself; what it goes by are counts, read relaxed: hints.
 * Called by    upkeep.c.
 */
#include "balance.h"

#include "life.h"
#include "tick.h"

enum {
    CROWD_WAITS = 16,   /* between two looks, a thread of the arena: a crowd */
    EXCHANGE_SHARE = 4, /* more than this part of what is freed is another arena's, which is no more
                         * than so many times what is fetched: an exchange */
    STAY_LOOKS_MOST = UINT8_MAX,
};

/* Since the last look. */
struct window {
    uint64_t fetched_bytes;
    uint64_t remote_bytes;
    uint64_t remote_frees;
    uint64_t own_frees;
    uint32_t waits;
    bool is_recent;
};

static struct window look(struct cache *cache)
{
    struct cache_balance *seen = &cache->balance;
    uint32_t waits = atomic_load_explicit(&cache->arena->waits, memory_order_relaxed);
    struct window window = {
        .fetched_bytes = cache->fetched_bytes - seen->fetched_bytes_seen,
        .remote_bytes = seen->remote_bytes,
        .remote_frees = seen->remote_frees,
        .own_frees = seen->own_frees,
        .waits = waits - seen->waits_seen,
        .is_recent = tick_count() - seen->tick <= 1,
    };

    seen->fetched_bytes_seen = cache->fetched_bytes;
    seen->remote_bytes = 0;
    seen->remote_frees = 0;
    seen->own_frees = 0;
    seen->waits_seen = waits;
    seen->tick = tick_count();
    return window;
}

/* Does the thread exchange blocks with another arena's? */
static bool exchanges(const struct window *window)
{
    uint64_t frees = window->own_frees + window->remote_frees;

    return window->remote_frees > frees / EXCHANGE_SHARE &&
           window->fetched_bytes > window->remote_bytes / EXCHANGE_SHARE;
}

static void join_partner(struct cache *cache, struct arena *partner)
{
    if (partner->index >= cache->arena->index) {
        return;
    }
    if (cache->balance.looks_to_stay > 0) {
        cache->balance.looks_to_stay--;
    } else {
        life_join_arena(cache, partner);
    }
}

/* What others waited before one of them left, or while this thread hardly had a miss, does not
 * count. */
static bool is_crowded(const struct cache *cache, const struct window *window)
{
    const struct arena *arena = cache->arena;
    uint32_t since_change =
        cache->balance.waits_seen - atomic_load_explicit(&arena->waits_left, memory_order_relaxed);
    uint32_t threads = atomic_load_explicit(&arena->threads, memory_order_relaxed);

    return window->is_recent &&
           size_min(window->waits, since_change) >= (size_t)CROWD_WAITS * threads;
}

static void leave_crowd(struct cache *cache)
{
    struct arena *arena = cache->arena;
    struct cache_balance *balance = &cache->balance;
    uint32_t waits = balance->waits_seen;

    if (life_change_arena(cache)) {
        atomic_store_explicit(&arena->waits_left, waits, memory_order_relaxed);
        balance->looks_to_stay = balance->looks_next;
        balance->looks_next = (uint8_t)size_min(2 * balance->looks_next + 1U, STAY_LOOKS_MOST);
    }
}

void balance_cache(struct cache *cache)
{
    if (cache->misses % BALANCE_MISSES != 0) {
        return;
    }
    struct window window = look(cache);

    if (exchanges(&window)) {
        join_partner(cache, arena_by_index(cache->balance.remote_arena));
    } else if (is_crowded(cache, &window)) {
        leave_crowd(cache);
    }
}
