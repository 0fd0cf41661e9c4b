/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* arena.c - refills and flushes, growth, remote frees, and the walks that give memory up.
 *
 * What one bin does under its lock is bin.c's. Here a refill goes from the bin's stock over the
 * queue of remote frees to new slabs. Before the break grows, idle stacks and empty slabs of all
 * bins are given up, so that neither adds to the heap's peak, and (but with thp:always) idle bins
 * give as many free pages back as the heap grew by before.
 *
 * Owns         the arenas, and the tags of slabs' units.
 * Invariants   a tag is set exactly while a block of a slab of the arena begins in its unit.
 * Concurrency  a bin's lock (rank BIN) guards the bin; drain_lock (rank DRAIN) makes drains of one
 *              arena take turns. A thread holds one bin's lock at a time. The page heap is called
 *              with no bin locked, so that it may be slow.
 * Called by    cache.c, heap.c, purge.c, life.c and stats.c.
 */
#include "arena.h"

#include "conf.h"
#include "meta.h"
#include "os.h"
#include "page_heap.h"

enum {
    REFINE_SLABS = 4, /* of a class in a bin, a thread: from then on finer classes save memory */
    IDLE_SHARE = 8,   /* the part of the heap that a bin nobody asks may hold free */
    AHEAD_SHARE = 32, /* the part of what a bin holds that may get memory before it is used */
    SLAB_RUNS_SHARE = 32,  /* the part of the heap that may be kept of slabs' runs, */
    LARGE_RUNS_SHARE = 64, /* and of large blocks' */
    PURGE_UNITS_AT_ONCE = 16,
    STACKS_AT_ONCE = 64,
};

/* A pause for who is about to grow the heap. */
#define MAKE_UP_BYTES_MOST ((size_t)4 * 1024 * 1024)

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
    run_cache_register(&arena->slab_runs);
    run_cache_register(&arena->large_runs);
    arena->index = (uint8_t)index;
    arena->tags = page_heap_tags_create();
    atomic_store_explicit(&arenas[index], arena, memory_order_release);
    return arena;
}

/* Tags */

/* Each unit of the slab in which a block begins gets the code. */
static void tag_units(const struct arena *arena, const struct slab *slab, uint16_t code)
{
    const struct span *span = span_of(slab->start);
    size_t step = size_max(slab_class(slab)->size, UNIT_BYTES);

    if (span->region != region_primary.index || arena->tags == NULL) {
        return;
    }
    _Atomic uint16_t *tags = &arena->tags[span_unit(span)];

    for (size_t offset = 0; offset < slab_class(slab)->bytes; offset += step) {
        /* Relaxed: who frees a block of the slab got it after this store; who frees something else
         * here makes an error that the slow path or the bitmaps detect. */
        atomic_store_explicit(&tags[offset >> UNIT_SHIFT], code, memory_order_relaxed);
    }
}

/* Slabs that a bin has given up. Their runs go to the page heap, unless they are to be kept for slabs to
 * come. */
static void slabs_release(struct arena *arena, struct slab *slabs, bool keep)
{
    while (slabs != NULL) {
        struct slab *slab = slabs;

        slabs = slab->next;
        tag_units(arena, slab, 0);
        struct span *span = slab_destroy(slab);

        if (!keep || span->units > 1 || !run_cache_put(&arena->slab_runs, span)) {
            page_heap_free(span);
        }
    }
}

/* A bin's stock */

/* Growth of the heap so far, in events: by it a bin knows whether it was asked since the last. */
static _Atomic uint64_t growths;

static void note_demand_locked(struct bin *bin)
{
    /* Relaxed: an event that is not seen yet is as good as one that comes a little later. */
    bin->asked_growth = atomic_load_explicit(&growths, memory_order_relaxed);
}

/* From slabs that exist: the bin's own stock. */
static struct magazine *refill_from_stock(struct arena *arena, unsigned class,
                                          struct magazine *magazine, uint32_t want)
{
    struct bin *bin = arena_bin(arena, class);

    if (bin == NULL) {
        return NULL;
    }
    lock_acquire(&bin->lock);
    note_demand_locked(bin);
    struct magazine *full = bin_refill_locked(bin, magazine, want);

    lock_release(&bin->lock);
    return full;
}

/* Growth */

