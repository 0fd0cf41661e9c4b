/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* spread.c - how threads are spread over arenas.
 *
 * One arena a processor spares threads most waits for each other; more are made where they wait all
 * the same (balance.c). What one arena has free in slabs no other uses as long as there is memory.
 *
 * Owns         how many threads each arena has, how many arenas there are and may be.
 * Invariants   arenas are made in the order of their indices, and stay.
 * Concurrency  the caller of a function named *_locked holds the life lock.
 * Called by    life.c.
 */
#include "spread.h"

#include "cpus.h"

/* On a processor, where threads wait for each other. */
enum { MOST_ARENAS = 4 };

static uint32_t arenas_made;
static uint32_t arenas_limit; /* 0: none */

/* The processors that the process may use; 0: nobody has asked. */
static _Atomic uint32_t cpus;

/* Relaxed: only the life lock's holder writes; whoever reads without it wants to know roughly. */
static uint32_t threads_of(const struct arena *arena)
{
    return atomic_load_explicit(&arena->threads, memory_order_relaxed);
}

static void threads_set(struct arena *arena, uint32_t count)
{
    atomic_store_explicit(&arena->threads, count, memory_order_relaxed);
}

void spread_find_cpus(void)
{
    /* Relaxed: should two threads ask at once, they get the same. */
    if (atomic_load_explicit(&cpus, memory_order_relaxed) == 0) {
        atomic_store_explicit(&cpus, cpus_usable(), memory_order_relaxed);
    }
}

static uint32_t cpus_known(void)
{
    uint32_t known = atomic_load_explicit(&cpus, memory_order_relaxed);

    return known != 0 ? known : 1;
}

static uint32_t arenas_at_most(uint32_t count)
{
    return count < ARENAS_MAX ? count : ARENAS_MAX;
}

void spread_limit_locked(uint32_t arenas)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_LIFE));
    arenas_limit = arenas_at_most(arenas);
}

static struct arena *make_locked(unsigned index)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_LIFE));
    struct arena *arena = arena_create(index);

    arenas_made += arena != NULL;
    return arena;
}

bool spread_start_locked(void)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_LIFE));
    return make_locked(0) != NULL;
}

uint32_t spread_arenas_locked(void)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_LIFE));
    return arenas_made;
}

static uint32_t arenas_wanted_locked(void)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_LIFE));
    if (arenas_limit != 0) {
        return arenas_limit;
    }
    uint32_t wanted = arenas_at_most(cpus_known());

    /* What has been made is used on, or its free memory would lie idle. */
    return wanted > arenas_made ? wanted : arenas_made;
}

/* Of the arenas below `most` that exist the one with the fewest threads, lowest index first.
 * *index: the first that does not exist, or `most`. */
static struct arena *emptiest_locked(uint32_t most, unsigned *index)
{
    struct arena *best = arena_by_index(0);
    struct arena *arena;

    ASSERT(lock_rank_is_held(LOCK_RANK_LIFE));
    for (*index = 1; *index < most && (arena = arena_by_index(*index)) != NULL; ++*index) {
        if (threads_of(arena) < threads_of(best)) {
            best = arena;
        }
    }
    return best;
}

struct arena *spread_choose_locked(void)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_LIFE));
    uint32_t wanted = arenas_wanted_locked();
    unsigned index;
    struct arena *best = emptiest_locked(wanted, &index);

    if (index >= wanted || threads_of(best) == 0) {
        return best;
    }
    struct arena *arena = make_locked(index);

    return arena != NULL ? arena : best;
}

COLD struct arena *spread_choose_other_locked(const struct arena *crowded)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_LIFE));
    uint32_t most = arenas_limit != 0 ? arenas_limit : arenas_at_most(MOST_ARENAS * cpus_known());
    unsigned index;

    if (threads_of(crowded) < 2) {
        return NULL;
    }
    struct arena *best = emptiest_locked(most, &index);

    if (threads_of(best) + 1 < threads_of(crowded)) {
        return best;
    }
    return index < most ? make_locked(index) : NULL;
}

void spread_bind_locked(struct arena *arena)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_LIFE));
    threads_set(arena, threads_of(arena) + 1);
}

void spread_unbind_locked(struct arena *arena)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_LIFE));
    threads_set(arena, threads_of(arena) - 1);
}

COLD void spread_keep_only(struct arena *own)
{
    for (unsigned index = 0; arena_by_index(index) != NULL; index++) {
        threads_set(arena_by_index(index), 0);
    }
    if (own != NULL) {
        threads_set(own, 1);
    }
}

uint32_t spread_threads_locked(void)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_LIFE));
    uint32_t threads = 0;

    for (unsigned index = 0; arena_by_index(index) != NULL; index++) {
        threads += threads_of(arena_by_index(index));
    }
    return threads;
}
