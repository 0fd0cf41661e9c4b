/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* arena.h - the central stores that thread caches refill from and flush to.
 *
 * An arena has a bin a class, each with a lock of its own, and a queue of slabs with remote frees.
 * Every function may be called by any thread, inside the gate (gate.h), with no lock held but the
 * life lock.
 */
#ifndef BREAKWATER_ARENA_H
#define BREAKWATER_ARENA_H

#include "bin.h"
#include "conf.h"
#include "remote.h"
#include "run_cache.h"

_Static_assert(ARENAS_MAX <= UINT8_MAX + 1, "an index fits where it is noted");

struct arena {
    struct remote_queue queue;
    _Alignas(CACHE_LINE_BYTES) struct lock drain_lock;
    uint64_t drains;          /* guarded by drain_lock */
    uint64_t drained_slabs;   /* guarded by drain_lock */
    _Atomic uint16_t *tags;   /* codes by unit of the primary region; NULL: no memory for a table */
    _Atomic uint32_t threads; /* bound to it; written under the life lock */
    uint8_t index;
    struct run_cache large_runs; /* of large blocks that it handed out */
    _Atomic uint32_t waits;      /* for locks of bins of small blocks, in refills and flushes, */
    _Atomic uint32_t waits_left; /* and how many that was when a thread left it for another */
    /* NULL until the class gets a slab. Read at every refill: not beside what drains write. */
    _Alignas(CACHE_LINE_BYTES) _Atomic(struct bin *) bins[CLASS_COUNT];
};

/* The bin of a class; NULL if the arena has had no slab of it. No lock. */
static inline struct bin *arena_bin(struct arena *arena, unsigned class)
{
    /* Acquire: pairs with the release in arena_bin_make(); the bin is seen initialised. */
    return atomic_load_explicit(&arena->bins[class], memory_order_acquire);
}

/* The bin, made if need be; NULL without memory for it. */
struct bin *arena_bin_make(struct arena *arena, unsigned class);

/* The class's bin, locked, to be asked for blocks, which it notes (reclaim.c); NULL if the arena
 * has none yet. */
struct bin *arena_ask_bin(struct arena *arena, unsigned class);

/* The heap is about to grow. Returns how often it had grown before: a bin whose asked_growth is
 * less than that was not asked for blocks since the last time. */
uint64_t arena_note_growth(void);

/* Each unit of the slab in which a block begins gets the code. */
void arena_tag_slab(const struct arena *arena, const struct slab *slab, uint16_t code);

/* Slabs that a bin has given up: their runs go to the page heap. With no bin locked. */
void arena_release_slabs(const struct arena *arena, struct slab *slabs);

/* Arena `index`, or NULL if it does not exist (yet). No lock. */
struct arena *arena_by_index(unsigned index);

/* Make arena `index`, which must be the first that does not exist; NULL without memory. Callers
 * hold the life lock. */
struct arena *arena_create(unsigned index);

/* Take a stack of the arena's blocks back; the result is an empty one, perhaps another. What is not
 * verified goes into the bitmaps, which do that, and so do stacks of a sparse bin. */
struct magazine *arena_flush(struct arena *arena, unsigned class, struct magazine *magazine,
                             bool verified);

/* One block of a slab of the class that exists, or NULL. */
void *arena_take_one(struct arena *arena, unsigned class);

/* Take blocks of the arena's slabs of `class` back into the bitmaps. */
void arena_free_blocks(struct arena *arena, unsigned class, void **blocks, size_t count);

/* Stop the process if one of the blocks is free in its slab, or pending there: then it was freed
 * before. */
void arena_check_taken(struct arena *arena, unsigned class, void *const *blocks, size_t count);

/* The same; nothing where that would mean to wait for another thread. */
void arena_try_check_taken(struct arena *arena, unsigned class, void *const *blocks, size_t count);

/* Is the block free in its slab, of any arena, or pending there? What caches and depots hold is
 * not. */
bool arena_has_free(struct slab *slab, unsigned index);

/* Publish blocks of any arena as freed; they are not touched. */
void arena_free_remote(void **blocks, size_t count);

/* Take in what other arenas' threads have freed. Returns the blocks. */
size_t arena_drain(struct arena *arena);

/* arena_drain() of every arena. */
void arena_drain_all(void);

/* A bin, for a walk over all arenas. */
struct bin_place {
    unsigned index; /* of the arena, */
    struct arena *arena;
    unsigned class;
    struct bin *bin;
};

/* The first bin from `place` on; false if there is none. */
bool arena_find_bin(struct bin_place *place);

struct arena_totals {
    uint32_t bins;       /* for who sums up descriptors (stress/) */
    uint64_t free_bytes; /* in slabs and depots */
    uint64_t tail_bytes; /* behind the last blocks of slabs */
    uint64_t run_bytes;  /* in run caches */
};

struct arena_totals arena_totals(void);

/* Panics unless every bin's accounts add up and every slab checks. At rest only. */
void arena_check(struct arena *arena);

#endif