/* The bin, made if need be; NULL without memory for it. */
static struct bin *bin_get(struct arena *arena, unsigned class)
{
    struct bin *bin = arena_bin(arena, class);

    if (bin != NULL) {
        return bin;
    }
    struct bin *made = (struct bin *)meta_alloc(sizeof(*made));

    if (made == NULL) {
        return arena_bin(arena, class);
    }
    bin_init(made, class);
    /* Release: pairs with arena_bin(). Acquire: `bin` is another thread's then. */
    if (!atomic_compare_exchange_strong_explicit(&arena->bins[class], &bin, made,
                                                 memory_order_release, memory_order_acquire)) {
        meta_free(made, sizeof(*made));
        return bin;
    }
    return made;
}

/* How much of a fresh slab is to have memory before it is used. Blocks longer than a page have pages
 * that their owner may never write; of shorter ones every page has some that begin there. */
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
    const struct bin *bin = bin_get(arena, class);

    if (bin == NULL) {
        *lacks_descriptor = true;
        return NULL;
    }
    size_t units = size_classes[class].units;
    struct span *span = units == 1 ? run_cache_take(&arena->slab_runs, 1) : NULL;

    if (span == NULL) {
        span = page_heap_alloc(
            &(struct run_request){.units = units,
                                  .align_units = 1,
                                  .state = SPAN_SLAB,
                                  .grow = grow,
                                  .populate_bytes = bytes_ahead(bin, &size_classes[class])});
    }
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
    bool lacks_descriptor;
    struct slab *slab = slab_get(arena, class, grow, &lacks_descriptor);

    if (lacks_descriptor && grow && feed_meta()) {
        slab = slab_get(arena, class, grow, &lacks_descriptor);
    }
    if (slab == NULL) {
        return false;
    }
    struct bin *bin = arena_bin(arena, class);

    tag_units(arena, slab, SIZE_CLASS_CODE(class));
    lock_acquire(&bin->lock);
    bin_add_locked(bin, slab);
    lock_release(&bin->lock);
    /* Relaxed: roughly how many stacks of each finer class there would be. */
    if (bin_slabs(bin) >
        REFINE_SLABS * (uint64_t)atomic_load_explicit(&arena->threads, memory_order_relaxed)) {
        size_class_wear(class);
    }
    return true;
}

/* Each step gives more away than the one before; after each the bin's stock is tried again. */
static struct magazine *refill_by_growing(struct arena *arena, unsigned class,
                                          struct magazine *magazine, uint32_t want, bool *added)
{
    struct magazine *full = NULL;

    *added = slab_add(arena, class, false);
    if (*added) {
        return refill_from_stock(arena, class, magazine, want);
    }
    arena_prepare_growth();
    full = refill_from_stock(arena, class, magazine, want);
    if (full == NULL && (*added = slab_add(arena, class, true))) {
        full = refill_from_stock(arena, class, magazine, want);
    }
    if (full == NULL) {
        arena_reclaim_all();
        *added = slab_add(arena, class, true);
        full = refill_from_stock(arena, class, magazine, want);
    }
    return full;
}

/* Refills and flushes */

struct magazine *arena_refill(struct arena *arena, unsigned class, struct magazine *magazine,
                              uint32_t want)
{
    struct magazine *full = refill_from_stock(arena, class, magazine, want);
    bool added = true;

    /* Only now: the longer the queue is left alone, the more blocks come in with each word. */
    if (full == NULL && remote_queue_has_slabs(&arena->queue)) {
        (void)arena_drain(arena);
        full = refill_from_stock(arena, class, magazine, want);
    }

    /* A slab added may be emptied by other threads before we look again; then there is memory. */
    while (full == NULL && added) {
        full = refill_by_growing(arena, class, magazine, want, &added);
    }
    return full;
}

struct magazine *arena_flush(struct arena *arena, unsigned class, struct magazine *magazine)
{
    struct bin *bin = arena_bin(arena, class);
    struct slab *released = NULL;

    lock_acquire(&bin->lock);
    bin->stats.flushes++;
    bin->stats.flush_blocks += magazine->count;
    struct magazine *empty = bin_depot_put_locked(bin, class, magazine);

    if (empty == NULL) {
        bin_put_locked(bin, magazine->slots, magazine->count, false, &released);
        magazine->count = 0;
        empty = magazine;
    }
    lock_release(&bin->lock);
    slabs_release(arena, released, true);
    return empty;
}

