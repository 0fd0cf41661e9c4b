/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* refill.c - where blocks come from when a thread's stacks have none.
 *
 * From the bin's stock over the arena's queue of remote frees to new slabs; before the heap grows
 * for one, others give up what they can do without (reclaim.c).
 *
 * Owns         nothing.
 * Concurrency  as arena.c: one bin's lock at a time, and none where the page heap is called.
 * Called by    cache.c, near.c and heap.c.
 */
#include "refill.h"

#include "limit.h"
#include "meta.h"
#include "page_heap.h"
#include "reclaim.h"

enum {
    REFINE_SLABS = 4, /* of a class in a bin, a thread: from then on finer classes save memory */
    AHEAD_SHARE = 32, /* the part of what a bin holds that may get memory before it is used */
};

/* What is asked for, and what there was. */
struct refill {
    struct arena *arena;
    unsigned class;
    struct magazine *empty; /* to be filled with up to `want` blocks; NULL: one block is wanted */
    uint32_t want;
    struct magazine *full;
    void *block;
};

/* From slabs that exist: the bin's own stock. False if it has nothing. */
static bool take_from_stock(struct refill *refill)
{
    if (refill->empty == NULL) {
        refill->block = arena_take_one(refill->arena, refill->class);
        return refill->block != NULL;
    }
    struct bin *bin = arena_ask_bin(refill->arena, refill->class);

    if (bin != NULL) {
        refill->full = bin_refill_locked(bin, refill->empty, refill->want);
        lock_release(&bin->lock);
    }
    return refill->full != NULL;
}

/* How much of a fresh slab is to have memory before it is used. Blocks longer than a page have
 * pages that their owner may never write; of shorter ones every page has some that begin there. */
static size_t bytes_ahead(const struct bin *bin, const struct size_class *described)
{
    size_t share = (size_t)bin_slabs(bin) * (UNIT_BYTES / AHEAD_SHARE);

    return described->size <= SLAB_PAGE_BYTES
               ? size_min(align_down(share, SLAB_PAGE_BYTES), described->bytes)
               : 0;
}

/* A run that is a slab now, which its bin does not have yet; NULL if the page heap has none, or if
 * there is no memory for descriptors. */
static struct slab *slab_get(struct arena *arena, unsigned class, bool grow, bool *lacks_descriptor)
{
    const struct bin *bin = arena_bin_make(arena, class);

    if (bin == NULL) {
        *lacks_descriptor = true;
        return NULL;
    }
    struct span *span = page_heap_alloc(
        &(struct run_request){.units = size_classes[class].units,
                              .align_units = 1,
                              .state = SPAN_SLAB,
                              .grow = grow,
                              .populate_bytes = bytes_ahead(bin, &size_classes[class])});
    struct slab *slab = span != NULL ? slab_create(span, class, arena->index, &arena->queue) : NULL;

    *lacks_descriptor = span != NULL && slab == NULL;
    if (*lacks_descriptor) {
        page_heap_free(span);
    }
    return slab;
}

/* There is no room to map descriptors, but there may be in the heap. */
static bool feed_meta(void)
{
    struct span *span = page_heap_alloc(&(struct run_request){
        .units = 1, .align_units = 1, .state = SPAN_META, .grow = true, .zero = true});

    if (span == NULL) {
        return false;
    }
    page_heap_zero(span, UNIT_BYTES);
    meta_donate((void *)span_address(span), UNIT_BYTES);
    return true;
}

static bool slab_add(struct arena *arena, unsigned class, bool grow)
{
    bool lacks_descriptor;
    struct slab *slab = slab_get(arena, class, grow, &lacks_descriptor);

    if (lacks_descriptor && grow && feed_meta()) {
        slab = slab_get(arena, class, grow, &lacks_descriptor);
    }
    if (slab == NULL) {
        return false;
    }
    struct bin *bin = arena_bin(arena, class);

    arena_tag_slab(arena, slab, SIZE_CLASS_CODE(class));
    lock_acquire(&bin->lock);
    bin_add_locked(bin, slab);
    lock_release(&bin->lock);
    /* Relaxed: roughly how many stacks of each finer class there would be. Threads without a cache
     * are not counted. */
    uint32_t threads = atomic_load_explicit(&arena->threads, memory_order_relaxed);

    if (bin_slabs(bin) > REFINE_SLABS * size_max(threads, 1)) {
        size_class_wear(class);
    }
    return true;
}

