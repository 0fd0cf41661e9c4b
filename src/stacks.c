/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stacks.c - the memory of a thread cache's stacks, and the way back from them.
 *
 * Owns         the contents of every cache's stacks, each by its own thread.
 * Invariants   a block on a stack is neither with the program nor in its slab's bitmaps; slots
 *              below a stack's bottom are NULL (magazine->floor).
 * Concurrency  none: a cache's own thread.
 * Called by    cache.c, near.c, singles.c, proof.c and scavenge.c; life.c.
 */
#include "stacks.h"

#include <string.h>

#include "meta.h"

enum { SPARES_MAX = 24 }; /* empty stacks of the smallest size that a cache keeps */

void *stacks_none[2];
_Atomic size_t stacks_step_bytes = SIZE_MAX;
const struct cache_class stacks_class_none;

struct cache_class *stacks_make_class(struct cache *cache, unsigned class)
{
    struct cache_class **group = &cache->groups[class / GROUP_CLASSES];

    if (*group == NULL) {
        *group = (struct cache_class *)meta_alloc(GROUP_CLASSES * sizeof(**group));
    }
    return *group != NULL ? &(*group)[class % GROUP_CLASSES] : NULL;
}

COLD unsigned stacks_count_groups(const struct cache *cache)
{
    unsigned count = 0;

    for (size_t group = 0; group < GROUPS; group++) {
        count += cache->groups[group] != NULL;
    }
    return count;
}

size_t stacks_freed(const struct cache *cache, unsigned class)
{
    const struct magazine *freed = stacks_class(cache, class)->free;
    size_t count = stacks_free_count(&cache->bins[class + 1], freed);

    return count > 0 && count <= freed->capacity ? count : 0;
}

size_t stacks_held(const struct cache *cache, unsigned class)
{
    const struct cache_bin *bin = &cache->bins[class + 1];
    const struct cache_class *cold = stacks_class(cache, class);

    return stacks_alloc_count(bin, cold->alloc) + stacks_free_count(bin, cold->free);
}

/* Most stacks of a thread that lives shortly are of the smallest size. It, and the next thread that
 * gets the cache, need not go to the descriptors' memory for each. */
struct magazine *stacks_create(struct cache *cache, uint32_t capacity)
{
    struct magazine *spare = cache->spares;

    if (capacity != MAGAZINE_SMALLEST || spare == NULL) {
        return magazine_create(capacity);
    }
    cache->spares = spare->next;
    cache->spare_count--;
    return spare;
}

void stacks_destroy(struct cache *cache, struct magazine *magazine)
{
    if (magazine == NULL || magazine->capacity != MAGAZINE_SMALLEST ||
        cache->spare_count == SPARES_MAX) {
        magazine_destroy(magazine);
        return;
    }
    magazine->next = cache->spares;
    cache->spares = magazine;
    cache->spare_count++;
}

size_t stacks_give_older(struct cache *cache, unsigned class, struct magazine *magazine,
                         size_t count, size_t left)
{
    if (count <= left) {
        return count;
    }
    void **slots = magazine->slots;

    arena_free_blocks(cache->arena, class, slots, count - left);
    memmove(slots, slots + count - left, left * sizeof(void *));
    return left;
}

static void unmark_in_use(struct cache *cache, unsigned class)
{
    cache->in_use[class / BITS_PER_WORD] &= ~(UINT64_C(1) << (class % BITS_PER_WORD));
}

void stacks_flush_class(struct cache *cache, unsigned class)
{
    struct cache_bin *bin = cache_bin_of_class(cache, class);
    struct cache_class *cold = stacks_made_class(cache, class);
    struct magazine *alloc = cold->alloc;
    struct magazine *freed = cold->free;
    size_t allocs = stacks_alloc_count(bin, alloc);
    size_t frees = stacks_free_count(bin, freed);

    stacks_set_alloc(bin, NULL, 0);
    stacks_set_free(bin, class, NULL, 0);
    *cold = (struct cache_class){
        .stacks = cold->stacks, .singles = SINGLES_MAX, .is_unproved = true, .has_flushed = true};
    unmark_in_use(cache, class);
    if (allocs > 0) {
        arena_free_blocks(cache->arena, class, alloc->slots, allocs);
    }
    if (frees > 0) {
        arena_free_blocks(cache->arena, class, freed->slots, frees);
    }
    stacks_destroy(cache, alloc);
    stacks_destroy(cache, freed);
}

static void check_floor(const struct magazine *magazine)
{
    if (magazine != NULL && magazine->floor != NULL) {
        fatal("stacks: something lies below a stack's bottom");
    }
}

void stacks_check(const struct cache *cache)
{
    uint32_t spares = 0;

    for (const struct magazine *spare = cache->spares; spare != NULL; spare = spare->next) {
        if (spare->capacity != MAGAZINE_SMALLEST) {
            fatal("stacks: a spare one is not of the smallest size");
        }
        check_floor(spare);
        spares++;
    }
    if (spares != cache->spare_count) {
        fatal("stacks: spare ones do not add up");
    }
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        check_floor(stacks_class(cache, class)->alloc);
        check_floor(stacks_class(cache, class)->free);
    }
}
