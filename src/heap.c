/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* heap.c - everything off the fast path: misses, large and aligned blocks, resizing, faults.
 *
 * Every function that takes a lock does so inside the gate; while that is closed for a fork, blocks
 * come from emergency.c, and blocks that would need a lock to free are deferred.
 *
 * Owns         nothing.
 * Concurrency  any thread, no lock held.
 */
#include "heap.h"

#include <string.h>

#include "emergency.h"
#include "life.h"
#include "limit.h"
#include "os.h"
#include "page_heap.h"
#include "purge.h"

/* A small block stays where it is as long as no more than this part of it falls out of use. */
enum { SHRINK_SHARE = 4 };

/* A small block that grows gets at least this part of itself more, unless it is tiny. */
enum { GROWTH_SHARE = 8, GROWTH_BYTES_LEAST = 256 };

enum { MISSES_PER_POLL = 8 };

/* From here on a system call is cheap against a copy. */
#define HUGE_BYTES  ((size_t)1024 * 1024)
#define PIECE_BYTES ((size_t)4 * 1024 * 1024)

static void *out_of_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

static struct gate_slot *gate_of(struct cache *cache)
{
    return cache_is_real(cache) ? &cache->gate : NULL;
}

static struct cache *attached_cache(void)
{
    return cache_is_real(cache_self) ? cache_self : life_attach_thread();
}

/* Allocation */

static size_t units_of(size_t size)
{
    return (size + UNIT_BYTES - 1) >> UNIT_SHIFT;
}

/* All that can go back to the kernel; the bytes that went. Inside the gate. */
static size_t give_all_back(struct cache *cache, size_t pad_bytes)
{
    if (cache_is_real(cache)) {
        cache_flush_all(cache);
    }
    cache_ask_all_to_flush();
    return purge_all(pad_bytes);
}

/* The soft limit has been passed. Inside the gate. */
static void relieve(struct cache *cache)
{
    (void)give_all_back(cache, 0);
    /* What was given back on the way is no reason to begin again. */
    (void)limit_take_pressure();
}

/* What has to be done now and then, on slow paths. Inside the gate. */
static void keep_house(struct cache *cache)
{
    if (unlikely(limit_presses()) && limit_take_pressure()) {
        relieve(cache);
    } else {
        (void)purge_poll();
    }
}

/* After a refill or a flush; never where the count of misses stands still, or each call would find
 * it divisible. A look at the clock costs some nanoseconds: not at every miss. */
static void after_miss(struct cache *cache)
{
    cache_scavenge(cache);
    if (cache->misses % MISSES_PER_POLL == 0 || unlikely(limit_presses())) {
        keep_house(cache);
    }
}

/* A large block; NULL without memory. Inside the gate. */
static void *large_alloc(struct cache *cache, size_t alignment, size_t size, bool zero)
{
    struct run_request request = {
        .units = size_max(units_of(size), 1),
        .align_units = size_max(alignment >> UNIT_SHIFT, 1),
        .state = SPAN_LARGE,
        .grow = false,
        .zero = zero,
    };
    struct span *span = page_heap_alloc(&request);

    request.grow = true;
    if (span == NULL) {
        arena_prepare_growth();
        span = page_heap_alloc(&request);
    }
    if (span == NULL) {
        arena_reclaim_all();
        span = page_heap_alloc(&request);
    }
    if (span == NULL) {
        return NULL;
    }
    span->used_units = request.units;
    keep_house(cache);
    return (void *)span_address(span); /* NOLINT(performance-no-int-to-ptr) */
}

/* A block past the stacks of `cache`. Inside the gate. */
static void *small_alloc(struct cache *cache, unsigned class, size_t alignment)
{
    struct arena *arena = cache_is_real(cache) ? cache->arena : arena_by_index(0);
    void *block;

    if (arena == NULL) {
        return NULL;
    }
    if (cache_is_real(cache) && (cache_refill(cache, class) || cache_swap(cache, class))) {
        block = cache_pop(cache_bin_of_class(cache, class));
        after_miss(cache);
        return block;
    }
    /* No cache; or no memory, but perhaps for a stack only. */
    block = arena_alloc_one(arena, class);
    if (unlikely(limit_presses())) {
        keep_house(cache);
    }
    return block != NULL ? block : arena_borrow(arena, class, alignment);
}

/* errno is saved by the callers of the three functions below. */
static void *alloc_small_slow(struct cache *cache, unsigned class, size_t alignment)
{
    if (cache_is_real(cache) && cache_swap(cache, class)) {
        return cache_pop(cache_bin_of_class(cache, class));
    }
    if (!gate_enter(gate_of(cache))) {
        return emergency_alloc(size_classes[class].size, alignment);
    }
    void *block = small_alloc(cache, class, alignment);

    gate_leave(gate_of(cache));
    return block;
}

