/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* page_heap.c - runs of units handed out and taken back, within the limits.
 *
 * What is free, and which of it serves, is runs.c's; where more comes from, growth.c's. Here the
 * limits are kept, and what is handed out, taken back and purged is counted.
 *
 * Owns         run_totals, but for what runs.c and growth.c keep of it.
 * Invariants   total = free + handed out units.
 * Concurrency  page_heap_lock, of rank PAGE_HEAP; growth.c takes others under it. The memory and
 *              the history bytes of a run handed out belong to its owner.
 * Called by    refill.c and arena.c for slabs, large.c and resize.c for large blocks, run_cache.c;
 *              reclaim.c, purge.c, upkeep.c, heap.c and stats.c for what is free or goes back.
 */
#include "page_heap.h"

#include <stdatomic.h>
#include <string.h>

#include "break.h"
#include "gate.h"
#include "growth.h"
#include "limit.h"
#include "os.h"
#include "pace.h"
#include "tick.h"

enum {
    LOOKS_AT_ONCE = 128, /* free runs that are looked at while the lock is held */
    PRESS_SHARE = 16, /* the soft limit presses again when the heap has grown by this part of it */
    TRIM_UNITS_AT_ONCE = 256, /* where the caller wants all to go back, and soon */
};

/* glibc has such blocks from the kernel each time too. */
#define ZERO_BY_PURGE_BYTES ((size_t)32 * 1024 * 1024)

static struct page_heap_stats stats; /* but for what page_heap_stats() fills in */

/* When the soft limit presses, beyond being passed. Guarded by page_heap_lock. */
static struct {
    size_t soft_units;       /* what the rest was made for */
    size_t above_units;      /* the heap holds more than this, */
    size_t free_above_units; /* or more than this is free and has not gone back */
} press;

static _Atomic uint64_t waits; /* for the lock */

static void heap_lock_acquire(void)
{
    if (unlikely(!lock_try_acquire(&page_heap_lock))) {
        lock_wait(&page_heap_lock);
        /* Relaxed: a count, read with no lock. */
        atomic_fetch_add_explicit(&waits, 1, memory_order_relaxed);
    }
}

uint64_t page_heap_waits(void)
{
    return atomic_load_explicit(&waits, memory_order_relaxed);
}

/* Limits */

static size_t units_in_use_locked(void)
{
    ASSERT(lock_is_held(&page_heap_lock));
    return run_totals.total_units - run_totals.free_units;
}

static size_t units_held_locked(void)
{
    ASSERT(lock_is_held(&page_heap_lock));
    return units_in_use_locked() + run_totals.free_used_units;
}

static void press_again_above_locked(size_t soft, size_t held, size_t free_used)
{
    ASSERT(lock_is_held(&page_heap_lock));
    press.soft_units = soft;
    press.above_units = held + soft / PRESS_SHARE;
    press.free_above_units = free_used + soft / PRESS_SHARE;
}

/* After units were handed out or taken back. The program hears of growth only. */
static void note_pressure_locked(void)
{
    ASSERT(lock_is_held(&page_heap_lock));
    size_t soft = limit_soft() / UNIT_BYTES;
    size_t held = units_held_locked();

    limit_note_used(units_in_use_locked() * UNIT_BYTES);
    if (limit_soft() == 0) {
        return;
    }
    if (held <= soft || soft != press.soft_units) {
        press_again_above_locked(soft, 0, 0);
    }
    if (held <= soft) {
        return;
    }
    if (held > press.above_units) {
        press_again_above_locked(soft, held, 0);
        limit_press(true);
    } else if (run_totals.free_used_units > press.free_above_units) {
        limit_press(false);
    }
}

/* After a purge: what is left has to grow before the soft limit presses again. */
static void note_relief_locked(void)
{
    ASSERT(lock_is_held(&page_heap_lock));
    press_again_above_locked(limit_soft() / UNIT_BYTES, units_held_locked(),
                             run_totals.free_used_units);
}

static size_t account_purged_locked(size_t units)
{
    ASSERT(lock_is_held(&page_heap_lock));
    run_totals.free_used_units -= units;
    run_totals.purged_bytes += units * UNIT_BYTES;
    return units;
}

