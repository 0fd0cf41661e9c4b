/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* verify.h - double and invalid frees among blocks of one class: each function stops the process.
 */
#ifndef BREAKWATER_VERIFY_H
#define BREAKWATER_VERIFY_H

#include "slab.h"

/* If a block is twice among the `count`, or is none of a slab of the class and arena. */
void verify_stack(unsigned class, unsigned arena, void *const *blocks, size_t count);

/* If `block` is among the `count` blocks. */
void verify_not_among(void *const *blocks, size_t count, void *block);

/* Unless a block of the class, whose slabs are several units, starts at `address`. Inline: it is
 * for every block that is handed out again. */
static inline void verify_start(unsigned class, const struct size_class *described,
                                uintptr_t address)
{
    const struct slab *slab = slab_at(address);
    unsigned index;

    if (unlikely(slab == NULL || slab->class != class ||
                 address - slab->start >= described->bytes ||
                 !size_class_divides(described->reciprocal, address - slab->start, &index))) {
        fatal_at(FAULT_INVALID_FREE, address);
    }
}

/* The same of each of the blocks, in slabs of one unit, which start where their blocks' unit does:
 * little more than a multiplication each. */
static inline void verify_starts_in_units(const struct size_class *described, void *const *blocks,
                                          size_t count)
{
    uint64_t multiplier = size_class_multiplier(described);

    for (size_t i = 0; i < count; i++) {
        size_t offset = (uintptr_t)blocks[i] % UNIT_BYTES;

        if (unlikely(offset >= described->bytes || offset * multiplier >= multiplier)) {
            fatal_at(FAULT_INVALID_FREE, (uintptr_t)blocks[i]);
        }
    }
}

/* The same of each of the blocks; quick, where free() has seen all that there is to see. */
static inline void verify_starts(unsigned class, void *const *blocks, size_t count)
{
    const struct size_class described = size_classes[class];

    if (described.align_mask == described.size - 1) {
        return; /* of a power of two, the bits that free() looks at are all */
    }
    if (described.units == 1) {
        verify_starts_in_units(&described, blocks, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        verify_start(class, &described, (uintptr_t)blocks[i]);
    }
}

#endif
