/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* arena.c - the arenas: their bins, tags and remote frees.
 *
 * What one bin does under its lock is bin.c's; where a bin gets more from, refill.c's; what all of
 * them give up, reclaim.c's. Here blocks go back to the slabs of an arena, from its own threads and
 * from others, and a slab that its bin gives up stops being one.
 *
 * Owns         the arenas, the tags of slabs' units, and the count of the heap's growths.
 * Invariants   a tag is set exactly while a block of a slab of the arena begins in its unit: from
 *              before its bin gets the slab until the bin has given it up, and the run not yet.
 *              src/model/tags.pml checks that whoever frees sees it so, with mutants that it
 *              catches.
 * Concurrency  a bin's lock (rank BIN) guards the bin; drain_lock (rank DRAIN) makes drains of one
 *              arena take turns. A thread holds one bin's lock at a time. The page heap is called
 *              with no bin locked, so that it may be slow.
 * Called by    refill.c, reclaim.c, stacks.c, singles.c, proof.c, remote_buffer.c, cache.c, near.c,
 *              large.c, heap.c, heap_free.c, resize.c, spread.c, balance.c and stats.c.
 */
#include "arena.h"

#include "growth.h"
#include "meta.h"
#include "page_heap.h"

static _Atomic(struct arena *) arenas[ARENAS_MAX];

struct arena *arena_by_index(unsigned index)
{
    /* Acquire: pairs with the release in arena_create(); the arena is seen initialised. */
    return index < ARENAS_MAX ? atomic_load_explicit(&arenas[index], memory_order_acquire) : NULL;
}

struct arena *arena_create(unsigned index)
{
    struct arena *arena = (struct arena *)meta_alloc(sizeof(*arena));

    if (arena == NULL) {
        return NULL;
    }
    remote_queue_init(&arena->queue);
    lock_init(&arena->drain_lock, LOCK_RANK_DRAIN);
    run_cache_register(&arena->large_runs);
    arena->index = (uint8_t)index;
    arena->tags = page_heap_tags_create();
    atomic_store_explicit(&arenas[index], arena, memory_order_release);
    return arena;
}

struct bin *arena_bin_make(struct arena *arena, unsigned class)
{
    struct bin *bin = arena_bin(arena, class);

    if (bin != NULL) {
        return bin;
    }
    struct bin *made = (struct bin *)meta_alloc(sizeof(*made));

    if (made == NULL) {
        return arena_bin(arena, class);
    }
    bin_init(made, class, arena->index);
    /* Release: pairs with arena_bin(). Acquire: `bin` is another thread's then. */
    if (!atomic_compare_exchange_strong_explicit(&arena->bins[class], &bin, made,
                                                 memory_order_release, memory_order_acquire)) {
        meta_free(made, sizeof(*made));
        return bin;
    }
    return made;
}

/* The lock of a bin, for a thread that refills from it or flushes to it. What is waited for larger
 * blocks does not count: arenas of their own would cost more memory than time. */
static void bin_acquire(struct arena *arena, struct bin *bin)
{
    if (unlikely(!lock_try_acquire(&bin->lock))) {
        if (depot_keeps(bin->class)) {
            /* Relaxed: a count, nothing is read on the strength of it. */
            atomic_fetch_add_explicit(&arena->waits, 1, memory_order_relaxed);
        }
        lock_wait(&bin->lock);
    }
}

/* How often the heap has grown. A bin keeps the count as of when it was last asked for blocks
 * (asked_growth): one with a lower count than now has not been asked since. */
static _Atomic uint64_t growths;

/* Relaxed, here and in arena_note_growth(): growth that is not seen yet is as good as growth that
 * comes a little later. */
struct bin *arena_ask_bin(struct arena *arena, unsigned class)
{
    struct bin *bin = arena_bin(arena, class);

    if (bin != NULL) {
        bin_acquire(arena, bin);
        bin->asked_growth = atomic_load_explicit(&growths, memory_order_relaxed);
    }
    return bin;
}

uint64_t arena_note_growth(void)
{
    return atomic_fetch_add_explicit(&growths, 1, memory_order_relaxed);
}

/* Tags */

void arena_tag_slab(const struct arena *arena, const struct slab *slab, uint16_t code)
{
    const struct span *span = span_of(slab->start);
    size_t step = size_max(slab_class(slab)->size, UNIT_BYTES);

    if (span->region != region_primary.index || arena->tags == NULL) {
        return;
    }
    _Atomic uint16_t *tags = &arena->tags[span_unit(span)];

    for (size_t offset = 0; offset < slab_class(slab)->bytes; offset += step) {
        /* Relaxed: a thread that frees a block of the slab got it after this store. One that frees
         * anything else here makes an error that the slow path or the bitmaps detect. */
        atomic_store_explicit(&tags[offset >> UNIT_SHIFT], code, memory_order_relaxed);
    }
}

