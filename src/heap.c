/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* heap.c - what malloc does off the fast path: misses, other blocks, no memory.
 *
 * Every function that takes a lock does so inside the gate; while that is closed for a fork, blocks
 * come from emergency.c.
 *
 * Owns         nothing.
 * Concurrency  any thread, no lock held.
 * Called by    api.c, operators.c and operators_nothrow.c, and interpose.c by way of heap.h's fast
 *              paths; resize.c.
 */
#include "heap.h"

#include <errno.h>
#include <string.h>

#include "break.h"
#include "emergency.h"
#include "fork.h"
#include "large.h"
#include "life.h"
#include "limit.h"
#include "meta.h"
#include "near.h"
#include "page_heap.h"
#include "proof.h"
#include "purge.h"
#include "refill.h"
#include "singles.h"
#include "upkeep.h"

enum {
    HITS_PER_ASK = 64, /* large blocks from kept runs that count as one in vain */
};

/* What a block is for. Above SMALL_MAX_BYTES, what has to read as zero is a run of its own, since a
 * fresh one need not be zeroed, and what is likely to grow is one, since a run can. */
enum purpose {
    FOR_MALLOC,
    FOR_ZEROES,
    FOR_A_RUN,
};

static void *out_of_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

COLD void *heap_refuse(void)
{
    if (limit_hard() != 0) {
        limit_notice(BW_LIMIT_HARD);
        upkeep_tell_of_limits();
    }
    return out_of_memory();
}

/* The class that serves `size`; CLASS_COUNT if there is none, or none yet. */
static unsigned class_of_any(size_t alignment, size_t size)
{
    if (size <= SMALL_MAX_BYTES) {
        return size_class_of_aligned(size, alignment);
    }
    uint16_t code = size_class_code_of_any(size);

    if (code == 0) {
        return CLASS_COUNT;
    }
    unsigned class = size_class_of_code(code);

    return size_classes[class].align_mask >= alignment - 1 ? class : CLASS_COUNT;
}

/* A block for a thread that has a cache: of its own stacks, or by a miss. NULL without either, or
 * without memory. Inside the gate. */
static void *take_cached(struct cache *cache, unsigned class, size_t alignment)
{
    if (!cache_is_real(cache)) {
        return NULL;
    }
    void *block = cache_pop_proved(cache, class);

    if (block != NULL) {
        return block;
    }
    if (size_classes[class].units > 1) {
        block = near_take(cache, class, alignment);
    } else {
        block = singles_take(cache, class);
        if (block == NULL) {
            (void)cache_refill(cache, class);
            block = cache_pop_proved(cache, class);
        }
    }
    if (block != NULL) {
        upkeep_after_miss(cache);
    }
    return block;
}

/* A block from wherever one is. Inside the gate. */
static void *alloc_small_inside(struct cache *cache, unsigned class, size_t alignment)
{
    void *block = take_cached(cache, class, alignment);

    if (block == NULL && size_classes[class].units > 1) {
        /* A free unit, or a few, may be all that there is; and without a cache for the others of a
         * slab they will do. */
        unsigned single = size_class_single(class);

        if (single == CLASS_COUNT) {
            return large_alloc(cache, alignment, size_classes[class].size, false);
        }
        class = single;
        block = take_cached(cache, class, alignment);
    }
    if (block != NULL) {
        return block;
    }
    /* No cache; or no memory, but perhaps for a stack only. */
    cache_flush_all(cache);
    block = refill_one(cache_is_real(cache) ? cache->arena : arena_by_index(0), class);
    upkeep_poll(cache);
    return block != NULL ? block : refill_from_any(class, alignment);
}

/* What serves while the gate is closed. */
static void *alloc_emergency(size_t alignment, size_t size, enum purpose purpose)
{
    void *block = emergency_alloc(size, alignment);

    return block != NULL && purpose == FOR_ZEROES ? memset(block, 0, size) : block;
}

static void *alloc_small(struct cache *cache, unsigned class, size_t alignment)
{
    if (!gate_enter(cache_gate(cache))) {
        return alloc_emergency(alignment, size_classes[class].size, FOR_MALLOC);
    }
    void *block = alloc_small_inside(cache, class, alignment);

    gate_leave(cache_gate(cache));
    return block;
}

