/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_runs.c - free runs are found, cut, joined and purged, here in a mapped region of their own.
 */
#include "support.h"

#include <string.h>

#include "runs.h"
#include "tick.h"

enum { UNITS = 64, PATTERN = 0x5a };

/* A region all of which is one free run; the page heap's lock is held from now on. */
static struct region *free_region_of(size_t units)
{
    lock_acquire(&page_heap_lock);
    struct region *region = region_map(units);

    assert_non_null(region);
    run_release_locked(region->spans, units, region->index);
    return region;
}

static struct region *free_region(void)
{
    return free_region_of(UNITS);
}

static struct span *carve(size_t units)
{
    struct span *run = run_find_locked(units, 1);

    assert_non_null(run);
    return run_carve_locked(run, units, 1, SPAN_LARGE);
}

/* Behind it lies a unit that stays: it is joined with nothing that follows. */
static struct span *carve_apart(size_t units)
{
    struct span *run = carve(units);

    (void)carve(1);
    return run;
}

static void give_back(struct span *run)
{
    run_release_locked(run, run->units, run->region);
}

static void give_all_back(struct span *const *runs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        give_back(runs[i]);
    }
}

/* As one that was handed out and freed. */
static void make_used(const struct span *run)
{
    memset((char *)span_address(run), PATTERN, run->units * UNIT_BYTES);
    memset(span_history(run), UNIT_USED, run->units);
}

static size_t resident_from(const struct span *run, size_t first, size_t units)
{
    return resident_pages((char *)span_address(run) + first * UNIT_BYTES, units * UNIT_BYTES);
}

static size_t resident(const struct span *run, size_t units)
{
    return resident_from(run, 0, units);
}

static void a_region_is_one_free_run(void **state)
{
    struct region *region = free_region();

    (void)state;
    assert_int_equal(run_totals.free_units, UNITS);
    assert_int_equal(run_totals.free_runs, 1);
    assert_ptr_equal(run_find_locked(UNITS, 1), region->spans);
    assert_null(run_find_locked(UNITS + 1, 1));
    assert_ptr_equal(run_after(region, region->spans, UNITS - 1), &region->spans[UNITS - 1]);
    assert_null(run_after(region, region->spans, UNITS));
}

static void the_shortest_run_that_is_long_enough_is_found(void **state)
{
    struct span *runs[5];

    (void)state;
    (void)free_region();
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
        runs[i] = carve_apart(4 + i);
    }
    give_all_back(runs, ARRAY_SIZE(runs));
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
        assert_ptr_equal(run_find_locked(4 + i, 1), runs[i]);
    }
    run_take_locked(runs[2]);
    assert_ptr_equal(run_find_locked(6, 1), runs[3]);
}

static void what_is_cut_out_aligned_leaves_both_sides_free(void **state)
{
    struct region *region = free_region();
    struct span *first = carve(1);
    size_t free_units = run_totals.free_units;

    (void)state;
    struct span *run = run_carve_locked(run_find_locked(32, 1), 2, 16, SPAN_META);

    assert_int_equal(span_address(run) % (16 * UNIT_BYTES), 0);
    assert_int_equal(run->state, SPAN_META);
    assert_int_equal(run->units, 2);
    assert_int_equal(run_totals.free_units, free_units - 2);
    size_t before = (size_t)(run - first) - 1;
    size_t behind = region_units(region) - (size_t)(run - region->spans) - 2;

    assert_int_equal(run_totals.free_runs, (before > 0) + (behind > 0));
    assert_int_equal(before + behind, free_units - 2);
}

static void a_run_that_lies_well_need_be_no_longer(void **state)
{
    (void)state;
    (void)free_region();
    struct span *run = run_carve_locked(run_find_locked(16, 16), 16, 16, SPAN_LARGE);

    while (run_totals.free_units > 0) {
        (void)carve(1);
    }
    assert_null(run_find_locked(16, 16));
    give_back(run);
    assert_ptr_equal(run_find_locked(16, 16), run);
    assert_ptr_equal(run_carve_locked(run, 16, 16, SPAN_LARGE), run);
    assert_int_equal(run_totals.free_units, 0);
}

