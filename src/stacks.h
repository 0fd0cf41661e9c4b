/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stacks.h - what a thread cache is made of: the stacks of its classes, where their tops are, what
 * they hold, and how blocks go back from them.
 *
 * When stacks change places, are filled and emptied, cache.c says; when blocks go back though
 * nobody asks, scavenge.c. By the cache's own thread.
 */
#ifndef BREAKWATER_STACKS_H
#define BREAKWATER_STACKS_H

#include "arena.h"
#include "gate.h"
#include "lfstack.h"
#include "os.h"

/* The hot half of a class: 24 bytes, found by the class's code (size_class.h). */
struct cache_bin {
    void **alloc_top;  /* the block malloc takes next; NULL there: the stack is empty */
    void **free_top;   /* where free puts the next block */
    uint32_t free_end; /* the stack is full when free_top is here: the lower half of the address */
    uint32_t align_mask; /* bits that are 0 in every block's address */
};

/* What `singles` counts to. */
#define SINGLES_MAX 15

/* What `swaps` counts to. */
enum {
    SWAPS_PER_GROWTH = 16, /* then a refill should lengthen the stacks, if they are short */
    SWAPS_UNASKED, /* they are long, and no proof (proof.h) is due: until the next trim, no look */
};

/* The cold half. All zero for a class that neither the thread nor one that had the cache before has
 * used. There is memory for it once a class of its group is used: most threads use few. */
struct cache_class {
    struct magazine *alloc; /* what alloc_top points into; NULL before the first refill */
    struct magazine *free;  /* what free_top points into; NULL before the first free */
    uint16_t stacks; /* freed stacks swapped or flushed, and lone blocks, since it was made */
    uint16_t seen;   /* where the stacks' tops were at the last look for idle classes */
    union {
        struct {
            uint8_t doublings : 4; /* of the class's first batch: blocks for the next refill */
            uint8_t singles : 4;   /* blocks that were to come or go before it had a stack */
        };
        /* Where slabs are several units there are neither. */
        struct {
            uint8_t : 4;
            uint8_t borrowed : 4; /* blocks that were to serve in place of its own (near.c) */
        };
    };
    uint8_t swaps;        /* since the last refill, up to SWAPS_PER_GROWTH; or SWAPS_UNASKED */
    uint8_t low;          /* the fewest blocks held at a swap since the last trim */
    uint8_t dry : 5;      /* misses to come that need not ask the arena first */
    bool is_unproved : 1; /* freed blocks must not be handed out before a look (proof.c), */
    bool has_flushed : 1; /* and so it will be with the next ones */
    bool is_sparse : 1;   /* the class's bin was, at the last look (bin.h) */
};

enum { GROUP_CLASSES = 8, GROUPS = (CLASS_COUNT + GROUP_CLASSES - 1) / GROUP_CLASSES };

/* Whether the thread is in the right arena (balance.c). */
struct cache_balance {
    /* At the last look. */
    uint64_t fetched_bytes_seen;
    uint32_t waits_seen; /* of the arena's threads */
    uint32_t tick;

    /* What the thread has freed since: of other arenas, as published; of its own, as stacks were
     * swapped or flushed. */
    uint64_t remote_bytes;
    uint32_t remote_frees;
    uint32_t own_frees;
    uint8_t remote_arena; /* of the last block of another */

    /* Looks before it may join another arena; and those there will be when it has left one. */
    uint8_t looks_to_stay;
    uint8_t looks_next;
};

struct cache {
    /* What free() looks up: the primary region's base, its units (0: none is to be looked up), and
     * the arena's codes by unit. */
    uintptr_t base;
    size_t units;
    const _Atomic uint16_t *tags;

    struct arena *arena;                    /* NULL in cache_none */
    struct cache_bin bins[1 + CLASS_COUNT]; /* bins[0], for code 0, is always empty and full */
    uint64_t in_use[(CLASS_COUNT + BITS_PER_WORD - 1) / BITS_PER_WORD]; /* classes with a stack */
    struct magazine *spares; /* a few empty magazines of the smallest size */
    uint32_t spare_count;

    /* Blocks of other arenas, to be published together (remote_buffer.c), and their bytes. */
    struct magazine *remote;
    uint32_t remote_bytes;

    /* life.c's: on the list of all caches; on that of caches whose thread has ended, taken back or
     * not; whose it is, while has_owner, which is false as soon as the thread gives it back. Others
     * read these, and nothing else. */
    union {
        struct cache *next_idle;
        struct cds_lfs_node ended_node;
    };
    struct cache *next_made;
    struct os_thread owner;
    _Atomic bool has_owner;

    uint64_t misses;        /* refills, flushes, and blocks that came or went singly */
    uint64_t fetched_bytes; /* from the arena */

    /* scavenge.c's: bytes of the steps of free stacks since the last look at what the cache holds;
     * when the last look for idle classes was; flushes that were asked for, as of the last one. */
    size_t opened_bytes;
    uint32_t scavenged_tick;
    uint32_t flushes_seen;

    struct cache_balance balance;
    bool is_laid_out; /* the bins are, by an earlier thread, and empty */
    struct gate_slot gate;
    uint32_t large_hits;   /* large blocks for malloc from runs that were kept */
    struct run_cache runs; /* one run, of a large block that was freed last */
    struct cache_class *groups[GROUPS];
};

_Static_assert(sizeof(struct cache_bin) == (size_t)8 * CODE_STEP,
               "a code is a bin's offset in steps of 8 bytes");

