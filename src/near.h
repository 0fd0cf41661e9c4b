/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* near.h - blocks in place of those of a class whose slabs are several units. */
#ifndef BREAKWATER_NEAR_H
#define BREAKWATER_NEAR_H

#include "cache.h"

/* A block of the next larger class from the thread's own stacks, where the class's slabs are
 * several units and had nothing free at one of its last misses; or NULL. No gate needed. */
void *near_pop_next(struct cache *cache, unsigned class, size_t alignment);

/* One block past the stacks, of a class whose slabs are several units: of its bin, or else of the
 * next class's stacks, or as refill_near() finds one. A miss. Inside the gate. */
void *near_take(struct cache *cache, unsigned class, size_t alignment);

/* Near a limit no slabs of several units are made (refill.c): what is freed of a class that has
 * such is mostly a single unit's. A block of those then, from the thread's own stacks; or NULL. No
 * gate needed. */
void *near_pop_single(struct cache *cache, unsigned class);

#endif
