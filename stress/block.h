/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* block.h - blocks that know their size and owner, and tell when a byte of them has changed.
 *
 * The first 16 bytes hold size and owner, the rest words made from address, size and owner. A block
 * handed out twice is overwritten by its second owner and found by the first. Of large blocks a
 * word in every 512 bytes and the last one are written.
 */
#ifndef BREAKWATER_STRESS_BLOCK_H
#define BREAKWATER_STRESS_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One a thread, touched by it alone until it is at rest. */
struct block_accounts {
    uint64_t random;
    uint64_t owner; /* written into the blocks */
    uint64_t allocated_blocks;
    uint64_t freed_blocks;
    uint64_t allocated_bytes; /* usable */
    uint64_t freed_bytes;
    uint64_t failures; /* NULLs, if may_fail */
    bool may_fail;     /* else a NULL ends the process */
};

/* The next of the thread's random numbers. */
uint64_t block_random(struct block_accounts *accounts);

/* A size: mostly small, of every class; `most` bounds it. */
size_t block_random_size(struct block_accounts *accounts, size_t most);

/* By bw_malloc(): filled and counted. NULL only if failures are allowed. */
void *block_alloc(struct block_accounts *accounts, size_t size);

/* By any of the functions that allocate, chosen at random; alignment and zeros are checked. */
void *block_alloc_any(struct block_accounts *accounts, size_t size);
void *block_alloc_aligned(struct block_accounts *accounts, size_t alignment, size_t size);

/* By bw_realloc() or bw_reallocarray(): the contents are checked before and after. On failure,
 * NULL, the block is as it was. */
void *block_resize(struct block_accounts *accounts, void *block, size_t size);

/* Verified, counted, freed. NULL is fine. */
void block_free(struct block_accounts *accounts, void *block);

/* End the process if a byte of the block has changed. */
void block_verify(const void *block);

size_t block_usable_bytes(const void *block);

/* The owner written into the block. */
uint64_t block_owner(const void *block);

#endif
