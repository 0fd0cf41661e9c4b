/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* resize.h - how large a block is, and realloc: with heap.h, what the heap offers. */
#ifndef BREAKWATER_RESIZE_H
#define BREAKWATER_RESIZE_H

#include "heap.h"

/* The block with its contents, of at least `size` > 0 bytes; NULL with errno ENOMEM, and the old
 * block is as it was. Shrinking always succeeds, in the worst case with the block itself. errno
 * stays on success. `block` is not NULL; if it is no block's address, the process stops. */
void *heap_resize(void *block, size_t size);

/* The bytes that may be used at a live block. At any other address, NULL among them, the process
 * stops with `fault`. */
size_t heap_usable_size_slow(void *block, const char *fault);

/* The same, inline since some servers ask with every malloc and free. Not every address that is no
 * block's is noticed: as with a free, a tag and the alignment tell most of it. */
static inline size_t heap_usable_size(void *block, const char *fault)
{
    struct cache *cache = cache_self;
    size_t unit = ((uintptr_t)block - cache->base) >> UNIT_SHIFT;

    if (likely(unit < cache->units)) {
        /* Relaxed: see arena_tag_slab(). */
        uint16_t code = atomic_load_explicit(&cache->tags[unit], memory_order_relaxed);
        const struct cache_bin *bin = cache_bin_of_code(cache, code);

        if (likely(code != 0 && ((uint32_t)(uintptr_t)block & bin->align_mask) == 0)) {
            return size_classes[size_class_of_code(code)].size;
        }
    }
    return heap_usable_size_slow(block, fault);
}

#endif