static void neighbours_are_joined(void **state)
{
    struct region *region = free_region();
    struct span *runs[3] = {carve(2), carve(3), carve(UNITS - 5)};

    (void)state;
    assert_int_equal(run_totals.free_runs, 0);
    give_back(runs[0]);
    give_back(runs[2]);
    assert_int_equal(run_totals.free_runs, 2);
    give_back(runs[1]);
    assert_int_equal(run_totals.free_runs, 1);
    assert_ptr_equal(run_find_locked(UNITS, 1), region->spans);
}

/* With as many looks as it takes. */
static size_t purge(unsigned ticks, size_t most, const struct span *spared)
{
    struct runs_budget budget = {.units = most, .looks = SIZE_MAX};
    size_t purged = runs_purge_locked(ticks, &budget, spared);

    assert_int_equal(budget.units, most - purged);
    return purged;
}

static size_t purge_huge(unsigned ticks)
{
    struct runs_budget budget = {.looks = SIZE_MAX};

    return runs_purge_huge_locked(ticks, &budget);
}

static size_t purge_at_looks(unsigned ticks, size_t looks)
{
    struct runs_budget budget = {.units = SIZE_MAX, .looks = looks};
    size_t purged = runs_purge_locked(ticks, &budget, NULL);

    assert_int_equal(budget.looks, 0);
    return purged;
}

static void a_purge_spares_one_run_and_stops_at_the_most(void **state)
{
    struct span *runs[3];

    (void)state;
    (void)free_region();
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
        runs[i] = carve_apart(4);
        make_used(runs[i]);
    }
    give_all_back(runs, ARRAY_SIZE(runs));
    size_t pages = resident(runs[0], 4);

    assert_int_equal(purge(0, 3, runs[0]), 3);
    assert_int_equal(purge(0, SIZE_MAX, runs[0]), 5);
    assert_int_equal(purge(0, SIZE_MAX, runs[0]), 0);
    assert_int_equal(resident(runs[1], 4) + resident(runs[2], 4), 0);
    assert_int_equal(resident(runs[0], 4), pages);
    assert_int_equal(purge(0, SIZE_MAX, NULL), 4);
    assert_int_equal(resident(runs[0], 4), 0);
}

static void a_purge_of_all_comes_back_to_what_it_had_passed(void **state)
{
    struct span *shorter;
    struct span *longer;

    (void)state;
    (void)free_region();
    shorter = carve_apart(2);
    longer = carve_apart(4);
    make_used(shorter);
    make_used(longer);
    give_back(longer);
    assert_int_equal(purge(0, 1, NULL), 1);
    /* Of a length that the look has passed. First it goes on: runs are many. */
    give_back(shorter);
    assert_int_equal(purge(0, 1, NULL), 1);
    assert_int_equal(run_count_used(span_history(shorter), 2), 2);
    assert_int_equal(run_count_used(span_history(longer), 4), 2);
    assert_int_equal(purge(0, SIZE_MAX, NULL), 2 + 2);
}

/* Of a heap with many free runs a little at a time, whoever else looks in between. */
static void a_purge_goes_on_at_the_run_where_it_stopped(void **state)
{
    enum { RUNS = 6 };
    struct span *runs[RUNS];

    (void)state;
    (void)free_region();
    for (size_t i = 0; i < RUNS; i++) {
        runs[i] = carve_apart(2 + i % 2);
        make_used(runs[i]);
        run_mark_freed(runs[i]);
    }
    give_all_back(runs, RUNS);
    let_ticks_pass(TICKS_PER_DECAY);
    /* Three of each length, and the rest of the region. */
    assert_int_equal(purge_at_looks(TICKS_PER_DECAY, 2), 2 + 2);
    assert_int_equal(purge_at_looks(TICKS_PER_DECAY, 2), 2 + 3);
    /* Those that have gone are looked at again, and one more. */
    assert_int_equal(purge_at_looks(1, 4), 0);
    assert_int_equal(purge_at_looks(1, 1), 3);
    assert_int_equal(purge_at_looks(TICKS_PER_DECAY, 2), 3);
    assert_int_equal(purge_at_looks(TICKS_PER_DECAY, 1), 0);
    struct runs_budget budget = {.units = 1, .looks = 10};

    assert_int_equal(runs_purge_locked(TICKS_PER_DECAY, &budget, NULL), 0);
    /* It begins anew, and sees all. */
    assert_int_equal(budget.looks, 10 - (RUNS + 1));
    /* Of all that is free, too. */
    assert_int_equal(purge_at_looks(0, 2), 0);
    assert_int_equal(purge_at_looks(0, 2), 0);
    assert_int_equal(purge(0, 1, NULL), 0);
}

