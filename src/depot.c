/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* depot.c - stacks that are exchanged, full for empty, without looking inside.
 *
 * Owns         the full stacks it keeps, with their blocks, and the spare ones.
 * Invariants   blocks = the sum over its full stacks; low <= full_count; the spare ones are empty.
 *              A stack is made only where none is spare, and full and spare ones change
 *              places: both together are no more than full ones would fit.
 * Concurrency  the bin's lock (rank BIN); what is atomic anybody may read.
 * Called by    bin.c; cache.c and arena.c ask what a depot would keep.
 */
#include "depot.h"

#include "fatal.h"
#include "lock.h"
#include "size_class.h"

/* Stacks in a depot are handed out as they are, and blocks that travel that way lose the order of
 * their addresses: a program that builds large structures waits for memory then. So a depot holds
 * no more than stays in a processor's cache, enough for threads that swing around a full stack, and
 * what is more goes through the bitmaps, which put it in order again. */
#define DEPOT_BYTES       ((size_t)64 * 1024)
#define DEPOT_BLOCK_BYTES ((size_t)1024)

/* So many full ones fit of the smallest blocks. */
#define DEPOT_STACKS_MAX (DEPOT_BYTES / (BLOCK_ALIGN * CLASS_CAPACITY_MAX))

static void push(struct magazine **list, struct magazine *magazine)
{
    magazine->next = *list;
    *list = magazine;
}

static struct magazine *pop(struct magazine **list)
{
    struct magazine *magazine = *list;

    if (magazine != NULL) {
        *list = magazine->next;
    }
    return magazine;
}

static void blocks_set_locked(struct depot *depot, uint64_t count)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    /* Relaxed: what is decided on the strength of it without the lock is decided again under it. */
    atomic_store_explicit(&depot->blocks, count, memory_order_relaxed);
}

static void spares_set_locked(struct depot *depot, uint32_t count)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    /* Relaxed: read without the lock it is a hint. */
    atomic_store_explicit(&depot->spare_count, count, memory_order_relaxed);
}

/* NULL if there is none. */
static struct magazine *pop_spare_locked(struct depot *depot)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    struct magazine *spare = pop(&depot->spares);

    if (spare != NULL) {
        spares_set_locked(depot, depot_spares(depot) - 1);
    }
    return spare;
}

static void keep_spare_locked(struct depot *depot, struct magazine *empty)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    empty->count = 0;
    push(&depot->spares, empty);
    spares_set_locked(depot, depot_spares(depot) + 1);
}

bool depot_keeps(unsigned class)
{
    return size_classes[class].size <= DEPOT_BLOCK_BYTES;
}

bool depot_would_keep(const struct depot *depot, unsigned class, const struct magazine *full)
{
    const struct size_class *described = &size_classes[class];

    return depot_keeps(class) && full->capacity >= described->capacity &&
           full->count >= full->capacity &&
           (depot_blocks(depot) + full->count) * described->size <= DEPOT_BYTES;
}

struct magazine *depot_put_locked(struct depot *depot, unsigned class, struct magazine *full)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    if (!depot_would_keep(depot, class, full)) {
        return NULL;
    }
    struct magazine *empty = pop_spare_locked(depot);

    if (empty == NULL) {
        empty = magazine_create(size_classes[class].capacity);
    }
    if (empty != NULL) {
        push(&depot->full, full);
        depot->full_count++;
        blocks_set_locked(depot, depot_blocks(depot) + full->count);
    }
    return empty;
}

struct magazine *depot_pop_locked(struct depot *depot)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    struct magazine *full = pop(&depot->full);

    if (full != NULL) {
        depot->full_count--;
        blocks_set_locked(depot, depot_blocks(depot) - full->count);
        if (depot->full_count < depot->low) {
            depot->low = depot->full_count;
        }
    }
    return full;
}

struct magazine *depot_take_locked(struct depot *depot, struct magazine *empty)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    struct magazine *full = depot_pop_locked(depot);

    if (full == NULL) {
        return NULL;
    }
    if (empty->capacity == full->capacity) {
        keep_spare_locked(depot, empty);
    } else {
        magazine_destroy(empty);
    }
    return full;
}

void *depot_take_one_locked(struct depot *depot)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    struct magazine *full = depot->full;

    if (full == NULL) {
        return NULL;
    }
    void *block = full->slots[--full->count];

    blocks_set_locked(depot, depot_blocks(depot) - 1);
    if (full->count == 0) {
        keep_spare_locked(depot, depot_pop_locked(depot));
    }
    return block;
}

uint32_t depot_age_locked(struct depot *depot, uint32_t most)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    uint32_t idle = depot->low < most ? depot->low : most;

    /* Popping the idle ones lowers it no further. */
    depot->low = depot->full_count - idle;
    return idle;
}

COLD void depot_drop_spares_locked(struct depot *depot)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    struct magazine *spare;

    while ((spare = pop_spare_locked(depot)) != NULL) {
        magazine_destroy(spare);
    }
}

/* The stacks on a list; the blocks in them are added to *blocks. */
static uint32_t count_stacks(const struct magazine *list, uint64_t *blocks)
{
    uint32_t count = 0;

    for (; list != NULL; list = list->next) {
        *blocks += list->count;
        count++;
    }
    return count;
}

void depot_check_locked(const struct depot *depot)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    uint64_t blocks = 0;
    uint64_t spare_blocks = 0;
    uint32_t full_count = count_stacks(depot->full, &blocks);
    uint32_t spare_count = count_stacks(depot->spares, &spare_blocks);

    if (blocks != depot_blocks(depot) || spare_blocks != 0) {
        fatal("depot: blocks do not add up");
    }
    if (full_count != depot->full_count || depot->low > full_count ||
        spare_count != depot_spares(depot) || full_count + spare_count > DEPOT_STACKS_MAX) {
        fatal("depot: stacks do not add up");
    }
}
