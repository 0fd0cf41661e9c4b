/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* heap_free.c - what free does off the fast path: misses, blocks of others, large ones, faults.
 *
 * Every function that takes a lock does so inside the gate; while that is closed for a fork, blocks
 * that would need a lock to free are put off (deferred.c).
 *
 * Owns         nothing.
 * Concurrency  any thread, no lock held.
 * Called by    resize.c and fork.c; by way of heap.h's fast path all who free.
 */
#include "heap.h"

#include "deferred.h"
#include "emergency.h"
#include "fork.h"
#include "large.h"
#include "life.h"
#include "proof.h"
#include "remote_buffer.h"
#include "scavenge.h"
#include "singles.h"
#include "upkeep.h"

/* Leave a block for whoever opens the gate. The fork may have ended between our look at the gate
 * and the push, and its thread have looked for deferred blocks in vain: then we are the one. */
static void free_later(void *block)
{
    deferred_push(block);
    if (gate_is_open()) {
        deferred_release(heap_free_deferred);
    }
}

static void free_remote(struct cache *cache, void *block, uint32_t size)
{
    if (remote_buffer_keep(cache, block, size)) {
        return;
    }
    if (!gate_enter(&cache->gate)) {
        free_later(block);
        return;
    }
    remote_buffer_free(cache, block, size);
    upkeep_after_miss(cache);
    gate_leave(&cache->gate);
}

/* Straight into its slab. */
static void free_uncached(const struct slab *slab, void *block)
{
    if (!gate_enter(NULL)) {
        free_later(block);
        return;
    }
    arena_free_blocks(arena_by_index(slab->arena), slab->class, &block, 1);
    upkeep_poll(&cache_none);
    gate_leave(NULL);
}

/* Onto a stack that needs more room. Returns whether it was a miss. Inside the gate. */
static bool free_with_more_room(struct cache *cache, unsigned class, void *block)
{
    /* The first on its stack may have gone back singly just before. */
    if (stacks_class(cache, class)->free == NULL) {
        arena_check_taken(cache->arena, class, &block, 1);
    }
    if (scavenge_make_room(cache, class) && cache_push(cache_bin_of_class(cache, class), block)) {
        return false;
    }
    bool is_miss = !cache_grow_free(cache, class) && stacks_class(cache, class)->free != NULL;

    if (is_miss) {
        cache_flush(cache, class);
    }
    if (!cache_push(cache_bin_of_class(cache, class), block)) {
        arena_free_blocks(cache->arena, class, &block, 1);
        if (stacks_in_use(cache, class)) {
            proof_need(stacks_made_class(cache, class));
        }
    }
    return is_miss;
}

/* A block of the cache's own arena, on a stack that has no room. */
static void free_local(struct cache *cache, unsigned class, void *block)
{
    struct cache_bin *bin = cache_bin_of_class(cache, class);

    if (bin->free_top[-1] == block) {
        fatal_at(FAULT_DOUBLE_FREE, (uintptr_t)block);
    }
    if (scavenge_open_step(cache, class) && cache_push(bin, block)) {
        return;
    }
    if (!gate_enter(&cache->gate)) {
        free_later(block);
        return;
    }
    if (singles_give(cache, class, block) || free_with_more_room(cache, class, block)) {
        upkeep_after_miss(cache);
    }
    gate_leave(&cache->gate);
}

/* A large block's, claimed, to the page heap. */
static void give_run_back(struct cache *cache, struct span *span, void *block)
{
    if (!gate_enter(cache_gate(cache))) {
        large_unclaim(span);
        free_later(block);
        return;
    }
    large_free(cache, span);
    gate_leave(cache_gate(cache));
}

/* A large block's, claimed. */
static void free_run(struct span *span, void *block)
{
    struct cache *cache = cache_self;

    if (!large_keep(cache, span)) {
        give_run_back(life_cache(), span, block);
    } else {
        upkeep_poll_outside(cache);
    }
}

static void free_slow(void *block)
{
    uintptr_t address = (uintptr_t)block;
    struct span *span = span_of(address);
    unsigned index;

    if (span == NULL && emergency_owns(address)) {
        emergency_free(address);
        return;
    }
    struct cache *cache = life_cache();
    struct slab *slab = slab_of_block(address, &index);

    if (slab != NULL && !cache_is_real(cache)) {
        free_uncached(slab, block);
    } else if (slab != NULL && slab->arena == cache->arena->index) {
        free_local(cache, slab->class, block);
    } else if (slab != NULL) {
        free_remote(cache, block, slab_class(slab)->size);
    } else {
        slab_fatal_free(address);
    }
}

/* Most blocks that get here need no more: where threads hand blocks on, those of another arena, and
 * where the break cannot grow, those of mapped regions, which the fast path does not know. As
 * there, whether a block starts at the address is looked at later (src/README.md, Faults). */
static inline bool is_kept(const struct slab *slab, void *block)
{
    struct cache *cache = cache_self;

    if (slab == NULL || !cache_is_real(cache)) {
        return false;
    }
    struct cache_bin *bin = cache_bin_of_class(cache, slab->class);

    if (slab->arena == cache->arena->index) {
        return cache_push(bin, block);
    }
    return ((uint32_t)(uintptr_t)block & bin->align_mask) == 0 &&
           remote_buffer_keep(cache, block, slab_class(slab)->size);
}

static __attribute__((noinline)) void free_keeping_errno(void *block)
{
    int saved_errno = errno;
    struct span *run = large_claim((uintptr_t)block, FAULT_DOUBLE_FREE);

    if (run != NULL) {
        free_run(run, block);
    } else {
        free_slow(block);
    }
    errno = saved_errno;
}

/* Not in the primary region. */
static COLD void free_elsewhere(void *block)
{
    if (!is_kept(slab_at((uintptr_t)block), block)) {
        free_keeping_errno(block);
    }
}

/* Without a call, and so without registers to save, for blocks that are kept. */
void heap_free_slow(void *block)
{
    const struct span *span = span_of_primary((uintptr_t)block);

    if (likely(span != NULL)) {
        if (!is_kept(slab_of_span(span), block)) {
            free_keeping_errno(block);
        }
    } else if (block != NULL) {
        free_elsewhere(block);
    }
}

void heap_free_moved(void *block, struct span *run)
{
    if (run != NULL) {
        give_run_back(life_cache(), run, block);
    } else {
        heap_free(block);
    }
}

/* Past the thread's cache, which fork's handlers may find in any state: the fork may be a signal
 * handler's, that has interrupted a fast path. */
COLD void heap_free_deferred(void *block)
{
    unsigned index;
    const struct slab *slab = slab_of_block((uintptr_t)block, &index);
    struct span *run = slab == NULL ? large_claim((uintptr_t)block, FAULT_DOUBLE_FREE) : NULL;

    if (slab != NULL) {
        free_uncached(slab, block);
    } else if (run != NULL) {
        give_run_back(&cache_none, run, block);
    } else {
        slab_fatal_free((uintptr_t)block);
    }
}
