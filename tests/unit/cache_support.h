/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cache_support.h - what the tests of thread caches share: one cache that no thread has, and in it
 * the class of arena_support.h. */
#ifndef BREAKWATER_TESTS_UNIT_CACHE_SUPPORT_H
#define BREAKWATER_TESTS_UNIT_CACHE_SUPPORT_H

#include "arena_support.h"

#include "cache.h"
#include "remote_buffer.h"

enum { BLOCKS_MAX = 300 };

extern struct arena *arena;
extern struct cache *cache;
extern struct cache_bin *bin;

/* A cache bound to the first arena, and its bin for blocks of `size` bytes. */
void set_up(size_t size);

/* The same, and the arena has blocks: a single one asks for no slab. */
void set_up_with_a_slab(size_t size);

/* Everything adds up. */
void check(void);

size_t cached_bytes(void);
size_t cached_blocks(void);

/* Where the alloc stack is empty: all that was freed is on it, as after a swap, or false if it may
 * not serve (cache_pop_freed). */
bool swap_stacks(void);

/* A block out of the cache, however it gets there. */
void *take(void);

/* A block onto the free stack, however room is made. */
void give(void *block);

void take_many(void **blocks, size_t count);
void give_many(void **blocks, size_t count);
void empty_the_alloc_stack(void);

#endif
