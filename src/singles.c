/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* singles.c - the first blocks of a class in a thread.
 *
 * They come from the arena and go back there one by one, until SINGLES_MAX have: a thread that does
 * a little of everything and then sleeps keeps neither stacks nor blocks.
 *
 * Invariants   `singles` rises only while the class has no stack. The first stack of freed blocks
 *              may hold one that went back singly before: singles_prove() looks each up in the
 *              slabs' bitmaps before any is handed out.
 * Concurrency  none: a cache's own thread.
 * Called by    cache.c and heap.c.
 */
#include "singles.h"

/* Does the next block pass without a stack? Once blocks were fetched for the class, what is freed
 * is to serve before more of them. */
static bool is_single(struct cache *cache, unsigned class)
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
    return true;
}

void *singles_take(struct cache *cache, unsigned class)
{
    void *block = is_single(cache, class) ? arena_take_one(cache->arena, class) : NULL;

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
    } else if (!is_single(cache, class)) {
        return false;
    }
    cache->misses++;
    cache->balance.own_frees++;
    arena_free_blocks(cache->arena, class, &block, 1);
    return true;
}

void singles_prove(struct cache *cache, unsigned class)
{
    const struct magazine *freed = stacks_class(cache, class)->free;

    if (freed != NULL && singles_are_unproved(stacks_class(cache, class))) {
        arena_check_taken(cache->arena, class, freed->slots,
                          stacks_free_count(cache_bin_of_class(cache, class), freed));
        stacks_made_class(cache, class)->stacks = 1;
    }
}