static void *alloc_large_slow(struct cache *cache, size_t alignment, size_t size, bool zero)
{
    if (!gate_enter(gate_of(cache))) {
        void *block = emergency_alloc(size, alignment);

        if (block != NULL && zero) {
            memset(block, 0, size);
        }
        return block;
    }
    void *block = large_alloc(cache, alignment, size, zero);

    gate_leave(gate_of(cache));
    return block;
}

static void *alloc_slow(size_t alignment, size_t size, bool zero)
{
    struct cache *cache = attached_cache();

    if (unlikely(!life_started())) {
        /* Closed for a fork before the very first block, or no memory to begin with. */
        void *first = emergency_alloc(size, alignment);

        return first != NULL && zero ? memset(first, 0, size) : first;
    }
    unsigned class = size_class_of_aligned(size, alignment);

    if (class == CLASS_COUNT) {
        return alloc_large_slow(cache, alignment, size, zero);
    }
    void *block = cache_is_real(cache) ? cache_pop(cache_bin_of_class(cache, class)) : NULL;

    if (block == NULL) {
        block = alloc_small_slow(cache, class, alignment);
    }
    /* Relaxed: a hint. */
    if (unlikely(atomic_load_explicit(&size_class_is_worn[class], memory_order_relaxed))) {
        size_class_refine(class, size);
    }
    if (block != NULL && zero) {
        memset(block, 0, size);
    }
    return block;
}

/* Outside the gate: the program may allocate when it is told. */
static void tell_of_limits(void)
{
    struct gate_slot *slot = gate_of(cache_self);

    if (gate_enter(slot)) {
        size_t held = page_heap_stats().held_units * UNIT_BYTES;

        gate_leave(slot);
        limit_deliver(held);
    }
}

static void *alloc_keeping_errno(size_t alignment, size_t size, bool zero)
{
    int saved_errno = errno;

    if (unlikely(size > PTRDIFF_MAX || alignment > PTRDIFF_MAX - size)) {
        return out_of_memory();
    }
    void *block = alloc_slow(alignment, size, zero);

    if (unlikely(block == NULL && limit_hard() != 0)) {
        limit_notice(BW_LIMIT_HARD);
    }
    if (unlikely(limit_has_notice())) {
        tell_of_limits();
    }
    if (block == NULL) {
        return out_of_memory();
    }
    errno = saved_errno;
    return block;
}

static void trim_class(struct cache *cache, unsigned class)
{
    int saved_errno = errno;

    if (gate_enter(&cache->gate)) {
        cache_trim(cache, class);
        gate_leave(&cache->gate);
    }
    errno = saved_errno;
}

void *heap_alloc_slow(size_t size)
{
    struct cache *cache = cache_self;

    /* Most misses end with a swap, which needs nothing of what follows. */
    if (size <= SMALL_MAX_BYTES && cache_is_real(cache)) {
        unsigned class = size_class_of(size);

        if (cache_swap(cache, class)) {
            if (unlikely(cache_trim_is_due(cache, class))) {
                trim_class(cache, class);
            }
            return cache_pop(cache_bin_of_class(cache, class));
        }
    }
    return alloc_keeping_errno(BLOCK_ALIGN, size, false);
}

void *heap_alloc_aligned(size_t alignment, size_t size)
{
    return alignment <= BLOCK_ALIGN ? heap_alloc(size)
                                    : alloc_keeping_errno(alignment, size, false);
}

void *heap_alloc_zeroed(size_t size)
{
    if (size > SMALL_MAX_BYTES) {
        return alloc_keeping_errno(BLOCK_ALIGN, size, true);
    }
    void *block = heap_alloc(size);

    return block != NULL ? memset(block, 0, size) : NULL;
}

/* Freeing */

/* Leave a block for whoever opens the gate. The fork may have ended between our look at the gate
 * and the push, and its thread have looked for deferred blocks in vain: then we are the one. */
static void free_later(void *block)
{
    if (emergency_defer(block) && gate_is_open()) {
        emergency_release_deferred(heap_free);
    }
}

/* Was the block at this address, in a unit that is free now, freed before? */
static bool was_freed(const struct span *span)
{
    return (span->state == SPAN_NONE || span->state == SPAN_FREE) &&
           (*span_history(span) & UNIT_HISTORY_MASK) == UNIT_FREED;
}

_Noreturn static void fatal_free(const struct span *span, uintptr_t address)
{
    fatal_at(span != NULL && was_freed(span) ? "double free of" : "invalid free of", address);
}

static void free_remote(struct cache *cache, void *block, uint32_t size)
{
    if (cache_keep_remote(cache, block, size)) {
        return;
    }
    if (!gate_enter(&cache->gate)) {
        free_later(block);
        return;
    }
    cache_publish_remote(cache);
    keep_house(cache);
    if (!cache_keep_remote(cache, block, size)) {
        arena_free_remote(&block, 1);
    }
    gate_leave(&cache->gate);
}

