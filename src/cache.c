/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cache.c - what a thread cache does when a stack is empty or full.
 *
 * Stacks start at MAGAZINE_SMALLEST slots and grow with each miss up to the class's capacity, so a
 * thread that uses a class rarely pays for little. Before freed blocks can be handed out again, by
 * a swap or by way of a depot, they are verified: that each starts where a block of its class may,
 * and that none is there twice; the latter in a class's first stacks, then in a sample. Bitmaps
 * verify what reaches them.
 *
 * Owns         cache_self; every cache, each by its own thread.
 * Invariants   those of stacks.c.
 * Concurrency  a cache is touched by its thread alone, but for its gate slot and the run it keeps.
 * Called by    near.c, scavenge.c, life.c, upkeep.c, large.c, heap.c, heap_free.c and stats.c.
 */
#include "cache.h"

#include <string.h>

#include "proof.h"
#include "refill.h"
#include "remote_buffer.h"

enum {
    FETCH_SHARE = 8,       /* a refill fetches at most this part of all that was fetched before */
    SWAP_BLOCKS = 64,      /* stacks this long are cheap to swap, */
    SWAP_BYTES = 8 * 1024, /* unless their blocks are so big that they cost more memory */
    VERIFY_SAMPLE = 16,    /* stacks of which one is verified, when all no longer are */
};

/* 2^16 by the golden ratio: multiples of it, modulo 2^16, are spread evenly (Knuth, "The Art of
 * Computer Programming", volume 3, section 6.4). */
#define VERIFY_MULTIPLIER UINT32_C(40503)

/* A bin of cache_none: its alloc stack is empty, and with free_top and free_end 0 its free stack is
 * full. They are no addresses: each would be one more for the dynamic linker to relocate. */
#define BIN_NONE                                                                                   \
    {                                                                                              \
        .alloc_top = &stacks_none[0]                                                               \
    }
#define BINS_5_NONE BIN_NONE, BIN_NONE, BIN_NONE, BIN_NONE, BIN_NONE
#define BINS_45_NONE                                                                               \
    BINS_5_NONE, BINS_5_NONE, BINS_5_NONE, BINS_5_NONE, BINS_5_NONE, BINS_5_NONE, BINS_5_NONE,     \
        BINS_5_NONE, BINS_5_NONE

#define CACHE_NONE                                                                                 \
    {                                                                                              \
        .bins = {BINS_45_NONE, BINS_45_NONE, BINS_45_NONE},                                        \
    }

_Static_assert(1 + CLASS_COUNT == 3 * 45, "CACHE_NONE fills every bin");
_Static_assert(CLASS_CAPACITY_MAX < UINT8_MAX,
               "cold->low counts a stack's blocks, or says unknown");

struct cache cache_none = CACHE_NONE;

_Thread_local struct cache *cache_self __attribute__((tls_model("initial-exec"))) = &cache_none;

static void lay_out(struct cache *cache)
{
    cache->bins[0] = (struct cache_bin)BIN_NONE;
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        struct cache_bin *bin = cache_bin_of_class(cache, class);

        stacks_set_alloc(bin, NULL, 0);
        stacks_set_free(bin, class, NULL, 0);
        bin->align_mask = size_classes[class].align_mask;
    }
    cache->is_laid_out = true;
}

/* What the last thread counted, or this one in another arena. */
static void forget_singles(struct cache *cache)
{
    for (size_t group = 0; group < GROUPS; group++) {
        struct cache_class *classes = cache->groups[group];

        for (size_t i = 0; classes != NULL && i < GROUP_CLASSES; i++) {
            if (classes[i].singles != 0) {
                classes[i].singles = 0;
                classes[i].is_unproved = false;
                classes[i].has_flushed = false;
            }
        }
    }
}

