/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* arena.h - the central stores that thread caches refill from and flush to.
 *
 * An arena has a bin a class, each with a lock of its own, and a queue of slabs with remote frees.
 * Every function may be called by any thread, inside the gate (gate.h); none is called with a lock
 * held.
 */
#ifndef BREAKWATER_ARENA_H
#define BREAKWATER_ARENA_H

#include "lock.h"
#include "magazine.h"
#include "remote.h"
#include "slab.h"

#define ARENAS_MAX 64

/* Slabs by how much of them is free: fullest first, so that the emptier ones get to empty. */
enum slab_list {
    SLAB_LIST_PARTIAL,                       /* fewer than a quarter of the blocks free */
    SLAB_LIST_EMPTY = SLAB_LIST_PARTIAL + 4, /* all free */
    SLAB_LIST_COUNT,                         /* lists that exist */
    SLAB_LIST_NONE = SLAB_LIST_COUNT,        /* no block free: on no list */
};

struct bin_stats {
    uint64_t refills; /* stacks filled for thread caches */
    uint64_t refill_blocks;
    uint64_t flushes; /* stacks taken back */
    uint64_t flush_blocks;
    uint64_t depot_exchanges; /* refills and flushes done by exchanging whole stacks */
    uint64_t remote_batches;  /* bitmap words taken in from the remote side */
    uint64_t remote_blocks;
    uint64_t slabs_created;
    uint64_t slabs_released;
};

struct bin {
    _Alignas(CACHE_LINE_BYTES) struct lock lock;
    struct slab *slabs[SLAB_LIST_COUNT];
    struct magazine *depot;  /* full stacks */
    struct magazine *spares; /* empty stacks of the class's capacity */
    uint32_t depot_count;
    uint32_t depot_low; /* the fewest it held since it was last aged */
    uint32_t spare_count;
    uint32_t empty_slabs;  /* on the list of those */
    _Atomic bool is_used;  /* has had a slab; written under the lock */
    uint64_t free_blocks;  /* in the slabs */
    uint64_t depot_blocks; /* in the depot */
    struct bin_stats stats;
};

struct arena {
    struct remote_queue queue;
    _Alignas(CACHE_LINE_BYTES) struct lock drain_lock;
    uint64_t drains;          /* guarded by drain_lock */
    uint64_t drained_slabs;   /* guarded by drain_lock */
    _Atomic uint16_t *tags;   /* codes by unit of the primary region; NULL: no memory for a table */
    _Atomic uint32_t threads; /* bound to it; written under the life lock */
    uint8_t index;
    struct bin bins[CLASS_COUNT];
};

/* Arena `index`, or NULL if it does not exist (yet). No lock. */
struct arena *arena_by_index(unsigned index);

/* Make arena `index`, which must be the first that does not exist; NULL without memory. Callers
 * hold the life lock. */
struct arena *arena_create(unsigned index);

/* Fill a stack with up to `want` blocks, or more out of the depot. `magazine` is empty; the result
 * is it, or another one in exchange, with at least one block; NULL without memory, and `magazine`
 * stays the caller's. */
struct magazine *arena_refill(struct arena *arena, unsigned class, struct magazine *magazine,
                              uint32_t want);

/* Are stacks of the class's blocks kept whole? Otherwise a half of one is as quickly taken back. */
bool arena_keeps_stacks(unsigned class);

/* Take a stack of the arena's blocks back, of a class whose stacks are kept; the result is an empty
 * one, perhaps another. */
struct magazine *arena_flush(struct arena *arena, unsigned class, struct magazine *magazine);

/* One block without a stack, for threads that have no cache; NULL without memory. */
void *arena_alloc_one(struct arena *arena, unsigned class);

/* When there is no memory for a slab: a free block of the nearest larger class
 * that is aligned to `alignment`, or NULL. */
void *arena_borrow(struct arena *arena, unsigned class, size_t alignment);

/* Take blocks of the arena's slabs of `class` back into the bitmaps. */
void arena_free_blocks(struct arena *arena, unsigned class, void **blocks, size_t count);

/* Publish blocks of any arena as freed; they are not touched. */
void arena_free_remote(void **blocks, size_t count);

/* Take in what other arenas' threads have freed. Returns the blocks. */
size_t arena_drain(struct arena *arena);

/* arena_drain() of every arena. */
void arena_drain_all(void);

/* Before the break grows: take in every queue, and what depots have held idly since the last call.
 */
void arena_prepare_growth(void);

/* The same as time goes by, a little of each depot at a time. */
void arena_age(void);

/* Give free pages of slabs that nothing was freed to for `ticks`
 * back to the kernel, up to `most_bytes`. Returns the bytes that went back. */
size_t arena_decay(unsigned ticks, size_t most_bytes);

/* Take in every queue, empty every depot, release every empty slab to the page heap. */
void arena_reclaim_all(void);

struct arena_totals {
    uint64_t free_bytes; /* in slabs and depots */
    uint64_t tail_bytes; /* behind the last blocks of slabs */
};

struct arena_totals arena_totals(void);

/* Panics unless every bin's accounts add up and every slab checks. At rest only. */
void arena_check(struct arena *arena);

#endif
