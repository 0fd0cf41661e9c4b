/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* large.h - blocks that are runs of their own. Any thread; `cache` is the caller's cache_self. */
#ifndef BREAKWATER_LARGE_H
#define BREAKWATER_LARGE_H

#include "cache.h"

/* So many units no heap has. */
#define LARGE_BYTES_MOST ((size_t)UINT32_MAX << UNIT_SHIFT)

/* Can no heap have such a block? Then nothing need be given up to find out, and no limit is to
 * blame. */
static inline bool large_is_absurd(size_t alignment, size_t size)
{
    return size > LARGE_BYTES_MOST || alignment > LARGE_BYTES_MOST - size;
}

/* A block where one as long was freed a moment ago, or NULL. Its memory is as it was. No gate
 * needed. */
void *large_reuse(struct cache *cache, size_t size);

/* A block that is not absurd; NULL without memory. One that has to be `zero` is not yet:
 * page_heap_zero(). Inside the gate. */
void *large_alloc(struct cache *cache, size_t alignment, size_t size, bool zero);

/* The run of the large block that starts at `address`, for the caller alone to free: other frees of
 * the block stop the process from now on, as this one does, by the name of `fault`, if the block is
 * claimed. NULL if no block starts there. No gate needed. */
struct span *large_claim(uintptr_t address, const char *fault);

/* The block is live again, and to be freed later. */
void large_unclaim(struct span *span);

/* Keep a claimed run for large_reuse(). False if there is no room, or nobody looks for runs of its
 * length. No gate needed. */
bool large_keep(struct cache *cache, struct span *span);

/* Give a run that is the caller's to the page heap. Inside the gate. */
void large_free(struct cache *cache, struct span *span);

#endif