/* What it has gone by had not been free for as long as it looked for. */
static void a_purge_of_what_is_free_for_less_begins_anew(void **state)
{
    enum { RUNS = 3 };
    struct span *runs[RUNS];

    (void)state;
    (void)free_region();
    for (size_t i = 0; i < RUNS; i++) {
        runs[i] = carve_apart(2);
        make_used(runs[i]);
        run_mark_freed(runs[i]);
    }
    give_all_back(runs, RUNS);
    let_ticks_pass(1);
    assert_int_equal(purge_at_looks(2, 2), 0);
    assert_int_equal(purge(1, SIZE_MAX, NULL), RUNS * 2);
}

/* In a region that is free but for it and a unit behind. */
static struct span *used_run_of_four(void)
{
    (void)free_region();
    struct span *run = carve_apart(4);

    make_used(run);
    return run;
}

static void a_purge_goes_on_in_the_run_where_it_stopped(void **state)
{
    enum { TICKS = 1 };
    struct span *run = used_run_of_four();

    (void)state;
    run_stamp(span_history(run), 4);
    give_back(run);
    let_ticks_pass(TICKS);
    assert_int_equal(purge(TICKS, 2, NULL), 2);
    assert_int_equal(purge(TICKS, 1, NULL), 1);
    /* What went is not passed by once more. */
    assert_int_equal(run->clean_units, 3);
    assert_int_equal(purge(TICKS, 3, NULL), 1);
    assert_int_equal(run->clean_units, 4);
    assert_int_equal(purge(TICKS, 3, NULL), 0);
}

static void a_purge_waits_for_the_time_that_was_stamped(void **state)
{
    struct span *run = used_run_of_four();

    (void)state;
    memset(span_history(run), UNIT_CLEAN, 1);
    assert_int_equal(run_count_used(span_history(run), 4), 3);
    tick_advance();
    run_stamp(span_history(run), 4);
    assert_int_equal(run_count_used(span_history(run), 4), 3);
    give_back(run);
    assert_int_equal(purge(1, SIZE_MAX, NULL), 0);
    tick_advance();
    assert_int_equal(purge(1, SIZE_MAX, NULL), 3);
}

/* Eight units at a time, and what is left: wherever a run begins, however long it is. */
static void each_unit_is_counted_and_stamped_by_itself(void **state)
{
    enum { ALL = 40, LONGEST = 20, OLD_TICK = 3, TICK = OLD_TICK + 1 };
    static const uint8_t kinds[] = {UNIT_CLEAN, UNIT_USED, UNIT_FREED,
                                    UNIT_USED | OLD_TICK << UNIT_HISTORY_BITS,
                                    (uint8_t)(UNIT_FREED | ~UNIT_HISTORY_MASK)};

    (void)state;
    let_ticks_pass((uint8_t)(TICK - tick_now()));
    for (size_t first = 0; first < LONGEST; first++) {
        for (size_t units = 0; units <= LONGEST; units++) {
            uint8_t history[ALL];
            size_t used = 0;

            for (size_t unit = 0; unit < ALL; unit++) {
                history[unit] = kinds[(unit + units) % ARRAY_SIZE(kinds)];
                used += unit - first < units && history[unit] != UNIT_CLEAN;
            }
            assert_int_equal(run_count_used(history + first, units), used);
            run_stamp(history + first, units);
            for (size_t unit = 0; unit < ALL; unit++) {
                uint8_t before = kinds[(unit + units) % ARRAY_SIZE(kinds)];
                bool is_stamped = unit - first < units && before != UNIT_CLEAN;

                assert_int_equal(history[unit], is_stamped ? (before & UNIT_HISTORY_MASK) |
                                                                 TICK << UNIT_HISTORY_BITS
                                                           : before);
            }
        }
    }
}

