/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* scavenge.c - what a thread cache gives back by itself: all that it has, when memory is to be
 * given up; what is over its share; the blocks of classes that are not used any more.
 *
 * Owns         how many threads share cache_limit, and how often flushes were asked for.
 * Concurrency  a cache is touched by its own thread; the rest is atomic.
 * Called by    upkeep.c; life.c, whenever the number of threads changes; heap_free.c.
 */
#include "scavenge.h"

#include "conf.h"
#include "limit.h"
#include "proof.h"
#include "tick.h"
#include "verify.h"

enum {
    SCAVENGE_MISSES = 256, /* misses between two looks for idle classes, */
    SCAVENGE_TICKS = 4,    /* or, for a thread that seldom misses, ticks, */
    SHARE_MISSES = 16,     /* and between two looks at what the cache holds, */
    LONE_SHARE = 16,       /* the part of its share that a lone block may be */
    STEPS = 8,             /* or, a step being this part of its share, */
    STEPS_PER_LOOK = 3,    /* so many steps of blocks freed */
};

/* What a cache may hold where there are few threads, and all caches where the heap is small. */
#define SHARE_MOST      ((size_t)8 * 1024 * 1024)
#define AUTO_BYTES      ((size_t)16 * 1024 * 1024)
#define AUTO_HEAP_SHARE 8
#define LIMIT_SHARE     8 /* the part of a limit that all of them may hold */

static _Atomic uint32_t flushes_asked;
static _Atomic uint32_t sharers = 1; /* caches that have threads */

void scavenge_ask_all(void)
{
    /* Relaxed: it asks, nothing is read on the strength of it. */
    atomic_fetch_add_explicit(&flushes_asked, 1, memory_order_relaxed);
}

void scavenge_bind(struct cache *cache)
{
    cache->flushes_seen = atomic_load_explicit(&flushes_asked, memory_order_relaxed);
}

/* What all caches may hold now. */
static size_t total_now(void)
{
    size_t heap_limit = limit_hard() != 0 ? limit_hard() : limit_soft();
    size_t total = conf.cache_limit;

    if (total == CACHE_LIMIT_AUTO) {
        total = size_max(AUTO_BYTES, limit_used_bytes() / AUTO_HEAP_SHARE);
    } else if (total == 0) {
        total = SIZE_MAX; /* SHARE_MOST each */
    }
    return heap_limit != 0 ? size_min(total, heap_limit / LIMIT_SHARE) : total;
}

/* What the cache may hold now. Relaxed: a thread that does not see a change yet keeps to what it
 * was a moment ago. */
static size_t share_now(void)
{
    return size_min(total_now() / atomic_load_explicit(&sharers, memory_order_relaxed), SHARE_MOST);
}

/* No store where nothing changes: every miss reads the line. */
static void set_steps(size_t share)
{
    if (atomic_load_explicit(&stacks_step_bytes, memory_order_relaxed) != share / STEPS) {
        atomic_store_explicit(&stacks_step_bytes, share / STEPS, memory_order_relaxed);
    }
}

void scavenge_share_among(uint32_t threads)
{
    atomic_store_explicit(&sharers, threads != 0 ? threads : 1, memory_order_relaxed);
    set_steps(share_now());
}

/* How many of `count` blocks stay: the younger half, and the last of those that are a small part of
 * the share. A cache that is always short of room still spares its thread most of its misses. */
static size_t half_of(size_t count, size_t size, size_t share)
{
    return size > share / LONE_SHARE ? count / 2 : (count + 1) / 2;
}

/* Of both stacks of a class the older half. A block that is in both halves would be handed out
 * twice. Returns the bytes that went. */
static size_t give_half_back(struct cache *cache, unsigned class, size_t share)
{
    struct cache_bin *bin = cache_bin_of_class(cache, class);
    const struct cache_class *cold = stacks_class(cache, class);
    size_t size = size_classes[class].size;
    size_t held = stacks_held(cache, class);
    size_t allocs = stacks_alloc_count(bin, cold->alloc);
    size_t frees = stacks_free_count(bin, cold->free);

    allocs = stacks_give_older(cache, class, cold->alloc, allocs, half_of(allocs, size, share));
    stacks_set_alloc(bin, cold->alloc, allocs);
    if (frees > 1) {
        verify_stack(class, cache->arena->index, cold->free, frees);
    }
    frees = stacks_give_older(cache, class, cold->free, frees, half_of(frees, size, share));
    stacks_set_free(bin, class, cold->free, frees);
    held -= stacks_held(cache, class);
    if (held > 0) {
        proof_need(stacks_made_class(cache, class));
    }
    return held * size;
}

