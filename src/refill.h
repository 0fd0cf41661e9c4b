/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* refill.h - blocks for a thread whose stacks have none. Any thread; inside the gate. */
#ifndef BREAKWATER_REFILL_H
#define BREAKWATER_REFILL_H

#include "arena.h"

/* Fill a stack with up to `want` blocks, or more out of the depot. `magazine` is empty; the result
 * is it, or another one in exchange, with at least one block; NULL without memory, and `magazine`
 * stays the caller's. */
struct magazine *refill_stack(struct arena *arena, unsigned class, struct magazine *magazine,
                              uint32_t want);

/* One block without a stack, for threads that have no cache; NULL without memory. */
void *refill_one(struct arena *arena, unsigned class);

/* A free block of the nearest larger class, of at most `most_bytes`, that is aligned to
 * `alignment`; or NULL. */
void *refill_borrow(struct arena *arena, unsigned class, size_t alignment, size_t most_bytes);

/* What any arena has: a free block of the class, or of the nearest larger one; or NULL. For when
 * there is no memory for another slab. */
void *refill_from_any(unsigned class, size_t alignment);

/* A block of the first slab of a class whose slabs are several units, for a thread that has been
 * served by larger blocks often: each goes the long way back to its own class. NULL if the arena
 * has such a slab, or no memory for one as the heap is. */
void *refill_first(struct arena *arena, unsigned class);

/* One block of a class whose slabs are several units, and whose bin had none when the caller asked
 * it; or of a class little larger (size_class_near_bytes()). NULL without memory for another slab:
 * there may still be some for a smaller one. */
void *refill_near(struct arena *arena, unsigned class, size_t alignment);

#endif
