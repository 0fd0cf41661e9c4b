/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* singles.c - the first blocks of a class in a thread.
 *
 * They come from the arena and go back there one by one, until SINGLES_MAX have: a thread that does
 * a little of everything and then sleeps keeps neither stacks nor blocks.
 *
 * Invariants   `singles` rises only while the class has no stack.
 * Concurrency  none: a cache's own thread.
 * Called by    heap.c and heap_free.c.
 */
#include "singles.h"

#include "proof.h"

/* May the next block of the class go past the stacks? Then count it. Such a block may be back in
 * its slab when a copy of it lies on the class's first free stack: what is freed is to be proved
 * once before it serves. */
static bool count_single(struct cache *cache, unsigned class)
{
    const struct cache_class *known = stacks_class(cache, class);

    if (known->alloc != NULL || known->free != NULL || known->singles == SINGLES_MAX ||
        size_classes[class].size > STACKS_BYTES_MODEST) {
        return false;
    }
    struct cache_class *cold = stacks_make_class(cache, class);

    if (cold == NULL) {
        return false;
    }
    cold->singles++;
    proof_need_once(cold);
    return true;
}

void *singles_take(struct cache *cache, unsigned class)
{
    void *block = count_single(cache, class) ? arena_take_one(cache->arena, class) : NULL;

    if (block != NULL) {
        cache->misses++;
        cache->fetched_bytes += size_classes[class].size;
    }
    return block;
}

bool singles_give(struct cache *cache, unsigned class, void *block)
{
    if (!stacks_may_keep(class)) {
        if (stacks_in_use(cache, class)) {
            stacks_flush_class(cache, class); /* as the share was larger once */
        }
        if (stacks_class(cache, class) != &stacks_class_none) {
            proof_need(stacks_made_class(cache, class)); /* it may be larger again */
        }
    } else if (!count_single(cache, class)) {
        return false;
    }
    cache->misses++;
    cache->balance.own_frees++;
    arena_free_blocks(cache->arena, class, &block, 1);
    return true;
}