static void *alloc_large(struct cache *cache, size_t alignment, size_t size, enum purpose purpose)
{
    if (!gate_enter(cache_gate(cache))) {
        return alloc_emergency(alignment, size, purpose);
    }
    void *block = large_alloc(cache, alignment, size, purpose == FOR_ZEROES);

    /* A small size has a class, where it is not aligned to more than a page. */
    if (purpose == FOR_MALLOC && alignment <= SLAB_PAGE_BYTES && limit_is_far()) {
        size_class_ask_medium(size);
    }

    gate_leave(cache_gate(cache));
    /* Which may take long: a fork need not wait for it. */
    if (block != NULL && purpose == FOR_ZEROES) {
        page_heap_zero(span_of((uintptr_t)block), size);
    }
    return block;
}

/* errno may change here and in what it calls: alloc_keeping_errno() restores it. */
static void *alloc_slow(size_t alignment, size_t size, enum purpose purpose)
{
    fork_watch_threads();
    struct cache *cache = life_cache();

    if (unlikely(!life_started())) {
        /* Closed for a fork before the very first block, or no memory to begin with. */
        return alloc_emergency(alignment, size, purpose);
    }
    /* Runs are asked for beyond the sizes of slabs only, zeroed blocks as well. */
    ASSERT(purpose == FOR_MALLOC || size > SMALL_MAX_BYTES);
    unsigned class = purpose == FOR_MALLOC ? class_of_any(alignment, size) : CLASS_COUNT;

    if (class == CLASS_COUNT) {
        return alloc_large(cache, alignment, size, purpose);
    }
    void *block = size_classes[class].units > 1 ? near_pop_single(cache, class) : NULL;

    if (block == NULL) {
        block = alloc_small(cache, class, alignment);
    }
    /* Relaxed: a hint. */
    if (unlikely(atomic_load_explicit(&size_class_is_worn[class], memory_order_relaxed))) {
        size_class_refine(class, size);
    }
    return block;
}

static void *alloc_keeping_errno(size_t alignment, size_t size, enum purpose purpose)
{
    int saved_errno = errno;

    if (unlikely(large_is_absurd(alignment, size))) {
        return out_of_memory();
    }
    void *block = alloc_slow(alignment, size, purpose);

    fork_take_in_left();
    if (unlikely(limit_has_notice())) {
        upkeep_tell_of_limits();
    }
    if (unlikely(block == NULL)) {
        /* What is to grow may find room where it is. */
        return purpose == FOR_A_RUN ? NULL : heap_refuse();
    }
    errno = saved_errno;
    return block;
}

/* Where every request is a hit, blocks of the class that are not needed go back all the same, and
 * time passes. */
static __attribute__((noinline)) void look_after(struct cache *cache, unsigned class)
{
    size_t unneeded = cache_begin_trim(cache, class);
    int saved_errno = errno;

    if ((unneeded > 0 || purge_is_due()) && gate_enter(&cache->gate)) {
        cache_trim(cache, class, unneeded);
        upkeep_poll(cache);
        gate_leave(&cache->gate);
    }
    errno = saved_errno;
}

/* The next block of a class whose alloc stack is empty, or one in its place, where that takes no
 * lock; or NULL. */
static void *swap_or_take_next(struct cache *cache, unsigned class, size_t alignment)
{
    void *block = cache_pop_freed(cache, class);

    if (block == NULL) {
        return near_pop_next(cache, class, alignment);
    }
    if (unlikely(cache_is_trim_due(cache, class))) {
        look_after(cache, class);
    } else if (unlikely(purge_is_behind())) {
        upkeep_poll_outside(cache);
    }
    return block;
}

static void *pop_or_swap(struct cache *cache, unsigned class, size_t alignment)
{
    void *block = cache_pop(cache_bin_of_class(cache, class));

    return block != NULL ? block : swap_or_take_next(cache, class, alignment);
}

/* Large blocks mostly come from a run that is kept: they need nothing of what alloc_slow() does. */
static __attribute__((noinline)) void *alloc_kept(struct cache *cache, size_t size)
{
    void *block = large_reuse(cache, size);

    if (block != NULL && ++cache->large_hits % HITS_PER_ASK == 0) {
        size_class_ask_medium(size);
    }
    return block != NULL ? block : alloc_keeping_errno(BLOCK_ALIGN, size, FOR_MALLOC);
}

