/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* runs.c - the free runs of the page heap.
 *
 * Free runs lie on shelves by length: one shelf a length up to EXACT_UNITS, four a doubling above;
 * a bitmap of the shelves that hold something makes the search a few instructions. A freed run is
 * joined with free neighbours at once, through the span rows of its first and last unit.
 *
 * Owns         the free runs; how many there are, in run_totals.
 * Invariants   no two free runs touch; a run lies in one region.
 * Concurrency  the caller of a function named *_locked holds page_heap_lock.
 * Called by    page_heap.c, growth.c; run_cache.c marks what is freed.
 */
#include "runs.h"

#include <string.h>

#include "os.h"
#include "tick.h"

enum {
    EXACT_UNITS = 64,
    FIT_LOOKS = 64, /* runs of a shelf that are compared */
    SHELVES_PER_DOUBLING = 4,
    SHELF_COUNT = EXACT_UNITS + SHELVES_PER_DOUBLING * 26,
    SHELF_WORDS = (SHELF_COUNT + BITS_PER_WORD - 1) / BITS_PER_WORD,
    TICKS_MASK = UINT8_MAX >> UNIT_HISTORY_BITS,
};

struct lock page_heap_lock = LOCK_INITIALIZER(LOCK_RANK_PAGE_HEAP);
struct run_totals run_totals;

static struct span *shelves[SHELF_COUNT];
static uint64_t shelves_filled[SHELF_WORDS];

/* Where a look for what is due goes on: at `next`, or at the first run of the next filled shelf
 * from `shelf` on. It began in `pass`, for units that have been free for `ticks`. */
struct look {
    struct span *next;
    unsigned shelf;
    unsigned ticks;
    uint8_t pass;
};

/* Where there are many runs, the look for what has been free for the decay time takes many steps:
 * those for less, which come whenever the heap grows, do not make it begin anew. */
static struct look look_for_less = {.shelf = SHELF_COUNT};
static struct look look_for_decay = {.shelf = SHELF_COUNT};
static struct look look_for_huge = {.shelf = SHELF_COUNT};

static unsigned shelf_of(size_t units)
{
    if (units <= EXACT_UNITS) {
        return (unsigned)units - 1;
    }
    unsigned power = 63U - (unsigned)__builtin_clzll(units);
    unsigned quarter = (unsigned)(units >> (power - 2)) & 3U;
    unsigned shelf = EXACT_UNITS + (power - 6) * SHELVES_PER_DOUBLING + quarter;

    return shelf < SHELF_COUNT ? shelf : SHELF_COUNT - 1;
}

struct span *run_after(const struct region *region, struct span *span, size_t units)
{
    size_t unit = (size_t)(span - region->spans) + units;

    return unit < region_units(region) ? &region->spans[unit] : NULL;
}

/* Shelves */

static void shelf_put(struct span *run)
{
    unsigned shelf = shelf_of(run->units);

    run->prev = NULL;
    run->next = shelves[shelf];
    if (run->next != NULL) {
        run->next->prev = run;
    }
    shelves[shelf] = run;
    shelves_filled[shelf / BITS_PER_WORD] |= UINT64_C(1) << (shelf % BITS_PER_WORD);
    run_totals.free_units += run->units;
    run_totals.free_runs++;
}

static void look_pass_by(struct look *look, const struct span *run)
{
    if (look->next == run) {
        look->next = run->next;
    }
}

static void shelf_take(struct span *run)
{
    unsigned shelf = shelf_of(run->units);

    look_pass_by(&look_for_less, run);
    look_pass_by(&look_for_decay, run);
    look_pass_by(&look_for_huge, run);
    if (run->next != NULL) {
        run->next->prev = run->prev;
    }
    if (run->prev != NULL) {
        run->prev->next = run->next;
    } else {
        shelves[shelf] = run->next;
    }
    if (shelves[shelf] == NULL) {
        shelves_filled[shelf / BITS_PER_WORD] &= ~(UINT64_C(1) << (shelf % BITS_PER_WORD));
    }
    run_totals.free_units -= run->units;
    run_totals.free_runs--;
}

