/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* verify.h - double and invalid frees among blocks of one class: each function stops the process.
 */
#ifndef BREAKWATER_VERIFY_H
#define BREAKWATER_VERIFY_H

#include "slab.h"

/* If a block is twice among the `count`, or does not start where a block of the class may. */
void verify_stack(unsigned class, void *const *blocks, size_t count);

/* If `block` is among the `count` blocks. */
void verify_not_among(void *const *blocks, size_t count, void *block);

/* If `block` is no block of a slab of the class. */
void verify_block(unsigned class, uintptr_t block);

/* If one of the blocks does not start where a block of the class may. Inline, and quick where free()
 * has seen all that there is to see: it is for every block that is handed out again. */
static inline void verify_starts(unsigned class, void *const *blocks, size_t count)
{
    const struct size_class described = size_classes[class];
    unsigned index;

    /* Of a power of two, the bits that free() looks at are all. */
    if (described.align_mask == described.size - 1) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uintptr_t address = (uintptr_t)blocks[i];
        /* Slabs of one unit start where their blocks' unit does. */
        const struct slab *slab = described.units > 1 ? slab_at(address) : NULL;
        size_t offset = address - (slab != NULL ? slab->start : align_down(address, UNIT_BYTES));

        if (unlikely(!size_class_divides(described.reciprocal, offset, &index) ||
                     offset >= described.bytes)) {
            verify_block(class, address);
        }
    }
}

#endif
