/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* purge.c - the clock of decay.
 *
 * Time goes by in ticks, a quarter of the decay time each. What is freed is stamped with the tick
 * (units by runs.c, slabs by slab.c). With each tick begins a pass through what is free: what has
 * been so for DECAY_TICKS goes back, free pages of slabs in use after SLAB_DECAY_TICKS. A step of
 * it purges at most PURGE_STEP_BYTES, and goes on for no more than STEP_NS where its thread
 * allocates or frees, twice that where it seldom does; it holds a lock for a quarter of that, or
 * for a huge page. What is left is for the next step, soon after; a pass may go on over some ticks.
 * Where huge pages are asked for (thp:always), whole ones go first: to give a part of one back, the
 * kernel takes it apart, so parts wait PARTS_WAIT times as long. Where the soft limit presses, a
 * pass begins at once that waits for RELIEF_TICKS, and its steps do not rest.
 *
 * Threads that allocate or free poll the clock on slow paths. A process that does neither keeps
 * what it has until malloc_trim(), unless it has a thread for it (background.c).
 *
 * Owns         the tick, the pass and what it waits for, the times of the next tick and the next
 *              step.
 * Concurrency  any thread may take a step; an exchange decides who takes the one that is due.
 *              Two at once, as purge_go_on() may make them, do no harm.
 * Called by    upkeep.c, heap.c and background.c.
 */
#include "purge.h"

#include <stdatomic.h>
#include <time.h>

#include "arena.h"
#include "conf.h"
#include "emergency.h"
#include "gate.h"
#include "os.h"
#include "pace.h"
#include "page_heap.h"
#include "reclaim.h"
#include "tick.h"
#include "vdso.h"

enum {
    DECAY_TICKS = TICKS_PER_DECAY,
    SLAB_DECAY_TICKS = TICKS_PER_DECAY + 1,
    RELIEF_TICKS = 1,                 /* what the thread that begins it lets go by */
    TICKS_MOST = TICKS_PER_DECAY / 2, /* at once */
    PARTS_WAIT = 4, /* times as long, where huge pages are asked for, waits what is less than one */
    STEP_NS = PACE_STEP_US * 1000,
    STEP_NS_SELDOM = 2 * STEP_NS, /* where nobody came by for */
    SELDOM_MS = 8,
    PIECE_BYTES = PACE_BYTES_LEAST, /* between two looks at how long it takes */
    REST_MS = 1,                    /* between two steps of one pass */
    TICK_MS_LEAST = 4,
    POLL_MS_LEAST = 5, /* between two of a thread that does nothing else */
    MS_PER_SECOND = 1000,
    NS_PER_MS = 1000000,
};

_Static_assert(PACE_BYTES_LEAST % UNIT_BYTES == 0, "what goes back in a row is whole units");

/* Relaxed, as all of this: two steps at once look at the same again, and no more. */
static _Atomic uint64_t next_step_ms;
static _Atomic uint64_t next_tick_ms;
static _Atomic unsigned progress; /* the pass and the stage of the last step */
static _Atomic bool relieves;     /* this pass takes what has been free for RELIEF_TICKS */
_Atomic bool purge_left;

