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

/* At least `size` bytes aligned to `alignment`, a power of two; NULL with errno ENOMEM. */
void *heap_alloc_aligned(size_t alignment, size_t size);

/* `size` zeroed bytes; NULL with errno ENOMEM. */
void *heap_alloc_zeroed(size_t size);

/* The block with its contents, of at least `size` > 0 bytes; NULL with errno ENOMEM, and the old
 * block is as it was. `block` is not NULL. */
void *heap_resize(void *block, size_t size);

/* The bytes that may be used at a live block; every address that is none's is noticed. */
size_t heap_usable_size_slow(void *block, const char *fault);

/* Give free memory back to the kernel; the bytes that went. */
size_t heap_trim(size_t pad_bytes);

#define HEAP_USABLE_SIZE_FAULT "invalid malloc_usable_size of"

static inline void *heap_alloc(size_t size)
{
    if (likely(size <= SMALL_MAX_BYTES)) {
        void *block = cache_pop(cache_bin_of_code(cache_self, size_class_code(size)));

        if (likely(block != NULL)) {
            return block;
        }
    }
    return heap_alloc_slow(size);
}

static inline void heap_free(void *block)
{
    struct cache *cache = cache_self;
    size_t unit = ((uintptr_t)block - cache->base) >> UNIT_SHIFT;

    if (likely(unit < cache->units)) {
        /* Relaxed: see tag_unit() in arena.c. */
        uint16_t code = atomic_load_explicit(&cache->tags[unit], memory_order_relaxed);

        if (likely(cache_push(cache_bin_of_code(cache, code), block))) {
            return;
        }
    }
    heap_free_slow(block);
}

/* The bytes that may be used at a live block, inline since some servers ask with every malloc and
 * free. `fault` is what to call a block that is none, where that is noticed: as with a free, a tag
 * and the alignment tell most of it. */
static inline size_t heap_usable_size(void *block, const char *fault)
{
    struct cache *cache = cache_self;
    size_t unit = ((uintptr_t)block - cache->base) >> UNIT_SHIFT;

    if (likely(unit < cache->units)) {
        /* Relaxed: see tag_unit() in arena.c. */
        uint16_t code = atomic_load_explicit(&cache->tags[unit], memory_order_relaxed);
        const struct cache_bin *bin = cache_bin_of_code(cache, code);

        if (likely(bin->size != 0 && ((uint32_t)(uintptr_t)block & bin->align_mask) == 0)) {
            return bin->size;
        }
    }
    return heap_usable_size_slow(block, fault);
}

#endif
