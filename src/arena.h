/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* arena.h - the central stores that thread caches refill from and flush to.
 *
 * An arena has a bin a class, each with a lock of its own, and a queue of slabs with remote frees.
 * Every function may be called by any thread, inside the gate (gate.h); none is called with a lock
 * held.
 */
#ifndef BREAKWATER_ARENA_H
#define BREAKWATER_ARENA_H

#include "bin.h"
#include "remote.h"
#include "run_cache.h"

#define ARENAS_MAX 64

struct arena {
    struct remote_queue queue;
    _Alignas(CACHE_LINE_BYTES) struct lock drain_lock;
    uint64_t drains;          /* guarded by drain_lock */
    uint64_t drained_slabs;   /* guarded by drain_lock */
    _Atomic uint16_t *tags;   /* codes by unit of the primary region; NULL: no memory for a table */
    _Atomic uint32_t threads; /* bound to it; written under the life lock */
    uint8_t index;
    struct run_cache slab_runs;  /* of empty slabs that its bins gave up, */
    struct run_cache large_runs; /* and of large blocks that it handed out */
    /* NULL until the class gets a slab. Read at every refill: not beside what drains write. */
    _Alignas(CACHE_LINE_BYTES) _Atomic(struct bin *) bins[CLASS_COUNT];
};

/* The bin of a class; NULL if the arena has had no slab of it. No lock. */
static inline struct bin *arena_bin(struct arena *arena, unsigned class)
{
    /* Acquire: pairs with the release in bin_get(); the bin is seen initialised. */
    return atomic_load_explicit(&arena->bins[class], memory_order_acquire);
}

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

/* Take a stack of the arena's blocks back, of a class whose stacks are kept; the result is an empty
 * one, perhaps another. */
struct magazine *arena_flush(struct arena *arena, unsigned class, struct magazine *magazine);

/* One block without a stack, for threads that have no cache; NULL without memory. */
void *arena_alloc_one(struct arena *arena, unsigned class);

/* A free block of the nearest larger class, of at most `most_bytes`, that is aligned to `alignment`; or
 * NULL. */
void *arena_borrow(struct arena *arena, unsigned class, size_t alignment, size_t most_bytes);

/* One block of a slab of the class that exists, or NULL. */
void *arena_take_one(struct arena *arena, unsigned class);

/* One block of a class whose slabs are several units, or of one little larger (size_class_near_bytes()); NULL
 * without memory for another slab: there may still be some for a smaller one. */
void *arena_take_near(struct arena *arena, unsigned class, size_t alignment);

/* Take blocks of the arena's slabs of `class` back into the bitmaps. */
void arena_free_blocks(struct arena *arena, unsigned class, void **blocks, size_t count);

/* Publish blocks of any arena as freed; they are not touched. */
void arena_free_remote(void **blocks, size_t count);

/* Take in what other arenas' threads have freed. Returns the blocks. */
size_t arena_drain(struct arena *arena);

/* arena_drain() of every arena. */
void arena_drain_all(void);

/* Before the break grows: take in every queue, and give up what depots have held idly since the
 * last call, and empty slabs. What the heap grew by before is made up for by free pages in slabs of
 * bins that nobody asked since, but with thp:always. */
void arena_prepare_growth(void);

/* As time goes by: take in every queue, and give up idle stacks, some of each depot at a time, and
 * empty slabs. */
void arena_age(void);

/* Give free pages of slabs that nothing was freed to for `ticks` back to the kernel, up to
 * `most_bytes` and what is left of a slab. Returns the bytes that went back. */
size_t arena_decay(unsigned ticks, size_t most_bytes);

/* Take in every queue, empty every depot, release every empty slab to the page heap. */
void arena_reclaim_all(void);

struct arena_totals {
    uint32_t bins;
    uint64_t free_bytes; /* in slabs and depots */
    uint64_t tail_bytes; /* behind the last blocks of slabs */
    uint64_t run_bytes;  /* in run caches */
};

struct arena_totals arena_totals(void);

/* Panics unless every bin's accounts add up and every slab checks. At rest only. */
void arena_check(struct arena *arena);

#endif
