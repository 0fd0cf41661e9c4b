/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* reclaim.c - what arenas give up: as time goes by, before the heap grows, and when it cannot.
 *
 * Before the break grows, idle stacks and empty slabs of all bins are given up, so that neither
 * adds to the heap's peak, and (but with thp:always) idle bins give as many free pages back as the
 * heap grew by before.
 *
 * Owns         how long threads have waited for the page heap of late.
 * Concurrency  as arena.c: one bin's lock at a time, and none where the page heap is called.
 * Called by    refill.c, large.c and purge.c.
 */
#include "reclaim.h"

#include "arena.h"
#include "bin_purge.h"
#include "conf.h"
#include "gate.h"
#include "limit.h"
#include "os.h"
#include "pace.h"
#include "page_heap.h"

enum {
    IDLE_SHARE = 8,  /* the part of the heap that a bin nobody asks may hold free */
    KEPT_SHARE = 64, /* the part of the heap that may be kept runs */
    STACKS_AT_ONCE = 64,
    RESTED_TICKS = 1, /* after which free runs make up for growth: what was freed just now
                       * comes back */
};

/* What it costs to look through the slabs that one hold of a lock is for, as if it were purged. */
#define LOOKS_BYTES ((size_t)64 * 1024)

static void reclaim_bin(struct arena *arena, struct bin *bin)
{
    struct slab *released = NULL;

    if (!bin_may_reclaim(bin)) {
        return;
    }
    lock_acquire(&bin->lock);
    bin_reclaim_locked(bin, &released);
    lock_release(&bin->lock);
    arena_release_slabs(arena, released);
}

static void age_bin(struct arena *arena, struct bin *bin, uint32_t most_stacks)
{
    struct slab *released = NULL;

    if (!bin_may_age(bin)) {
        return;
    }
    lock_acquire(&bin->lock);
    bin_age_locked(bin, most_stacks, &released);
    lock_release(&bin->lock);
    arena_release_slabs(arena, released);
}

static void age_all(uint32_t most_stacks)
{
    arena_drain_all();
    for (struct bin_place at = {0}; arena_find_bin(&at); at.class ++) {
        age_bin(at.arena, at.bin, most_stacks);
    }
}

/* A tick has passed. More runs are kept while threads wait for the page heap's lock: the doublings.
 * Relaxed: if two threads take a step at once, what one of them saw may be lost. */
static unsigned doublings_of_tick(void)
{
    static _Atomic uint64_t waits_seen;
    static _Atomic unsigned demand;
    uint64_t waits = page_heap_waits();
    uint64_t seen = atomic_exchange_explicit(&waits_seen, waits, memory_order_relaxed);
    unsigned now = run_cache_demand(atomic_load_explicit(&demand, memory_order_relaxed),
                                    waits > seen ? waits - seen : 0);

    atomic_store_explicit(&demand, now, memory_order_relaxed);
    return (now + RUN_CACHE_QUIET_TICKS - 1) / RUN_CACHE_QUIET_TICKS;
}

/* How much each arena keeps: a small part of the heap, since runs can serve for nothing else. */
static void limit_runs(unsigned doublings)
{
    unsigned count = 0;

    while (arena_by_index(count) != NULL) {
        count++;
    }
    size_t units = (limit_used_bytes() / UNIT_BYTES << doublings) / size_max(count, 1);

    for (unsigned index = 0; index < count; index++) {
        run_cache_limit(&arena_by_index(index)->large_runs, units / KEPT_SHARE);
    }
}

void reclaim_aged(void)
{
    age_all(STACKS_AT_ONCE);
    run_cache_age_all();
    limit_runs(doublings_of_tick());
}

COLD void reclaim_all(void)
{
    arena_drain_all();
    for (struct bin_place at = {0}; arena_find_bin(&at); at.class ++) {
        reclaim_bin(at.arena, at.bin);
    }
    run_cache_empty_all();
}

/* Purge, and look through slabs, for `budget`, of which is left what was not needed. The bytes that
 * went. The lock is given up every few slabs, and all of it where somebody forks. */
static size_t purge_bin(struct bin *bin, unsigned ticks, size_t *budget)
{
    size_t bytes = 0;

    lock_acquire(&bin->lock);
    bool more = os_page_bytes() == SLAB_PAGE_BYTES && bin_purge_begin_locked(bin, ticks);

    while (more && *budget > 0 && gate_is_open()) {
        size_t now;

        more = bin_purge_locked(bin, size_min(*budget, pace_bytes(PACE_LOCK_US)), &now);
        bytes += now;
        *budget -= size_min(*budget, more ? size_max(now, LOOKS_BYTES) : now);
        lock_release(&bin->lock);
        lock_acquire(&bin->lock);
    }
    if (more) {
        bin_purge_stop_locked(bin, ticks);
    }
    lock_release(&bin->lock);
    return bytes;
}

size_t reclaim_idle_pages(unsigned ticks, size_t *budget)
{
    size_t bytes = 0;

    for (struct bin_place at = {0}; *budget > 0 && arena_find_bin(&at); at.class ++) {
        bytes += purge_bin(at.bin, ticks, budget);
    }
    return bytes;
}

static bool is_idle(struct bin *bin, unsigned class, uint64_t growth, size_t least_bytes)
{
    lock_acquire(&bin->lock);
    bool idle =
        bin->asked_growth < growth && bin->free_blocks * size_classes[class].size >= least_bytes;

    lock_release(&bin->lock);
    return idle;
}

/* What the heap has grown by is made up for by free pages in slabs of bins that nobody has asked
 * since it grew before: those of other bins would soon be needed again. */
static void make_up_for_growth(void)
{
    size_t left = size_min(page_heap_take_growth(), pace_bytes(2 * PACE_STEP_US));

    if (left == 0) {
        return;
    }
    uint64_t growth = arena_note_growth();
    size_t heap_bytes = limit_used_bytes();

    for (struct bin_place at = {0}; left > 0 && arena_find_bin(&at); at.class ++) {
        if (is_idle(at.bin, at.class, growth, heap_bytes / IDLE_SHARE)) {
            (void)purge_bin(at.bin, 0, &left);
        }
    }
}

void reclaim_before_growth(void)
{
    age_all(UINT32_MAX);
    run_cache_empty_all();
    /* Page by page, which takes huge pages apart. */
    if (conf.thp != THP_ALWAYS) {
        make_up_for_growth();
    }
}

void reclaim_after_growth(size_t bytes)
{
    if (conf.thp != THP_ALWAYS) {
        (void)page_heap_decay(RESTED_TICKS, bytes);
    }
}