/* What is not due is not looked through again and again. */
static void a_run_is_looked_at_once_a_tick(void **state)
{
    (void)state;
    (void)free_region_of(20);
    struct span *run = carve_apart(4);

    make_used(run);
    run_mark_freed(run);
    give_back(run);
    assert_int_equal(purge(2, SIZE_MAX, NULL), 0);
    /* Nobody may do so: it shows that nobody looks. */
    span_history(run)[0] = (uint8_t)((uint8_t)(tick_now() - 2) << UNIT_HISTORY_BITS | UNIT_USED);
    assert_int_equal(purge(2, SIZE_MAX, NULL), 0);
    assert_int_equal(purge(3, SIZE_MAX, NULL), 0);
    tick_advance();
    assert_int_equal(purge(2, SIZE_MAX, NULL), 1);
    /* For units that have been free for less there may be more. */
    assert_int_equal(purge(1, SIZE_MAX, NULL), 3);
    assert_int_equal(purge(0, SIZE_MAX, NULL), 0);
    /* A run that it becomes a part of is another one. */
    struct span *part = carve(2);

    make_used(part);
    run_mark_freed(part);
    give_back(part);
    assert_int_equal(purge(0, SIZE_MAX, NULL), 2);
}

/* The first unit of the run where a huge page begins. */
static size_t first_huge(const struct span *run)
{
    size_t unit = span_address(run) / UNIT_BYTES;

    return align_up(unit, HUGE_PAGE_UNITS) - unit;
}

/* `units` of the run from `first` on, as freed just now. */
static void use_units(const struct span *run, size_t first, size_t units)
{
    memset((char *)span_address(run) + first * UNIT_BYTES, PATTERN, units * UNIT_BYTES);
    memset(span_history(run) + first, UNIT_FREED, units);
    run_stamp(span_history(run) + first, units);
}

static void huge_pages_are_purged_whole_one_at_a_time(void **state)
{
    enum { HUGE_PAGES = 4, FEW = 5 };

    (void)state;
    (void)free_region_of((HUGE_PAGES + 1) * (size_t)HUGE_PAGE_UNITS);
    struct span *run = carve((HUGE_PAGES + 1) * (size_t)HUGE_PAGE_UNITS);
    size_t first = first_huge(run);
    size_t last = first + (size_t)(HUGE_PAGES - 1) * HUGE_PAGE_UNITS;

    use_units(run, first, HUGE_PAGE_UNITS);
    use_units(run, last, FEW);
    tick_advance();
    use_units(run, first + HUGE_PAGE_UNITS, 1);
    give_back(run);
    assert_int_equal(purge_huge(1), HUGE_PAGE_UNITS);
    assert_int_equal(purge_huge(1), FEW);
    assert_int_equal(resident_from(run, first, HUGE_PAGE_UNITS), 0);
    assert_int_equal(resident_from(run, last, FEW), 0);
    /* Of the other two one was freed later, the other never used. */
    assert_int_equal(purge_huge(1), 0);
    tick_advance();
    assert_int_equal(purge_huge(1), 1);
    assert_int_equal(run_count_used(span_history(run), run->units), 0);
}

static void a_huge_page_may_be_the_last_of_its_run(void **state)
{
    (void)state;
    (void)free_region_of((size_t)3 * HUGE_PAGE_UNITS);
    struct span *run = carve(1);
    size_t first = first_huge(run);

    give_back(run);
    run = carve_apart(first + HUGE_PAGE_UNITS);
    give_back(run);
    use_units(run, first, 2);
    assert_int_equal(purge_huge(0), 2);
}