void cache_bind(struct cache *cache, struct arena *arena)
{
    cache->arena = arena;
    cache->tags = arena->tags;
    cache->base = region_base(&region_primary);
    cache->units = arena->tags != NULL ? region_units_max() : 0;
    cache->balance = (struct cache_balance){
        .fetched_bytes_seen = cache->fetched_bytes,
        /* Relaxed: as they are counted. */
        .waits_seen = atomic_load_explicit(&arena->waits, memory_order_relaxed),
        .tick = tick_count(),
        .looks_next = cache->balance.looks_next,
    };
    if (!cache->is_laid_out) {
        lay_out(cache);
        return;
    }
    forget_singles(cache);
}

/* Verification */

/* To look for doubles costs about as much as a malloc and a free: in the first stacks of a class
 * they are all looked for, whichever thread has the cache, then in one of VERIFY_SAMPLE. */
static void verify_sampled(const struct cache *cache, unsigned class, struct cache_class *cold,
                           const struct magazine *freed, size_t count)
{
    /* Not at regular distances: a class may be swapped and flushed in turns. */
    bool is_verified = proof_is_for_all(cold);
    uint16_t mixed = (uint16_t)(++cold->stacks * VERIFY_MULTIPLIER);

    if (is_verified || mixed < UINT16_MAX / VERIFY_SAMPLE) {
        verify_stack(class, cache->arena->index, freed, count);
    } else {
        verify_starts(class, freed, count);
    }
}

/* Swapping, refilling, flushing */

/* The blocks to ask for at the next refill. */
static uint32_t batch_of(const struct cache *cache, unsigned class)
{
    const struct size_class *described = &size_classes[class];

    return (uint32_t)size_min((size_t)described->batch_initial
                                  << stacks_class(cache, class)->doublings,
                              described->batch_max);
}

/* Is the class's bin sparse now? Then a refill, from the fullest slabs, comes before what was freed
 * may serve. */
static void note_how_sparse(const struct cache *cache, unsigned class, struct cache_class *cold)
{
    cold->is_sparse = bin_is_sparse(arena_bin(cache->arena, class));
    if (cold->is_sparse) {
        cold->swaps = SWAPS_PER_GROWTH;
    }
}

/* The blocks of a class that are worth keeping to spare swaps. */
static size_t swap_blocks(unsigned class)
{
    return size_max(1, size_min(SWAP_BLOCKS, SWAP_BYTES / size_classes[class].size));
}

/* It is to be a swap's turn: is it, with `count` freed blocks, or that of a refill, which lengthens
 * short stacks, or fills sparse slabs? Where a refill had no success, it is the swap's. */
static bool take_turn(const struct cache *cache, unsigned class, struct cache_class *cold,
                      size_t count)
{
    if (cold->is_sparse) {
        return cold->swaps == 0;
    }
    if (cold->swaps < SWAPS_PER_GROWTH) {
        cold->swaps++;
        return true;
    }
    /* count < swap_blocks(class), without its division. */
    if (batch_of(cache, class) < size_classes[class].batch_max && count < SWAP_BLOCKS &&
        (count + 1) * size_classes[class].size <= SWAP_BYTES) {
        return false;
    }
    if (!proof_is_for_all(cold)) {
        cold->swaps = SWAPS_UNASKED;
    }
    return true;
}

/* let_serve(), as long as a refill might do better or a proof be due. */
static __attribute__((noinline)) bool let_serve_yet(const struct cache *cache, unsigned class,
                                                    struct cache_class *cold, size_t count)
{
    if (proof_is_needed(cold) || !take_turn(cache, class, cold, count)) {
        return false;
    }
    proof_renew(cold);
    return true;
}

/* Let freed blocks, `count` of them, be handed out now, unless they are not proved, or a refill
 * should rather lengthen short stacks. */
static bool let_serve(const struct cache *cache, unsigned class, struct cache_class *cold,
                      size_t count)
{
    return likely(cold->swaps == SWAPS_UNASKED) || let_serve_yet(cache, class, cold, count);
}

static __attribute__((noinline)) void swap(struct cache *cache, unsigned class,
                                           struct cache_bin *bin, struct cache_class *cold,
                                           size_t count)
{
    struct magazine *filled = cold->free;

    verify_sampled(cache, class, cold, filled, count);
    cold->low = (uint8_t)size_min(cold->low, count);
    cold->free = cold->alloc;
    cold->alloc = filled;
    stacks_set_free(bin, class, cold->free, 0);
    stacks_set_alloc(bin, filled, count);
    cache->balance.own_frees += (uint32_t)count;
}

