/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* large.h - blocks that are runs of their own. Any thread; `cache` is the caller's cache_self. */
#ifndef BREAKWATER_LARGE_H
#define BREAKWATER_LARGE_H

#include "cache.h"

/* A block where one as long was freed a moment ago, or NULL. Its memory is as it was. No gate
 * needed. */
void *large_reuse(struct cache *cache, size_t size);

/* A block; NULL without memory. One that has to be `zero` is not yet: page_heap_zero(). Inside the
 * gate. */
void *large_alloc(struct cache *cache, size_t alignment, size_t size, bool zero);

/* Keep the run of a block for large_reuse(). False if there is no room, or nobody looks for runs of
 * its length. No gate needed. */
bool large_keep(struct cache *cache, struct span *span);

/* Free a block. Inside the gate. */
void large_free(struct cache *cache, struct span *span);

#endif
