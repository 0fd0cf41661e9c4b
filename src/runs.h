/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* runs.h - free runs of units: found, split, joined, purged.
 *
 * The caller of a function named *_locked holds page_heap_lock. Which units are in use is known
 * from their histories (region.h), which are the caller's to keep, but for what the purges give
 * back.
 */
#ifndef BREAKWATER_RUNS_H
#define BREAKWATER_RUNS_H

#include "lock.h"
#include "region.h"

#define HUGE_PAGE_UNITS 32

/* Guards every free run and the accounts of the page heap. */
extern struct lock page_heap_lock;

/* Guarded by page_heap_lock. */
struct run_totals {
    /* Kept by runs.c. */
    size_t free_units;
    size_t free_runs;
    /* Kept by growth.c: got from the break and mapped regions. */
    size_t total_units;
    /* Kept by page_heap.c and growth.c. */
    size_t free_used_units; /* free units whose memory has not gone back */
    uint64_t purged_bytes;
};

extern struct run_totals run_totals;

/* The row behind [span, span + units), or NULL where the region ends. */
struct span *run_after(const struct region *region, struct span *span, size_t units);

/* The shortest free run, of many of a length the shortest of some, out of which `units` can be cut
 * that are aligned to `align_units` units, a power of two; or NULL. It stays free until
 * run_carve_locked(). */
struct span *run_find_locked(size_t units, size_t align_units);

/* Make [span, span + units) a free run. Its neighbours are not joined, and must not be free. */
void run_make_free_locked(struct span *span, size_t units, uint8_t region_index);

/* Take a free run off its shelf; no row of it tells that it was free, but its length stays. */
void run_take_locked(struct span *run);

/* Give back [span, span + units), joined with free neighbours. */
void run_release_locked(struct span *span, size_t units, uint8_t region_index);

/* The units of a run before the first one that is aligned to `align_units` units. */
size_t run_skip(const struct span *run, size_t align_units);

/* Cut `units`, aligned to `align_units`, out of the free run and hand them out in `state`; what is
 * left stays free. The run is long enough. */
struct span *run_carve_locked(struct span *run, size_t units, size_t align_units,
                              enum span_state state);

/* Note in its history that a run is free, and since when. */
void run_mark_freed(const struct span *span);

/* Those of the `units` from `history` on that are not clean. */
size_t run_count_used(const uint8_t *history, size_t units);

/* Note the time in the histories of units that are about to be freed, where they are not clean. */
void run_stamp(uint8_t *history, size_t units);

/* How much one call may do: units that go back, and free runs that are looked at, of which a heap
 * may have hundreds of thousands. What was not needed is left; `more` says whether there are runs
 * that it was not enough for. */
struct runs_budget {
    size_t units;
    size_t looks;
    bool more;
};

/* Give the memory behind units back that have been free for `ticks`, but for the run `spared`
 * (NULL: for none). Returns how many units were in use and went back. */
size_t runs_purge_locked(unsigned ticks, struct runs_budget *budget, const struct span *spared);

/* The same for one whole huge page, none of whose units was freed later, whatever budget.units was.
 */
size_t runs_purge_huge_locked(unsigned ticks, struct runs_budget *budget);

/* The length of the run or gap that starts at `unit`; its free units are added to *free_units, and
 * those of them whose memory has not gone back to *used_units. Panics if no run starts there. */
size_t run_check_locked(const struct region *region, size_t unit, size_t *free_units,
                        size_t *used_units);

/* Panics unless every free run is on its shelf, and they add up. */
void runs_check_shelves_locked(void);

#endif