/* The first filled shelf at or after `shelf`, or SHELF_COUNT. */
static unsigned shelf_next_filled(unsigned shelf)
{
    return bitmap_next(shelves_filled, SHELF_COUNT, shelf);
}

/* Can `units`, aligned to `align_units` units, be cut out of the run? */
static bool has_room(const struct span *run, size_t units, size_t align_units)
{
    return run->units >= units &&
           (align_units == 1 || run->units - units >= run_skip(run, align_units));
}

/* The shortest run that has room, of the first `most` on the shelf: a heap may have hundreds of
 * thousands of free runs, and everybody else waits for the lock meanwhile. */
static struct span *shelf_best_fit(unsigned shelf, size_t units, size_t align_units, size_t most)
{
    struct span *best = NULL;

    for (struct span *run = shelves[shelf]; run != NULL && most > 0; run = run->next, most--) {
        if (!has_room(run, units, align_units) || (best != NULL && run->units >= best->units)) {
            continue;
        }
        best = run;
        /* No shorter one would do, or be on this shelf. */
        if (best->units == units || shelf_of(best->units - 1) < shelf) {
            break;
        }
    }
    return best;
}

struct span *run_find_locked(size_t units, size_t align_units)
{
    ASSERT(lock_is_held(&page_heap_lock));
    /* Wherever it lies, a run as long as this has room. */
    size_t enough = units + align_units - 1;
    struct span *best = NULL;

    for (unsigned shelf = shelf_next_filled(shelf_of(units)); shelf < SHELF_COUNT && best == NULL;
         shelf = shelf_next_filled(shelf + 1)) {
        best = shelf_best_fit(shelf, units, align_units, FIT_LOOKS);
    }
    /* There may be one further on, on the shelf of those: better than that the heap grows. */
    return best != NULL ? best : shelf_best_fit(shelf_of(enough), enough, 1, SIZE_MAX);
}

/* Runs */

void run_make_free_locked(struct span *span, size_t units, uint8_t region_index)
{
    struct span *last = span + units - 1;

    ASSERT(lock_is_held(&page_heap_lock));
    *last = (struct span){.state = SPAN_FREE, .units = (uint32_t)units, .region = region_index};
    *span = (struct span){.state = SPAN_FREE, .units = (uint32_t)units, .region = region_index};
    shelf_put(span);
}

void run_take_locked(struct span *run)
{
    ASSERT(lock_is_held(&page_heap_lock));
    shelf_take(run);
    run[run->units - 1].state = SPAN_NONE;
    run->state = SPAN_NONE;
}

void run_release_locked(struct span *span, size_t units, uint8_t region_index)
{
    ASSERT(lock_is_held(&page_heap_lock));
    struct region *region = region_by_index(region_index);
    struct span *after = run_after(region, span, units);

    span->state = SPAN_NONE;
    for (size_t unit = 1; unit < units && span[unit].state == SPAN_SLAB; unit++) {
        span[unit].state = SPAN_NONE;
    }
    if (after != NULL && after->state == SPAN_FREE) {
        run_take_locked(after);
        units += after->units;
    }
    if (span != region->spans && span[-1].state == SPAN_FREE) {
        struct span *before = span - span[-1].units;

        run_take_locked(before);
        units += before->units;
        span = before;
    }
    run_make_free_locked(span, units, region_index);
}

size_t run_skip(const struct span *run, size_t align_units)
{
    size_t address_units = span_address(run) >> UNIT_SHIFT;

    return align_up(address_units, align_units) - address_units;
}

struct span *run_carve_locked(struct span *run, size_t units, size_t align_units,
                              enum span_state state)
{
    ASSERT(lock_is_held(&page_heap_lock));
    size_t run_units = run->units;
    uint8_t region = run->region;
    size_t skip = run_skip(run, align_units);
    struct span *span = run + skip;
    size_t rest = run_units - skip - units;