/* A block freed by a thread that has no cache: straight into its slab. */
static void free_uncached(const struct slab *slab, void *block)
{
    if (!gate_enter(NULL)) {
        free_later(block);
        return;
    }
    arena_free_blocks(arena_by_index(slab->arena), slab->class, &block, 1);
    if (unlikely(limit_presses())) {
        keep_house(cache_self);
    }
    gate_leave(NULL);
}

/* A block of the cache's own arena, on a stack that has no room. */
static void free_local(struct cache *cache, unsigned class, void *block)
{
    struct cache_bin *bin = cache_bin_of_class(cache, class);

    if (bin->free_top[-1] == block) {
        fatal_at("double free of", (uintptr_t)block);
    }
    if (cache_push(bin, block)) {
        return;
    }
    if (!gate_enter(&cache->gate)) {
        free_later(block);
        return;
    }
    bool is_miss = !cache_grow_free(cache, class) && cache->classes[class].free != NULL;

    if (is_miss) {
        cache_flush(cache, class);
    }
    if (!cache_push(bin, block)) {
        arena_free_blocks(cache->arena, class, &block, 1);
    }
    if (is_miss) {
        after_miss(cache);
    }
    gate_leave(&cache->gate);
}

static void free_large(struct cache *cache, struct span *span, void *block)
{
    if (!gate_enter(gate_of(cache))) {
        free_later(block);
        return;
    }
    page_heap_free(span);
    keep_house(cache);
    gate_leave(gate_of(cache));
}

static void free_slow(void *block)
{
    uintptr_t address = (uintptr_t)block;
    struct span *span = span_of(address);
    unsigned index;

    if (span == NULL && emergency_owns(address)) {
        emergency_free(address);
        return;
    }
    struct cache *cache = attached_cache();
    struct slab *slab = slab_of_block(address, &index);

    if (slab != NULL && !cache_is_real(cache)) {
        free_uncached(slab, block);
    } else if (slab != NULL && slab->arena == cache->arena->index) {
        free_local(cache, slab->class, block);
    } else if (slab != NULL) {
        free_remote(cache, block, slab_class(slab)->size);
    } else if (span != NULL && span->state == SPAN_LARGE && span_address(span) == address) {
        free_large(cache, span, block);
    } else {
        fatal_free(span, address);
    }
}

void heap_free_slow(void *block)
{
    if (block == NULL) {
        return;
    }
    int saved_errno = errno;

    free_slow(block);
    errno = saved_errno;
}

/* Sizes and resizing */

/* The size of a block of the thread's own arena, from its tag alone; 0 if the tag does not tell. */
static size_t own_block_bytes(uintptr_t address)
{
    const struct cache *cache = cache_self;
    size_t unit = (address - cache->base) >> UNIT_SHIFT;

    if (unit >= cache->units) {
        return 0;
    }
    /* Relaxed: see tag_unit() in arena.c. */
    unsigned code = atomic_load_explicit(&cache->tags[unit], memory_order_relaxed);

    if (code == 0) {
        return 0;
    }
    const struct size_class *class = &size_classes[code / CODE_STEP - 1];

    return size_class_index(class, address % UNIT_BYTES) < class->blocks ? class->size : 0;
}

/* The usable size of the live block at `address`; 0 if there is none. */
static size_t block_bytes(uintptr_t address)
{
    const struct span *span = span_of(address);
    unsigned index;
    const struct slab *slab = slab_of_block(address, &index);

    if (slab != NULL) {
        return slab_class(slab)->size;
    }
    if (span == NULL) {
        return emergency_usable_size(address);
    }
    bool large = span->state == SPAN_LARGE && span_address(span) == address;

    return large ? (size_t)span->units * UNIT_BYTES : 0;
}

size_t heap_usable_size_slow(void *block, const char *fault)
{
    size_t bytes = own_block_bytes((uintptr_t)block);

    if (bytes == 0) {
        bytes = block_bytes((uintptr_t)block);
    }
    if (unlikely(bytes == 0)) {
        fatal_at(fault, (uintptr_t)block);
    }
    return bytes;
}

/* A large block grows into the room that it was left, or into free units behind it; it gives back
 * what it no longer asks for. */
static bool resize_large_in_place(struct span *span, size_t units)
{
    if (units >= span->used_units && units <= span->units) {
        span->used_units = units;
        return true;
    }
    struct cache *cache = attached_cache();

    if (!gate_enter(gate_of(cache))) {
        return units <= span->units;
    }
    bool done = page_heap_resize(span, units);

    if (done) {
        span->used_units = units;
        keep_house(cache);
    }
    gate_leave(gate_of(cache));
    if (unlikely(limit_has_notice())) {
        tell_of_limits();
    }
    return done;
}

