/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* heap.h - one malloc and one free: the fast paths, and where they go from there. */
#ifndef BREAKWATER_HEAP_H
#define BREAKWATER_HEAP_H

#include <errno.h>

#include "cache.h"

/* A block of at least `size` bytes, or NULL with errno ENOMEM. */
void *heap_alloc_slow(size_t size);

/* Free whatever heap_free() could not; NULL is fine. errno is preserved. */
void heap_free_slow(void *block);

/* Free a block that realloc has moved away from; `run` is a large block's, claimed before, or NULL.
 * What lies next to it may be about to grow as well: it is not kept for the next. errno may change.
 */
void heap_free_moved(void *block, struct span *run);

/* heap_alloc() for what is likely to grow: above SMALL_MAX_BYTES it is a run, which can where it
 * lies, and NULL is for the caller to tell of: heap_refuse(). */
void *heap_alloc_to_grow(size_t size);

/* NULL with errno ENOMEM; the program is told if a hard limit is set. */
void *heap_refuse(void);

/* As heap_alloc_aligned(). */
void *heap_alloc_aligned_slow(size_t alignment, size_t size);

/* `size` zeroed bytes; NULL with errno ENOMEM. */
void *heap_alloc_zeroed(size_t size);

/* Give free memory back to the kernel; the bytes that went. Nothing while the process forks, which
 * may wait for a lock of the program's that the caller holds. */
size_t heap_trim(size_t pad_bytes);

/* A block of up to SMALL_MAX_BYTES off the stack of its class, or NULL. */
static inline void *heap_pop(size_t size)
{
    return cache_pop(cache_bin_of_code(cache_self, size_class_code(size)));
}

static inline void *heap_alloc(size_t size)
{
    if (likely(size <= SMALL_MAX_BYTES)) {
        void *block = heap_pop(size);

        if (likely(block != NULL)) {
            return block;
        }
    }
    return heap_alloc_slow(size);
}

/* At least `size` bytes aligned to `alignment`, a power of two; NULL with errno ENOMEM. */
static inline void *heap_alloc_aligned(size_t alignment, size_t size)
{
    if (likely((size | alignment) <= SMALL_MAX_BYTES)) {
        uint16_t code = size_class_code(align_up(size, alignment));
        struct cache_bin *bin = cache_bin_of_code(cache_self, code);
        void *block = (~bin->align_mask & (alignment - 1)) == 0 ? cache_pop(bin) : NULL;

        if (likely(block != NULL)) {
            return block;
        }
    }
    return heap_alloc_aligned_slow(alignment, size);
}

static inline void heap_free(void *block)
{
    struct cache *cache = cache_self;
    size_t unit = ((uintptr_t)block - cache->base) >> UNIT_SHIFT;

    if (likely(unit < cache->units)) {
        /* Relaxed: see arena_tag_slab(). */
        uint16_t code = atomic_load_explicit(&cache->tags[unit], memory_order_relaxed);

        if (likely(cache_push(cache_bin_of_code(cache, code), block))) {
            return;
        }
    }
    heap_free_slow(block);
}

/* Every _check() of the allocator. Nobody may be in it, nor in the middle of a fork. */
void heap_check(void);

#endif
