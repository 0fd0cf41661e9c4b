/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* arena.c - bins of slabs, their depots, and the drain of remote frees.
 *
 * A bin hands out and takes back whole stacks of blocks. A few full stacks of the class's full
 * capacity are kept in the bin's depot, and exchanged without looking inside; everything else
 * goes through the slabs' bitmaps. A few empty slabs are kept. Before the break grows, idle stacks
 * and empty slabs are given up, so that neither adds to the heap's peak.
 *
 * Owns         the arenas, their bins, every slab's place in a list, the tag of every slab's unit.
 * Invariants   a slab is on the list that its free_count says; free_blocks = the sum over slabs;
 *              a tag is set exactly while its unit is a slab of the arena.
 * Concurrency  a bin's lock (rank BIN) guards the bin and the free side of its slabs; drain_lock
 *              (rank DRAIN) makes drains of one arena take turns. A thread holds one bin's lock at
 *              a time. The page heap is called with no bin locked, so that it may be slow.
 * Called by    cache.c, heap.c and purge.c.
 */
#include "arena.h"

#include "meta.h"
#include "os.h"
#include "page_heap.h"
#include "tick.h"

enum {
    SPARES_MAX = 8,      /* empty stacks a bin keeps while it is in use, */
    SPARES_IDLE = 4,     /* and for long */
    EMPTY_SLABS_MAX = 8, /* a bin keeps, until the break grows */
    REFINE_SLABS = 4,    /* of a class in a bin, a thread: from then on finer classes save memory */
    QUARTERS = 4,
    SLABS_AT_ONCE = 16,
    STACKS_AT_ONCE = 64,
};

/* Stacks in a depot are handed out as they are, and blocks that travel that way lose the order of
 * their addresses: a program that builds large structures waits for memory then. So a depot holds
 * no more than stays in a processor's cache, enough for threads that swing around a full stack, and
 * what is more goes through the bitmaps, which put it in order again. */
#define DEPOT_BYTES       ((size_t)64 * 1024)
#define DEPOT_BLOCK_BYTES ((size_t)1024)

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
    arena->index = (uint8_t)index;
    arena->tags = page_heap_tags_create();
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        lock_init(&arena->bins[class].lock, LOCK_RANK_BIN);
    }
    atomic_store_explicit(&arenas[index], arena, memory_order_release);
    return arena;
}

/* Tags */

static void tag_unit(const struct arena *arena, const struct span *span, uint16_t code)
{
    if (span->region == region_primary.index && arena->tags != NULL) {
        /* Relaxed: who frees a block of the slab got it after this store; who frees something else
         * here makes an error that the slow path or the bitmaps detect. */
        atomic_store_explicit(&arena->tags[span_unit(span)], code, memory_order_relaxed);
    }
}

/* Slabs on lists */

static unsigned list_of(const struct slab *slab)
{
    unsigned blocks = slab_class(slab)->blocks;

    if (slab->free_count == 0) {
        return SLAB_LIST_NONE;
    }
    if (slab->free_count == blocks) {
        return SLAB_LIST_EMPTY;
    }
    unsigned scaled = slab->free_count * QUARTERS;

    /* The quarter, without a division. */
    return SLAB_LIST_PARTIAL + (unsigned)(scaled >= blocks) + (unsigned)(scaled >= 2 * blocks) +
           (unsigned)(scaled >= 3 * blocks);
}

static void slab_link_locked(struct bin *bin, struct slab *slab, unsigned list)
{
    slab->list = (uint16_t)list;
    bin->empty_slabs += list == SLAB_LIST_EMPTY;
    if (list == SLAB_LIST_NONE) {
        return;
    }
    slab->prev = NULL;
    slab->next = bin->slabs[list];
    if (slab->next != NULL) {
        slab->next->prev = slab;
    }
    bin->slabs[list] = slab;
}

static void slab_unlink_locked(struct bin *bin, struct slab *slab)
{
    if (slab->list == SLAB_LIST_NONE) {
        return;
    }
    if (slab->next != NULL) {
        slab->next->prev = slab->prev;
    }
    if (slab->prev != NULL) {
        slab->prev->next = slab->next;
    } else {
        bin->slabs[slab->list] = slab->next;
    }
}