    run_take_locked(run);
    if (skip > 0) {
        run_make_free_locked(run, skip, region);
    }
    if (rest > 0) {
        run_make_free_locked(span + units, rest, region);
    }
    *span = (struct span){
        .state = (uint8_t)state,
        .units = (uint32_t)units,
        .region = region,
    };
    for (size_t unit = 1; unit < units && state == SPAN_SLAB; unit++) {
        span[unit] = (struct span){.state = SPAN_SLAB, .region = region};
    }
    return span;
}

/* History */

/* Of long runs eight histories are looked at together, in a word: this has a 1 in each byte. */
#define ONES (UINT64_MAX / UINT8_MAX)

_Static_assert(UNIT_HISTORY_MASK == 3, "one of two bits tells of a unit that it is not clean");

/* A 1 in each byte of a unit that is not clean. */
static uint64_t used_of_eight(uint64_t histories)
{
    return (histories | histories >> 1) & ONES;
}

size_t run_count_used(const uint8_t *history, size_t units)
{
    uint64_t eight;
    size_t used = 0;

    for (; units >= sizeof(eight); units -= sizeof(eight), history += sizeof(eight)) {
        memcpy(&eight, history, sizeof(eight));
        used += used_of_eight(eight) * ONES >> 56; /* the sum of the bytes */
    }
    for (; units > 0; units--) {
        used += *history++ != UNIT_CLEAN;
    }
    return used;
}

/* The histories of as many units as a word has bytes, or of one. */
static uint64_t stamped(uint64_t histories, uint8_t tick)
{
    return (histories & ONES * UNIT_HISTORY_MASK) | used_of_eight(histories) * tick;
}

void run_stamp(uint8_t *history, size_t units)
{
    uint8_t tick = (uint8_t)(tick_now() << UNIT_HISTORY_BITS);
    uint64_t eight;

    for (; units >= sizeof(eight); units -= sizeof(eight), history += sizeof(eight)) {
        memcpy(&eight, history, sizeof(eight));
        eight = stamped(eight, tick);
        memcpy(history, &eight, sizeof(eight));
    }
    for (; units > 0; units--, history++) {
        *history = (uint8_t)stamped(*history, tick);
    }
}

void run_mark_freed(const struct span *span)
{
    uint8_t *history = span_history(span);

    /* Blocks of a slab began in each of its units. */
    memset(history, UNIT_FREED, span->state == SPAN_SLAB ? span->units : 1);
    run_stamp(history, span->units);
}

/* Purging */

/* Not clean, and free for `ticks`. */
static bool is_due(uint8_t history, unsigned ticks)
{
    unsigned age = (unsigned)(tick_now() - (history >> UNIT_HISTORY_BITS)) & TICKS_MASK;

    return history != UNIT_CLEAN && age >= ticks;
}

/* Not if the last look, at this tick, was for units that have been free no longer. */
static bool may_be_due(const struct span *run, unsigned ticks)
{
    return run->clean_units < run->units &&
           !(run->was_looked_at && run->looked_tick == tick_now() && run->looked_ticks <= ticks);
}

/* The first unit from `unit` on that is not clean, or `units`. Not inlined: who asks is long. */
static __attribute__((noinline)) size_t next_used(const uint8_t *history, size_t unit, size_t units)
{
    uint64_t word = 0;

    while (unit + sizeof(word) <= units) {
        memcpy(&word, history + unit, sizeof(word));
        if (word != 0) {
            break;
        }
        unit += sizeof(word);
    }
    while (unit < units && history[unit] == UNIT_CLEAN) {
        unit++;
    }
    return unit;
}

/* The end of the units from `first` on, at most `end`, that have been free for `ticks`: `first` if
 * that one has not. */
static size_t due_end(const uint8_t *history, size_t first, size_t end, unsigned ticks)
{
    while (first < end && is_due(history[first], ticks)) {
        first++;
    }
    return first;
}

/* Nothing that has been free for `ticks` is left in the run. */
static void note_looked_at(struct span *run, unsigned ticks)
{
    run->was_looked_at = true;
    run->looked_tick = tick_now();
    run->looked_ticks = (uint8_t)ticks;
}

