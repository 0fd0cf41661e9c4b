/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* verify.c - what is looked at before freed blocks can be handed out again.
 *
 * Invariants   a stack that passes holds no address twice, and none where no block of its class may
 *              start; the memory of the blocks is not touched.
 * Concurrency  none: a stack is its caller's.
 * Called by    cache.c, remote_buffer.c and scavenge.c.
 */
#include "verify.h"

#include <string.h>

enum {
    SHORT_STACK = 8, /* blocks: comparing each with each costs less than clearing the filter */
    FILTER_SHIFT = 6,
    FILTER_WORDS = 1 << FILTER_SHIFT,
    LANES = 8, /* offsets in a unit that are looked at together */
};

typedef uint64_t addresses __attribute__((vector_size(LANES * sizeof(uint64_t))));
typedef uint16_t offsets __attribute__((vector_size(LANES * sizeof(uint16_t))));

_Static_assert(UNIT_BYTES == UINT16_MAX + 1, "an offset in a unit has 16 bits");
_Static_assert(sizeof(void *) == sizeof(uint64_t), "a stack's slots are read as numbers");
_Static_assert((MAGAZINE_SMALLEST + MAGAZINE_HEADER_SLOTS) % LANES == 0,
               "a magazine is whole lanes");

/* The inverse of an odd number, modulo 2^16: five bits of it, doubled twice (Newton's method). */
static uint16_t inverse_of_odd(uint32_t odd)
{
    uint32_t inverse = 3 * odd ^ 2;

    inverse *= 2 - odd * inverse;
    inverse *= 2 - odd * inverse;
    return (uint16_t)inverse;
}

/* Slabs of one unit start where their blocks' unit does. Of a size that is an odd number times a
 * power of two, offsets are multiples of the power: free() has seen to that. Times the inverse of
 * the odd number, modulo 2^16, a block's is its index times the power, and all that are no multiple
 * of the odd number come out above (Granlund and Montgomery, "Division by invariant integers using
 * multiplication", 1994).
 *
 * Whole lanes of the magazine are looked at, the header and what lies beyond the blocks too, which
 * do not count: so there is no rest, whose length the processor would not foresee. */
static void verify_starts_in_units(const struct size_class *described, const struct magazine *freed,
                                   size_t count)
{
    unsigned shift = bit_lowest(described->size);
    uint16_t inverse = inverse_of_odd(described->size >> shift);
    uint16_t last = (uint16_t)((described->blocks << shift) - 1);
    const char *words = (const char *)freed;
    /* Those of the header come after all others. */
    offsets slot = (offsets){0, 1, 2, 3, 4, 5, 6, 7} - MAGAZINE_HEADER_SLOTS;
    offsets are_wrong = {0};

    for (size_t i = 0; i < MAGAZINE_HEADER_SLOTS + count; i += LANES) {
        addresses lanes;

        memcpy(&lanes, words + i * sizeof(void *), sizeof(lanes));
        are_wrong |= (offsets)(__builtin_convertvector(lanes, offsets) * inverse > last) &
                     (offsets)(slot < (uint16_t)count);
        slot += LANES;
    }
    uint64_t wrong[sizeof(are_wrong) / sizeof(uint64_t)];

    memcpy(wrong, &are_wrong, sizeof(wrong));
    if (likely((wrong[0] | wrong[1]) == 0)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if ((uint16_t)((uint32_t)(uintptr_t)freed->slots[i] * inverse) > last) {
            fatal_at(FAULT_INVALID_FREE, (uintptr_t)freed->slots[i]);
        }
    }
}

void verify_start(unsigned class, uintptr_t address)
{
    unsigned index;
    const struct slab *slab = slab_of_block(address, &index);

    if (unlikely(slab == NULL || slab->class != class)) {
        fatal_at(FAULT_INVALID_FREE, address);
    }
}

/* Apart, so that the usual ones need no registers saved. */
static __attribute__((noinline)) void
verify_starts_in_runs(unsigned class, const struct magazine *freed, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        verify_start(class, (uintptr_t)freed->slots[i]);
    }
}

void verify_starts(unsigned class, const struct magazine *freed, size_t count)
{
    const struct size_class *described = &size_classes[class];

    if (described->align_mask == described->size - 1) {
        return; /* of a power of two, the bits that free() looks at are all */
    }
    if (likely(described->units == 1)) {
        verify_starts_in_units(described, freed, count);
        return;
    }
    verify_starts_in_runs(class, freed, count);
}

void verify_not_among(void *const *blocks, size_t count, void *block)
{
    for (size_t i = 0; i < count; i++) {
        if (blocks[i] == block) {
            fatal_at(FAULT_DOUBLE_FREE, (uintptr_t)block);
        }
    }
}

/* Linear: a block sets the bit that its address hashes to in a filter on the stack. Only one that
 * finds it set, of a stack of the longest kind one in thirty, is compared with all before it. */
static void verify_none_twice_filtered(void *const *blocks, size_t count)
{
    uint64_t filter[FILTER_WORDS] = {0};

    for (size_t i = 0; i < count; i++) {
        uint64_t hash = ((uintptr_t)blocks[i] >> 4) * UINT64_C(0x9e3779b97f4a7c15);
        uint64_t *word = &filter[hash >> (64 - FILTER_SHIFT)];
        uint64_t bit = UINT64_C(1) << ((hash >> 32) % BITS_PER_WORD);

        if (unlikely((*word & bit) != 0)) {
            verify_not_among(blocks, i, blocks[i]);
        }
        *word |= bit;
    }
}

static void verify_none_twice(void *const *blocks, size_t count)
{
    if (count > SHORT_STACK) {
        verify_none_twice_filtered(blocks, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        verify_not_among(blocks, i, blocks[i]);
    }
}

/* Blocks that follow each other mostly lie in one unit: it is looked up once. */
static void verify_slabs(unsigned class, unsigned arena, void *const *blocks, size_t count)
{
    uintptr_t unit = 0;

    for (size_t i = 0; i < count; i++) {
        uintptr_t address = (uintptr_t)blocks[i];

        if (address >> UNIT_SHIFT != unit) {
            unit = address >> UNIT_SHIFT;
            if (unlikely(!slab_is_of(slab_at(address), class, arena))) {
                slab_fatal_free_of(address, class, arena);
            }
        }
    }
}

void verify_stack(unsigned class, unsigned arena, const struct magazine *freed, size_t count)
{
    verify_slabs(class, arena, freed->slots, count);
    verify_starts(class, freed, count);
    verify_none_twice(freed->slots, count);
}
