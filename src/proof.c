/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* proof.c - freed blocks against the bitmaps of their slabs.
 *
 * verify.c finds a block that is twice on one stack. Where the first copy has gone back to its slab
 * meanwhile, with a full stack or as a single block, only the bitmaps know of it. To ask them takes
 * a lock and a look at each block's slab: it is done for the first stacks of a class in a cache,
 * none of which goes to a depot, where blocks are in no bitmap; and for the last ones at exit.
 *
 * Invariants   while a class is unproved, none of its freed blocks is handed out.
 * Concurrency  a cache's own thread.
 * Called by    cache.c and heap.c.
 */
#include "proof.h"

bool proof_make(struct cache *cache, unsigned class)
{
    const struct cache_class *known = stacks_class(cache, class);
    size_t count = proof_is_needed(known) ? stacks_freed(cache, class) : 0;

    if (count == 0) {
        return false;
    }
    arena_check_taken(cache->arena, class, known->free->slots, count);
    stacks_made_class(cache, class)->is_unproved = false;
    return true;
}

void proof_make_last(const struct cache *cache)
{
    for (unsigned class = stacks_next_in_use(cache, 0); class < CLASS_COUNT;
         class = stacks_next_in_use(cache, class + 1)) {
        size_t count = stacks_freed(cache, class);

        if (count > 0) {
            arena_try_check_taken(cache->arena, class, stacks_class(cache, class)->free->slots,
                                  count);
        }
    }
}