void arena_release_slabs(const struct arena *arena, struct slab *slabs)
{
    while (slabs != NULL) {
        struct slab *slab = slabs;

        slabs = slab->next;
        arena_tag_slab(arena, slab, 0);
        page_heap_free(slab_destroy(slab));
    }
}

/* Blocks in and out of slabs that exist */

void *arena_take_one(struct arena *arena, unsigned class)
{
    struct bin *bin = arena_ask_bin(arena, class);

    if (bin == NULL) {
        return NULL;
    }
    void *block = bin_take_one_locked(bin);

    lock_release(&bin->lock);
    return block;
}

struct magazine *arena_flush(struct arena *arena, unsigned class, struct magazine *magazine,
                             bool verified)
{
    struct bin *bin = arena_bin(arena, class);
    struct slab *released = NULL;

    bin_acquire(arena, bin);
    bin->stats.flushes++;
    bin->stats.flush_blocks += magazine->count;
    struct magazine *empty = verified && !bin_is_sparse(bin)
                                 ? depot_put_locked(&bin->depot, class, magazine)
                                 : (struct magazine *)NULL;

    bin->stats.depot_exchanges += empty != NULL;
    if (empty == NULL) {
        bin_put_locked(bin, magazine->slots, magazine->count, false, &released);
        magazine->count = 0;
        empty = magazine;
    }
    lock_release(&bin->lock);
    arena_release_slabs(arena, released);
    return empty;
}

void arena_free_blocks(struct arena *arena, unsigned class, void **blocks, size_t count)
{
    struct bin *bin = arena_bin(arena, class);
    struct slab *released = NULL;

    bin_acquire(arena, bin);
    bin->stats.flushes++;
    bin->stats.flush_blocks += count;
    bin_put_locked(bin, blocks, count, false, &released);
    lock_release(&bin->lock);
    arena_release_slabs(arena, released);
}

/* Is the block free in its slab, or pending there? */
static bool is_free_locked(struct slab *slab, unsigned index)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    return slab_has_free_locked(slab, index) || remote_is_pending(slab, index);
}

static void check_taken_locked(struct bin *bin, void *const *blocks, size_t count)
{
    ASSERT(lock_is_held(&bin->lock));
    for (size_t i = 0; i < count; i++) {
        unsigned index;
        struct slab *slab = slab_of_block_of((uintptr_t)blocks[i], bin->class, bin->arena, &index);

        if (is_free_locked(slab, index)) {
            slab_fatal_double_free(slab, index);
        }
    }
}

void arena_check_taken(struct arena *arena, unsigned class, void *const *blocks, size_t count)
{
    struct bin *bin = arena_bin(arena, class);

    lock_acquire(&bin->lock);
    check_taken_locked(bin, blocks, count);
    lock_release(&bin->lock);
}

void arena_try_check_taken(struct arena *arena, unsigned class, void *const *blocks, size_t count)
{
    struct bin *bin = arena_bin(arena, class);

    if (lock_try_acquire(&bin->lock)) {
        check_taken_locked(bin, blocks, count);
        lock_release(&bin->lock);
    }
}

bool arena_has_free(struct slab *slab, unsigned index)
{
    struct bin *bin = arena_bin(arena_by_index(slab->arena), slab->class);

    lock_acquire(&bin->lock);
    bool is_free = is_free_locked(slab, index);

    lock_release(&bin->lock);
    return is_free;
}

/* Remote frees */

enum { BATCH_SLOTS = 64 };

/* So that two words of one slab never meet in a slot. */
_Static_assert(BATCH_SLOTS >= BITS_PER_WORD, "a slab has as many words as its summary has bits");

/* Blocks that share a bitmap word, gathered before they are published together. */
struct word_batch {
    struct slab *slab;
    unsigned word;
    uint64_t blocks;
};

static void batch_publish(struct word_batch *batch)
{
    if (batch->blocks != 0) {
        remote_publish(batch->slab, batch->word, batch->blocks);
        batch->blocks = 0;
    }
}

