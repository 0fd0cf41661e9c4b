/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* runs.c - the free runs of the page heap.
 *
 * Free runs are kept in bins by length: one bin a length up to EXACT_UNITS, four bins a doubling
 * above; a bitmap of the bins that hold something makes the search a few instructions. A freed run
 * is joined with free neighbours at once, through the span rows of its first and last unit.
 *
 * Owns         the free runs, and the states and lengths in all span rows.
 * Invariants   no two free runs touch; a run lies in one region.
 * Concurrency  the caller holds the page heap's lock, but for the history of a run of its own.
 * Called by    page_heap.c.
 */
#include "runs.h"

#include <string.h>

#include "os.h"
#include "tick.h"

enum {
    EXACT_UNITS = 64,
    BINS_PER_DOUBLING = 4,
    BIN_COUNT = EXACT_UNITS + BINS_PER_DOUBLING * 26,
    BIN_WORDS = (BIN_COUNT + BITS_PER_WORD - 1) / BITS_PER_WORD,
    TICKS_MASK = UINT8_MAX >> UNIT_HISTORY_BITS,
};

struct run_totals run_totals;

static struct span *bins[BIN_COUNT];
static uint64_t bins_filled[BIN_WORDS];

static unsigned bin_of(size_t units)
{
    if (units <= EXACT_UNITS) {
        return (unsigned)units - 1;
    }
    unsigned power = 63U - (unsigned)__builtin_clzll(units);
    unsigned quarter = (unsigned)(units >> (power - 2)) & 3U;
    unsigned bin = EXACT_UNITS + (power - 6) * BINS_PER_DOUBLING + quarter;

    return bin < BIN_COUNT ? bin : BIN_COUNT - 1;
}

struct span *run_after(const struct region *region, struct span *span, size_t units)
{
    size_t unit = (size_t)(span - region->spans) + units;

    return unit < region_units(region) ? &region->spans[unit] : NULL;
}

/* Bins */

static void bin_insert(struct span *run)
{
    unsigned bin = bin_of(run->units);

    run->prev = NULL;
    run->next = bins[bin];
    if (run->next != NULL) {
        run->next->prev = run;
    }
    bins[bin] = run;
    bins_filled[bin / BITS_PER_WORD] |= UINT64_C(1) << (bin % BITS_PER_WORD);
    run_totals.free_units += run->units;
    run_totals.free_runs++;
}

static void bin_remove(struct span *run)
{
    unsigned bin = bin_of(run->units);

    if (run->next != NULL) {
        run->next->prev = run->prev;
    }
    if (run->prev != NULL) {
        run->prev->next = run->next;
    } else {
        bins[bin] = run->next;
    }
    if (bins[bin] == NULL) {
        bins_filled[bin / BITS_PER_WORD] &= ~(UINT64_C(1) << (bin % BITS_PER_WORD));
    }
    run_totals.free_units -= run->units;
    run_totals.free_runs--;
}

/* The first filled bin at or after `bin`, or BIN_COUNT. */
static unsigned bin_next_filled(unsigned bin)
{
    return bitmap_next(bins_filled, BIN_COUNT, bin);
}

static struct span *bin_best_fit(unsigned bin, size_t units)
{
    struct span *best = NULL;

    for (struct span *run = bins[bin]; run != NULL; run = run->next) {
        if (run->units >= units && (best == NULL || run->units < best->units)) {
            best = run;
        }
        if (best != NULL && best->units == units) {
            break;
        }
    }
    return best;
}

struct span *run_find(size_t units)
{
    struct span *best = NULL;

    for (unsigned bin = bin_next_filled(bin_of(units)); bin < BIN_COUNT && best == NULL;
         bin = bin_next_filled(bin + 1)) {
        best = bin_best_fit(bin, units);
    }
    return best;
}

/* Runs */

/* Make [span, span + units) a free run; its neighbours are not joined. */
void run_make_free(struct span *span, size_t units, uint8_t region)
{
    struct span *last = span + units - 1;

    *last = (struct span){.state = SPAN_FREE, .units = (uint32_t)units, .region = region};
    *span = (struct span){.state = SPAN_FREE, .units = (uint32_t)units, .region = region};
    bin_insert(span);
}