/* Single blocks */

void *arena_take_one(struct arena *arena, unsigned class)
{
    struct bin *bin = arena_bin(arena, class);

    if (bin == NULL) {
        return NULL;
    }
    lock_acquire(&bin->lock);
    note_demand_locked(bin);
    void *block = bin_take_one_locked(bin);

    lock_release(&bin->lock);
    return block;
}

void *arena_alloc_one(struct arena *arena, unsigned class)
{
    void *block = arena_take_one(arena, class);

    if (block == NULL) {
        arena_drain_all();
        block = arena_take_one(arena, class);
    }
    while (block == NULL && slab_add(arena, class, true)) {
        block = arena_take_one(arena, class);
    }
    if (block == NULL) {
        arena_reclaim_all();
        (void)slab_add(arena, class, true);
        block = arena_take_one(arena, class);
    }
    return block;
}

void *arena_borrow(struct arena *arena, unsigned class, size_t alignment, size_t most_bytes)
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

static void *take_near_from_stock(struct arena *arena, unsigned class, size_t alignment)
{
    void *block = arena_take_one(arena, class);

    if (block == NULL && remote_queue_has_slabs(&arena->queue)) {
        (void)arena_drain(arena);
        block = arena_take_one(arena, class);
    }
    return block != NULL ? block
                         : arena_borrow(arena, class, alignment, size_class_near_bytes(class));
}

void *arena_take_near(struct arena *arena, unsigned class, size_t alignment)
{
    void *block = take_near_from_stock(arena, class, alignment);

    if (block == NULL && slab_add(arena, class, false)) {
        return arena_take_one(arena, class);
    }
    if (block == NULL) {
        arena_prepare_growth();
        block = take_near_from_stock(arena, class, alignment);
    }
    return block == NULL && slab_add(arena, class, true) ? arena_take_one(arena, class) : block;
}