void *cache_pop_freed(struct cache *cache, unsigned class)
{
    struct cache_bin *bin = cache_bin_of_class(cache, class);
    size_t count = stacks_free_count(bin, stacks_class(cache, class)->free);

    if (count == 0) {
        return NULL;
    }
    struct cache_class *cold = stacks_made_class(cache, class);

    if (!let_serve(cache, class, cold, count)) {
        return NULL;
    }
    if (count == 1) {
        void *block = cache_take_lone(cache, bin, cold);

        if (unlikely(!stacks_may_keep(class))) {
            stacks_set_free(bin, class, cold->free, 0);
        }
        /* It cannot be there twice. */
        verify_start(class, (uintptr_t)block);
        return block;
    }
    swap(cache, class, bin, cold, count);
    return cache_pop(bin);
}

void *cache_pop_proved(struct cache *cache, unsigned class)
{
    void *block = cache_pop(cache_bin_of_class(cache, class));

    if (block != NULL) {
        return block;
    }
    bool was_proved = proof_make(cache, class);

    block = cache_pop_freed(cache, class);
    if (block == NULL) {
        if (was_proved) {
            proof_need_once(stacks_made_class(cache, class));
        }
    } else if (cache_is_trim_due(cache, class)) {
        cache_trim(cache, class, cache_begin_trim(cache, class));
    }
    return block;
}

size_t cache_begin_trim(struct cache *cache, unsigned class)
{
    struct cache_class *cold = stacks_made_class(cache, class);
    /* The block that was just handed out was held too. */
    size_t held = 1 + stacks_alloc_count(cache_bin_of_class(cache, class), cold->alloc);
    size_t spare = size_min(cold->low, held);
    size_t keep = swap_blocks(class);

    cold->low = UINT8_MAX;
    cold->swaps = (uint8_t)size_min(cold->swaps, SWAPS_PER_GROWTH);
    note_how_sparse(cache, class, cold);
    return spare > keep ? size_min(spare / 2, spare - keep) : 0;
}

void cache_trim(struct cache *cache, unsigned class, size_t unneeded)
{
    struct cache_bin *bin = cache_bin_of_class(cache, class);
    struct cache_class *cold = stacks_made_class(cache, class);
    struct magazine *alloc = cold->alloc;
    size_t count = stacks_alloc_count(bin, alloc);

    if (unneeded > 0) {
        stacks_set_alloc(bin, alloc,
                         stacks_give_older(cache, class, alloc, count, count - unneeded));
        proof_need(cold);
    }
}

/* The empty alloc magazine, made long enough for the batch where there is memory for that. */
static struct magazine *magazine_for_batch(struct cache *cache, struct magazine *magazine,
                                           uint32_t batch)
{
    uint32_t capacity = magazine != NULL ? magazine->capacity : MAGAZINE_SMALLEST;

    while (capacity < batch) {
        capacity = magazine_next_capacity(capacity);
    }
    if (magazine != NULL && magazine->capacity == capacity) {
        return magazine;
    }
    struct magazine *longer = stacks_create(cache, capacity);

    if (longer == NULL) {
        return magazine;
    }
    stacks_destroy(cache, magazine);
    return longer;
}

/* Has the thread used up the whole of the last refill with nothing freed to serve in between? It
 * builds something up then; and since it frees blocks of the class too, what it fetches without
 * need now, it will need later. */
static bool builds_up(const struct cache_class *cold)
{
    return cold->swaps == 0 && cold->alloc != NULL && cold->free != NULL;
}

/* Have freed blocks of up to a page served for long, and is none left? The number in use goes up
 * and down then, and this time a little higher. */
static bool swings(struct cache *cache, unsigned class, const struct cache_class *cold)
{
    return size_classes[class].size <= SLAB_PAGE_BYTES && cold->swaps >= SWAPS_PER_GROWTH &&
           !cold->is_sparse && stacks_free_count(cache_bin_of_class(cache, class), cold->free) == 0;
}