/* Take a free run out of its bin; no row of it tells that it was free. */
void run_take(struct span *run)
{
    bin_remove(run);
    run[run->units - 1].state = SPAN_NONE;
    run->state = SPAN_NONE;
}

/* Give back [span, span + units), joined with free neighbours. */
void run_release(struct span *span, size_t units, uint8_t region_index)
{
    struct region *region = region_by_index(region_index);
    struct span *after = run_after(region, span, units);

    span->state = SPAN_NONE;
    if (after != NULL && after->state == SPAN_FREE) {
        run_take(after);
        units += after->units;
    }
    if (span != region->spans && span[-1].state == SPAN_FREE) {
        struct span *before = span - span[-1].units;

        run_take(before);
        units += before->units;
        span = before;
    }
    run_make_free(span, units, region_index);
}

/* Cut `units` out of the free run and hand it out; what is left stays free. */
struct span *run_carve(struct span *run, size_t units, size_t align_units, enum span_state state)
{
    size_t run_units = run->units;
    uint8_t region = run->region;
    size_t address_units = span_address(run) >> UNIT_SHIFT;
    size_t skip = align_up(address_units, align_units) - address_units;
    struct span *span = run + skip;
    size_t rest = run_units - skip - units;

    run_take(run);
    if (skip > 0) {
        run_make_free(run, skip, region);
    }
    if (rest > 0) {
        run_make_free(span + units, rest, region);
    }
    *span = (struct span){
        .state = (uint8_t)state,
        .units = (uint32_t)units,
        .region = region,
    };
    return span;
}

/* History */

/* Units that are not clean. */
size_t run_count_used(const uint8_t *history, size_t units)
{
    size_t used = 0;

    for (size_t unit = 0; unit < units; unit++) {
        used += history[unit] != UNIT_CLEAN;
    }
    return used;
}

/* What is in use is stamped with the time it is freed. */
void run_stamp(uint8_t *history, size_t units)
{
    uint8_t tick = (uint8_t)(tick_now() << UNIT_HISTORY_BITS);

    for (size_t unit = 0; unit < units; unit++) {
        if (history[unit] != UNIT_CLEAN) {
            history[unit] = (uint8_t)((history[unit] & UNIT_HISTORY_MASK) | tick);
        }
    }
}

/* Purging */

/* Not clean, and free for `ticks`. */
static bool is_due(uint8_t history, unsigned ticks)
{
    unsigned age = (unsigned)(tick_now() - (history >> UNIT_HISTORY_BITS)) & TICKS_MASK;

    return history != UNIT_CLEAN && age >= ticks;
}

/* The units of the run that have been free for `ticks`, up to `most` of them. */
static size_t run_purge(struct span *run, unsigned ticks, size_t most)
{
    uint8_t *history = span_history(run);
    char *memory = (char *)span_address(run);
    size_t purged = 0;
    size_t first = 0;

    while (first < run->units && purged < most) {
        size_t end = first;

        while (end < run->units && end - first < most - purged && is_due(history[end], ticks)) {
            end++;
        }
        if (end > first && os_purge(memory + first * UNIT_BYTES, (end - first) * UNIT_BYTES)) {
            memset(history + first, UNIT_CLEAN, end - first);
            purged += end - first;
        }
        first = end + 1;
    }
    run_totals.free_used_units -= purged;
    return purged;
}

size_t runs_purge(unsigned ticks, size_t most, const struct span *spared)
{
    size_t purged = 0;

    for (unsigned bin = bin_next_filled(0); bin < BIN_COUNT && purged < most;
         bin = bin_next_filled(bin + 1)) {
        for (struct span *run = bins[bin]; run != NULL && purged < most; run = run->next) {
            if (run != spared) {
                purged += run_purge(run, ticks, most - purged);
            }
        }
    }
    return purged;
}

/* Accounts */

/* The length of the run or gap that starts at `unit`; its free units are added to *free_units, and
 * those of them whose memory has not gone back to *used_units. */
size_t run_check(const struct region *region, size_t unit, size_t *free_units, size_t *used_units)
{
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
    return span->units;
}