/* Of what is free now, up to `most` units. */
static void purge_now_locked(size_t most)
{
    ASSERT(lock_is_held(&page_heap_lock));
    struct runs_budget budget = {.units = most, .looks = SIZE_MAX};

    (void)account_purged_locked(runs_purge_locked(0, &budget, NULL));
}

/* May `units` more be handed out? If free memory that has not gone back is in the way, it goes. */
static bool within_hard_limit_locked(size_t units)
{
    ASSERT(lock_is_held(&page_heap_lock));
    size_t hard = limit_hard() / UNIT_BYTES;
    size_t in_use = units_in_use_locked();

    if (limit_hard() == 0) {
        return true;
    }
    if (units > hard || in_use > hard - units) {
        return false;
    }
    if (units_held_locked() + units > hard) {
        size_t missing = units_held_locked() + units - hard;

        purge_now_locked(size_max(missing, TRIM_UNITS_AT_ONCE));
    }
    return true;
}

/* The same once the run is chosen, whose units' history this is. Whatever was purged to make room
 * may have kept its memory, as locked memory does; but units of the run that have memory already
 * are held already. */
static bool within_hard_limit_at_locked(const uint8_t *history, size_t units)
{
    ASSERT(lock_is_held(&page_heap_lock));
    if (limit_hard() == 0) {
        return true;
    }
    size_t fresh = units - run_count_used(history, units);

    return fresh == 0 || units_held_locked() + fresh <= limit_hard() / UNIT_BYTES;
}

/* The interface */

static struct span *alloc_locked(const struct run_request *request)
{
    size_t units = request->units + request->align_units - 1;
    struct span *run;

    ASSERT(lock_is_held(&page_heap_lock));
    growth_notice_moves_locked();
    if (!within_hard_limit_locked(request->units)) {
        stats.refused++;
        return NULL;
    }
    run = run_find_locked(request->units, request->align_units);
    if (run == NULL && request->grow && growth_get_locked(units)) {
        run = run_find_locked(request->units, request->align_units);
    }
    if (run == NULL) {
        return NULL;
    }
    if (!within_hard_limit_at_locked(span_history(run) + run_skip(run, request->align_units),
                                     request->units)) {
        stats.refused++;
        return NULL;
    }
    stats.allocs++;
    run = run_carve_locked(run, request->units, request->align_units, request->state);
    run_totals.free_used_units -= run_count_used(span_history(run), request->units);
    note_pressure_locked();
    return run;
}

struct span *page_heap_alloc(const struct run_request *request)
{
    ASSERT(request->units > 0 && is_power_of_two(request->align_units));
    ASSERT(request->populate_bytes <= UNIT_BYTES);
    heap_lock_acquire();
    struct span *span = alloc_locked(request);

    lock_release(&page_heap_lock);
    if (span != NULL && !request->zero) {
        if (*span_history(span) == UNIT_CLEAN) {
            os_populate((char *)span_address(span), request->populate_bytes);
        }
        memset(span_history(span), UNIT_USED, span->units);
    }
    return span;
}

/* A program that wants so much often uses little of it: then what it does not touch had better have
 * no memory. Up to the end of the last unit. */
static void zero_units(char *memory, size_t bytes)
{
    if (bytes < ZERO_BY_PURGE_BYTES || !os_purge(memory, align_up(bytes, UNIT_BYTES))) {
        memset(memory, 0, bytes);
    }
}

void page_heap_zero(struct span *span, size_t bytes)
{
    uint8_t *history = span_history(span);
    char *memory = (char *)span_address(span);
    size_t units = units_for(bytes);
    size_t end;

    ASSERT(units <= span->units);
    for (size_t unit = 0; unit < units; unit = end + 1) {
        for (end = unit; end < units && history[end] != UNIT_CLEAN; end++) {
        }
        zero_units(memory + unit * UNIT_BYTES,
                   size_min(end * UNIT_BYTES, bytes) - unit * UNIT_BYTES);
    }
    memset(history, UNIT_USED, span->units);
}

void page_heap_free(struct span *span)
{
    run_mark_freed(span);
    page_heap_take_back(span);
}

void page_heap_take_back(struct span *span)
{
    size_t used = run_count_used(span_history(span), span->units);

    heap_lock_acquire();
    stats.frees++;
    run_totals.free_used_units += used;
    run_release_locked(span, span->units, span->region);
    note_pressure_locked();
    lock_release(&page_heap_lock);
}