static void huge_pages_are_found_in_each_run(void **state)
{
    struct span *shorter;
    struct span *as_short;
    struct span *longer;

    (void)state;
    (void)free_region_of((size_t)8 * HUGE_PAGE_UNITS);
    as_short = carve_apart((size_t)2 * HUGE_PAGE_UNITS);
    shorter = carve_apart((size_t)2 * HUGE_PAGE_UNITS);
    longer = carve_apart((size_t)3 * HUGE_PAGE_UNITS);
    give_back(as_short);
    give_back(shorter);
    give_back(longer);
    use_units(shorter, first_huge(shorter), 2);
    use_units(longer, first_huge(longer), 3);
    assert_int_equal(purge_huge(0), 2);
    /* What the kernel refuses is passed over. */
    use_units(shorter, first_huge(shorter), 2);
    lock_pages((char *)span_address(shorter) + first_huge(shorter) * UNIT_BYTES, 1);
    assert_int_equal(purge_huge(0), 3);
    assert_int_equal(purge_huge(0), 0);
    unlock_pages((char *)span_address(shorter) + first_huge(shorter) * UNIT_BYTES, 1);
    assert_int_equal(purge(0, SIZE_MAX, NULL), 2);
    /* Runs that are clean are passed over too. */
    assert_int_equal(purge_huge(0), 0);
}

/* And the next look for one goes on where this one has stopped. */
static void huge_pages_of_many_runs_are_looked_for_a_few_runs_at_a_time(void **state)
{
    enum { RUNS = 3, LOOKS = 2 };
    struct runs_budget budget = {.looks = LOOKS};
    struct span *runs[RUNS];

    (void)state;
    (void)free_region_of((size_t)(RUNS * 3 + 1) * HUGE_PAGE_UNITS);
    for (size_t i = 0; i < RUNS; i++) {
        runs[i] = carve_apart((size_t)2 * HUGE_PAGE_UNITS);
    }
    give_all_back(runs, RUNS);
    /* What was freed first is looked at last. */
    use_units(runs[0], first_huge(runs[0]), 1);
    assert_int_equal(runs_purge_huge_locked(0, &budget), 0);
    assert_int_equal(budget.looks, 0);
    assert_true(budget.more);
    budget.looks = LOOKS;
    assert_int_equal(runs_purge_huge_locked(0, &budget), 1);
    assert_int_equal(budget.looks, LOOKS - 1);
}

/* Its memory is somebody's by then. */
static void a_look_for_huge_pages_goes_by_a_run_that_was_handed_out(void **state)
{
    enum { UNITS_OF_TWO = 2 * HUGE_PAGE_UNITS };
    struct runs_budget budget = {.looks = 1};
    struct span *runs[2];

    (void)state;
    (void)free_region_of((size_t)7 * HUGE_PAGE_UNITS);
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
        runs[i] = carve_apart(UNITS_OF_TWO);
    }
    give_all_back(runs, ARRAY_SIZE(runs));
    assert_int_equal(runs_purge_huge_locked(0, &budget), 0);
    /* The next one. */
    assert_ptr_equal(run_carve_locked(runs[0], UNITS_OF_TWO, 1, SPAN_LARGE), runs[0]);
    use_units(runs[0], first_huge(runs[0]), 1);
    assert_int_equal(purge_huge(0), 0);
    assert_int_equal(run_count_used(span_history(runs[0]), UNITS_OF_TWO), 1);
}

static void check_first_run(void *argument)
{
    size_t free_units = 0;
    size_t used_units = 0;

    (void)run_check_locked((struct region *)argument, 0, &free_units, &used_units);
}

static void check_first(void *first)
{
    size_t free_units = 0;
    size_t used_units = 0;
    const struct span *span = (const struct span *)first;

    (void)run_check_locked(region_by_index(span->region), span_unit(span), &free_units,
                           &used_units);
}

