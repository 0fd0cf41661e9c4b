/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* emergency.c - blocks while the gate is closed, from pools mapped from the kernel (group.c).
 *
 * The page heap does not know of them. Where no pool has room a new one is mapped; it serves others
 * later, and stays mapped, since there will be more forks. Its memory goes back as time goes by
 * (purge.c).
 *
 * Owns         the list of pools.
 * Concurrency  lock-free throughout. Pools are only ever added to the list.
 * Called by    heap.c, heap_free.c and resize.c; deferred.c; purge.c; fork.c; stats.c.
 */
#include "emergency.h"

#include <stdatomic.h>

#include "group.h"
#include "limit.h"
#include "pool.h"

static _Atomic(struct pool *) pools;
/* From this one on the list holds what a parent left us, with blocks in it: it serves no more.
 * Written by the only thread of a child. */
static struct pool *old_pools;

/* Counters: relaxed, they order nothing. */
static _Atomic uint64_t alloc_count;
static _Atomic uint64_t mapped_bytes;

/* Pools */

/* Not past the hard limit, if it is limited. */
static struct pool *map_pool(const struct pool_request *request, bool is_limited)
{
    /* Relaxed: two threads that map at once may be a pool over the limit. */
    size_t mapped = atomic_load_explicit(&mapped_bytes, memory_order_relaxed);
    size_t bytes = pool_bytes_for(request);
    bool is_allowed = !is_limited || limit_allows(mapped + bytes);
    void *memory = is_allowed ? group_memory(bytes, pool_usual_bytes(), mapped) : NULL;

    if (memory == NULL) {
        return NULL;
    }
    atomic_fetch_add_explicit(&mapped_bytes, bytes, memory_order_relaxed);
    return pool_make(memory, request);
}

static void publish(struct pool *pool)
{
    pool->next = atomic_load_explicit(&pools, memory_order_relaxed);
    /* Release: pairs with the acquire in first_pool(); the pool is seen whole. */
    while (!atomic_compare_exchange_weak_explicit(&pools, &pool->next, pool, memory_order_release,
                                                  memory_order_relaxed)) {
    }
}

static struct pool *first_pool(void)
{
    return atomic_load_explicit(&pools, memory_order_acquire);
}

COLD static struct pool *pool_of(uintptr_t address)
{
    struct pool *pool = (struct pool *)group_find(address);

    return pool != NULL && pool_contains(pool, address) ? pool : NULL;
}

/* Blocks */

COLD static void *block_alloc(size_t size, size_t alignment, bool is_limited)
{
    const struct pool_request request = pool_request_for(size, alignment);
    void *block = NULL;

    atomic_fetch_add_explicit(&alloc_count, 1, memory_order_relaxed);
    /* To the end, if a handler of a signal has forked meanwhile. */
    for (struct pool *pool = first_pool(); pool != NULL && pool != old_pools && block == NULL;
         pool = pool->next) {
        block = pool_alloc(pool, &request);
    }
    if (block == NULL) {
        struct pool *pool = map_pool(&request, is_limited);

        if (pool != NULL) {
            /* Before others know of it. */
            block = pool_alloc(pool, &request);
            publish(pool);
        }
    }
    return block;
}

COLD void *emergency_alloc(size_t size, size_t alignment)
{
    return block_alloc(size, alignment, true);
}

COLD void *emergency_alloc_unlimited(size_t size, size_t alignment)
{
    return block_alloc(size, alignment, false);
}

bool emergency_owns(uintptr_t address)
{
    return pool_of(address) != NULL;
}

COLD size_t emergency_usable_size(uintptr_t address)
{
    struct pool *pool = pool_of(address);

    return pool != NULL ? pool_usable_size(pool, address) : 0;
}

COLD void emergency_free(uintptr_t address)
{
    pool_free(pool_of(address), address);
}

size_t emergency_purge(size_t most_bytes)
{
    size_t bytes = 0;

    for (struct pool *pool = first_pool(); pool != NULL && bytes < most_bytes; pool = pool->next) {
        bytes += pool_purge(pool, most_bytes - bytes);
    }
    return bytes;
}

/* A child */

/* Unused pools come to the front of the list and serve on: else each fork in a chain of them would
 * add one. The fork may be that of a signal handler which has interrupted this thread on its way
 * through the list: from wherever it was it still comes by all pools after that which have blocks.
 * What can serve is all that counts as mapped, and so against the hard limit. */
COLD void emergency_reset_in_child(void)
{
    struct pool *unused = NULL;
    struct pool *others = NULL;
    struct pool **unused_end = &unused;
    struct pool **others_end = &others;
    size_t bytes = 0;

    for (struct pool *pool = first_pool(); pool != NULL; pool = pool->next) {
        /* Of what was mapped as the process forked, the pool may be seen and its group not. */
        if (group_find((uintptr_t)pool) == pool && pool_take_over(pool)) {
            *unused_end = pool;
            unused_end = &pool->next;
            bytes += pool_bytes(pool);
        } else {
            *others_end = pool;
            others_end = &pool->next;
        }
    }
    *others_end = NULL;
    *unused_end = others;
    old_pools = others;
    atomic_store_explicit(&pools, unused, memory_order_relaxed);
    group_reset_in_child();
    atomic_store_explicit(&mapped_bytes, bytes, memory_order_relaxed);
}

COLD struct emergency_stats emergency_stats(void)
{
    struct emergency_stats stats = {
        .allocs = atomic_load_explicit(&alloc_count, memory_order_relaxed),
        .mapped_bytes = atomic_load_explicit(&mapped_bytes, memory_order_relaxed),
    };

    for (struct pool *pool = first_pool(); pool != NULL; pool = pool->next) {
        stats.block_bytes += pool->count * pool->granule_bytes;
        stats.used_bytes += pool_used_bytes(pool);
    }
    return stats;
}

/* Pools that a parent left may have been caught in the middle of a change. */
void emergency_check(void)
{
    for (struct pool *pool = first_pool(); pool != old_pools; pool = pool->next) {
        pool_check(pool);
    }
}
