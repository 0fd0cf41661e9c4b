/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bin_purge.c - free pages of a bin's slabs go back to the kernel, some slabs at a time.
 *
 * Owns         purge_next, purge_lists_left, purge_pass and purge_ticks of a bin; bin.c moves
 *              purge_next on where its slab leaves the list.
 * Invariants   a slab that may have something to give back is looked at by the purge that is under
 *              way, or may_purge is set.
 * Concurrency  the caller of a function named *_locked holds the bin's lock (rank BIN).
 * Called by    reclaim.c.
 */
#include "bin_purge.h"

#include "os.h"
#include "tick.h"

enum {
    RANGES = 64,         /* that go back at once */
    LOOKS_AT_ONCE = 256, /* slabs that are looked at while the lock is held */
};

/* Idle pages of several slabs, for one call of the kernel. */
struct purge_batch {
    unsigned count;
    size_t bytes;
    struct iovec ranges[RANGES];
    struct slab *slabs[RANGES]; /* that they are of */
};

static void batch_add_locked(struct purge_batch *batch, struct slab *slab, unsigned ticks)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    unsigned count = slab_begin_purge_locked(slab, ticks, &batch->ranges[batch->count]);

    for (; count > 0; count--) {
        batch->bytes += batch->ranges[batch->count].iov_len;
        batch->slabs[batch->count++] = slab;
    }
}

static bool batch_is_full(const struct purge_batch *batch, size_t most_bytes)
{
    return batch->count + SLAB_RANGES_MAX > RANGES || batch->bytes >= most_bytes;
}

/* Returns the bytes that went back. What the kernel refused is tried again. */
static size_t batch_purge_locked(struct bin *bin, struct purge_batch *batch)
{
    ASSERT(lock_is_held(&bin->lock));
    size_t bytes = 0;

    os_purge_ranges(batch->ranges, batch->count);
    for (unsigned i = 0; i < batch->count; i++) {
        slab_note_purged_locked(batch->slabs[i], &batch->ranges[i]);
        bin->may_purge |= !batch->slabs[i]->settled;
        bytes += batch->ranges[i].iov_len;
    }
    return bytes;
}

bool bin_purge_begin_locked(struct bin *bin, unsigned ticks)
{
    ASSERT(lock_is_held(&bin->lock));
    bool under_way = bin->purge_next != NULL || bin->purge_lists_left > 0;
    bool suffices = under_way ? bin->purge_ticks <= ticks : bin->purge_pass == pass_now();

    if (ticks > 0 && suffices) {
        return under_way;
    }
    /* One that is under way may look for less, or have passed slabs that were not yet due: it
     * starts anew, with our age. */
    bool more = bin->may_purge || under_way;

    bin->purge_next = NULL;
    bin->purge_lists_left = more ? SLAB_LIST_COUNT : 0;
    bin->purge_ticks = (uint16_t)size_min(ticks, UINT16_MAX);
    /* A class that rests does not have its slabs looked through again and again. What is not due
     * yet, or comes in while the lock is given up, sets it again. */
    bin->may_purge = false;
    return more;
}

/* The slab to look at next; NULL at the end. */
static struct slab *purge_next_locked(struct bin *bin)
{
    ASSERT(lock_is_held(&bin->lock));
    while (bin->purge_next == NULL && bin->purge_lists_left > 0) {
        bin->purge_next = bin->slabs[SLAB_LIST_COUNT - bin->purge_lists_left--];
    }
    struct slab *slab = bin->purge_next;

    if (slab != NULL) {
        bin->purge_next = slab->next;
    }
    return slab;
}

bool bin_purge_locked(struct bin *bin, size_t most_bytes, size_t *bytes)
{
    ASSERT(lock_is_held(&bin->lock));
    const unsigned ticks = bin->purge_ticks;
    struct purge_batch batch = {.count = 0};
    struct slab *slab = NULL;

    for (unsigned looks = 0; looks < LOOKS_AT_ONCE && !batch_is_full(&batch, most_bytes); looks++) {
        slab = purge_next_locked(bin);
        if (slab == NULL) {
            bin->purge_pass = pass_now();
            break;
        }
        if (slab_may_purge_locked(slab, ticks)) {
            batch_add_locked(&batch, slab, ticks);
        }
        bin->may_purge |= !slab->settled;
    }
    *bytes = batch_purge_locked(bin, &batch);
    return slab != NULL;
}

void bin_purge_stop_locked(struct bin *bin, unsigned ticks)
{
    ASSERT(lock_is_held(&bin->lock));
    bin->may_purge = true;
    /* Or the next step of the decay would go on with it, and wait for nothing. */
    if (ticks == 0) {
        bin->purge_next = NULL;
        bin->purge_lists_left = 0;
    }
}