/* Put a slab whose free_count has changed where it belongs. Of empty ones too many go to
 * `released`, for slabs_release() when the lock is no longer held. */
static void slab_relist_locked(struct bin *bin, struct slab *slab, struct slab **released)
{
    unsigned list = list_of(slab);

    ASSERT(lock_is_held(&bin->lock));
    if (list == slab->list) {
        return;
    }
    slab_unlink_locked(bin, slab);
    bin->empty_slabs -= slab->list == SLAB_LIST_EMPTY;
    if (list == SLAB_LIST_EMPTY && bin->empty_slabs >= EMPTY_SLABS_MAX) {
        bin->free_blocks -= slab->free_count;
        bin->stats.slabs_released++;
        slab->next = *released;
        *released = slab;
        return;
    }
    slab_link_locked(bin, slab, list);
}

static void slabs_release(struct arena *arena, struct slab *slabs)
{
    while (slabs != NULL) {
        struct slab *slab = slabs;
        struct span *span = span_of(slab->start);

        slabs = slab->next;
        tag_unit(arena, span, 0);
        span->slab = NULL;
        slab_destroy(slab);
        page_heap_free(span);
    }
}

static struct slab *slab_best_locked(const struct bin *bin)
{
    for (unsigned list = SLAB_LIST_PARTIAL; list < SLAB_LIST_COUNT; list++) {
        if (bin->slabs[list] != NULL) {
            return bin->slabs[list];
        }
    }
    return NULL;
}

/* Blocks out of slabs: up to `want`, ascending from the top of `out` down (slab_take_locked). */
static size_t take_from_slabs_locked(struct bin *bin, void **out, size_t want)
{
    size_t taken = 0;

    while (taken < want) {
        struct slab *slab = slab_best_locked(bin);

        if (slab == NULL) {
            break;
        }
        size_t count = slab_take_locked(slab, out, want - taken);

        taken += count;
        bin->free_blocks -= count;
        slab_relist_locked(bin, slab, NULL);
    }
    return taken;
}

/* Blocks into slabs. Blocks that follow each other are often of one slab: what concerns the slab as
 * a whole is done once for all of them. */
static void put_in_slabs_locked(struct bin *bin, void **blocks, size_t count, bool idle,
                                struct slab **released)
{
    for (size_t i = 0; i < count;) {
        uintptr_t unit = align_down((uintptr_t)blocks[i], UNIT_BYTES);
        unsigned index;
        struct slab *slab = slab_of_own_block((uintptr_t)blocks[i], &index);
        const struct size_class *class = slab_class(slab);
        size_t first = i;

        do {
            slab_put_locked(slab, index);
            i++;
            if (i == count || align_down((uintptr_t)blocks[i], UNIT_BYTES) != unit) {
                break;
            }
            index = size_class_index(class, (uintptr_t)blocks[i] - unit);
        } while (likely(index < class->blocks));
        slab_settle_locked(slab, (unsigned)(i - first), idle);
        bin->free_blocks += i - first;
        slab_relist_locked(bin, slab, released);
    }
}

/* The depot */

static void magazine_push(struct magazine **list, struct magazine *magazine)
{
    magazine->next = *list;
    *list = magazine;
}

static struct magazine *magazine_pop(struct magazine **list)
{
    struct magazine *magazine = *list;

    if (magazine != NULL) {
        *list = magazine->next;
    }
    return magazine;
}

static void spare_keep_locked(struct bin *bin, struct magazine *magazine)
{
    if (bin->spare_count < SPARES_MAX) {
        magazine_push(&bin->spares, magazine);
        bin->spare_count++;
    } else {
        magazine_destroy(magazine);
    }
}

/* A stack has left the depot, with `blocks`. */
static void depot_shrunk_locked(struct bin *bin, uint32_t blocks)
{
    bin->depot_count--;
    bin->depot_blocks -= blocks;
    if (bin->depot_count < bin->depot_low) {
        bin->depot_low = bin->depot_count;
    }
}