/* What is more than the cache's share goes back, from the largest blocks on: of them the fewest
 * have to go, and their owners have the most to do between two misses. */
static void keep_to_share(struct cache *cache)
{
    size_t share = share_now();
    size_t bytes = 0;

    set_steps(share);
    cache->opened_bytes = 0;
    for (unsigned class = stacks_next_in_use(cache, 0); class < CLASS_COUNT;
         class = stacks_next_in_use(cache, class + 1)) {
        bytes += stacks_held(cache, class) * size_classes[class].size;
    }
    for (unsigned class = CLASS_COUNT; unlikely(bytes > share) && class > 0; class --) {
        if (stacks_in_use(cache, class - 1)) {
            bytes -= give_half_back(cache, class - 1, share);
        }
    }
}

static bool is_full(struct cache *cache, unsigned class)
{
    struct magazine *freed = stacks_class(cache, class)->free;

    return freed == NULL ||
           stacks_free_count(cache_bin_of_class(cache, class), freed) >= freed->capacity;
}

/* Let the class have another step on its free stack, which is not full. */
static void open_step(struct cache *cache, unsigned class)
{
    struct cache_bin *bin = cache_bin_of_class(cache, class);
    struct magazine *freed = stacks_class(cache, class)->free;

    stacks_set_free(bin, class, freed, stacks_free_count(bin, freed));
    cache->opened_bytes += size_max(size_classes[class].size,
                                    atomic_load_explicit(&stacks_step_bytes, memory_order_relaxed));
}

bool scavenge_open_step(struct cache *cache, unsigned class)
{
    size_t step = atomic_load_explicit(&stacks_step_bytes, memory_order_relaxed);

    if (cache->opened_bytes >= step * STEPS_PER_LOOK || is_full(cache, class) ||
        !stacks_may_keep(class)) {
        return false;
    }
    open_step(cache, class);
    return true;
}

bool scavenge_make_room(struct cache *cache, unsigned class)
{
    if (is_full(cache, class)) {
        return false;
    }
    keep_to_share(cache);
    open_step(cache, class);
    return true;
}

/* Where both tops are and how many stacks were freed, in a number: a class whose number stays the
 * same has not been used. */
static uint16_t use_of(const struct cache_bin *bin, const struct cache_class *cold)
{
    enum { OTHER_WEIGHT = 3 }; /* or a block that goes from one stack to the other would not show */
    uintptr_t tops = (uintptr_t)bin->alloc_top + OTHER_WEIGHT * (uintptr_t)bin->free_top;

    return (uint16_t)(tops / sizeof(void *) + cold->stacks);
}

static bool is_asked_to_flush(const struct cache *cache)
{
    return cache->flushes_seen != atomic_load_explicit(&flushes_asked, memory_order_relaxed);
}

static bool has_long_not_looked(const struct cache *cache)
{
    return tick_count() - cache->scavenged_tick >= SCAVENGE_TICKS;
}

COLD static void flush_as_asked(struct cache *cache)
{
    cache->flushes_seen = atomic_load_explicit(&flushes_asked, memory_order_relaxed);
    cache_flush_all(cache);
}

/* The blocks of classes that have not been used since the last look. */
static void give_unused_back(struct cache *cache)
{
    cache->scavenged_tick = tick_count();
    for (unsigned class = stacks_next_in_use(cache, 0); class < CLASS_COUNT;
         class = stacks_next_in_use(cache, class + 1)) {
        struct cache_class *cold = stacks_made_class(cache, class);
        uint16_t use = use_of(cache_bin_of_class(cache, class), cold);

        if (use == cold->seen) {
            unsigned doublings = cold->doublings;

            stacks_flush_class(cache, class);
            /* The class may come back: then it need not learn its batch from the start. */
            cold->doublings = doublings > 0 ? (doublings - 1) & 15 : 0;
        } else {
            cold->seen = use;
        }
    }
}

void scavenge_cache(struct cache *cache)
{
    if (unlikely(is_asked_to_flush(cache))) {
        flush_as_asked(cache);
        return;
    }
    if (cache->misses % SHARE_MISSES == 0) {
        keep_to_share(cache);
    }
    if (cache->misses % SCAVENGE_MISSES == 0 || has_long_not_looked(cache)) {
        give_unused_back(cache);
    }
}

void scavenge_without_miss(struct cache *cache)
{
    if (!cache_is_real(cache)) {
        return;
    }
    if (is_asked_to_flush(cache)) {
        flush_as_asked(cache);
    } else if (has_long_not_looked(cache)) {
        give_unused_back(cache);
    }
}
