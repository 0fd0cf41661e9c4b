/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* purge.c - the clock of decay.
 *
 * Time goes by in ticks, a quarter of the decay time each. What is freed is stamped with the tick
 * (units by runs.c, slabs by slab.c); what has been free for DECAY_TICKS goes back, free pages of
 * slabs in use after SLAB_DECAY_TICKS. A step purges at most PURGE_STEP_BYTES and never holds a
 * lock for more than some 16 units' worth of it, or a huge page's; what is left is for the next
 * step, soon after. Where huge pages are asked for (thp:always), whole ones go first: to give a
 * part of one back, the kernel takes it apart, so parts wait PARTS_WAIT times as long.
 *
 * Threads that allocate or free poll the clock on slow paths. A process that does neither keeps
 * what it has until malloc_trim(), unless it has a thread for it (background.c).
 *
 * Owns         the tick, the time of the next step.
 * Concurrency  any thread may take a step; an exchange decides who takes the one that is due.
 *              Two at once, as purge_go_on() may make them, do no harm.
 * Called by    upkeep.c, heap.c and background.c.
 */
#include "purge.h"

#include <stdatomic.h>
#include <time.h>

#include "arena.h"
#include "conf.h"
#include "page_heap.h"
#include "reclaim.h"
#include "tick.h"

enum {
    TICKS_PER_DECAY = 4,
    DECAY_TICKS = TICKS_PER_DECAY,
    SLAB_DECAY_TICKS = TICKS_PER_DECAY + 1,
    PARTS_WAIT = 4, /* times as long, where huge pages are asked for, waits what is less than one */
    REST_MS = 5,    /* between two steps of one tick */
    MS_PER_SECOND = 1000,
    NS_PER_MS = 1000000,
};

static _Atomic uint64_t next_step_ms;

static uint64_t now_ms(void)
{
    struct timespec now;

    /* Without a system call; exact to a few milliseconds. */
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * MS_PER_SECOND + (uint64_t)now.tv_nsec / NS_PER_MS;
}

/* With decay_ms:0 too a step looks at every bin: not more often than the clock moves. */
static uint64_t tick_ms(void)
{
    return size_max(conf.decay_ms / TICKS_PER_DECAY, 1);
}

/* True if there is more to do. */
static bool step(uint64_t now)
{
    bool huge_pages = conf.thp == THP_ALWAYS;
    uint8_t tick = tick_now();
    unsigned wait = huge_pages ? PARTS_WAIT : 1;
    size_t bytes = huge_pages ? page_heap_decay_huge(DECAY_TICKS, PURGE_STEP_BYTES) : 0;

    if (bytes < PURGE_STEP_BYTES) {
        bytes += page_heap_decay(wait * DECAY_TICKS, PURGE_STEP_BYTES - bytes);
    }
    if (bytes < PURGE_STEP_BYTES) {
        bytes += reclaim_idle_pages(wait * SLAB_DECAY_TICKS, PURGE_STEP_BYTES - bytes);
    }
    /* Relaxed: a hint; two threads that take a step at once do no harm. */
    if (bytes >= PURGE_STEP_BYTES) {
        atomic_store_explicit(&next_step_ms, now + REST_MS, memory_order_relaxed);
        return true;
    }
    page_heap_give_up_clean();
    reclaim_aged();
    tick_advance_from(tick);
    atomic_store_explicit(&next_step_ms, now + tick_ms(), memory_order_relaxed);
    return false;
}

bool purge_poll(void)
{
    uint64_t now = now_ms();
    uint64_t due = atomic_load_explicit(&next_step_ms, memory_order_relaxed);

    /* Relaxed: who wins the exchange takes the step; nothing is read on the strength of it. */
    return now >= due &&
           atomic_compare_exchange_strong_explicit(&next_step_ms, &due, now + tick_ms(),
                                                   memory_order_relaxed, memory_order_relaxed) &&
           step(now);
}

bool purge_is_due(void)
{
    return now_ms() >= atomic_load_explicit(&next_step_ms, memory_order_relaxed);
}

bool purge_go_on(void)
{
    return step(now_ms());
}

uint64_t purge_interval_ms(void)
{
    uint64_t now = now_ms();
    uint64_t due = atomic_load_explicit(&next_step_ms, memory_order_relaxed);

    return due > now + REST_MS ? due - now : REST_MS;
}

size_t purge_all(size_t pad_bytes)
{
    reclaim_all();
    return page_heap_purge(pad_bytes) + reclaim_idle_pages(0, SIZE_MAX);
}