/* How many blocks to fetch: the class's batch, or a stack of small ones, or half a batch where a
 * few are missing, as long as what the thread may never need is a small part of what it has used.
 * A thread that does a little of everything and then sleeps holds little. */
static uint32_t blocks_to_fetch(struct cache *cache, unsigned class)
{
    const struct size_class *described = &size_classes[class];
    const struct cache_class *cold = stacks_class(cache, class);
    uint64_t spare = cache->fetched_bytes / FETCH_SHARE / described->size + 1;
    uint32_t batch = batch_of(cache, class);

    if (swings(cache, class, cold)) {
        batch = (batch + 1) / 2;
    } else if (batch == described->batch_max && depot_keeps(class) && builds_up(cold)) {
        batch = described->capacity;
    }
    return spare < batch ? (uint32_t)spare : batch;
}

/* The older of the freed blocks go back, but for `kept` of them. */
static void give_freed_back(struct cache *cache, unsigned class, size_t kept)
{
    struct cache_bin *bin = cache_bin_of_class(cache, class);
    struct cache_class *cold = stacks_made_class(cache, class);
    struct magazine *freed = cold->free;
    size_t count = stacks_free_count(bin, freed);

    verify_sampled(cache, class, cold, freed, count);
    stacks_set_free(bin, class, freed, stacks_give_older(cache, class, freed, count, kept));
    note_how_sparse(cache, class, cold);
    proof_need(cold);
}

COLD static void give_long_back(struct cache *cache, unsigned class)
{
    struct cache_class *cold = stacks_made_class(cache, class);
    size_t count = stacks_free_count(cache_bin_of_class(cache, class), cold->free);

    if (count > 0 && bin_is_sparse(arena_bin(cache->arena, class))) {
        cache->balance.own_frees += (uint32_t)count;
        give_freed_back(cache, class, 0);
    } else {
        note_how_sparse(cache, class, cold);
    }
}

void cache_give_long_back(struct cache *cache, unsigned class)
{
    const struct cache_class *cold = stacks_class(cache, class);

    if (size_classes[class].size > SLAB_PAGE_BYTES && cold->free != NULL &&
        unlikely(cold->is_sparse || bin_is_sparse(arena_bin(cache->arena, class)))) {
        give_long_back(cache, class);
    }
}

bool cache_refill(struct cache *cache, unsigned class)
{
    struct cache_bin *bin = cache_bin_of_class(cache, class);
    struct cache_class *cold = stacks_make_class(cache, class);

    if (cold == NULL) {
        return false;
    }
    ASSERT(stacks_alloc_count(bin, cold->alloc) == 0);
    cache->misses++;
    cache_give_long_back(cache, class);
    uint32_t batch = blocks_to_fetch(cache, class);
    struct magazine *empty = magazine_for_batch(cache, cold->alloc, batch);

    /* Without memory the stacks are swapped. */
    cold->swaps = 0;
    cold->alloc = empty;
    stacks_set_alloc(bin, empty, 0);
    if (empty == NULL) {
        return false;
    }
    stacks_mark_in_use(cache, class);
    uint32_t want = batch < empty->capacity ? batch : empty->capacity;
    struct magazine *full = refill_stack(cache->arena, class, empty, want);

    if (full == NULL) {
        return false;
    }
    cold->alloc = full;
    stacks_set_alloc(bin, full, full->count);
    cold->low = 0;
    note_how_sparse(cache, class, cold);
    cache->fetched_bytes += (uint64_t)full->count * size_classes[class].size;
    if (batch == batch_of(cache, class) && batch < size_classes[class].batch_max) {
        cold->doublings++;
    }
    return true;
}