/* A full stack out of the depot for an empty one, or NULL. */
static struct magazine *depot_take_locked(struct bin *bin, struct magazine *empty)
{
    struct magazine *full = magazine_pop(&bin->depot);

    if (full == NULL) {
        return NULL;
    }
    depot_shrunk_locked(bin, full->count);
    bin->stats.depot_exchanges++;
    if (empty->capacity == full->capacity) {
        spare_keep_locked(bin, empty);
    } else {
        magazine_destroy(empty);
    }
    return full;
}

bool arena_keeps_stacks(unsigned class)
{
    return size_classes[class].size <= DEPOT_BLOCK_BYTES;
}

/* An empty stack for a full one that the depot keeps, or NULL if it does not. */
static struct magazine *depot_put_locked(struct bin *bin, unsigned class, struct magazine *full)
{
    const struct size_class *described = &size_classes[class];

    ASSERT(arena_keeps_stacks(class));
    if (full->capacity < described->capacity || full->count < full->capacity ||
        (bin->depot_blocks + full->count) * described->size > DEPOT_BYTES) {
        return NULL;
    }
    struct magazine *empty = magazine_pop(&bin->spares);

    if (empty != NULL) {
        bin->spare_count--;
    } else {
        empty = magazine_create(described->capacity);
    }
    if (empty != NULL) {
        magazine_push(&bin->depot, full);
        bin->depot_count++;
        bin->depot_blocks += full->count;
        bin->stats.depot_exchanges++;
    }
    return empty;
}

static struct magazine *refill_locked(struct bin *bin, struct magazine *magazine, uint32_t want)
{
    ASSERT(want <= magazine->capacity);
    struct magazine *full = depot_take_locked(bin, magazine);

    if (full == NULL) {
        size_t count = take_from_slabs_locked(bin, magazine->slots, want);
        size_t room = want - count;

        /* They fill the end of the slots; few are rare, so that moving them down is. */
        for (size_t i = 0; room > 0 && i < count; i++) {
            magazine->slots[i] = magazine->slots[room + i];
        }
        magazine->count = (uint32_t)count;
        full = count > 0 ? magazine : NULL;
    }
    if (full != NULL) {
        bin->stats.refills++;
        bin->stats.refill_blocks += full->count;
    }
    return full;
}

/* From slabs that exist: the bin's own stock. */
static struct magazine *refill_from_stock(struct bin *bin, struct magazine *magazine, uint32_t want)
{
    lock_acquire(&bin->lock);
    struct magazine *full = refill_locked(bin, magazine, want);

    lock_release(&bin->lock);
    return full;
}

/* Growth */

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

/* A unit that is a slab now, which no bin has; NULL if the page heap has none, or if there is no
 * memory for the slab's descriptor. */
static struct slab *slab_get(struct arena *arena, unsigned class, bool grow, bool *lacks_descriptor)
{
    struct span *span = page_heap_alloc(&(struct run_request){
        .units = 1, .align_units = 1, .state = SPAN_SLAB, .grow = grow, .zero = false});
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
    meta_donate((void *)span_address(span), UNIT_BYTES); /* NOLINT(performance-no-int-to-ptr) */
    return true;
}

static bool slab_add(struct arena *arena, unsigned class, bool grow)
{
    struct bin *bin = &arena->bins[class];
    bool lacks_descriptor;
    struct slab *slab = slab_get(arena, class, grow, &lacks_descriptor);

    if (lacks_descriptor && grow && feed_meta()) {
        slab = slab_get(arena, class, grow, &lacks_descriptor);
    }
    if (slab == NULL) {
        return false;
    }
    tag_unit(arena, span_of(slab->start), SIZE_CLASS_CODE(class));
    lock_acquire(&bin->lock);
    slab_link_locked(bin, slab, SLAB_LIST_EMPTY);
    bin->free_blocks += slab->free_count;
    bin->stats.slabs_created++;
    atomic_store_explicit(&bin->is_used, true, memory_order_relaxed);
    uint64_t slabs = bin->stats.slabs_created - bin->stats.slabs_released;

    lock_release(&bin->lock);
    /* Relaxed: roughly how many stacks of each finer class there would be. */
    if (slabs >
        REFINE_SLABS * (uint64_t)atomic_load_explicit(&arena->threads, memory_order_relaxed)) {
        size_class_wear(class);
    }
    return true;
}

