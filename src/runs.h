/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* runs.h - free runs of units: found, split, joined, purged.
 *
 * The caller holds the page heap's lock. What goes back to the kernel and what is in use is known
 * from the history of each unit (region.h); run_totals.free_used_units is the caller's to keep when
 * a run comes or goes, and runs_purge()'s.
 */
#ifndef BREAKWATER_RUNS_H
#define BREAKWATER_RUNS_H

#include "region.h"

struct run_totals {
    size_t free_units;
    size_t free_runs;
    size_t free_used_units; /* whose memory has not been given back */
};

/* Guarded by the page heap's lock. */
extern struct run_totals run_totals;

/* The row behind [span, span + units), or NULL where the region ends. */
struct span *run_after(const struct region *region, struct span *span, size_t units);

/* The shortest free run of at least `units`, or NULL. */
struct span *run_find(size_t units);

/* Make [span, span + units) a free run; its neighbours are not joined. */
void run_make_free(struct span *span, size_t units, uint8_t region);

/* Take a free run out of its bin; no row of it tells that it was free. */
void run_take(struct span *run);

/* Give back [span, span + units), joined with free neighbours. */
void run_release(struct span *span, size_t units, uint8_t region_index);

/* Cut `units`, aligned to `align_units`, out of the free run and hand them out in `state`; what is
 * left stays free. It is long enough. */
struct span *run_carve(struct span *run, size_t units, size_t align_units, enum span_state state);

/* Units that are not clean. */
size_t run_count_used(const uint8_t *history, size_t units);

/* What is in use is stamped with the time it is freed. */
void run_stamp(uint8_t *history, size_t units);

/* Give the memory behind up to `most` units back that have been free for `ticks`, but for the run
 * `spared` (NULL: for none). Returns how many units were in use and went back. */
size_t runs_purge(unsigned ticks, size_t most, const struct span *spared);

/* The length of the run or gap that starts at `unit`; its free units are added to *free_units, and
 * those of them whose memory has not gone back to *used_units. Panics if no run starts there. */
size_t run_check(const struct region *region, size_t unit, size_t *free_units, size_t *used_units);

#endif