/* The free run right behind `span`, made longer at the break if need be; NULL if it is short. */
static struct span *run_behind_locked(struct span *span, size_t more)
{
    ASSERT(lock_is_held(&page_heap_lock));
    struct region *region = region_by_index(span->region);
    struct span *after = run_after(region, span, span->units);
    size_t have = after != NULL && after->state == SPAN_FREE ? after->units : 0;
    bool at_top = region == &region_primary &&
                  span_address(span) + (span->units + have) * UNIT_BYTES == break_top();

    if (have < more && at_top) {
        (void)growth_raise_break_locked(more - have);
        after = run_after(region, span, span->units);
    }
    return after != NULL && after->state == SPAN_FREE && after->units >= more ? after : NULL;
}

static bool extend_locked(struct span *span, size_t more)
{
    ASSERT(lock_is_held(&page_heap_lock));
    growth_notice_moves_locked();
    struct span *behind =
        within_hard_limit_locked(more) ? run_behind_locked(span, more) : (struct span *)NULL;

    if (behind == NULL || !within_hard_limit_at_locked(span_history(behind), more)) {
        return false;
    }
    size_t rest = behind->units - more;

    run_totals.free_used_units -= run_count_used(span_history(behind), more);
    run_take_locked(behind);
    if (rest > 0) {
        run_make_free_locked(behind + more, rest, span->region);
    }
    memset(span_history(behind), UNIT_USED, more);
    span->units += (uint32_t)more;
    note_pressure_locked();
    return true;
}

bool page_heap_resize(struct span *span, size_t units)
{
    bool done = true;

    heap_lock_acquire();
    if (units > span->units) {
        done = units <= UINT32_MAX && extend_locked(span, units - span->units);
    } else if (units < span->units) {
        size_t rest = span->units - units;

        span->units = (uint32_t)units;
        run_stamp(span_history(span) + units, rest);
        run_totals.free_used_units += run_count_used(span_history(span) + units, rest);
        run_release_locked(span + units, rest, span->region);
        note_pressure_locked();
    }
    stats.resizes += done;
    lock_release(&page_heap_lock);
    return done;
}

/* Purging */

/* page_heap_decay() and page_heap_decay_huge() release the lock every now and then, for others who
 * wait for it, and stop where somebody forks. */
size_t page_heap_decay(unsigned ticks, size_t most_bytes)
{
    size_t most = most_bytes / UNIT_BYTES;
    size_t left = most;
    bool more;

    do {
        size_t at_once = size_min(left, pace_bytes(PACE_LOCK_US) / UNIT_BYTES);
        struct runs_budget budget = {.units = at_once, .looks = LOOKS_AT_ONCE};

        heap_lock_acquire();
        (void)account_purged_locked(runs_purge_locked(ticks, &budget, NULL));
        lock_release(&page_heap_lock);
        more = budget.more;
        left -= more ? at_once : at_once - budget.units;
    } while (more && left > 0 && gate_is_open());
    return (most - left) * UNIT_BYTES;
}

COLD size_t page_heap_decay_huge(unsigned ticks, size_t most_bytes)
{
    size_t bytes = 0;
    bool more = true;

    while (more && bytes < most_bytes && gate_is_open()) {
        struct runs_budget budget = {.looks = LOOKS_AT_ONCE};

        heap_lock_acquire();
        bool found = account_purged_locked(runs_purge_huge_locked(ticks, &budget)) > 0;

        lock_release(&page_heap_lock);
        bytes += found ? HUGE_PAGE_UNITS * UNIT_BYTES : 0;
        more = budget.more;
    }
    return bytes;
}

void page_heap_give_up_clean(void)
{
    heap_lock_acquire();
    growth_give_up_clean_locked();
    lock_release(&page_heap_lock);
}

COLD void page_heap_notice_limits(void)
{
    heap_lock_acquire();
    note_pressure_locked();
    lock_release(&page_heap_lock);
}

COLD void page_heap_note_relief(void)
{
    heap_lock_acquire();
    note_relief_locked();
    lock_release(&page_heap_lock);
}

/* What goes altogether; the bytes in use among it. */
static size_t give_address_space_back(size_t pad_bytes)
{
    heap_lock_acquire();
    growth_notice_moves_locked();
    uint64_t before = run_totals.purged_bytes;

    growth_lower_break_locked(units_for(pad_bytes));
    (void)growth_unmap_free_locked();
    size_t bytes = run_totals.purged_bytes - before;

    lock_release(&page_heap_lock);
    return bytes;
}

