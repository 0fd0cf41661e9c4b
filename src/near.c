/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* near.c - what serves in place of a block of a class whose slabs are several units.
 *
 * Such a slab that is half empty costs memory. So before there is another, a block of the next
 * larger size serves, for a while even before the arena is asked again; and near a limit, where
 * none are made, one of a slab of one unit. A class that borrows so all the time gets its first
 * slab all the same: each larger block goes the long way back to its own class.
 *
 * Owns         `dry` and `borrowed` of struct cache_class.
 * Concurrency  none: a cache's own thread.
 * Called by    heap.c.
 */
#include "near.h"

#include "limit.h"
#include "refill.h"

enum {
    DRY_MISSES = 16,   /* of a class whose bin had nothing, before it is asked again */
    BORROWS_MOST = 15, /* of a class that has no slab, before it gets its first */
    NEXT_SHARE = 4,    /* a class is next to another if it is larger by no more than this part */
};

/* May a block of the next larger class serve? One still larger its own size will want. */
static bool may_next_serve(unsigned class, size_t alignment)
{
    unsigned next = class + 1;
    size_t size = size_classes[class].size;

    return next < CLASS_COUNT && size_classes[next].size <= size + size / NEXT_SHARE &&
           size_classes[next].align_mask >= alignment - 1;
}

void *near_pop_next(struct cache *cache, unsigned class, size_t alignment)
{
    if (stacks_class(cache, class)->dry == 0) {
        return NULL;
    }
    stacks_made_class(cache, class)->dry--;
    return may_next_serve(class, alignment) ? cache_pop_any(cache, class + 1) : NULL;
}

/* The arena is asked for a block in place of one of the class: true each time that it has happened
 * often. */
static bool has_borrowed_often(struct cache_class *cold)
{
    if (cold->borrowed < BORROWS_MOST) {
        cold->borrowed++;
        return false;
    }
    cold->borrowed = 0;
    return true;
}

/* The class's bin has nothing. */
static void *take_in_its_place(struct cache *cache, unsigned class, size_t alignment)
{
    struct cache_class *cold = stacks_make_class(cache, class);

    if (cold != NULL) {
        cold->dry = DRY_MISSES;
    }
    void *block = may_next_serve(class, alignment) ? cache_pop_proved(cache, class + 1) : NULL;

    if (block == NULL && cold != NULL && has_borrowed_often(cold)) {
        block = refill_first(cache->arena, class);
    }
    return block != NULL ? block : refill_near(cache->arena, class, alignment);
}

void *near_take(struct cache *cache, unsigned class, size_t alignment)
{
    bool was_sparse = stacks_class(cache, class)->is_sparse;

    cache_give_long_back(cache, class);
    /* What was freed may serve now if the class is sparse no more. */
    void *block = was_sparse ? cache_pop_freed(cache, class) : NULL;

    if (block == NULL) {
        block = arena_take_one(cache->arena, class);
    }
    if (block == NULL) {
        block = take_in_its_place(cache, class, alignment);
    }
    if (block != NULL) {
        cache->misses++;
    }
    return block;
}

void *near_pop_single(struct cache *cache, unsigned class)
{
    if (limit_is_far()) {
        return NULL;
    }
    unsigned single = size_class_single(class);

    return single != CLASS_COUNT ? cache_pop_any(cache, single) : NULL;
}
