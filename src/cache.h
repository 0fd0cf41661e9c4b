/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cache.h - a thread's own stacks of blocks, two a class: no lock, no atomic operation.
 *
 * malloc pops the alloc stack, free pushes on the free stack; when the first runs dry and the
 * second has several blocks they change places. Only misses go further, to the thread's arena.
 */
#ifndef BREAKWATER_CACHE_H
#define BREAKWATER_CACHE_H

#include "purge.h"
#include "stacks.h"
#include "verify.h"

/* The calling thread's cache. A thread that has none, yet or any more, points to cache_none, where
 * every stack is empty and full at once: the fast path needs no test for it. */
extern _Thread_local struct cache *cache_self __attribute__((tls_model("initial-exec")));
extern struct cache cache_none;

static inline bool cache_is_real(const struct cache *cache)
{
    return cache->arena != NULL;
}

/* The slot by which the thread goes through the gate; NULL for a thread that has no cache. */
static inline struct gate_slot *cache_gate(struct cache *cache)
{
    return cache_is_real(cache) ? &cache->gate : NULL;
}

/* Make `cache`, whose stacks are empty, one of the arena's. What is known of its thread stays. */
void cache_bind(struct cache *cache, struct arena *arena);

/* The next block of the bin's alloc stack, or NULL. */
static inline void *cache_pop(struct cache_bin *bin)
{
    void **top = bin->alloc_top;
    void *block = *top;

    if (likely(block != NULL)) {
        bin->alloc_top = top - 1;
    }
    return block;
}

/* Put a block on the free stack. False if it is full, or the block is not aligned as the class's
 * blocks are, or it was freed just before: the caller finds out which. */
static inline bool cache_push(struct cache_bin *bin, void *block)
{
    void **top = bin->free_top;

    if (unlikely((uint32_t)(uintptr_t)top == bin->free_end) ||
        unlikely(((uint32_t)(uintptr_t)block & bin->align_mask) != 0) ||
        unlikely(top[-1] == block)) {
        return false;
    }
    *top = block;
    /* In place: an instruction less than by way of `top`. */
    bin->free_top++;
    return true;
}

/* Take the one freed block of a class from where it lies. */
static inline void *cache_take_lone(struct cache *cache, struct cache_bin *bin,
                                    struct cache_class *cold)
{
    void *block = *--bin->free_top;

    cold->low = (uint8_t)size_min(cold->low, 1);
    cold->stacks++;
    cache->balance.own_frees++;
    return block;
}

enum { TRIM_STACKS = 16 }; /* of a class, and its lone blocks, between two trims */

/* Is a trim due at the `count`-th of them? */
static inline bool cache_trims_at(unsigned count)
{
    return count % TRIM_STACKS == 0;
}

/* After a freed block was handed out. */
static inline bool cache_is_trim_due(struct cache *cache, unsigned class)
{
    return cache_trims_at(stacks_made_class(cache, class)->stacks);
}

/* cache_pop_freed() where there is one block, and nothing to be asked before it is handed out nor
 * to be done afterwards; or NULL. Inline: where no more than one is freed before the next malloc,
 * as of large blocks, each malloc comes here. */
static inline void *cache_pop_lone(struct cache *cache, unsigned class)
{
    struct cache_bin *bin = cache_bin_of_class(cache, class);
    void **top = bin->free_top;

    /* Under the bottom of a stack lies a NULL. */
    if (top[-1] == NULL || top[-2] != NULL) {
        return NULL;
    }
    struct cache_class *cold = stacks_made_class(cache, class);

    if (cold->swaps != SWAPS_UNASKED || cache_trims_at(cold->stacks + 1U) || purge_is_behind() ||
        !verify_sees_start(class, (uintptr_t)top[-1])) {
        return NULL;
    }
    return cache_take_lone(cache, bin, cold);
}

/* The next block of those that were freed, when the alloc stack is empty: of several the stacks
 * change places, a lone one is popped where it lies. NULL if there is none, or they are not proved
 * yet (proof.h), or if a refill should come first: short stacks have been swapped so often that it
 * should lengthen them, or the class is sparse (bin.h). After cache_refill() the blocks may serve.
 * No gate needed. */
void *cache_pop_freed(struct cache *cache, unsigned class);

/* The next block of the class, or NULL. No gate needed. */
static inline void *cache_pop_any(struct cache *cache, unsigned class)
{
    void *block = cache_pop(cache_bin_of_class(cache, class));

    return block != NULL ? block : cache_pop_freed(cache, class);
}

/* The same where a proof (proof.h) may be due: it is made. Inside the gate. */
void *cache_pop_proved(struct cache *cache, unsigned class);

/* When it is: how many blocks of the alloc stack should go back, half of those that have not been
 * needed since the last call. */
size_t cache_begin_trim(struct cache *cache, unsigned class);

/* Give so many back, the oldest. Inside the gate. */
void cache_trim(struct cache *cache, unsigned class, size_t unneeded);

/* Before others of the class are fetched: what was freed of blocks longer than a page goes back, if
 * the class is sparse. Inside the gate. */
void cache_give_long_back(struct cache *cache, unsigned class);

/* Fill the empty alloc stack. False without memory. Inside the gate. */
bool cache_refill(struct cache *cache, unsigned class);

/* Make room on the full free stack by a longer one, or by a flush to the arena. Inside the gate. */
bool cache_grow_free(struct cache *cache, unsigned class);
void cache_flush(struct cache *cache, unsigned class);

/* Give every block and stack back; cache_none has none. Inside the gate. */
void cache_flush_all(struct cache *cache);

/* Stop the process if a block on a free stack is there twice or is none of its class. */
void cache_verify(const struct cache *cache);

/* Blocks and bytes in the cache. By its own thread only. */
void cache_count(const struct cache *cache, size_t *blocks, size_t *bytes);

/* Panics on a block that is twice on the cache's stacks or is not one of its class's, and as
 * stacks_check() and remote_buffer_check() do. By the cache's own thread only. */
void cache_check(struct cache *cache);

#endif
