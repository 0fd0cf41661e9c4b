/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* verify.h - double and invalid frees among blocks of one class: each function stops the process.
 */
#ifndef BREAKWATER_VERIFY_H
#define BREAKWATER_VERIFY_H

#include "magazine.h"
#include "slab.h"

/* If a block is twice among the first `count`, or is none of a slab of the class and arena. */
void verify_stack(unsigned class, unsigned arena, const struct magazine *freed, size_t count);

/* If `block` is among the `count` blocks. */
void verify_not_among(void *const *blocks, size_t count, void *block);

/* Unless each of the first `count` starts where one of the class may; quick, where free() has seen
 * all that there is to see. */
void verify_starts(unsigned class, const struct magazine *freed, size_t count);

/* The same of one block. */
void verify_start(unsigned class, uintptr_t address);

/* Does one of the class's blocks start at the address? False also where it takes a call to tell.
 * Inline: it is asked of every lone block that is handed out again. */
static inline bool verify_sees_start(unsigned class, uintptr_t address)
{
    const struct size_class *described = &size_classes[class];
    uintptr_t start = align_down(address, UNIT_BYTES);

    if (described->align_mask == described->size - 1) {
        return true; /* of a power of two, the bits that free() looks at are all */
    }
    if (described->units > 1) {
        const struct span *span = span_of_primary(address);
        const struct slab *slab = span != NULL ? slab_of_span(span) : NULL;

        if (slab == NULL || slab->class != class) {
            return false;
        }
        start = slab->start;
    }
    return size_class_index(described, address - start) < described->blocks;
}

#endif