void arena_free_remote(void **blocks, size_t count)
{
    /* A small direct-mapped table brings blocks of one word together though others lie between. */
    struct word_batch batches[BATCH_SLOTS] = {{.slab = NULL}};

    for (size_t i = 0; i < count; i++) {
        unsigned index;
        struct slab *slab = slab_of_own_block((uintptr_t)blocks[i], &index);
        unsigned word = index / BITS_PER_WORD;
        uint64_t bit = UINT64_C(1) << (index % BITS_PER_WORD);
        struct word_batch *batch = &batches[((slab->start >> UNIT_SHIFT) + word) % BATCH_SLOTS];

        if (batch->slab != slab || (batch->blocks & bit) != 0) {
            batch_publish(batch);
            batch->slab = slab;
            batch->word = word;
        }
        batch->blocks |= bit;
    }
    for (unsigned slot = 0; slot < BATCH_SLOTS; slot++) {
        batch_publish(&batches[slot]);
    }
}

static size_t take_in_slab(struct arena *arena, struct slab *slab, struct slab **released)
{
    struct bin *bin = arena_bin(arena, slab->class);

    lock_acquire(&bin->lock);
    size_t count = bin_take_in_locked(bin, slab, released);

    lock_release(&bin->lock);
    return count;
}

size_t arena_drain(struct arena *arena)
{
    struct slab *released = NULL;
    size_t count = 0;

    lock_acquire(&arena->drain_lock);
    struct slab *slab = remote_take_queue(&arena->queue);

    arena->drains++;
    while (slab != NULL) {
        struct slab *next = remote_next(slab);

        count += take_in_slab(arena, slab, &released);
        arena->drained_slabs++;
        slab = next;
    }
    lock_release(&arena->drain_lock);
    arena_release_slabs(arena, released);
    return count;
}

void arena_drain_all(void)
{
    for (unsigned index = 0; index < ARENAS_MAX; index++) {
        struct arena *arena = arena_by_index(index);

        if (arena == NULL) {
            return;
        }
        if (remote_queue_has_slabs(&arena->queue)) {
            (void)arena_drain(arena);
        }
    }
}

/* Walks and accounts */

bool arena_find_bin(struct bin_place *place)
{
    for (; (place->arena = arena_by_index(place->index)) != NULL; place->index++) {
        for (; place->class < CLASS_COUNT; place->class ++) {
            place->bin = arena_bin(place->arena, place->class);
            if (place->bin != NULL) {
                return true;
            }
        }
        place->class = 0;
    }
    return false;
}

static void totals_add(struct arena_totals *totals, struct bin *bin, unsigned class)
{
    size_t size = size_classes[class].size;

    totals->bins++;
    lock_acquire(&bin->lock);
    totals->tail_bytes +=
        bin_slabs(bin) * (size_classes[class].units * UNIT_BYTES - size_classes[class].bytes);
    totals->free_bytes += (bin->free_blocks + depot_blocks(&bin->depot)) * size;
    lock_release(&bin->lock);
}

COLD struct arena_totals arena_totals(void)
{
    struct arena_totals totals = {.bins = 0};

    for (struct bin_place at = {0}; arena_find_bin(&at); at.class ++) {
        totals_add(&totals, at.bin, at.class);
    }
    totals.run_bytes = run_cache_bytes_all();
    return totals;
}

/* What the tag of a unit should be. */
static uint16_t tag_of(const struct arena *arena, size_t unit)
{
    const struct span *span = &region_primary.spans[unit];

    if (span->state != SPAN_SLAB || span->slab == NULL || span->slab->arena != arena->index) {
        return 0;
    }
    const struct size_class *class = slab_class(span->slab);
    size_t offset = region_base(&region_primary) + unit * UNIT_BYTES - span->slab->start;
    size_t first = (offset + class->size - 1) / class->size * class->size;

    return first < size_min(offset + UNIT_BYTES, class->bytes) ? SIZE_CLASS_CODE(span->slab->class)
                                                               : 0;
}

static void check_tags(const struct arena *arena)
{
    size_t units = size_min(region_units(&region_primary), growth_top_unit());

    for (size_t unit = 0; arena->tags != NULL && unit < units; unit++) {
        /* Relaxed: nobody is at it. */
        if (atomic_load_explicit(&arena->tags[unit], memory_order_relaxed) != tag_of(arena, unit)) {
            fatal("arena: the tag of a unit is not its slab's");
        }
    }
}

void arena_check(struct arena *arena)
{
    check_tags(arena);
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        struct bin *bin = arena_bin(arena, class);

        if (bin != NULL) {
            lock_acquire(&bin->lock);
            bin_check_locked(bin);
            lock_release(&bin->lock);
        }
    }
}