/* The units of the run that have been free for `ticks`, up to `most` of them. */
static size_t run_purge_locked(struct span *run, unsigned ticks, size_t most)
{
    ASSERT(lock_is_held(&page_heap_lock));
    uint8_t *history = span_history(run);
    char *memory = (char *)span_address(run);
    const size_t first = next_used(history, run->clean_units, run->units);
    size_t unit = first;
    size_t purged = 0;
    bool refused = false;

    while (unit < run->units && purged < most) {
        size_t length = size_min(run->units - unit, most - purged);
        size_t end = due_end(history, unit, unit + length, ticks);

        if (end == unit) {
            end++; /* it has to wait */
        } else if (os_purge(memory + unit * UNIT_BYTES, (end - unit) * UNIT_BYTES)) {
            memset(history + unit, UNIT_CLEAN, end - unit);
            purged += end - unit;
        } else {
            refused = true;
        }
        unit = next_used(history, end, run->units);
    }
    /* Where this was one of many steps, the next passes by what went. */
    run->clean_units = (uint32_t)next_used(history, first, run->units);
    if (unit == run->units && !refused) {
        note_looked_at(run, ticks);
    }
    return purged;
}

/* May this look go on where the last one stopped half-way? If that was in this pass, and for units
 * that have been free no longer: what it has gone by is for the next pass. */
static bool look_goes_on_locked(const struct look *look, unsigned ticks)
{
    ASSERT(lock_is_held(&page_heap_lock));
    bool has_more = look->next != NULL || shelf_next_filled(look->shelf) < SHELF_COUNT;

    return has_more && ticks >= look->ticks && look->pass == pass_now();
}

static void look_begin_locked(struct look *look, unsigned ticks, size_t units_least)
{
    ASSERT(lock_is_held(&page_heap_lock));
    *look = (struct look){.shelf = shelf_of(units_least), .ticks = ticks, .pass = pass_now()};
}

/* The run to look at next, NULL at the end. */
static struct span *look_run_locked(struct look *look)
{
    ASSERT(lock_is_held(&page_heap_lock));
    if (look->next == NULL) {
        unsigned shelf = shelf_next_filled(look->shelf);

        look->next = shelf < SHELF_COUNT ? shelves[shelf] : NULL;
        look->shelf = shelf + 1;
    }
    return look->next;
}

/* What of a run is due, up to about `most` units; how many went. */
typedef size_t run_purge(struct span *run, unsigned ticks, size_t most);

static size_t look_locked(struct look *look, run_purge *purge_locked, unsigned ticks,
                          struct runs_budget *budget, const struct span *spared)
{
    ASSERT(lock_is_held(&page_heap_lock));
    size_t purged = 0;
    struct span *run;

    while ((run = look_run_locked(look)) != NULL && budget->units > 0 && budget->looks > 0) {
        size_t now = 0;

        if (run != spared && may_be_due(run, ticks)) {
            now = purge_locked(run, ticks, budget->units);
        }
        purged += now;
        budget->units -= size_min(now, budget->units);
        budget->looks--;
        /* Of a run that was enough there may be more. */
        look->next = budget->units > 0 ? run->next : run;
    }
    budget->more = run != NULL;
    return purged;
}

size_t runs_purge_locked(unsigned ticks, struct runs_budget *budget, const struct span *spared)
{
    ASSERT(lock_is_held(&page_heap_lock));
    struct look *look = ticks < TICKS_PER_DECAY ? &look_for_less : &look_for_decay;
    bool goes_on = look_goes_on_locked(look, ticks);

    if (!goes_on) {
        look_begin_locked(look, ticks, 1);
    }
    size_t purged = look_locked(look, run_purge_locked, ticks, budget, spared);

    /* Where all that is free is to go, that is what the last look has gone by too. */
    if (goes_on && ticks == 0 && !budget->more) {
        look_begin_locked(look, ticks, 1);
        purged += look_locked(look, run_purge_locked, ticks, budget, spared);
    }
    return purged;
}

/* Units that were never used may have memory all the same: that of a huge page that others of them
 * brought. */
