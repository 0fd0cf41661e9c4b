/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* resize.c - how large a block is, and realloc: in place, or with the contents moved.
 *
 * Owns         nothing.
 * Concurrency  any thread, no lock held; a block belongs to the thread that resizes it.
 * Called by    api.c; interpose.c, by way of resize.h.
 */
#include "resize.h"

#include <string.h>

#include "conf.h"
#include "emergency.h"
#include "large.h"
#include "life.h"
#include "limit.h"
#include "os.h"
#include "page_heap.h"
#include "upkeep.h"

/* A small block stays where it is as long as no more than this part of it falls out of use. */
enum { SHRINK_SHARE = 4 };

/* A small block that grows gets at least this part of itself more, unless it is tiny. */
enum { GROWTH_SHARE = 8, GROWTH_BYTES_LEAST = 256 };

/* From here on a system call is cheap against a copy. */
#define HUGE_BYTES  ((size_t)1024 * 1024)
#define ROOMS       8
#define PIECE_BYTES ((size_t)4 * 1024 * 1024)

/* The code of a block of the thread's own arena, its tag; 0 if that does not tell, as where a slab
 * is several units. */
static inline uint16_t own_block_code(uintptr_t address)
{
    const struct cache *cache = cache_self;
    size_t unit = (address - cache->base) >> UNIT_SHIFT;

    if (unit >= cache->units) {
        return 0;
    }
    /* Relaxed: see arena_tag_slab(). */
    uint16_t code = atomic_load_explicit(&cache->tags[unit], memory_order_relaxed);

    if (code == 0) {
        return 0;
    }
    const struct size_class *class = &size_classes[size_class_of_code(code)];

    return class->units == 1 && size_class_index(class, address % UNIT_BYTES) < class->blocks ? code
                                                                                              : 0;
}

/* The size of the blocks of the class with this code; 0 for code 0. */
static inline size_t code_bytes(uint16_t code)
{
    return code != 0 ? size_classes[size_class_of_code(code)].size : 0;
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
    return span_is_large_block(span, address) ? (size_t)span->units * UNIT_BYTES : 0;
}

/* The usable size of a block whose tag says `own_bytes`, or does not tell: 0. */
static size_t known_bytes(void *block, size_t own_bytes, const char *fault)
{
    size_t bytes = own_bytes != 0 ? own_bytes : block_bytes((uintptr_t)block);

    if (unlikely(bytes == 0)) {
        fatal_at(fault, (uintptr_t)block);
    }
    return bytes;
}

size_t heap_usable_size_slow(void *block, const char *fault)
{
    return known_bytes(block, code_bytes(own_block_code((uintptr_t)block)), fault);
}

/* A large block grows into the room that it was left, or into free units behind it; it gives back
 * what it no longer asks for. */
static bool resize_large_in_place(struct span *span, size_t units)
{
    if (units >= span->used_units && units <= span->units) {
        span->used_units = units;
        return true;
    }
    struct cache *cache = life_cache();

    if (!gate_enter(cache_gate(cache))) {
        return units <= span->units;
    }
    bool done = page_heap_resize(span, units);

    if (done) {
        span->used_units = units;
        upkeep_poll(cache);
    }
    gate_leave(cache_gate(cache));
    if (unlikely(limit_has_notice())) {
        upkeep_tell_of_limits();
    }
    return done;
}

/* Could `size`, whose code is this, get a block of `old_size` bytes? */
static inline bool may_serve(uint16_t code, size_t old_size)
{
    return code != 0 && size_class_near_bytes(size_class_of_code(code)) >= old_size;
}

/* May a block of `old_size` bytes, no fewer than `size`, stay whatever its class? */
static bool is_little_less(size_t size, size_t old_size)
{
    return size >= old_size - old_size / SHRINK_SHARE;
}

/* Would another block for `size`, which is no more, be as large, or little smaller? */
static __attribute__((noinline)) bool fits_well(void *block, size_t old_size, size_t size)
{
    return is_little_less(size, old_size) ||
           (slab_at((uintptr_t)block) != NULL && may_serve(size_class_code_of_any(size), old_size));
}

/* fits_well(), for a block of `own_bytes` whose class has this code, and a small `size` that is no
 * more. Codes rise with their classes' sizes. */
static inline bool fits_own(uint16_t code, size_t own_bytes, size_t size)
{
    uint16_t wanted = size_class_code(size);

    return wanted >= code || is_little_less(size, own_bytes) || may_serve(wanted, own_bytes);
}

static bool resize_in_place(void *block, size_t old_size, size_t size)
{
    if (old_size > SMALL_MAX_BYTES && size > SMALL_MAX_BYTES) {
        struct span *span = span_of((uintptr_t)block);

        if (span != NULL && span->state == SPAN_LARGE) {
            return resize_large_in_place(span, units_for(size));
        }
    }
    return size <= old_size && fits_well(block, old_size, size);
}

/* A block that grows will grow again: where memory is not limited, leave it some room, and save
 * every other copy. A small one not past the next power of two, which many programs bound their
 * buffers by; a huge one as much again, for there the room costs no memory until it is used, as
 * long as there is address space for many. */
