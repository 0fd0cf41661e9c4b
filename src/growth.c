/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* growth.c - where the heap's memory comes from, and what of it goes altogether.
 *
 * The break is raised when nothing free is long enough; where it cannot be, a region is mapped.
 * What is free at the top of the break, and regions that are free as a whole, go back as address
 * space. The program may move the break too: upwards, which leaves a gap, or down below our top.
 *
 * Owns         run_totals.total_units.
 * Concurrency  the caller holds page_heap_lock; the break's and meta's locks are taken under it.
 * Called by    page_heap.c; arena.c and large.c ask how large the heap is.
 */
#include "growth.h"

#include "break.h"
#include "conf.h"
#include "os.h"

enum {
    GROW_UNITS_LEAST = 16,
    GROW_UNITS_MOST = 1024,
    GROW_SHARE = 64, /* the heap grows by this part of itself */
    REGION_UNITS_LEAST = 16,
    REGION_UNITS_MOST = 16384, /* as long as there are not */
    REGIONS_MANY = 128,
    LOWER_UNITS_LEAST = 64, /* the break is lowered for, as time goes by */
};

static _Atomic size_t heap_bytes; /* of run_totals.total_units, to be read with no lock */

static size_t seen_units; /* run_totals.total_units at the last growth_take_locked(), or less */

/* Since the break last grew, others lowered it to here; 0: they did not. */
static uintptr_t cut_off_end;

static void total_set_locked(size_t units)
{
    ASSERT(lock_is_held(&page_heap_lock));
    run_totals.total_units = units;
    seen_units = size_min(seen_units, units);
    /* Relaxed: nothing is read on the strength of it. */
    atomic_store_explicit(&heap_bytes, units * UNIT_BYTES, memory_order_relaxed);
}

size_t growth_heap_bytes(void)
{
    return atomic_load_explicit(&heap_bytes, memory_order_relaxed);
}

size_t growth_take_locked(void)
{
    ASSERT(lock_is_held(&page_heap_lock));
    size_t grown = run_totals.total_units - seen_units;

    seen_units = run_totals.total_units;
    return grown * UNIT_BYTES;
}

static void advise_huge_pages(uintptr_t start, size_t bytes)
{
    if (conf.thp != THP_AUTO) {
        os_advise_huge_pages((void *)start, bytes, conf.thp == THP_ALWAYS);
    }
}

/* The break */

size_t growth_top_unit(void)
{
    uintptr_t top = break_top();

    return top > region_base(&region_primary) ? region_unit_of(&region_primary, top) : 0;
}

struct span *growth_top_run_locked(void)
{
    ASSERT(lock_is_held(&page_heap_lock));
    size_t end = growth_top_unit();

    /* Above the rows: memory was got there that none could be made for, and given back again. */
    if (end == 0 || end > region_units(&region_primary)) {
        return NULL;
    }
    struct span *last = &region_primary.spans[end - 1];

    return last->state == SPAN_FREE ? last - (last->units - 1) : NULL;
}

/* By how much to grow where `units` are needed. */
static size_t grow_step_locked(size_t units)
{
    ASSERT(lock_is_held(&page_heap_lock));
    size_t step =
        size_min(size_max(run_totals.total_units / GROW_SHARE, GROW_UNITS_LEAST), GROW_UNITS_MOST);
    size_t top = align_up(size_max(break_top(), os_break()), UNIT_BYTES) / UNIT_BYTES;

    step = size_max(units, step);
    /* The kernel has a huge page only where all of it is ours at the first touch. */
    return conf.thp == THP_ALWAYS ? align_up(top + step, HUGE_PAGE_UNITS) - top : step;
}

static void mark_gap_locked(size_t first, size_t end)
{
    ASSERT(lock_is_held(&page_heap_lock));
    for (size_t unit = first; unit < end; unit++) {
        region_primary.spans[unit].state = SPAN_GAP;
    }
}

static void forget_cut_off_locked(uintptr_t intact_end, size_t end);

/* Memory from the break that there are rows for; 0 bytes: none. */
static struct break_extent raise_locked(size_t units)
{
    ASSERT(lock_is_held(&page_heap_lock));
    size_t top = growth_top_unit();
    uintptr_t ours = cut_off_end != 0 ? cut_off_end : break_top();
    struct break_extent extent = break_grow(units * UNIT_BYTES);