/* Each step gives more away than the one before; after each the bin's stock is tried again. */
static struct magazine *refill_by_growing(struct arena *arena, unsigned class,
                                          struct magazine *magazine, uint32_t want, bool *added)
{
    struct bin *bin = &arena->bins[class];
    struct magazine *full = NULL;

    *added = slab_add(arena, class, false);
    if (*added) {
        return refill_from_stock(bin, magazine, want);
    }
    arena_prepare_growth();
    full = refill_from_stock(bin, magazine, want);
    if (full == NULL && (*added = slab_add(arena, class, true))) {
        full = refill_from_stock(bin, magazine, want);
    }
    if (full == NULL) {
        arena_reclaim_all();
        *added = slab_add(arena, class, true);
        full = refill_from_stock(bin, magazine, want);
    }
    return full;
}

struct magazine *arena_refill(struct arena *arena, unsigned class, struct magazine *magazine,
                              uint32_t want)
{
    struct magazine *full = refill_from_stock(&arena->bins[class], magazine, want);
    bool added = true;

    /* Only now: the longer the queue is left alone, the more blocks come in with each word. */
    if (full == NULL && remote_queue_has_slabs(&arena->queue)) {
        (void)arena_drain(arena);
        full = refill_from_stock(&arena->bins[class], magazine, want);
    }

    /* A slab added may be emptied by other threads before we look again; then there is memory. */
    while (full == NULL && added) {
        full = refill_by_growing(arena, class, magazine, want, &added);
    }
    return full;
}

struct magazine *arena_flush(struct arena *arena, unsigned class, struct magazine *magazine)
{
    struct bin *bin = &arena->bins[class];
    struct slab *released = NULL;

    lock_acquire(&bin->lock);
    bin->stats.flushes++;
    bin->stats.flush_blocks += magazine->count;
    struct magazine *empty = depot_put_locked(bin, class, magazine);

    if (empty == NULL) {
        put_in_slabs_locked(bin, magazine->slots, magazine->count, false, &released);
        magazine->count = 0;
        empty = magazine;
    }
    lock_release(&bin->lock);
    slabs_release(arena, released);
    return empty;
}

/* Single blocks */

static void *take_one(struct bin *bin)
{
    void *block = NULL;

    lock_acquire(&bin->lock);
    if (take_from_slabs_locked(bin, &block, 1) == 0 && bin->depot != NULL) {
        struct magazine *full = bin->depot;

        block = full->slots[--full->count];
        bin->depot_blocks--;
        if (full->count == 0) {
            bin->depot = full->next;
            depot_shrunk_locked(bin, 0);
            spare_keep_locked(bin, full);
        }
    }
    lock_release(&bin->lock);
    return block;
}

void *arena_alloc_one(struct arena *arena, unsigned class)
{
    struct bin *bin = &arena->bins[class];
    void *block = take_one(bin);

    if (block == NULL) {
        arena_drain_all();
        block = take_one(bin);
    }
    while (block == NULL && slab_add(arena, class, true)) {
        block = take_one(bin);
    }
    if (block == NULL) {
        arena_reclaim_all();
        (void)slab_add(arena, class, true);
        block = take_one(bin);
    }
    return block;
}

void *arena_borrow(struct arena *arena, unsigned class, size_t alignment)
{
    void *block = NULL;

    for (unsigned larger = class + 1; block == NULL && larger < CLASS_COUNT; larger++) {
        /* A larger block may be aligned less. */
        if (size_classes[larger].align_mask + 1 >= alignment) {
            block = take_one(&arena->bins[larger]);
        }
    }
    return block;
}

