/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* proof.h - freed blocks are looked up in their slabs, before they can be handed out again. */
#ifndef BREAKWATER_PROOF_H
#define BREAKWATER_PROOF_H

#include "stacks.h"

/* Are the class's stacks still among the first, all of which are looked through? Later ones are a
 * sample, until their count begins anew. */
static inline bool proof_is_for_all(const struct cache_class *cold)
{
    enum { ALL_STACKS = 64 };

    return cold->stacks < ALL_STACKS;
}

/* Blocks of the class went back to their slabs: a copy of one may be freed from now on, which no
 * look at the stacks alone would show. */
static inline void proof_need(struct cache_class *cold)
{
    cold->has_flushed = true;
    if (proof_is_for_all(cold)) {
        cold->is_unproved = true;
        cold->swaps = (uint8_t)size_min(cold->swaps, SWAPS_PER_GROWTH);
    }
}

/* What is freed next is to be looked at, once: a single block went back before the class had a
 * stack, or what was proved was not handed out, and more comes to lie on the same stack. */
static inline void proof_need_once(struct cache_class *cold)
{
    cold->is_unproved = true;
}

/* Is a look due? Until then freed blocks of the class must not be handed out, nor go to a depot. */
static inline bool proof_is_needed(const struct cache_class *cold)
{
    return cold->is_unproved;
}

/* The freed blocks are about to be handed out. Those freed after them are to be proved again, if
 * some of the class have gone back to their slabs. */
static inline void proof_renew(struct cache_class *cold)
{
    cold->is_unproved = cold->has_flushed && proof_is_for_all(cold);
}

/* If it is: stop the process if one of the class's freed blocks is free in its slab too. Otherwise
 * they may be handed out, now: if they are not, proof_need_once(). Returns whether there was
 * something to prove. Inside the gate. */
bool proof_make(struct cache *cache, unsigned class);

/* At the end of the process: of every class, whether needed or not; but not where another thread
 * is at the class's slabs, which may have stopped there for good. Inside the gate. */
void proof_make_last(const struct cache *cache);

#endif
