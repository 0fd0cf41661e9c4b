/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bin.h - one size class of one arena: its slabs and its depot.
 *
 * The caller of a function named *_locked holds the bin's lock. Slabs that a bin gives up are
 * chained before those that *released has already, all of one arena: the caller releases them when
 * it has let go of the lock.
 */
#ifndef BREAKWATER_BIN_H
#define BREAKWATER_BIN_H

#include "depot.h"
#include "lock.h"
#include "slab.h"

/* Slabs by how much of them is free: fullest first, so that the emptier ones get to empty. */
enum slab_list {
    SLAB_LIST_PARTIAL,                       /* fewer than a quarter of the blocks free */
    SLAB_LIST_EMPTY = SLAB_LIST_PARTIAL + 4, /* all free */
    SLAB_LIST_COUNT,                         /* lists that exist */
    SLAB_LIST_NONE = SLAB_LIST_COUNT,        /* no block free: on no list */
};

struct bin_stats {
    uint64_t refills; /* stacks filled for thread caches, and blocks handed out singly */
    uint64_t refill_blocks;
    uint64_t flushes; /* the same way back */
    uint64_t flush_blocks;
    uint64_t depot_exchanges; /* refills and flushes done by exchanging whole stacks */
    uint64_t remote_batches;  /* bitmap words taken in from the remote side */
    uint64_t remote_blocks;
    uint64_t slabs_created;
    uint64_t slabs_released;
};

/* Guarded by its lock, but for what is atomic, which anybody may read. */
struct bin {
    _Alignas(CACHE_LINE_BYTES) struct lock lock;
    struct slab *slabs[SLAB_LIST_COUNT];
    /* Where frees come in order, the partly free one that serves until it is full; or NULL. */
    struct slab *filling;
    bool frees_in_order; /* at the last look: one slab after the other */
    struct depot depot;
    _Atomic uint32_t empty_slabs; /* on the list of those; written under the lock, as */
    _Atomic uint32_t slab_count;
    uint64_t free_blocks;   /* in the slabs */
    uint64_t asked_growth;  /* the heap's last growth before blocks were asked for (reclaim.c) */
    uint8_t class;          /* constant, */
    uint8_t arena;          /* as the arena's index */
    _Atomic bool is_sparse; /* at the last look; written under the lock */
    uint64_t sparse_puts;   /* blocks that came back since a slab ran empty, while it was sparse */
    uint64_t hopeless_free; /* free blocks when it was given up as sparse; 0: it is not given up */
    bool may_purge;         /* some slab may have free pages that have not gone back */
    /* Of a purge that is under way (bin_purge.c): the slab to look at next (NULL: the first of the
     * next list), how many lists are to come, and the pass that was last at its end. */
    struct slab *purge_next;
    uint8_t purge_lists_left;
    uint8_t purge_pass;
    uint16_t purge_ticks; /* how long what it looks for has been free */
    struct bin_stats stats;
};

/* How many slabs it has, or had a moment ago: without the lock. */
static inline uint32_t bin_slabs(const struct bin *bin)
{
    return atomic_load_explicit(&bin->slab_count, memory_order_relaxed);
}

/* And how many of them are empty. */
static inline uint32_t bin_empty_slabs(const struct bin *bin)
{
    return atomic_load_explicit(&bin->empty_slabs, memory_order_relaxed);
}

/* Would it give anything up if it were aged, or reclaimed, or would it have a moment ago? Without
 * the lock: whoever looks for memory comes by hundreds of bins. */
static inline bool bin_may_age(const struct bin *bin)
{
    return bin_empty_slabs(bin) > 0 || depot_blocks(&bin->depot) > 0;
}

static inline bool bin_may_reclaim(const struct bin *bin)
{
    return bin_may_age(bin) || depot_spares(&bin->depot) > 0;
}

/* Is much of the slabs that are in use free? Then what is freed had better not serve next, but what
 * is in the fullest slabs, so that the others run empty. Without the lock. */
static inline bool bin_is_sparse(const struct bin *bin)
{
    return atomic_load_explicit(&bin->is_sparse, memory_order_relaxed);
}

/* Of zeroed memory. */
void bin_init(struct bin *bin, unsigned class, unsigned arena);

/* Give the bin a new slab, all of whose blocks are free. */
void bin_add_locked(struct bin *bin, struct slab *slab);

/* Fill a stack with up to `want` blocks, no more than its capacity, or with more out of the depot
 * of a bin that is not sparse. `magazine` is empty; the result is it, or another one in exchange,
 * with at least one block; NULL if the bin has none, and `magazine` stays the caller's. */
struct magazine *bin_refill_locked(struct bin *bin, struct magazine *magazine, uint32_t want);

/* One block, or NULL. */
void *bin_take_one_locked(struct bin *bin);

/* Take blocks of the bin's slabs back into the bitmaps; `idle`: see slab_note_taken_in_locked().
 * In a sparse bin they always count as idle. */
void bin_put_locked(struct bin *bin, void **blocks, size_t count, bool idle,
                    struct slab **released);

/* Take in the blocks that were freed remotely to a slab that the drain has taken off the queue.
 * Returns how many. The slab may be among `released` then. */
size_t bin_take_in_locked(struct bin *bin, struct slab *slab, struct slab **released);

/* Give up what the depot has held idly since the last call, up to `most_stacks` stacks; and empty
 * slabs. */
void bin_age_locked(struct bin *bin, uint32_t most_stacks, struct slab **released);

/* Give up the whole depot, every empty stack, and empty slabs. */
void bin_reclaim_locked(struct bin *bin, struct slab **released);

/* Panics unless the accounts add up and every slab checks. */
void bin_check_locked(struct bin *bin);

#endif
