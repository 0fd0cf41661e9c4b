/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* large.c - blocks that are runs of their own: from a kept run, the page heap, or a larger heap.
 *
 * A run stays with the arena that handed it out, where whoever allocates next looks; if that is the
 * thread's own, with the thread before all.
 *
 * Owns         nothing; the spans of blocks in use.
 * Concurrency  any thread, no lock held.
 * Called by    heap.c, heap_free.c and resize.c.
 */
#include "large.h"

#include <stdatomic.h>

#include "growth.h"
#include "page_heap.h"
#include "reclaim.h"
#include "upkeep.h"

enum {
    OWN_RUN_UNITS = 4, /* the longest run that a thread keeps for itself */
};

static void *hand_out(struct cache *cache, struct span *span, size_t units)
{
    span->used_units = units;
    span->arena = cache_is_real(cache) ? cache->arena->index : 0;
    return (void *)span_address(span);
}

void *large_reuse(struct cache *cache, size_t size)
{
    if (size > RUN_CACHE_UNITS * UNIT_BYTES || !cache_is_real(cache)) {
        return NULL;
    }
    size_t units = units_for(size);
    struct span *span = run_cache_take(&cache->runs, units);

    if (span == NULL) {
        span = run_cache_take(&cache->arena->large_runs, units);
    }
    return span != NULL ? hand_out(cache, span, units) : NULL;
}

/* A run that nothing free is long enough for, or NULL. */
static struct span *run_by_growing(struct cache *cache, struct run_request *request)
{
    size_t heap_bytes = growth_heap_bytes();

    request->grow = true;
    reclaim_before_growth();
    struct span *span = page_heap_alloc(request);

    if (span == NULL) {
        cache_flush_all(cache);
        reclaim_all();
        span = page_heap_alloc(request);
    }
    size_t now = growth_heap_bytes();

    if (span != NULL && now > heap_bytes) {
        reclaim_after_growth(size_min(now - heap_bytes, request->units * UNIT_BYTES));
    }
    return span;
}

void *large_alloc(struct cache *cache, size_t alignment, size_t size, bool zero)
{
    ASSERT(!large_is_absurd(alignment, size));
    struct run_request request = {
        .units = size_max(units_for(size), 1),
        .align_units = size_max(alignment >> UNIT_SHIFT, 1),
        .state = SPAN_LARGE,
        .grow = false,
        .zero = zero,
    };
    struct span *span = page_heap_alloc(&request);

    if (span == NULL) {
        span = run_by_growing(cache, &request);
    }
    if (span == NULL) {
        return NULL;
    }
    void *block = hand_out(cache, span, request.units);

    upkeep_poll_for(cache, size);
    return block;
}

/* The history of a run's first unit, UNIT_USED while its block is live. Of several threads that
 * free the block at once, one makes it UNIT_FREED. */
static _Atomic uint8_t *claim_of(const struct span *span)
{
    return (_Atomic uint8_t *)span_history(span);
}

struct span *large_claim(uintptr_t address, const char *fault)
{
    struct span *span = span_of(address);
    uint8_t live = UNIT_USED;

    if (span == NULL || !span_is_large_block(span, address)) {
        return NULL;
    }
    /* Relaxed: whoever loses stops the process. The block may have been freed, and its unit be
     * another's, since it was looked at. */
    if (!atomic_compare_exchange_strong_explicit(claim_of(span), &live, UNIT_FREED,
                                                 memory_order_relaxed, memory_order_relaxed) ||
        !span_is_large_block(span, address)) {
        fatal_at(fault, address);
    }
    return span;
}

void large_unclaim(struct span *span)
{
    atomic_store_explicit(claim_of(span), UNIT_USED, memory_order_relaxed);
}

/* A run of one unit, as alignment makes them, is nothing that anybody looks for. */
bool large_keep(struct cache *cache, struct span *span)
{
    if (span->units == 1 || !cache_is_real(cache)) {
        return false;
    }
    bool own = span->arena == cache->arena->index && span->units <= OWN_RUN_UNITS;

    return (own && run_cache_put(&cache->runs, span)) ||
           run_cache_put(&arena_by_index(span->arena)->large_runs, span);
}

void large_free(struct cache *cache, struct span *span)
{
    size_t bytes = span->units * UNIT_BYTES;

    page_heap_free(span);
    upkeep_poll_for(cache, bytes);
}
