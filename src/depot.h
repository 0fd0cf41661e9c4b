/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* depot.h - full stacks of one class that an arena keeps whole, and empty ones to give for them.
 *
 * The caller of a function named *_locked holds the lock of the bin whose depot it is.
 */
#ifndef BREAKWATER_DEPOT_H
#define BREAKWATER_DEPOT_H

#include <stdatomic.h>

#include "magazine.h"

/* Zeroed memory is an empty depot. */
struct depot {
    struct magazine *full;
    struct magazine *spares; /* empty, of the class's capacity */
    uint32_t full_count;
    uint32_t low;                 /* the fewest full ones it held since it was last aged */
    _Atomic uint32_t spare_count; /* written under the lock, as */
    _Atomic uint64_t blocks;      /* those in the full ones */
};

/* How many blocks it holds, or held a moment ago: without the lock. */
static inline uint64_t depot_blocks(const struct depot *depot)
{
    return atomic_load_explicit(&depot->blocks, memory_order_relaxed);
}

/* How many spare stacks, likewise. */
static inline uint32_t depot_spares(const struct depot *depot)
{
    return atomic_load_explicit(&depot->spare_count, memory_order_relaxed);
}

/* Are stacks of the class's blocks kept whole? Otherwise a half of one is as quickly taken back. */
bool depot_keeps(unsigned class);

/* Has the depot room for the stack? Without the lock it may be different in a moment. */
bool depot_would_keep(const struct depot *depot, unsigned class, const struct magazine *full);

/* An empty stack for a full one that the depot keeps, which is handed on unopened: the caller has
 * verified it. NULL if depot_would_keep() says no, and `full` stays the caller's. */
struct magazine *depot_put_locked(struct depot *depot, unsigned class, struct magazine *full);

/* A full stack for an empty one, or NULL: `empty` stays the caller's then. */
struct magazine *depot_take_locked(struct depot *depot, struct magazine *empty);

/* One block of a full stack, or NULL. */
void *depot_take_one_locked(struct depot *depot);

/* A full stack, whose blocks and memory are the caller's, or NULL. */
struct magazine *depot_pop_locked(struct depot *depot);

/* How many full stacks nobody has asked for since the last call, at most `most`: the caller pops
 * them. */
uint32_t depot_age_locked(struct depot *depot, uint32_t most);

/* Give up every empty stack. */
void depot_drop_spares_locked(struct depot *depot);

/* Panics unless the accounts add up. */
void depot_check_locked(const struct depot *depot);

#endif