static uint64_t now_ms(void)
{
    struct timespec now = {0, 0};

    if (purge_is_behind()) {
        return os_clock_ns() / NS_PER_MS;
    }
    /* The same, and never a system call, but it stands still for some milliseconds. */
    vdso_clock(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * MS_PER_SECOND + (uint64_t)now.tv_nsec / NS_PER_MS;
}

/* With decay_ms:0 too a pass looks at every bin: not more often than the coarse clock moves. */
static uint64_t tick_ms(void)
{
    return size_max(conf.decay_ms / TICKS_PER_DECAY, TICK_MS_LEAST);
}

/* Nothing is due later than a tick from now: where it seems so, the clock was ahead when the time
 * was set. What another thread has set meanwhile may be a little later. */
static bool has_come(uint64_t due, uint64_t now)
{
    return now >= due || due - now > 2 * tick_ms();
}

/* What of this pass is done. */
enum stage { STAGE_HUGE, STAGE_RUNS, STAGE_SLABS, STAGE_COUNT };

static enum stage stage_now(uint8_t pass)
{
    unsigned place = atomic_load_explicit(&progress, memory_order_relaxed);
    enum stage first = conf.thp == THP_ALWAYS ? STAGE_HUGE : STAGE_RUNS;
    enum stage last = (enum stage)(place % STAGE_COUNT);

    return place / STAGE_COUNT == pass && last > first ? last : first;
}

static void stage_set(uint8_t pass, enum stage stage)
{
    atomic_store_explicit(&progress, pass * (unsigned)STAGE_COUNT + stage, memory_order_relaxed);
}

static bool is_relief(void)
{
    return atomic_load_explicit(&relieves, memory_order_relaxed);
}

/* For how many ticks memory has to have been free that goes back: `ticks`, or where it is part of
 * a huge page that was asked for, longer. */
static unsigned wait_ticks(unsigned ticks, bool is_part)
{
    if (is_relief()) {
        return RELIEF_TICKS;
    }
    return is_part && conf.thp == THP_ALWAYS ? PARTS_WAIT * ticks : ticks;
}

/* Of what is due, up to `bytes`; whether the pass is through. */
static bool purge_piece(uint8_t pass, size_t bytes)
{
    enum stage stage = stage_now(pass);
    size_t left = bytes - size_min(bytes, emergency_purge(bytes));

    if (stage == STAGE_HUGE) {
        left -= size_min(left, page_heap_decay_huge(wait_ticks(DECAY_TICKS, false), left));
        stage = left > 0 ? STAGE_RUNS : stage;
    }
    if (stage == STAGE_RUNS) {
        left -= page_heap_decay(wait_ticks(DECAY_TICKS, true), left);
        /* Runs go back by units: of less than one nothing is known of them. */
        stage = left >= UNIT_BYTES ? STAGE_SLABS : stage;
    }
    if (!gate_is_open()) {
        return false; /* somebody forks, which has cut this short */
    }
    stage_set(pass, stage);
    if (stage == STAGE_SLABS) {
        (void)reclaim_idle_pages(wait_ticks(SLAB_DECAY_TICKS, true), &left);
    }
    return stage == STAGE_SLABS && left > 0 && gate_is_open();
}

/* Up to PURGE_STEP_BYTES, piece by piece as long as there is time for the next; whether the pass is
 * through. */
static bool purge_due(size_t piece_bytes, uint64_t most_ns)
{
    uint8_t pass = pass_now();
    uint64_t begin = os_clock_ns();
    size_t bytes = 0;
    bool is_done;

    do {
        is_done = purge_piece(pass, piece_bytes);
        bytes += piece_bytes;
    } while (!is_done && bytes < PURGE_STEP_BYTES && gate_is_open() &&
             os_clock_ns() - begin < most_ns);
    if (is_done) {
        page_heap_give_up_clean();
        if (atomic_exchange_explicit(&relieves, false, memory_order_relaxed)) {
            page_heap_note_relief();
        }
        pass_advance_from(pass);
    }
    return is_done;
}

/* How many ticks to advance. Where nobody comes by for long, what is free would wait for as many
 * steps as there are ticks in a decay time. But what was freed just now has an old stamp. */
static uint64_t ticks_gone_by(uint64_t due, uint64_t now)
{
    return due != 0 && now >= due + tick_ms() ? TICKS_MOST : 1;
}

/* Whether or not the pass is through: what is freed does not wait longer where there is much. */
static void let_time_pass(uint64_t now)
{
    uint64_t due = atomic_load_explicit(&next_tick_ms, memory_order_relaxed);

    if (has_come(due, now) &&
        atomic_compare_exchange_strong_explicit(&next_tick_ms, &due, now + tick_ms(),
                                                memory_order_relaxed, memory_order_relaxed)) {
        for (uint64_t ticks = ticks_gone_by(due, now); ticks > 0; ticks--) {
            reclaim_aged();
            tick_advance();
        }
    }
}

/* True if there is more to do. */
static bool step(uint64_t now, size_t piece_bytes, uint64_t most_ns)
{
    bool is_done = purge_due(piece_bytes, most_ns);

    let_time_pass(now);
    uint64_t next = is_done ? atomic_load_explicit(&next_tick_ms, memory_order_relaxed) : 0;

    atomic_store_explicit(&purge_left, !is_done, memory_order_relaxed);
    atomic_store_explicit(&next_step_ms, size_max(next, now + REST_MS), memory_order_relaxed);
    return !is_done;
}

bool purge_poll(void)
{
    uint64_t now = now_ms();
    uint64_t due = atomic_load_explicit(&next_step_ms, memory_order_relaxed);

    /* Relaxed: who wins the exchange takes the step; nothing is read on the strength of it. */
    return has_come(due, now) &&
           atomic_compare_exchange_strong_explicit(&next_step_ms, &due, now + tick_ms(),
                                                   memory_order_relaxed, memory_order_relaxed) &&
           step(now, PIECE_BYTES, now - due < SELDOM_MS ? STEP_NS : STEP_NS_SELDOM);
}

bool purge_is_due(void)
{
    return has_come(atomic_load_explicit(&next_step_ms, memory_order_relaxed), now_ms());
}

bool purge_go_on(void)
{
    return step(now_ms(), PURGE_STEP_BYTES, UINT64_MAX);
}

COLD void purge_begin_relief(void)
{
    reclaim_all();
    tick_make_due();
    atomic_store_explicit(&relieves, true, memory_order_relaxed);
}

COLD bool purge_relieve(size_t bytes)
{
    /* More than the thread frees or takes. It may be through already: whoever polls takes steps. */
    return is_relief() && step(now_ms(), PIECE_BYTES + 2 * bytes, STEP_NS);
}

COLD uint64_t purge_interval_ms(void)
{
    uint64_t now = now_ms();
    uint64_t due = atomic_load_explicit(&next_step_ms, memory_order_relaxed);

    return due > now + POLL_MS_LEAST ? size_min(due - now, tick_ms()) : POLL_MS_LEAST;
}

COLD size_t purge_all(size_t pad_bytes)
{
    size_t all = SIZE_MAX;

    reclaim_all();
    return page_heap_purge(pad_bytes) + reclaim_idle_pages(0, &all) + emergency_purge(SIZE_MAX);
}