    if (extent.bytes == 0) {
        return extent;
    }
    if (extent.start < ours) {
        /* Others lowered the break since growth_notice_moves_locked(). */
        forget_cut_off_locked(extent.start, size_min(top, region_units(&region_primary)));
    }
    cut_off_end = 0;
    if (!region_add_break(extent.start, extent.bytes)) {
        (void)break_lower(extent.start);
        extent.bytes = 0;
    }
    /* What lies between our top and memory that follows on it is somebody else's. */
    mark_gap_locked(top, size_min(region_unit_of(&region_primary, extent.start),
                                  region_units(&region_primary)));
    return extent;
}

bool growth_raise_break_locked(size_t units)
{
    ASSERT(lock_is_held(&page_heap_lock));
    if (region_primary_disabled) {
        return false;
    }
    size_t wish = grow_step_locked(units);
    struct break_extent extent = raise_locked(wish);

    /* There may be room for what is needed, and rows. */
    if (extent.bytes == 0 && wish > units) {
        extent = raise_locked(units);
    }
    if (extent.bytes == 0) {
        return false;
    }
    advise_huge_pages(extent.start, extent.bytes);
    total_set_locked(run_totals.total_units + extent.bytes / UNIT_BYTES);
    run_release_locked(&region_primary.spans[region_unit_of(&region_primary, extent.start)],
                       extent.bytes / UNIT_BYTES, region_primary.index);
    return true;
}

/* The end of a free run of the break is no longer ours: all but its first `kept` units. Returns how
 * many units in use are lost. Their history still tells who frees a block there again, until
 * region_add_break(). */
COLD static size_t cut_off_locked(struct span *run, size_t kept)
{
    ASSERT(lock_is_held(&page_heap_lock));
    size_t lost = run->units - kept;
    size_t used = run_count_used(span_history(run) + kept, lost);

    run_take_locked(run);
    if (kept > 0) {
        run_make_free_locked(run, kept, region_primary.index);
    }
    run_totals.free_used_units -= used;
    total_set_locked(run_totals.total_units - lost);
    return used;
}

/* Above the top no row says anything: those of a long run, of which most were never written, need
 * no memory for that. */
COLD void growth_lower_break_locked(size_t pad_units)
{
    ASSERT(lock_is_held(&page_heap_lock));
    struct span *run = growth_top_run_locked();

    if (run != NULL && run->units > pad_units &&
        break_lower(span_address(run) + pad_units * UNIT_BYTES)) {
        run_totals.purged_bytes += cut_off_locked(run, pad_units) * UNIT_BYTES;
    }
}

static void lower_clean_locked(void)
{
    ASSERT(lock_is_held(&page_heap_lock));
    struct span *run = growth_top_run_locked();

    if (run == NULL) {
        return;
    }
    const uint8_t *history = span_history(run);
    size_t kept = run->units;

    while (kept > 0 && history[kept - 1] == UNIT_CLEAN) {
        kept--;
    }
    kept = size_max(kept, grow_step_locked(0));
    if (run->units >= kept + LOWER_UNITS_LEAST) {
        growth_lower_break_locked(kept);
    }
}

/* Moves of the break by others */

/* Somebody lowered the break below our top: free runs that were cut off, and gaps between them, are
 * forgotten. What the program still holds there is lost, and going on would hand out its
 * neighbours. */
COLD static void forget_cut_off_locked(uintptr_t intact_end, size_t end)
{
    ASSERT(lock_is_held(&page_heap_lock));
    size_t first = region_unit_of(&region_primary, intact_end);

    while (end > first) {
        struct span *last = &region_primary.spans[end - 1];

        if (last->state == SPAN_FREE) {
            struct span *run = last - (last->units - 1);
            size_t start = span_unit(run);
            size_t kept = start < first ? first - start : 0;

            (void)cut_off_locked(run, kept);
            mark_gap_locked(start + kept, end);
            end = start + kept;
        } else if (last->state == SPAN_GAP) {
            end--;
        } else {
            fatal_at("the program lowered the break below blocks in use, to", intact_end);
        }
    }
}