/* Take in what other arenas' threads have freed; false if there is nothing. Not before the bin's
 * own stock is used up: the longer the queue is left alone, the more blocks come in with each word.
 */
static bool drain_own(struct arena *arena)
{
    if (!remote_queue_has_slabs(&arena->queue)) {
        return false;
    }
    (void)arena_drain(arena);
    return true;
}

enum outcome {
    TAKEN,
    LOST,      /* other threads have emptied the slab that was added: there is memory */
    NO_MEMORY, /* for a slab */
};

static enum outcome take_from_new_slab(struct refill *refill, bool grow)
{
    if (!slab_add(refill->arena, refill->class, grow)) {
        return NO_MEMORY;
    }
    return take_from_stock(refill) ? TAKEN : LOST;
}

/* Each step gives more away than the one before. */
static enum outcome take_by_growing(struct refill *refill)
{
    enum outcome outcome = take_from_new_slab(refill, false);

    if (outcome == NO_MEMORY) {
        reclaim_before_growth();
        outcome = take_from_stock(refill) ? TAKEN : take_from_new_slab(refill, true);
    }
    if (outcome == NO_MEMORY) {
        reclaim_all();
        outcome = take_from_stock(refill) ? TAKEN : take_from_new_slab(refill, true);
    }
    return outcome;
}

static bool take(struct refill *refill)
{
    if (take_from_stock(refill) || (drain_own(refill->arena) && take_from_stock(refill))) {
        return true;
    }
    enum outcome outcome;

    do {
        outcome = take_by_growing(refill);
    } while (outcome == LOST);
    return outcome == TAKEN;
}

/* Stacks and single blocks */

struct magazine *refill_stack(struct arena *arena, unsigned class, struct magazine *magazine,
                              uint32_t want)
{
    struct refill refill = {.arena = arena, .class = class, .empty = magazine, .want = want};

    return take(&refill) ? refill.full : NULL;
}

void *refill_one(struct arena *arena, unsigned class)
{
    struct refill refill = {.arena = arena, .class = class};

    return take(&refill) ? refill.block : NULL;
}

void *refill_borrow(struct arena *arena, unsigned class, size_t alignment, size_t most_bytes)
{
    void *block = NULL;

    for (unsigned larger = class + 1;
         block == NULL && larger < CLASS_COUNT && size_classes[larger].size <= most_bytes;
         larger++) {
        /* A larger block may be aligned less. */
        if (size_classes[larger].align_mask + 1 >= alignment) {
            block = arena_take_one(arena, larger);
        }
    }
    return block;
}

COLD void *refill_from_any(unsigned class, size_t alignment)
{
    void *block = NULL;
    struct arena *arena;

    for (unsigned index = 0; block == NULL && (arena = arena_by_index(index)) != NULL; index++) {
        block = arena_take_one(arena, class);
    }
    for (unsigned index = 0; block == NULL && (arena = arena_by_index(index)) != NULL; index++) {
        block = refill_borrow(arena, class, alignment, SIZE_MAX);
    }
    return block;
}

/* The bin has nothing: a block that another arena's thread has freed, or one of a larger class. */
static void *take_nearest(struct arena *arena, unsigned class, size_t alignment)
{
    void *block = drain_own(arena) ? arena_take_one(arena, class) : NULL;

    return block != NULL ? block
                         : refill_borrow(arena, class, alignment, size_class_near_bytes(class));
}

void *refill_first(struct arena *arena, unsigned class)
{
    const struct bin *bin = arena_bin(arena, class);
    bool has_slab = bin != NULL && bin_slabs(bin) > 0;

    return !has_slab && limit_is_far() && slab_add(arena, class, true)
               ? arena_take_one(arena, class)
               : NULL;
}

void *refill_near(struct arena *arena, unsigned class, size_t alignment)
{
    void *block = take_nearest(arena, class, alignment);

    /* Near a limit memory is not for slabs that may stay half empty. */
    if (block != NULL || !limit_is_far()) {
        return block;
    }
    if (slab_add(arena, class, false)) {
        return arena_take_one(arena, class);
    }
    reclaim_before_growth();
    block = arena_take_one(arena, class);
    if (block == NULL) {
        block = take_nearest(arena, class, alignment);
    }
    return block == NULL && slab_add(arena, class, true) ? arena_take_one(arena, class) : block;
}
