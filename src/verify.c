/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* verify.c - what is looked at before freed blocks can be handed out again.
 *
 * Invariants   a stack that passes holds no address twice, and none where no block of its class may
 *              start; the memory of the blocks is not touched.
 * Concurrency  none: a stack is its caller's.
 * Called by    cache.c, remote_buffer.c and scavenge.c.
 */
#include "verify.h"

enum {
    SHORT_STACK = 8, /* blocks: comparing each with each costs less than clearing the filter */
    FILTER_SHIFT = 6,
    FILTER_WORDS = 1 << FILTER_SHIFT,
};

void verify_not_among(void *const *blocks, size_t count, void *block)
{
    for (size_t i = 0; i < count; i++) {
        if (blocks[i] == block) {
            fatal_at(FAULT_DOUBLE_FREE, (uintptr_t)block);
        }
    }
}

/* A filter of hash bits makes it linear: only blocks whose bit was set by another are compared one
 * by one. */
static void verify_long_stack(unsigned class, unsigned arena, void *const *blocks, size_t count)
{
    unsigned index;
    uint64_t filter[FILTER_WORDS] = {0};

    for (size_t i = 0; i < count; i++) {
        uintptr_t address = (uintptr_t)blocks[i];
        uint64_t hash = (address >> 4) * UINT64_C(0x9e3779b97f4a7c15);
        uint64_t *word = &filter[hash >> (64 - FILTER_SHIFT)];
        uint64_t bit = UINT64_C(1) << ((hash >> 32) % BITS_PER_WORD);

        if (unlikely((*word & bit) != 0)) {
            verify_not_among(blocks, i, blocks[i]);
        }
        *word |= bit;
        (void)slab_of_block_of(address, class, arena, &index);
    }
}

void verify_stack(unsigned class, unsigned arena, void *const *blocks, size_t count)
{
    unsigned index;

    if (count > SHORT_STACK) {
        verify_long_stack(class, arena, blocks, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        verify_not_among(blocks, i, blocks[i]);
        (void)slab_of_block_of((uintptr_t)blocks[i], class, arena, &index);
    }
}