void growth_notice_moves_locked(void)
{
    ASSERT(lock_is_held(&page_heap_lock));
    uintptr_t top = break_top();
    uintptr_t intact_end = break_intact_end();

    if (intact_end >= top || (cut_off_end != 0 && intact_end >= cut_off_end)) {
        return;
    }
    forget_cut_off_locked(intact_end, size_min(growth_top_unit(), region_units(&region_primary)));
    cut_off_end = intact_end;
}

/* Mapped regions */

COLD static struct region *map_region_locked(size_t units)
{
    ASSERT(lock_is_held(&page_heap_lock));
    struct region *region = NULL;
    size_t regions;
    size_t bytes;

    region_mapped(&regions, &bytes);
    /* There are not so many places for regions that small ones may take them all. */
    size_t most = regions < REGIONS_MANY ? REGION_UNITS_MOST : SIZE_MAX;
    size_t wish = size_min(size_max(run_totals.total_units, REGION_UNITS_LEAST), most);

    for (; region == NULL && wish > units; wish /= 2) {
        region = region_map(wish);
    }
    return region != NULL ? region : region_map(units);
}

/* Unmap the region if all of it is free, and no more than so many of its units have memory behind
 * them; whether it was. */
static bool unmap_if_free_locked(struct region *region, size_t most_used)
{
    ASSERT(lock_is_held(&page_heap_lock));
    size_t units = region_units(region);
    struct span *run = region->spans;

    if (units == 0 || run->state != SPAN_FREE || run->units != units) {
        return false;
    }
    size_t used = run_count_used(region->history, units);

    if (used > most_used) {
        return false;
    }
    run_totals.free_used_units -= used;
    run_totals.purged_bytes += used * UNIT_BYTES;
    run_take_locked(run);
    total_set_locked(run_totals.total_units - units);
    region_unmap(region);
    return true;
}

static bool unmap_all_locked(size_t most_used)
{
    ASSERT(lock_is_held(&page_heap_lock));
    bool any = false;

    for (struct region *region = region_next(&region_primary); region != NULL;
         region = region_next(region)) {
        any |= unmap_if_free_locked(region, most_used);
    }
    return any;
}

bool growth_unmap_free_locked(void)
{
    ASSERT(lock_is_held(&page_heap_lock));
    return unmap_all_locked(SIZE_MAX);
}

void growth_give_up_clean_locked(void)
{
    ASSERT(lock_is_held(&page_heap_lock));
    lower_clean_locked();
    (void)unmap_all_locked(0);
}

static bool grow_region_locked(size_t units)
{
    ASSERT(lock_is_held(&page_heap_lock));
    struct region *region = map_region_locked(units);

    /* Regions that are free but too short take up places, and may take up address space. */
    if (region == NULL && growth_unmap_free_locked()) {
        region = map_region_locked(units);
    }
    if (region == NULL) {
        return false;
    }
    size_t got = region_units(region);

    advise_huge_pages(region_base(region), got * UNIT_BYTES);
    total_set_locked(run_totals.total_units + got);
    run_release_locked(region->spans, got, region->index);
    return true;
}

/* Both */

static bool grow_at_break_locked(size_t units)
{
    ASSERT(lock_is_held(&page_heap_lock));
    struct span *top_run = growth_top_run_locked();
    size_t have = top_run != NULL ? top_run->units : 0;

    ASSERT(have < units);
    /* The second attempt is for a break that somebody else moved: the new memory does not follow on
     * the free run at the top then, and has to be as long as the request itself. */
    return growth_raise_break_locked(units - have) &&
           (run_find_locked(units, 1) != NULL || growth_raise_break_locked(units));
}

bool growth_get_locked(size_t units)
{
    ASSERT(lock_is_held(&page_heap_lock));
    if (units > UINT32_MAX) {
        return false;
    }
    return grow_at_break_locked(units) || (region_give_up_rows() && grow_at_break_locked(units)) ||
           grow_region_locked(units);
}

void growth_check_locked(void)
{
    ASSERT(lock_is_held(&page_heap_lock));
    if (growth_heap_bytes() != run_totals.total_units * UNIT_BYTES ||
        seen_units > run_totals.total_units) {
        fatal("growth: the size of the heap is not what its runs come to");
    }
}