static inline struct cache_bin *cache_bin_of_code(struct cache *cache, uint16_t code)
{
    return (struct cache_bin *)(void *)((char *)cache->bins + (size_t)code * 8);
}

static inline struct cache_bin *cache_bin_of_class(struct cache *cache, unsigned class)
{
    return &cache->bins[class + 1];
}

/* What stacks_class() says of a class whose group has not been made. */
extern const struct cache_class stacks_class_none;

static inline const struct cache_class *stacks_class(const struct cache *cache, unsigned class)
{
    const struct cache_class *group = cache->groups[class / GROUP_CLASSES];

    return group != NULL ? &group[class % GROUP_CLASSES] : &stacks_class_none;
}

/* The same, of a class whose group has been made: one that has, or had, a stack or singles. */
static inline struct cache_class *stacks_made_class(struct cache *cache, unsigned class)
{
    struct cache_class *group = cache->groups[class / GROUP_CLASSES];

    ASSERT(group != NULL);
    return &group[class % GROUP_CLASSES];
}

/* The same; the group is made if need be. NULL without memory for it. */
struct cache_class *stacks_make_class(struct cache *cache, unsigned class);

/* Groups that have been made: they stay with the cache. */
unsigned stacks_count_groups(const struct cache *cache);

/* The stack of a bin that has none: empty and full. It is never written. */
extern void *stacks_none[2];

/* The stack is `magazine` now, with `count` blocks; NULL: none. */
static inline void stacks_set_alloc(struct cache_bin *bin, struct magazine *magazine, size_t count)
{
    bin->alloc_top = magazine != NULL ? magazine_floor(magazine) + count : &stacks_none[0];
}

/* The bytes of a class that may be freed before what the cache holds is looked at (scavenge.c). */
extern _Atomic size_t stacks_step_bytes;

/* Blocks up to this size, of which slabs have many, pass singly first (singles.c), and have stacks
 * whatever a cache's share is. */
#define STACKS_BYTES_MODEST ((size_t)16 * 1024)

/* May the cache keep freed blocks of the class? Not where one is more than two steps, a quarter of
 * the share: of many threads that sleep, each would keep one of each class. */
static inline bool stacks_may_keep(unsigned class)
{
    size_t size = size_classes[class].size;

    /* Relaxed: a hint. */
    return size <= STACKS_BYTES_MODEST ||
           size / 2 <= atomic_load_explicit(&stacks_step_bytes, memory_order_relaxed);
}

static inline void stacks_set_free(struct cache_bin *bin, unsigned class, struct magazine *magazine,
                                   size_t count)
{
    if (magazine == NULL) {
        bin->free_top = &stacks_none[1];
        bin->free_end = (uint32_t)(uintptr_t)&stacks_none[1];
        return;
    }
    /* Relaxed: a hint. */
    size_t step = atomic_load_explicit(&stacks_step_bytes, memory_order_relaxed);
    size_t size = size_classes[class].size;
    size_t room = magazine->capacity;

    if (unlikely((room - count) * size > step)) {
        room = stacks_may_keep(class) ? size_min(room, count + size_max(1, step / size)) : count;
    }

    void **bottom = magazine_floor(magazine) + 1;

    bin->free_top = bottom + count;
    bin->free_end = (uint32_t)(uintptr_t)(bottom + room);
}

static inline size_t stacks_alloc_count(const struct cache_bin *bin,
                                        const struct magazine *magazine)
{
    return magazine != NULL ? (size_t)(bin->alloc_top + 1 - magazine->slots) : 0;
}

static inline size_t stacks_free_count(const struct cache_bin *bin, const struct magazine *magazine)
{
    return magazine != NULL ? (size_t)(bin->free_top - magazine->slots) : 0;
}

/* The class's freed blocks, at the bottom of its free stack. 0 also if the caller is a handler that
 * has interrupted a swap: then they are not where they should be. */
size_t stacks_freed(const struct cache *cache, unsigned class);

/* The blocks in both. */
size_t stacks_held(const struct cache *cache, unsigned class);

/* Classes that have a stack */

static inline void stacks_mark_in_use(struct cache *cache, unsigned class)
{
    cache->in_use[class / BITS_PER_WORD] |= UINT64_C(1) << (class % BITS_PER_WORD);
}

static inline bool stacks_in_use(const struct cache *cache, unsigned class)
{
    return (cache->in_use[class / BITS_PER_WORD] >> (class % BITS_PER_WORD) & 1) != 0;
}

/* The first at or after `class`, or CLASS_COUNT. */
static inline unsigned stacks_next_in_use(const struct cache *cache, unsigned class)
{
    return bitmap_next(cache->in_use, CLASS_COUNT, class);
}

/* An empty stack, or NULL without memory; from the cache's spare ones, and to them. */
struct magazine *stacks_create(struct cache *cache, uint32_t capacity);
void stacks_destroy(struct cache *cache, struct magazine *magazine);

/* Give back all but `left` of a stack's `count` blocks: those that were put on it first, which lie
 * at its bottom. Returns how many there are now. Inside the gate. */
size_t stacks_give_older(struct cache *cache, unsigned class, struct magazine *magazine,
                         size_t count, size_t left);

/* Give the class's blocks and stacks back. Should the thread come back to it, it has stacks at
 * once. Inside the gate. */
void stacks_flush_class(struct cache *cache, unsigned class);

/* Panics unless every stack ends in a NULL, and the spare ones are what they should be. */
void stacks_check(const struct cache *cache);

#endif