void arena_free_blocks(struct arena *arena, unsigned class, void **blocks, size_t count)
{
    struct bin *bin = &arena->bins[class];
    struct slab *released = NULL;

    lock_acquire(&bin->lock);
    bin->stats.flushes++;
    bin->stats.flush_blocks += count;
    put_in_slabs_locked(bin, blocks, count, false, &released);
    lock_release(&bin->lock);
    slabs_release(arena, released);
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

static size_t take_in_words_locked(struct bin *bin, struct slab *slab, uint64_t words)
{
    size_t count = 0;

    for (; words != 0; words &= words - 1) {
        unsigned word = bit_lowest(words);
        uint64_t blocks = remote_take_word(slab, word);

        slab_put_word_locked(slab, word, blocks);
        count += bit_count(blocks);
        bin->stats.remote_batches++;
    }
    bin->free_blocks += count;
    bin->stats.remote_blocks += count;
    return count;
}

static size_t take_in_slab(struct arena *arena, struct slab *slab, struct slab **released)
{
    struct bin *bin = &arena->bins[slab->class];

    lock_acquire(&bin->lock);
    size_t count = take_in_words_locked(bin, slab, remote_take_summary(slab));

    slab_relist_locked(bin, slab, released);
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
    slabs_release(arena, released);
    return count;
}

/* Reclaiming */

/* Put the blocks of `count` stacks of the depot back into the slabs. */
static void depot_empty_locked(struct bin *bin, uint32_t count, struct slab **released)
{
    for (; count > 0; count--) {
        struct magazine *full = magazine_pop(&bin->depot);

        depot_shrunk_locked(bin, full->count);
        put_in_slabs_locked(bin, full->slots, full->count, true, released);
        magazine_destroy(full);
    }
    bin->depot_low = bin->depot_count;
}

/* All but `keep` empty stacks. */
static void spares_give_up_locked(struct bin *bin, uint32_t keep)
{
    while (bin->spare_count > keep) {
        magazine_destroy(magazine_pop(&bin->spares));
        bin->spare_count--;
    }
}

static void empty_slabs_give_up_locked(struct bin *bin, struct slab **released)
{
    struct slab *empty = bin->slabs[SLAB_LIST_EMPTY];

    while (empty != NULL) {
        struct slab *next = empty->next;

        slab_unlink_locked(bin, empty);
        bin->free_blocks -= empty->free_count;
        bin->stats.slabs_released++;
        empty->next = *released;
        *released = empty;
        empty = next;
    }
    bin->empty_slabs = 0;
}

static void reclaim_bin(struct arena *arena, unsigned class)
{
    struct bin *bin = &arena->bins[class];
    struct slab *released = NULL;

    lock_acquire(&bin->lock);
    depot_empty_locked(bin, bin->depot_count, &released);
    spares_give_up_locked(bin, 0);
    empty_slabs_give_up_locked(bin, &released);
    lock_release(&bin->lock);
    slabs_release(arena, released);
}

/* Stacks that nobody has asked for since the last look hide slabs that may be empty; and empty
 * slabs serve better where the memory is needed now. */
static void age_bin(struct arena *arena, unsigned class, uint32_t most_stacks)
{
    struct bin *bin = &arena->bins[class];
    struct slab *released = NULL;

    lock_acquire(&bin->lock);
    depot_empty_locked(bin, bin->depot_low < most_stacks ? bin->depot_low : most_stacks, &released);
    spares_give_up_locked(bin, SPARES_IDLE);
    empty_slabs_give_up_locked(bin, &released);
    lock_release(&bin->lock);
    slabs_release(arena, released);
}

/* A bin, for a walk over all arenas. */
struct bin_place {
    unsigned index; /* of the arena, */
    struct arena *arena;
    unsigned class;
};

/* The first bin in use from `place` on; false if there is none. One that has had no slab yet has
 * nothing to look after, and stays without memory behind it. */
static bool find_used_bin(struct bin_place *place)
{
    for (; (place->arena = arena_by_index(place->index)) != NULL; place->index++) {
        for (; place->class < CLASS_COUNT; place->class ++) {
            /* Relaxed: what is not seen yet might as well have been looked for a little earlier. */
            if (atomic_load_explicit(&place->arena->bins[place->class].is_used,
                                     memory_order_relaxed)) {
                return true;
            }
        }
        place->class = 0;
    }
    return false;
}

static void age_all(uint32_t most_stacks)
{
    arena_drain_all();
    for (struct bin_place at = {0}; find_used_bin(&at); at.class ++) {
        age_bin(at.arena, at.class, most_stacks);
    }
}

void arena_prepare_growth(void)
{
    age_all(UINT32_MAX);
}

void arena_age(void)
{
    age_all(STACKS_AT_ONCE);
}

void arena_reclaim_all(void)
{
    arena_drain_all();
    for (struct bin_place at = {0}; find_used_bin(&at); at.class ++) {
        reclaim_bin(at.arena, at.class);
    }
}

/* Up to SLABS_AT_ONCE slabs of the bin: the lock is given up in between. */
static size_t purge_slabs(struct bin *bin, unsigned ticks, unsigned *slabs)
{
    size_t bytes = 0;

    *slabs = 0;
    lock_acquire(&bin->lock);
    for (unsigned list = SLAB_LIST_PARTIAL; list < SLAB_LIST_COUNT; list++) {
        for (struct slab *slab = bin->slabs[list]; slab && *slabs < SLABS_AT_ONCE;
             slab = slab->next) {
            if (!slab->settled && (uint8_t)(tick_now() - slab->freed_tick) >= ticks) {
                bytes += slab_purge_locked(slab);
                ++*slabs;
            }
        }
    }
    lock_release(&bin->lock);
    return bytes;
}

static size_t decay_bin(struct arena *arena, unsigned class, unsigned ticks, size_t most_bytes)
{
    unsigned slabs = SLABS_AT_ONCE;
    size_t bytes = 0;

    while (slabs == SLABS_AT_ONCE && bytes < most_bytes) {
        bytes += purge_slabs(&arena->bins[class], ticks, &slabs);
    }
    return bytes;
}

size_t arena_decay(unsigned ticks, size_t most_bytes)
{
    size_t bytes = 0;

    if (os_page_bytes() != SLAB_PAGE_BYTES) {
        return 0;
    }
    for (struct bin_place at = {0}; bytes < most_bytes && find_used_bin(&at); at.class ++) {
        bytes += decay_bin(at.arena, at.class, ticks, most_bytes - bytes);
    }
    return bytes;
}

/* Accounts */

static void totals_add(struct arena_totals *totals, struct bin *bin, unsigned class)
{
    size_t size = size_classes[class].size;

    lock_acquire(&bin->lock);
    uint64_t slabs = bin->stats.slabs_created - bin->stats.slabs_released;

    totals->tail_bytes += slabs * (UNIT_BYTES - size_classes[class].blocks * size);
    totals->free_bytes += (bin->free_blocks + bin->depot_blocks) * size;
    lock_release(&bin->lock);
}

struct arena_totals arena_totals(void)
{
    struct arena_totals totals = {0, 0};

    for (struct bin_place at = {0}; find_used_bin(&at); at.class ++) {
        totals_add(&totals, &at.arena->bins[at.class], at.class);
    }
    return totals;
}

static void bin_check_locked(struct bin *bin)
{
    uint64_t free_blocks = 0;
    uint64_t depot_blocks = 0;

    for (unsigned list = 0; list < SLAB_LIST_COUNT; list++) {
        for (struct slab *slab = bin->slabs[list]; slab != NULL; slab = slab->next) {
            if (slab->list != list || list_of(slab) != list) {
                fatal("arena: a slab is on the wrong list");
            }
            slab_check(slab);
            free_blocks += slab->free_count;
        }
    }
    for (struct magazine *full = bin->depot; full != NULL; full = full->next) {
        depot_blocks += full->count;
    }
    if (free_blocks != bin->free_blocks || depot_blocks != bin->depot_blocks) {
        fatal("arena: a bin's free blocks do not add up");
    }
}

void arena_check(struct arena *arena)
{
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        lock_acquire(&arena->bins[class].lock);
        bin_check_locked(&arena->bins[class]);
        lock_release(&arena->bins[class].lock);
    }
}