static size_t size_to_grow_to(size_t old_size, size_t size)
{
    if (size <= old_size || old_size < GROWTH_BYTES_LEAST || limit_is_set()) {
        return size;
    }
    if (old_size >= HUGE_BYTES && old_size < os_address_space_bytes() / ROOMS) {
        return size_max(size, 2 * old_size);
    }
    size_t roomy = old_size + old_size / GROWTH_SHARE;

    return size_max(size, size <= SMALL_MAX_BYTES ? size_min(roomy, power_of_two_up(size)) : roomy);
}

/* The room of a large block may lie in memory that was in use: nobody needs what is there. */
static void leave_room(void *block, size_t size)
{
    struct span *span = span_of((uintptr_t)block);

    if (span == NULL || span->state != SPAN_LARGE) {
        return;
    }
    span->used_units = units_for(size);
    size_t room = (span->units - span->used_units) * UNIT_BYTES;

    if (room >= HUGE_BYTES) {
        (void)os_purge((char *)block + span->used_units * UNIT_BYTES, room);
    }
}

static void *alloc_to_grow(size_t old_size, size_t size)
{
    size_t roomy = size_to_grow_to(old_size, size);
    void *block = heap_alloc_to_grow(roomy);

    if (block == NULL && roomy > size) {
        block = heap_alloc_to_grow(size);
    }
    if (block != NULL && size > SMALL_MAX_BYTES) {
        leave_room(block, size);
    }
    return block;
}

/* A piece of the room that a block was left, to which nobody has written, needs no memory in the
 * new block either. */
static bool move_untouched(char *to, const char *from, size_t bytes)
{
    return from[0] == 0 && memcmp(from, from + 1, bytes - 1) == 0 && os_purge(to, bytes);
}

static void move_piece(char *to, const char *from, size_t bytes)
{
    os_populate(to, bytes);
    memcpy(to, from, bytes);
}

/* Move the contents of a huge block of the heap piece by piece, and give up each piece behind us,
 * so that both blocks together need little more memory than one. */
static void move_huge(char *to, char *from, size_t bytes, struct span *old)
{
    uint8_t *history = span_history(old);
    size_t asked_bytes = old->used_units * UNIT_BYTES;

    for (size_t at = 0; at < bytes; at += PIECE_BYTES) {
        size_t piece = size_min(PIECE_BYTES, bytes - at);

        if (at < asked_bytes || !move_untouched(to + at, from + at, piece)) {
            move_piece(to + at, from + at, piece);
        }
        /* What was only read may have memory all the same. */
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

/* Without caches a block that is free is so in its slab. Where it is moved its free tells. */
static void check_is_live(void *block)
{
    unsigned index;
    struct slab *slab = slab_of_block((uintptr_t)block, &index);
    struct gate_slot *slot = cache_gate(cache_self);

    if (slab == NULL || !gate_enter(slot)) {
        return;
    }
    if (arena_has_free(slab, index)) {
        fatal_at(FAULT_INVALID_REALLOC, (uintptr_t)block);
    }
    gate_leave(slot);
}

static __attribute__((noinline)) void *resize_slow(void *block, size_t own_bytes, size_t size)
{
    int saved_errno = errno;
    size_t old_size = known_bytes(block, own_bytes, FAULT_INVALID_REALLOC);

    if (unlikely(conf.checked)) {
        check_is_live(block);
    }
    if (unlikely(large_is_absurd(BLOCK_ALIGN, size))) {
        errno = ENOMEM;
        return NULL;
    }
    if (resize_in_place(block, old_size, size)) {
        errno = saved_errno;
        return block;
    }
    void *moved = alloc_to_grow(old_size, size);

    /* All that was kept has been given up on the way: there may be room behind it now. */
    if (moved == NULL && size > old_size && !resize_in_place(block, old_size, size)) {
        return size > SMALL_MAX_BYTES ? heap_refuse() : NULL;
    }
    if (moved != NULL) {
        struct span *run =
            own_bytes != 0 ? NULL : large_claim((uintptr_t)block, FAULT_INVALID_REALLOC);

        move_contents(moved, block, size_min(size, old_size));
        heap_free_moved(block, run);
    }
    errno = saved_errno;
    return moved != NULL ? moved : block;
}

/* A block of the thread's own arena that had better move, to the next one of the thread's stack for
 * `size`, where there is one. */
static __attribute__((noinline)) void *move_by_stacks(void *block, size_t own_bytes, size_t size)
{
    uint16_t code = size_class_code(size_to_grow_to(own_bytes, size));
    void *moved = cache_pop(cache_bin_of_code(cache_self, code));

    if (unlikely(moved == NULL)) {
        return resize_slow(block, own_bytes, size);
    }
    memcpy(moved, block, size_min(size, own_bytes));
    heap_free(block);
    return moved;
}

void *heap_resize(void *block, size_t size)
{
    uint16_t code = own_block_code((uintptr_t)block);
    size_t own_bytes = code_bytes(code);

    if (unlikely(own_bytes == 0 || size > SMALL_MAX_BYTES)) {
        return resize_slow(block, own_bytes, size);
    }
    return size <= own_bytes && fits_own(code, own_bytes, size)
               ? block
               : move_by_stacks(block, own_bytes, size);
}