void arena_free_blocks(struct arena *arena, unsigned class, void **blocks, size_t count)
{
    struct bin *bin = arena_bin(arena, class);
    struct slab *released = NULL;

    lock_acquire(&bin->lock);
    bin->stats.flushes++;
    bin->stats.flush_blocks += count;
    bin_put_locked(bin, blocks, count, false, &released);
    lock_release(&bin->lock);
    slabs_release(arena, released, true);
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
    slabs_release(arena, released, true);
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

/* Giving memory up */

static void reclaim_bin(struct arena *arena, struct bin *bin)
{
    struct slab *released = NULL;

    lock_acquire(&bin->lock);
    bin_reclaim_locked(bin, &released);
    lock_release(&bin->lock);
    slabs_release(arena, released, false);
}

static void age_bin(struct arena *arena, struct bin *bin, uint32_t most_stacks)
{
    struct slab *released = NULL;

    lock_acquire(&bin->lock);
    bin_age_locked(bin, most_stacks, &released);
    lock_release(&bin->lock);
    slabs_release(arena, released, false);
}

/* A bin, for a walk over all arenas. */
struct bin_place {
    unsigned index; /* of the arena, */
    struct arena *arena;
    unsigned class;
    struct bin *bin;
};

/* The first bin from `place` on; false if there is none. */
static bool find_bin(struct bin_place *place)
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

static void age_all(uint32_t most_stacks)
{
    arena_drain_all();
    for (struct bin_place at = {0}; find_bin(&at); at.class ++) {
        age_bin(at.arena, at.bin, most_stacks);
    }
}

/* More is kept while threads wait for the page heap's lock. Once a tick; the doublings. Relaxed: if
 * two threads take a step at once, what one of them saw may be lost. */
static unsigned runs_doublings(void)
{
    static _Atomic uint64_t waits_seen;
    static _Atomic unsigned pressure;
    uint64_t waits = page_heap_waits();
    uint64_t seen = atomic_exchange_explicit(&waits_seen, waits, memory_order_relaxed);
    unsigned now = run_cache_pressure(atomic_load_explicit(&pressure, memory_order_relaxed),
                                      waits > seen ? waits - seen : 0);

    atomic_store_explicit(&pressure, now, memory_order_relaxed);
    return (now + RUN_CACHE_QUIET_TICKS - 1) / RUN_CACHE_QUIET_TICKS;
}

/* How much each arena keeps: a small part of the heap, since runs can serve for nothing else. */
static void limit_runs(unsigned doublings)
{
    unsigned count = 0;

    while (arena_by_index(count) != NULL) {
        count++;
    }
    size_t units = (page_heap_bytes() / UNIT_BYTES << doublings) / size_max(count, 1);

    for (unsigned index = 0; index < count; index++) {
        run_cache_limit(&arena_by_index(index)->slab_runs, units / SLAB_RUNS_SHARE);
        run_cache_limit(&arena_by_index(index)->large_runs, units / LARGE_RUNS_SHARE);
    }
}

void arena_age(void)
{
    age_all(STACKS_AT_ONCE);
    run_cache_age_all();
    limit_runs(runs_doublings());
}

void arena_reclaim_all(void)
{
    arena_drain_all();
    for (struct bin_place at = {0}; find_bin(&at); at.class ++) {
        reclaim_bin(at.arena, at.bin);
    }
    run_cache_empty_all();
}

/* The lock is given up every few units. */
static size_t purge_bin(struct bin *bin, unsigned ticks, size_t most_bytes)
{
    const unsigned units = size_classes[bin->class].units;
    unsigned units_left = 0;
    size_t bytes = 0;

    if (os_page_bytes() != SLAB_PAGE_BYTES) {
        return 0;
    }
    while (units_left < units && bytes < most_bytes) {
        units_left = PURGE_UNITS_AT_ONCE;
        lock_acquire(&bin->lock);
        bytes += bin_purge_locked(bin, ticks, &units_left);
        lock_release(&bin->lock);
    }
    return bytes;
}

size_t arena_decay(unsigned ticks, size_t most_bytes)
{
    size_t bytes = 0;

    for (struct bin_place at = {0}; bytes < most_bytes && find_bin(&at); at.class ++) {
        bytes += purge_bin(at.bin, ticks, most_bytes - bytes);
    }
    return bytes;
}

static bool is_idle(struct bin *bin, unsigned class, uint64_t growth, size_t least_bytes)
{
    lock_acquire(&bin->lock);
    bool idle = bin->asked_growth < growth && bin->may_purge &&
                bin->free_blocks * size_classes[class].size >= least_bytes;

    lock_release(&bin->lock);
    return idle;
}

/* What the heap has grown by is made up for by free pages in slabs of bins that nobody has asked
 * since it grew before: those of other bins would soon be needed again. */
static void make_up_for_growth(void)
{
    size_t heap_bytes;
    size_t left = size_min(page_heap_take_growth(&heap_bytes), MAKE_UP_BYTES_MOST);

    if (left == 0) {
        return;
    }
    /* Relaxed: see note_demand_locked(). */
    uint64_t growth = atomic_fetch_add_explicit(&growths, 1, memory_order_relaxed);

    for (struct bin_place at = {0}; left > 0 && find_bin(&at); at.class ++) {
        if (is_idle(at.bin, at.class, growth, heap_bytes / IDLE_SHARE)) {
            left -= size_min(left, purge_bin(at.bin, 0, left));
        }
    }
}

void arena_prepare_growth(void)
{
    age_all(UINT32_MAX);
    run_cache_empty_all();
    /* Page by page, which takes huge pages apart. */
    if (conf.thp != THP_ALWAYS) {
        make_up_for_growth();
    }
}

/* Accounts */

static void totals_add(struct arena_totals *totals, struct bin *bin, unsigned class)
{
    size_t size = size_classes[class].size;

    totals->bins++;
    lock_acquire(&bin->lock);
    totals->tail_bytes +=
        bin_slabs(bin) * (size_classes[class].units * UNIT_BYTES - size_classes[class].bytes);
    totals->free_bytes += (bin->free_blocks + bin->depot_blocks) * size;
    lock_release(&bin->lock);
}

struct arena_totals arena_totals(void)
{
    struct arena_totals totals = {.bins = 0};

    for (struct bin_place at = {0}; find_bin(&at); at.class ++) {
        totals_add(&totals, at.bin, at.class);
    }
    totals.run_bytes = run_cache_bytes_all();
    return totals;
}

void arena_check(struct arena *arena)
{
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        struct bin *bin = arena_bin(arena, class);

        if (bin != NULL) {
            lock_acquire(&bin->lock);
            bin_check_locked(bin);
            lock_release(&bin->lock);
        }
    }
}