static void each_unit_of_a_slab_is_one_until_it_is_released(void **state)
{
    (void)state;
    struct region *region = free_region_of(8);
    struct span *span = run_carve_locked(run_find_locked(3, 1), 3, 1, SPAN_SLAB);

    for (size_t unit = 0; unit < 3; unit++) {
        assert_int_equal(span[unit].state, SPAN_SLAB);
        assert_int_equal(span[unit].region, region->index);
        assert_null(span[unit].slab);
    }
    check_first(span);
    span[2].state = SPAN_NONE;
    assert_dies(check_first, span, "page heap: a slab's units are not all its own");
    span[2].state = SPAN_SLAB;
    span[1].slab = (struct slab *)(void *)span;
    assert_dies(check_first, span, "page heap: a slab's units are not all its own");
    run_release_locked(span, 3, region->index);
    assert_int_equal(region->spans[0].units, 8);
    for (size_t unit = 1; unit < 7; unit++) {
        assert_int_equal(region->spans[unit].state, SPAN_NONE);
    }
}

static void the_check_tells_a_run_from_its_middle(void **state)
{
    struct region *region = free_region();
    size_t free_units = 0;
    size_t used_units = 0;

    (void)state;
    assert_int_equal(run_check_locked(region, 0, &free_units, &used_units), UNITS);
    assert_int_equal(free_units, UNITS);
    assert_int_equal(used_units, 0);
    region->spans[UNITS - 1].units = 1;
    assert_dies(check_first_run, region, "page heap: a free run is not whole or not joined");
    region->spans[0].state = SPAN_NONE;
    assert_dies(check_first_run, region, "page heap: no run starts where the last one ends");
}

static void check_shelves(void *unused)
{
    (void)unused;
    runs_check_shelves_locked();
}

static void the_check_sees_a_run_on_a_wrong_shelf(void **state)
{
    struct region *region = free_region();

    (void)state;
    runs_check_shelves_locked();
    region->spans[0].units--;
    assert_dies(check_shelves, NULL, "page heap: a run is on the wrong shelf");
    region->spans[0].units++;
    run_totals.free_runs++;
    assert_dies(check_shelves, NULL, "page heap: shelves do not add up");
    run_totals.free_runs--;
    /* Behind the shelf's back. */
    region->spans[0].next = &region->spans[1];
    region->spans[1] = region->spans[0];
    region->spans[1].next = NULL;
    assert_dies(check_shelves, NULL, "page heap: a run is on the wrong shelf");
}

static void take_without_lock(void *argument)
{
    lock_release(&page_heap_lock);
    run_take_locked((struct span *)argument);
}

static void without_the_lock_nothing_is_taken(void **state)
{
    struct region *region = free_region();

    (void)state;
    assert_dies(take_without_lock, region->spans,
                "assertion failed: lock_is_held(&page_heap_lock)");
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_region_is_one_free_run),
        ISOLATED(the_shortest_run_that_is_long_enough_is_found),
        ISOLATED(what_is_cut_out_aligned_leaves_both_sides_free),
        ISOLATED(a_run_that_lies_well_need_be_no_longer),
        ISOLATED(neighbours_are_joined),
        ISOLATED(a_purge_spares_one_run_and_stops_at_the_most),
        ISOLATED(a_purge_of_all_comes_back_to_what_it_had_passed),
        ISOLATED(a_purge_goes_on_at_the_run_where_it_stopped),
        ISOLATED(a_purge_of_what_is_free_for_less_begins_anew),
        ISOLATED(a_purge_goes_on_in_the_run_where_it_stopped),
        ISOLATED(a_purge_waits_for_the_time_that_was_stamped),
        ISOLATED(each_unit_is_counted_and_stamped_by_itself),
        ISOLATED(a_run_is_looked_at_once_a_tick),
        ISOLATED(huge_pages_are_purged_whole_one_at_a_time),
        ISOLATED(a_huge_page_may_be_the_last_of_its_run),
        ISOLATED(huge_pages_are_found_in_each_run),
        ISOLATED(huge_pages_of_many_runs_are_looked_for_a_few_runs_at_a_time),
        ISOLATED(a_look_for_huge_pages_goes_by_a_run_that_was_handed_out),
        ISOLATED(each_unit_of_a_slab_is_one_until_it_is_released),
        ISOLATED(the_check_tells_a_run_from_its_middle),
        ISOLATED(the_check_sees_a_run_on_a_wrong_shelf),
        ISOLATED(without_the_lock_nothing_is_taken),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