bool cache_grow_free(struct cache *cache, unsigned class)
{
    struct cache_bin *bin = cache_bin_of_class(cache, class);
    struct cache_class *cold = stacks_make_class(cache, class);

    if (cold == NULL) {
        return false;
    }
    struct magazine *old = cold->free;
    uint32_t capacity = old != NULL ? magazine_next_capacity(old->capacity) : MAGAZINE_SMALLEST;

    if (old != NULL && capacity > size_classes[class].capacity) {
        return false;
    }
    struct magazine *longer = stacks_create(cache, capacity);

    if (longer == NULL) {
        return false;
    }
    size_t count = stacks_free_count(bin, old);

    if (count > 0) {
        memcpy(longer->slots, old->slots, count * sizeof(void *));
    }
    stacks_destroy(cache, old);
    cold->free = longer;
    stacks_set_free(bin, class, longer, count);
    stacks_mark_in_use(cache, class);
    return true;
}

void cache_flush(struct cache *cache, unsigned class)
{
    struct cache_bin *bin = cache_bin_of_class(cache, class);
    struct cache_class *cold = stacks_made_class(cache, class);
    struct magazine *full = cold->free;

    cache->misses++;
    full->count = (uint32_t)stacks_free_count(bin, full);
    cache->balance.own_frees += full->count;
    if (!depot_keeps(class)) {
        give_freed_back(cache, class, full->count / 2);
        return;
    }
    bool may_stay_whole = !proof_is_for_all(cold) &&
                          depot_would_keep(&arena_bin(cache->arena, class)->depot, class, full);

    if (may_stay_whole) {
        (void)proof_make(cache, class);
        verify_sampled(cache, class, cold, full, full->count);
    } else {
        cold->stacks++;
    }
    cold->free = arena_flush(cache->arena, class, full, may_stay_whole);
    stacks_set_free(bin, class, cold->free, 0);
    note_how_sparse(cache, class, cold);
    proof_need(cold);
}

/* The whole cache */

void cache_verify(const struct cache *cache)
{
    for (unsigned class = stacks_next_in_use(cache, 0); class < CLASS_COUNT;
         class = stacks_next_in_use(cache, class + 1)) {
        size_t count = stacks_freed(cache, class);

        if (count > 0) {
            verify_stack(class, cache->arena->index, stacks_class(cache, class)->free, count);
        }
    }
}

void cache_flush_all(struct cache *cache)
{
    for (unsigned class = stacks_next_in_use(cache, 0); class < CLASS_COUNT;
         class = stacks_next_in_use(cache, class + 1)) {
        stacks_flush_class(cache, class);
    }
    remote_buffer_drop(cache);
}

void cache_count(const struct cache *cache, size_t *blocks, size_t *bytes)
{
    *blocks = 0;
    *bytes = 0;
    if (!cache_is_real(cache)) {
        return;
    }
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        size_t count = stacks_held(cache, class);

        *blocks += count;
        *bytes += count * size_classes[class].size;
    }
}

void cache_check(struct cache *cache)
{
    for (unsigned class = 0; cache_is_real(cache) && class < CLASS_COUNT; class ++) {
        const struct cache_bin *bin = cache_bin_of_class(cache, class);
        const struct cache_class *cold = stacks_class(cache, class);
        size_t allocs = stacks_alloc_count(bin, cold->alloc);
        size_t frees = stacks_free_count(bin, cold->free);
        unsigned arena = cache->arena->index;
        unsigned index;

        if ((allocs > 0 && allocs > cold->alloc->capacity) ||
            (frees > 0 && frees > cold->free->capacity) ||
            (allocs + frees > 0 && !stacks_in_use(cache, class))) {
            fatal("cache: a stack is longer than it may be, or not known to be in use");
        }
        for (size_t i = 0; i < allocs; i++) {
            (void)slab_of_block_of((uintptr_t)cold->alloc->slots[i], class, arena, &index);
            verify_not_among(cold->alloc->slots, i, cold->alloc->slots[i]);
            if (frees > 0) {
                verify_not_among(cold->free->slots, frees, cold->alloc->slots[i]);
            }
        }
        for (size_t i = 0; i < frees; i++) {
            (void)slab_of_block_of((uintptr_t)cold->free->slots[i], class, arena, &index);
            verify_not_among(cold->free->slots, i, cold->free->slots[i]);
        }
    }
    stacks_check(cache);
    remote_buffer_check(cache);
}