/* The free run at the top, if it is no more than the pad. It is more where the break cannot be
 * lowered, and goes back with all else then. */
static const struct span *pad_run_locked(size_t pad_bytes)
{
    ASSERT(lock_is_held(&page_heap_lock));
    const struct span *top_run = growth_top_run_locked();

    return top_run != NULL && top_run->units <= units_for(pad_bytes) ? top_run : NULL;
}

/* Of what has been free for a tick, up to so many units and looks; the units that went. */
static size_t purge_some(struct runs_budget *budget, size_t pad_bytes)
{
    heap_lock_acquire();
    size_t purged = account_purged_locked(runs_purge_locked(1, budget, pad_run_locked(pad_bytes)));

    note_relief_locked();
    lock_release(&page_heap_lock);
    return purged;
}

COLD size_t page_heap_purge(size_t pad_bytes)
{
    size_t bytes = give_address_space_back(pad_bytes);
    bool more = true;

    /* What is freed meanwhile is not ours to wait for. */
    tick_make_due();
    /* The lock is given up to those who wait for it, and all of it where somebody forks. */
    while (more && gate_is_open()) {
        struct runs_budget budget = {.units = TRIM_UNITS_AT_ONCE, .looks = LOOKS_AT_ONCE};

        bytes += purge_some(&budget, pad_bytes) * UNIT_BYTES;
        more = budget.more;
    }
    return bytes;
}

size_t page_heap_take_growth(void)
{
    heap_lock_acquire();
    size_t grown = growth_take_locked();

    lock_release(&page_heap_lock);
    return grown;
}

static _Atomic uint16_t *tags_create_locked(void)
{
    ASSERT(lock_is_held(&page_heap_lock));
    _Atomic uint16_t *tags = region_tags_create();

    return tags == NULL && region_give_up_rows() ? region_tags_create() : tags;
}

_Atomic uint16_t *page_heap_tags_create(void)
{
    _Atomic uint16_t *tags = NULL;

    heap_lock_acquire();
    if (region_units(&region_primary) != 0 || growth_raise_break_locked(1)) {
        tags = tags_create_locked();
    } else {
        /* Arenas without tags cannot learn of a break that comes to life later. */
        region_primary_disabled = true;
    }
    lock_release(&page_heap_lock);
    return tags;
}

COLD struct page_heap_stats page_heap_stats(void)
{
    heap_lock_acquire();
    struct page_heap_stats result = stats;
    const struct span *top_run = growth_top_run_locked();

    result.total_units = run_totals.total_units;
    result.free_units = run_totals.free_units;
    result.free_runs = run_totals.free_runs;
    result.free_used_units = run_totals.free_used_units;
    result.purged_bytes = run_totals.purged_bytes;
    result.top_free_units = top_run != NULL ? top_run->units : 0;
    result.held_units = units_held_locked();
    result.lock_acquisitions = page_heap_lock.acquisitions;
    result.lock_waits = page_heap_waits();
    lock_release(&page_heap_lock);
    return result;
}

/* The rows that say something: of the break those below its top. */
static size_t rows_of_locked(const struct region *region)
{
    ASSERT(lock_is_held(&page_heap_lock));
    size_t units = region_units(region);

    return region == &region_primary ? size_min(units, growth_top_unit()) : units;
}

void page_heap_check(void)
{
    size_t units = 0;
    size_t free_units = 0;
    size_t used_units = 0;

    heap_lock_acquire();
    region_check();
    growth_check_locked();
    runs_check_shelves_locked();
    for (struct region *region = region_next(NULL); region; region = region_next(region)) {
        size_t rows = rows_of_locked(region);

        for (size_t unit = 0; unit < rows;) {
            bool gap = region->spans[unit].state == SPAN_GAP;
            size_t length = run_check_locked(region, unit, &free_units, &used_units);

            units += gap ? 0 : length;
            unit += length;
        }
    }
    if (units != run_totals.total_units || free_units != run_totals.free_units ||
        used_units != run_totals.free_used_units) {
        fatal("page heap: total, free and handed out units do not add up");
    }
    lock_release(&page_heap_lock);
}