static bool huge_page_is_due(const uint8_t *history, unsigned ticks)
{
    for (size_t unit = 0; unit < HUGE_PAGE_UNITS; unit++) {
        if (history[unit] != UNIT_CLEAN && !is_due(history[unit], ticks)) {
            return false;
        }
    }
    return true;
}

/* The first of the run's huge pages that is due, however many of its units were in use: so many are
 * returned. */
static size_t run_purge_huge_locked(struct span *run, unsigned ticks, size_t most)
{
    ASSERT(lock_is_held(&page_heap_lock));
    ASSERT(most > 0);
    uint8_t *history = span_history(run);
    size_t start = span_address(run) / UNIT_BYTES;

    run->clean_units = (uint32_t)next_used(history, run->clean_units, run->units);
    size_t used_page = align_down(start + run->clean_units, HUGE_PAGE_UNITS);

    for (size_t first = size_max(align_up(start, HUGE_PAGE_UNITS), used_page) - start;
         first + HUGE_PAGE_UNITS <= run->units; first += HUGE_PAGE_UNITS) {
        size_t used = run_count_used(history + first, HUGE_PAGE_UNITS);

        if (used > 0 && huge_page_is_due(history + first, ticks) &&
            os_purge((char *)span_address(run) + first * UNIT_BYTES,
                     HUGE_PAGE_UNITS * UNIT_BYTES)) {
            memset(history + first, UNIT_CLEAN, HUGE_PAGE_UNITS);
            return used;
        }
    }
    return 0;
}

COLD size_t runs_purge_huge_locked(unsigned ticks, struct runs_budget *budget)
{
    ASSERT(lock_is_held(&page_heap_lock));
    struct look *look = &look_for_huge;

    if (!look_goes_on_locked(look, ticks)) {
        look_begin_locked(look, ticks, HUGE_PAGE_UNITS);
    }
    budget->units = 1; /* the first that goes is all */
    return look_locked(look, run_purge_huge_locked, ticks, budget, NULL);
}

/* Accounts */

size_t run_check_locked(const struct region *region, size_t unit, size_t *free_units,
                        size_t *used_units)
{
    ASSERT(lock_is_held(&page_heap_lock));
    const struct span *span = &region->spans[unit];

    if (span->state == SPAN_GAP) {
        return 1;
    }
    if (span->state == SPAN_NONE || span->units == 0 || span->region != region->index) {
        fatal("page heap: no run starts where the last one ends");
    }
    if (span->state == SPAN_FREE) {
        const struct span *last = span + span->units - 1;

        if (last->state != SPAN_FREE || last->units != span->units ||
            (unit > 0 && span[-1].state == SPAN_FREE)) {
            fatal("page heap: a free run is not whole or not joined");
        }
        *free_units += span->units;
        *used_units += run_count_used(span_history(span), span->units);
    }
    for (size_t inner = 1; span->state == SPAN_SLAB && inner < span->units; inner++) {
        if (span[inner].state != SPAN_SLAB || span[inner].slab != span->slab) {
            fatal("page heap: a slab's units are not all its own");
        }
    }
    return span->units;
}

void runs_check_shelves_locked(void)
{
    ASSERT(lock_is_held(&page_heap_lock));
    size_t units = 0;
    size_t count = 0;

    for (unsigned shelf = 0; shelf < SHELF_COUNT; shelf++) {
        const struct span *before = NULL;

        if ((shelves[shelf] != NULL) != (shelf_next_filled(shelf) == shelf)) {
            fatal("page heap: a shelf is filled and not known to be, or empty");
        }
        for (const struct span *run = shelves[shelf]; run != NULL; run = run->next) {
            if (run->state != SPAN_FREE || shelf_of(run->units) != shelf || run->prev != before) {
                fatal("page heap: a run is on the wrong shelf");
            }
            before = run;
            units += run->units;
            count++;
        }
    }
    if (units != run_totals.free_units || count != run_totals.free_runs) {
        fatal("page heap: shelves do not add up");
    }
}
