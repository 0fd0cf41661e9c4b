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

/* Unless each of the blocks starts where one of the class may; quick, where free() has seen all
 * that there is to see. */
void verify_starts(unsigned class, void *const *blocks, size_t count);

/* The same of one block. Inline: it is for every lone block that is handed out again. */
static inline void verify_start(unsigned class, uintptr_t address)
{
    const struct size_class described = size_classes[class];
    unsigned index;

    if (described.align_mask == described.size - 1) {
        return; /* of a power of two, the bits that free() looks at are all */
    }
    uintptr_t start = address - address % UNIT_BYTES;

    if (described.units > 1) {
        const struct slab *slab = slab_at(address);

        /* Of another slab's, the offset is too large. */
        start = slab != NULL && slab->class == class ? slab->start : 0;
    }
    if (unlikely(address - start >= described.bytes ||
                 !size_class_divides(described.reciprocal, address - start, &index))) {
        fatal_at(FAULT_INVALID_FREE, address);
    }
}

#endif