/* Would another block for `size` be as large, or little smaller? */
static bool fits_well(size_t old_size, size_t size)
{
    return size <= old_size &&
           (size >= old_size - old_size / SHRINK_SHARE ||
            (size <= SMALL_MAX_BYTES && size_classes[size_class_of(size)].size >= old_size));
}

static bool resize_in_place(void *block, size_t old_size, size_t size)
{
    if (old_size <= SMALL_MAX_BYTES || size <= SMALL_MAX_BYTES) {
        return fits_well(old_size, size);
    }
    struct span *span = span_of((uintptr_t)block);

    return span != NULL ? resize_large_in_place(span, units_of(size)) : size <= old_size;
}

/* A block that grows will grow again: where memory is not limited, leave it some room, and save
 * every other copy. A small one not past the next power of two, which many programs bound their
 * buffers by; a huge one as much again, for there the room costs no memory until it is used. */
static size_t size_to_grow_to(size_t old_size, size_t size)
{
    if (size <= old_size || old_size < GROWTH_BYTES_LEAST || limit_hard() != 0) {
        return size;
    }
    if (old_size >= HUGE_BYTES) {
        return size_max(size, old_size <= PTRDIFF_MAX / 2 ? old_size * 2 : old_size);
    }
    size_t roomy = old_size + old_size / GROWTH_SHARE;
    size_t power = (size_t)1 << (64 - __builtin_clzll(size - 1));

    return size_max(size, size <= SMALL_MAX_BYTES ? size_min(roomy, power) : roomy);
}

/* The room of a large block may lie in memory that was in use: nobody needs what is there. */
static void leave_room(void *block, size_t size)
{
    struct span *span = span_of((uintptr_t)block);

    if (span == NULL || span->state != SPAN_LARGE) {
        return;
    }
    span->used_units = units_of(size);
    size_t room = (span->units - span->used_units) * UNIT_BYTES;

    if (room >= HUGE_BYTES) {
        (void)os_purge((char *)block + span->used_units * UNIT_BYTES, room);
    }
}

static void *alloc_to_grow(size_t old_size, size_t size)
{
    size_t roomy = size_to_grow_to(old_size, size);
    void *block = heap_alloc(roomy);

    if (block == NULL && roomy > size) {
        block = heap_alloc(size);
    }
    if (block != NULL && size > SMALL_MAX_BYTES) {
        leave_room(block, size);
    }
    return block;
}

/* Move the contents of a huge block of the heap piece by piece, and give up each piece behind us,
 * so that both blocks together need little more memory than one. */
static void move_huge(char *to, char *from, size_t bytes, struct span *old)
{
    uint8_t *history = span_history(old);

    for (size_t at = 0; at < bytes; at += PIECE_BYTES) {
        size_t piece = size_min(PIECE_BYTES, bytes - at);

        memcpy(to + at, from + at, piece);
        if (piece == PIECE_BYTES && os_purge(from + at, piece)) {
            memset(history + at / UNIT_BYTES, UNIT_CLEAN, PIECE_BYTES / UNIT_BYTES);
        }
    }
}

static void move_contents(void *to, void *from, size_t bytes)
{
    struct span *old = bytes >= HUGE_BYTES ? span_of((uintptr_t)from) : NULL;

    if (old != NULL) {
        move_huge((char *)to, (char *)from, bytes, old);
    } else {
        memcpy(to, from, bytes);
    }
}

void *heap_resize(void *block, size_t size)
{
    int saved_errno = errno;
    size_t old_size = heap_usable_size_slow(block, "invalid realloc of");

    if (unlikely(size > PTRDIFF_MAX)) {
        return out_of_memory();
    }
    if (resize_in_place(block, old_size, size)) {
        errno = saved_errno;
        return block;
    }
    void *moved = alloc_to_grow(old_size, size);

    if (moved == NULL && size > old_size) {
        return NULL;
    }
    if (moved != NULL) {
        move_contents(moved, block, size_min(size, old_size));
        heap_free(block);
    }
    errno = saved_errno;
    return moved != NULL ? moved : block;
}

/* Trimming */

size_t heap_trim(size_t pad_bytes)
{
    struct cache *cache = attached_cache();

    gate_enter_waiting(gate_of(cache));
    size_t bytes = give_all_back(cache, pad_bytes);

    gate_leave(gate_of(cache));
    return bytes;
}

__attribute__((constructor(101))) static void heap_construct(void)
{
    life_on_deferred(heap_free);
}

/* The last chance to tell of a block freed twice that was never handed out again. */
__attribute__((destructor(101))) static void heap_destruct(void)
{
    cache_verify(cache_self);
}