/* Nor do most misses, which end with a swap. */
static __attribute__((noinline)) void *alloc_by_swap(struct cache *cache, unsigned class,
                                                     size_t size)
{
    void *block = swap_or_take_next(cache, class, BLOCK_ALIGN);

    return block != NULL ? block : alloc_keeping_errno(BLOCK_ALIGN, size, FOR_MALLOC);
}

/* Without a call, and so without registers to save, where there is one freed block. */
static __attribute__((noinline)) void *alloc_missed(struct cache *cache, uint16_t code, size_t size)
{
    if (unlikely(!cache_is_real(cache))) {
        /* In small processes the code of large blocks is not touched. */
        return alloc_keeping_errno(BLOCK_ALIGN, size, FOR_MALLOC);
    }
    if (unlikely(code == 0)) {
        return alloc_kept(cache, size);
    }
    unsigned class = size_class_of_code(code);
    void *block = cache_pop_lone(cache, class);

    return block != NULL ? block : alloc_by_swap(cache, class, size);
}

void *heap_alloc_slow(size_t size)
{
    struct cache *cache = cache_self;
    uint16_t code = size_class_code_of_any(size);
    void *block = cache_pop(cache_bin_of_code(cache, code));

    return block != NULL ? block : alloc_missed(cache, code, size);
}

void *heap_alloc_to_grow(size_t size)
{
    if (size <= SMALL_MAX_BYTES) {
        return heap_alloc(size);
    }
    void *block = large_reuse(cache_self, size);

    return block != NULL ? block : alloc_keeping_errno(BLOCK_ALIGN, size, FOR_A_RUN);
}

void *heap_alloc_aligned_slow(size_t alignment, size_t size)
{
    if (alignment <= BLOCK_ALIGN) {
        return heap_alloc(size);
    }
    struct cache *cache = cache_self;
    void *block = NULL;

    if (alignment <= UNIT_BYTES && cache_is_real(cache)) {
        unsigned class = class_of_any(alignment, size);

        block =
            class != CLASS_COUNT ? pop_or_swap(cache, class, alignment) : large_reuse(cache, size);
    }
    return block != NULL ? block : alloc_keeping_errno(alignment, size, FOR_MALLOC);
}

/* What heap_alloc_zeroed() would have to save registers for: functions of their own. */

static __attribute__((noinline)) void *alloc_large_zeroed(size_t size)
{
    void *block = large_reuse(cache_self, size);

    if (block == NULL) {
        return alloc_keeping_errno(BLOCK_ALIGN, size, FOR_ZEROES);
    }
    int saved_errno = errno;

    page_heap_zero(span_of((uintptr_t)block), size);
    errno = saved_errno;
    return block;
}

static __attribute__((noinline)) void *alloc_slow_zeroed(size_t size)
{
    void *block = heap_alloc_slow(size);

    return block != NULL ? memset(block, 0, size) : NULL;
}

void *heap_alloc_zeroed(size_t size)
{
    if (unlikely(size > SMALL_MAX_BYTES)) {
        return alloc_large_zeroed(size);
    }
    void *block = heap_pop(size);

    return likely(block != NULL) ? memset(block, 0, size) : alloc_slow_zeroed(size);
}

/* The heap as a whole */

COLD size_t heap_trim(size_t pad_bytes)
{
    struct cache *cache = life_cache();

    if (!gate_enter(cache_gate(cache))) {
        return 0;
    }
    size_t bytes = upkeep_give_all_back(cache, pad_bytes);

    gate_leave(cache_gate(cache));
    return bytes;
}

void heap_check(void)
{
    gate_check();
    size_class_check();
    cache_check(cache_self);
    for (unsigned index = 0; arena_by_index(index) != NULL; index++) {
        arena_check(arena_by_index(index));
    }
    page_heap_check();
    run_cache_check_all();
    life_check();
    emergency_check();
    break_check();
    meta_check();
}

/* The last chance to tell of a block freed twice that was never handed out again. Not in a handler
 * that has interrupted us inside, where a block may be in two places for a moment, and exits. */
__attribute__((destructor(CONSTRUCT_LAYERS))) static void heap_destruct(void)
{
    struct cache *cache = cache_self;

    if (cache_is_real(cache) && !gate_has_caller(&cache->gate) && gate_enter(&cache->gate)) {
        cache_verify(cache);
        proof_make_last(cache);
        gate_leave(&cache->gate);
    }
}
