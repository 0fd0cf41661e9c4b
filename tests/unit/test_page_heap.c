/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_page_heap.c - runs are split and joined, chosen by best fit, resized, purged, and survive a
 * break that fails or moves. */
#include "support.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "break.h"
#include "gate.h"
#include "limit.h"
#include "os.h"
#include "pace.h"
#include "page_heap.h"
#include "runs.h"
#include "tick.h"

enum { PATTERN = 0x5a };

static struct span *request_run(size_t units, size_t align_units, bool grow, bool zero)
{
    const struct run_request request = {
        .units = units,
        .align_units = align_units,
        .state = SPAN_LARGE,
        .grow = grow,
        .zero = zero,
    };

    struct span *span = page_heap_alloc(&request);

    if (span != NULL && zero) {
        page_heap_zero(span, units * UNIT_BYTES);
    }
    return span;
}

/* A run that must be had. */
static struct span *run_of_units(size_t units)
{
    struct span *span = request_run(units, 1, true, false);

    assert_non_null(span);
    assert_int_equal(span->units, units);
    assert_int_equal(span->state, SPAN_LARGE);
    assert_null(span->slab);
    page_heap_check();
    return span;
}

static void *memory_of(const struct span *span)
{
    return (void *)span_address(span);
}

static void fill(const struct span *span)
{
    memset(memory_of(span), PATTERN, span->units * UNIT_BYTES);
}

static void give_back(struct span *span)
{
    page_heap_free(span);
    page_heap_check();
}

/* From now on, a run that is freed is the only free memory. */
static void use_up_free_units(void)
{
    struct span *unit;

    while ((unit = request_run(1, 1, false, false)) != NULL) {
        assert_int_equal(unit->units, 1);
    }
}

/* Runs of the given lengths, each between two units in use that keep it from being joined: free
 * when this returns. Their first spans go to `spans`. */
static void make_free_runs(const size_t *lengths, size_t count, struct span **spans)
{
    for (size_t i = 0; i < count; i++) {
        spans[i] = run_of_units(lengths[i]);
        (void)run_of_units(1);
    }
    use_up_free_units();
    for (size_t i = 0; i < count; i++) {
        give_back(spans[i]);
    }
}

/* So many, all of `units`. */
static void make_many_free_runs(size_t count, size_t units)
{
    enum { MOST = 600 };
    static size_t lengths[MOST];
    static struct span *spans[MOST];

    assert_in_range(count, 1, MOST);
    for (size_t i = 0; i < count; i++) {
        lengths[i] = units;
    }
    make_free_runs(lengths, count, spans);
}

/* Pages with memory behind them in the span rows of a run. */
static size_t pages_of_rows(const struct span *run)
{
    uintptr_t page = os_page_bytes();
    uintptr_t start = (uintptr_t)run & ~(page - 1);

    return resident_pages((void *)start, (uintptr_t)(run + run->units) - start);
}

/* Split and join */

static void the_first_run_grows_the_break(void **state)
{
    uintptr_t before = current_break();
    struct span *span = run_of_units(1);

    (void)state;
    assert_true(span_address(span) >= before);
    assert_int_equal(break_top(), current_break());
    assert_int_equal(page_heap_stats().total_units * UNIT_BYTES, break_stats().bytes);
    assert_int_equal(page_heap_stats().allocs, 1);
}

static void runs_in_use_never_overlap(void **state)
{
    enum { RUNS = 40 };
    struct span *runs[RUNS];

    (void)state;
    for (size_t i = 0; i < RUNS; i++) {
        runs[i] = run_of_units(1 + i % 7);
        memset(memory_of(runs[i]), (int)i, runs[i]->units * UNIT_BYTES);
    }
    for (size_t i = 0; i < RUNS; i++) {
        assert_true(is_all(memory_of(runs[i]), runs[i]->units * UNIT_BYTES, (unsigned char)i));
    }
}

static void what_is_cut_off_a_run_stays_free(void **state)
{
    const size_t length = 5;
    struct span *free_run;

    (void)state;
    make_free_runs(&length, 1, &free_run);
    assert_int_equal(page_heap_stats().free_units, 5);
    assert_ptr_equal(request_run(2, 1, false, false), free_run);
    assert_int_equal(page_heap_stats().free_units, 3);
    assert_int_equal(page_heap_stats().free_runs, 1);
    page_heap_check();
    assert_ptr_equal(request_run(3, 1, false, false), free_run + 2);
    assert_int_equal(page_heap_stats().free_units, 0);
    page_heap_check();
}

static void neighbours_are_joined_whichever_is_freed_last(void **state)
{
    static const unsigned orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    const size_t length = 6;
    struct span *whole;

    (void)state;
    make_free_runs(&length, 1, &whole);
    for (size_t order = 0; order < ARRAY_SIZE(orders); order++) {
        struct span *parts[3] = {request_run(1, 1, false, false), request_run(2, 1, false, false),
                                 request_run(3, 1, false, false)};

        for (unsigned i = 0; i < 3; i++) {
            assert_non_null(parts[i]);
            give_back(parts[orders[order][i]]);
        }
        assert_int_equal(page_heap_stats().free_runs, 1);
        assert_int_equal(whole->units, 6);
        assert_int_equal(whole->state, SPAN_FREE);
    }
}

static void a_run_without_growth_comes_from_what_is_free_or_not_at_all(void **state)
{
    uintptr_t before = current_break();

    (void)state;
    assert_null(request_run(1, 1, false, false));
    assert_int_equal(current_break(), before);
    give_back(run_of_units(1));
    assert_non_null(request_run(1, 1, false, false));
    uintptr_t top = current_break();

    assert_null(request_run(page_heap_stats().total_units + 1, 1, false, false));
    assert_int_equal(current_break(), top);
    page_heap_check();
}

static void a_long_run_has_few_rows_that_cost_memory(void **state)
{
    enum { UNITS = 16384, PAGES_MOST = 4 };
    struct span *span = run_of_units(UNITS);

    (void)state;
    assert_int_equal(span->region, region_primary.index);
    assert_in_range(pages_of_rows(span), 1, PAGES_MOST);
    block_break();
    span = run_of_units(UNITS + 1);
    assert_int_not_equal(span->region, region_primary.index);
    assert_in_range(pages_of_rows(span), 1, PAGES_MOST);
    give_back(span);
    assert_in_range(pages_of_rows(span), 1, PAGES_MOST);
    unblock_break();
}

/* Best fit */

static void the_shortest_run_that_fits_is_taken(void **state)
{
    const size_t lengths[] = {5, 3, 9, 4, 7};
    struct span *runs[ARRAY_SIZE(lengths)];

    (void)state;
    make_free_runs(lengths, ARRAY_SIZE(lengths), runs);
    assert_ptr_equal(request_run(4, 1, false, false), runs[3]);
    assert_ptr_equal(request_run(4, 1, false, false), runs[0]);
    assert_ptr_equal(request_run(6, 1, false, false), runs[4]);
    assert_ptr_equal(request_run(3, 1, false, false), runs[1]);
    assert_ptr_equal(request_run(4, 1, false, false), runs[2]);
    assert_null(request_run(6, 1, false, false));
    page_heap_check();
}

static void long_runs_that_share_a_bin_are_told_apart(void **state)
{
    const size_t lengths[] = {70, 75, 66, 79, 200};
    struct span *runs[ARRAY_SIZE(lengths)];

    (void)state;
    make_free_runs(lengths, ARRAY_SIZE(lengths), runs);
    assert_ptr_equal(request_run(71, 1, false, false), runs[1]);
    assert_ptr_equal(request_run(65, 1, false, false), runs[2]);
    assert_ptr_equal(request_run(72, 1, false, false), runs[3]);
    assert_ptr_equal(request_run(72, 1, false, false), runs[4]);
    page_heap_check();
}

static void the_only_run_that_fits_is_found_behind_many_that_are_too_short(void **state)
{
    enum { COUNT = 100, SHORT = 65, LONG = 79 };
    size_t lengths[COUNT] = {LONG};
    struct span *runs[COUNT];

    (void)state;
    for (size_t i = 1; i < COUNT; i++) {
        lengths[i] = SHORT;
    }
    make_free_runs(lengths, COUNT, runs);
    assert_ptr_equal(request_run(LONG, 1, false, false), runs[0]);
    assert_null(request_run(LONG, 1, false, false));
    page_heap_check();
}

static void aligned_runs_leave_what_lies_before_them_free(void **state)
{
    (void)state;
    for (size_t align_units = 1; align_units <= 64; align_units *= 2) {
        (void)run_of_units(1);
        struct span *span = request_run(3, align_units, true, false);

        assert_non_null(span);
        assert_int_equal(span_address(span) % (align_units * UNIT_BYTES), 0);
        assert_int_equal(span->units, 3);
        page_heap_check();
        fill(span);
    }
}

/* Zeroing */

static void zeroed_runs_are_zero_over_used_and_fresh_memory(void **state)
{
    struct span *used = run_of_units(4);

    (void)state;
    fill(used);
    give_back(used);
    struct span *zeroed = request_run(40, 1, true, true);

    assert_non_null(zeroed);
    assert_true(is_all(memory_of(zeroed), 40 * UNIT_BYTES, 0));
    fill(zeroed);
    give_back(zeroed);
    assert_ptr_equal(request_run(40, 1, false, true), zeroed);
    assert_true(is_all(memory_of(zeroed), 40 * UNIT_BYTES, 0));
}

/* The program may touch little of it. */
static void a_run_of_many_units_is_zeroed_without_memory(void **state)
{
    enum { UNITS = 600 };
    struct span *used = run_of_units(UNITS);

    (void)state;
    fill(used);
    give_back(used);
    struct span *zeroed = request_run(UNITS, 1, false, true);

    assert_ptr_equal(zeroed, used);
    assert_int_equal(resident_pages(memory_of(zeroed), UNITS * UNIT_BYTES), 0);
    assert_true(is_all(memory_of(zeroed), UNITS * UNIT_BYTES, 0));
    give_back(zeroed);
    lock_pages(memory_of(zeroed), UNIT_BYTES);
    fill(request_run(UNITS, 1, false, false));
    give_back(used);
    zeroed = request_run(UNITS, 1, false, true);
    assert_ptr_equal(zeroed, used);
    assert_int_equal(resident_pages(memory_of(zeroed), UNITS * UNIT_BYTES),
                     UNITS * UNIT_BYTES / 4096);
    assert_true(is_all(memory_of(zeroed), UNITS * UNIT_BYTES, 0));
}

static void where_the_kernel_takes_nothing_back_many_units_are_written(void **state)
{
    enum { UNITS = 600 };
    struct span *used = run_of_units(UNITS);

    (void)state;
    (void)run_of_units(1);
    fill(used);
    give_back(used);
    answer_call(SYS_madvise, 0);
    assert_ptr_equal(request_run(UNITS, 1, false, true), used);
    assert_true(is_all(memory_of(used), UNITS * UNIT_BYTES, 0));
}

static void no_trim_goes_on_where_somebody_forks(void **state)
{
    enum { UNITS = 600, SLOW_NS = 1000000 };
    struct span *used = run_of_units(UNITS);

    (void)state;
    (void)run_of_units(1);
    fill(used);
    give_back(used);
    set_pace(SLOW_NS);
    gate_close(NULL);
    assert_int_equal(page_heap_purge(0), 0);
    assert_int_equal(page_heap_decay_huge(0, SIZE_MAX), 0);
    /* A piece that is under way is brought to its end. */
    assert_int_equal(page_heap_decay(0, SIZE_MAX), PACE_BYTES_LEAST);
    gate_open();
    assert_true(gate_is_open());
    assert_int_equal(page_heap_decay_huge(0, UNIT_BYTES), (size_t)32 * UNIT_BYTES);
    assert_in_range(page_heap_purge(0), 1, (UNITS - 1) * UNIT_BYTES - PACE_BYTES_LEAST);
    assert_int_equal(page_heap_stats().free_used_units, 0);
    page_heap_check();
}

/* They are looked at a few at a time: others want the lock. */
static void looks_at_many_runs_count_as_much_as_what_goes(void **state)
{
    enum { RUNS = 200, AT_ONCE = 128, SLOW_NS = 1000000 };

    (void)state;
    make_many_free_runs(RUNS, 1);
    assert_true(run_totals.free_runs >= RUNS && run_totals.free_runs < 2 * AT_ONCE);
    set_pace(SLOW_NS);
    assert_int_equal(page_heap_decay(TICKS_PER_DECAY, SIZE_MAX), PACE_BYTES_LEAST);
    assert_int_equal(page_heap_decay(TICKS_PER_DECAY, PACE_BYTES_LEAST), PACE_BYTES_LEAST);
    assert_int_equal(page_heap_decay(TICKS_PER_DECAY, PACE_BYTES_LEAST), 0);
}

/* As many as one hold of the lock is for: with the last of them the look is through. */
static void a_look_that_ends_with_its_budget_is_through(void **state)
{
    enum { AT_ONCE = 128 };

    (void)state;
    make_many_free_runs(AT_ONCE, HUGE_PAGE_UNITS);
    assert_int_equal(run_totals.free_runs, AT_ONCE);
    assert_int_equal(page_heap_decay(TICKS_PER_DECAY, SIZE_MAX), 0);
    assert_int_equal(page_heap_decay_huge(TICKS_PER_DECAY, SIZE_MAX), 0);
    (void)page_heap_purge(0);
    assert_int_equal(page_heap_purge(0), 0);
}

static void a_trim_looks_at_a_few_runs_while_it_holds_the_lock(void **state)
{
    enum { RUNS = 600, AT_ONCE = 128 };

    (void)state;
    make_many_free_runs(RUNS, 1);
    (void)page_heap_purge(0);
    uint64_t before = page_heap_stats().lock_acquisitions;

    assert_int_equal(page_heap_purge(0), 0);
    assert_in_range(page_heap_stats().lock_acquisitions - before, RUNS / AT_ONCE, RUNS / 4);
}

static void zeroing_does_not_touch_fresh_memory(void **state)
{
    struct span *zeroed = request_run(16, 1, true, true);

    (void)state;
    assert_int_equal(resident_pages(memory_of(zeroed), 16 * UNIT_BYTES), 0);
}

static void neither_handing_out_nor_taking_back_touches_memory(void **state)
{
    struct span *span = run_of_units(16);

    (void)state;
    give_back(span);
    assert_int_equal(resident_pages(memory_of(span), 16 * UNIT_BYTES), 0);
}

static void fresh_memory_is_populated_as_far_as_asked(void **state)
{
    enum { PAGES = 5 };
    size_t page = os_page_bytes();
    const struct run_request request = {
        .units = 3,
        .align_units = 1,
        .state = SPAN_LARGE,
        .grow = true,
        .populate_bytes = PAGES * page,
    };
    struct span *span = page_heap_alloc(&request);

    (void)state;
    assert_non_null(span);
    assert_int_equal(resident_pages(memory_of(span), 3 * UNIT_BYTES),
                     kernel_populates() ? PAGES : 0);
    /* Where memory was in use, there is no need: seen by taking it away meanwhile. */
    assert_true(os_purge(memory_of(span), 3 * UNIT_BYTES));
    give_back(span);
    assert_ptr_equal(page_heap_alloc(&request), span);
    assert_int_equal(resident_pages(memory_of(span), 3 * UNIT_BYTES), 0);
}

static void purged_memory_need_not_be_zeroed_again(void **state)
{
    const size_t length = 8;
    struct span *run;

    (void)state;
    make_free_runs(&length, 1, &run);
    assert_ptr_equal(request_run(8, 1, false, false), run);
    fill(run);
    give_back(run);
    assert_true(page_heap_purge(0) >= 8 * UNIT_BYTES);
    assert_ptr_equal(request_run(8, 1, false, true), run);
    assert_int_equal(resident_pages(memory_of(run), 8 * UNIT_BYTES), 0);
}

static void memory_that_the_kernel_kept_is_zeroed_again(void **state)
{
    enum { MANY = 600 }; /* so many would be zeroed by a purge */
    const size_t length = MANY;
    struct span *run;

    (void)state;
    make_free_runs(&length, 1, &run);
    assert_ptr_equal(request_run(MANY, 1, false, false), run);
    fill(run);
    give_back(run);
    answer_call(SYS_madvise, 0);
    assert_int_equal(page_heap_purge(0), 0);
    assert_ptr_equal(request_run(MANY, 1, false, true), run);
    assert_true(is_all(memory_of(run), MANY * UNIT_BYTES, 0));
}

/* Resizing */

static void a_shorter_run_gives_its_tail_back(void **state)
{
    struct span *span = run_of_units(6);

    (void)state;
    fill(span);
    size_t free_units = page_heap_stats().free_units;

    assert_true(page_heap_resize(span, 2));
    page_heap_check();
    assert_int_equal(span->units, 2);
    assert_int_equal(page_heap_stats().free_units, free_units + 4);
    assert_true(is_all(memory_of(span), 2 * UNIT_BYTES, PATTERN));
}

static void a_tail_given_back_goes_back_to_the_kernel_after_its_time(void **state)
{
    enum { TICKS = 4 };
    struct span *span = run_of_units(6);

    (void)state;
    fill(span);
    let_ticks_pass(TICKS);
    assert_true(page_heap_resize(span, 2));
    assert_int_equal(page_heap_decay(TICKS, SIZE_MAX), 0);
    let_ticks_pass(TICKS);
    assert_int_equal(page_heap_decay(TICKS, SIZE_MAX), 4 * UNIT_BYTES);
    page_heap_check();
}

static void a_run_grows_over_free_memory_behind_it(void **state)
{
    const size_t length = 6;
    struct span *span;

    (void)state;
    make_free_runs(&length, 1, &span);
    assert_ptr_equal(request_run(2, 1, false, false), span);
    fill(span);
    assert_true(page_heap_resize(span, 5));
    page_heap_check();
    assert_int_equal(span->units, 5);
    assert_int_equal(page_heap_stats().free_units, 1);
    assert_true(is_all(memory_of(span), 2 * UNIT_BYTES, PATTERN));
    assert_true(page_heap_resize(span, 6));
    assert_int_equal(page_heap_stats().free_units, 0);
    page_heap_check();
    give_back(span);
    assert_int_equal(page_heap_stats().free_units, 6);
}

static void a_run_with_a_neighbour_in_use_does_not_grow(void **state)
{
    struct span *span = run_of_units(2);
    uint64_t resizes = page_heap_stats().resizes;

    (void)state;
    (void)run_of_units(1);
    assert_false(page_heap_resize(span, 3));
    assert_int_equal(span->units, 2);
    assert_int_equal(page_heap_stats().resizes, resizes);
    page_heap_check();
}

static void the_run_at_the_top_grows_with_the_break(void **state)
{
    struct span *span = run_of_units(2);

    (void)state;
    fill(span);
    assert_true(page_heap_resize(span, 500));
    assert_int_equal(span->units, 500);
    page_heap_check();
    assert_true(is_all(memory_of(span), 2 * UNIT_BYTES, PATTERN));
    memset(memory_of(span), PATTERN, 500 * UNIT_BYTES);
}

/* There is no row for what will be behind it. */
static void so_does_one_behind_which_nothing_is(void **state)
{
    (void)run_of_units(1);
    use_up_free_units();
    struct span *last = span_of_primary(break_top() - UNIT_BYTES);

    (void)state;
    assert_null(run_after(&region_primary, last, 1));
    assert_true(page_heap_resize(last, 3));
    assert_int_equal(last->units, 3);
    page_heap_check();
}

static void the_run_at_the_top_stays_when_the_break_cannot_grow(void **state)
{
    struct span *span = run_of_units(2);

    (void)state;
    block_break();
    assert_false(page_heap_resize(span, 500));
    assert_int_equal(span->units, 2);
    page_heap_check();
    unblock_break();
    (void)sbrk(1);
    assert_false(page_heap_resize(span, 500));
    assert_int_equal(span->units, 2);
    page_heap_check();
}

static void a_run_grown_over_used_memory_counts_as_used(void **state)
{
    struct span *first = run_of_units(1);
    struct span *second = run_of_units(1);

    (void)state;
    fill(second);
    give_back(second);
    assert_true(page_heap_resize(first, 2));
    give_back(first);
    assert_ptr_equal(request_run(2, 1, false, true), first);
    assert_true(is_all(memory_of(first), 2 * UNIT_BYTES, 0));
}

static void a_run_grown_over_clean_memory_counts_as_used(void **state)
{
    struct span *span = run_of_units(1);

    (void)state;
    assert_true(page_heap_resize(span, 2));
    fill(span);
    give_back(span);
    assert_int_equal(page_heap_stats().free_used_units, 2);
    assert_ptr_equal(request_run(2, 1, false, true), span);
    assert_true(is_all(memory_of(span), 2 * UNIT_BYTES, 0));
}

static void the_break_is_raised_by_no_more_than_a_run_at_the_top_lacks(void **state)
{
    enum { ROOM = 10, MORE = 100 };
    struct span *span = run_of_units(2);
    uint64_t units = page_heap_stats().total_units;

    (void)state;
    assert_true(units > 2);
    assert_true(page_heap_resize(span, units));
    assert_int_equal(page_heap_stats().total_units, units);
    assert_true(page_heap_resize(span, units - ROOM));
    assert_true(page_heap_resize(span, units + MORE));
    assert_int_equal(page_heap_stats().total_units, units + MORE);
    page_heap_check();
}

/* Purging */

static void purging_lowers_the_break_to_the_last_run_in_use(void **state)
{
    struct span *kept = run_of_units(1);
    struct span *freed = run_of_units(100);

    (void)state;
    fill(freed);
    give_back(freed);
    assert_int_equal(page_heap_purge(0), 100 * UNIT_BYTES);
    page_heap_check();
    assert_int_equal(current_break(), span_address(kept) + UNIT_BYTES);
    assert_int_equal(page_heap_stats().total_units, 1);
    assert_int_equal(page_heap_stats().free_units, 0);
    (void)run_of_units(100);
}

static void purging_leaves_the_pad_at_the_top(void **state)
{
    struct span *kept = run_of_units(1);
    struct span *freed = run_of_units(100);

    (void)state;
    fill(freed);
    give_back(freed);
    assert_int_equal(page_heap_purge(9 * UNIT_BYTES + 1), 90 * UNIT_BYTES);
    page_heap_check();
    assert_int_equal(current_break(), span_address(kept) + 11 * UNIT_BYTES);
    assert_int_equal(page_heap_stats().top_free_units, 10);
    assert_int_equal(page_heap_stats().free_used_units, 10);
}

static void below_somebody_else_s_memory_there_is_no_pad(void **state)
{
    struct span *freed = run_of_units(100);

    (void)state;
    fill(freed);
    give_back(freed);
    assert_true(sbrk(4096) != (void *)-1);
    assert_int_equal(page_heap_purge(9 * UNIT_BYTES), 100 * UNIT_BYTES);
    page_heap_check();
    assert_int_equal(page_heap_stats().free_used_units, 0);
}

static void purging_takes_the_memory_of_inner_runs(void **state)
{
    const size_t lengths[] = {4, 8};
    struct span *runs[ARRAY_SIZE(lengths)];

    (void)state;
    make_free_runs(lengths, ARRAY_SIZE(lengths), runs);
    (void)page_heap_purge(0);
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        memset(memory_of(runs[i]), PATTERN, lengths[i] * UNIT_BYTES);
        assert_ptr_equal(request_run(lengths[i], 1, false, false), runs[i]);
        give_back(runs[i]);
    }
    assert_int_equal(page_heap_stats().free_used_units, 12);
    assert_int_equal(page_heap_purge(0), 12 * UNIT_BYTES);
    assert_int_equal(page_heap_stats().free_used_units, 0);
    assert_int_equal(resident_pages(memory_of(runs[0]), 4 * UNIT_BYTES), 0);
    assert_int_equal(resident_pages(memory_of(runs[1]), 8 * UNIT_BYTES), 0);
    assert_int_equal(page_heap_purge(0), 0);
    page_heap_check();
}

static void purging_does_not_touch_runs_in_use(void **state)
{
    struct span *first = run_of_units(2);
    struct span *second = run_of_units(2);
    struct span *third = run_of_units(2);

    (void)state;
    fill(first);
    fill(second);
    fill(third);
    give_back(second);
    (void)page_heap_purge(0);
    assert_true(is_all(memory_of(first), 2 * UNIT_BYTES, PATTERN));
    assert_true(is_all(memory_of(third), 2 * UNIT_BYTES, PATTERN));
    page_heap_check();
}

static void purging_leaves_a_foreign_top_alone(void **state)
{
    struct span *freed = run_of_units(10);

    (void)state;
    fill(freed);
    char *foreign = (char *)sbrk(1000);

    memset(foreign, 7, 1000);
    give_back(freed);
    uintptr_t top = current_break();

    assert_int_equal(page_heap_purge(0), 10 * UNIT_BYTES);
    assert_int_equal(current_break(), top);
    assert_true(is_all(foreign, 1000, 7));
    page_heap_check();
}

/* Growth that fails */

static void a_break_that_cannot_grow_gives_mapped_regions(void **state)
{
    size_t count;
    size_t bytes;

    (void)state;
    block_break();
    struct span *span = run_of_units(3);

    assert_int_not_equal(span->region, region_primary.index);
    fill(span);
    region_mapped(&count, &bytes);
    assert_int_equal(count, 1);
    assert_int_equal(page_heap_stats().total_units * UNIT_BYTES, bytes);
    assert_int_equal(break_stats().bytes, 0);
    give_back(span);
    assert_int_equal(page_heap_stats().free_runs, 1);
    assert_ptr_equal(run_of_units(3), span);
    unblock_break();
}

static void runs_of_two_regions_are_not_joined(void **state)
{
    (void)state;
    block_break();
    struct span *first = run_of_units(20);
    struct span *second = run_of_units(20);

    assert_int_not_equal(first->region, second->region);
    give_back(first);
    give_back(second);
    assert_true(page_heap_stats().free_runs >= 2);
    assert_true(page_heap_purge(0) >= 40 * UNIT_BYTES);
    page_heap_check();
    unblock_break();
}

static void the_break_comes_first_again_once_it_can_grow(void **state)
{
    (void)state;
    block_break();
    (void)run_of_units(16);
    unblock_break();
    assert_int_equal(run_of_units(1000)->region, region_primary.index);
}

/* Each too long for all that are free before it. */
static void runs_that_need_regions_of_their_own_come_without_end(void **state)
{
    enum { RUNS = 600, UNITS = 16384 };
    size_t count;
    size_t bytes;

    (void)state;
    block_break();
    struct span *kept = run_of_units(UNITS);

    memset(memory_of(kept), PATTERN, UNIT_BYTES);
    for (size_t i = 1; i <= RUNS; i++) {
        struct span *span = request_run(UNITS + i, 1, true, false);

        assert_non_null(span);
        memset(memory_of(span), PATTERN, 1);
        page_heap_free(span);
    }
    page_heap_check();
    region_mapped(&count, &bytes);
    assert_in_range(count, 2, UINT8_MAX);
    assert_int_equal(page_heap_stats().total_units * UNIT_BYTES, bytes);
    assert_true(is_all(memory_of(kept), UNIT_BYTES, PATTERN));
    unblock_break();
}

static void a_purge_unmaps_regions_that_are_free(void **state)
{
    size_t count;
    size_t bytes;

    (void)state;
    block_break();
    struct span *kept = run_of_units(20);
    struct span *freed = run_of_units(400);
    char *memory = (char *)memory_of(freed);

    fill(kept);
    fill(freed);
    give_back(freed);
    size_t used = page_heap_stats().free_used_units;

    assert_int_equal(page_heap_purge(0), used * UNIT_BYTES);
    page_heap_check();
    assert_int_equal(page_heap_stats().purged_bytes, used * UNIT_BYTES);
    assert_int_equal(page_heap_stats().free_used_units, 0);
    assert_int_equal(page_heap_stats().held_units, 20);
    assert_false(is_readable(memory));
    assert_null(span_of((uintptr_t)memory));
    region_mapped(&count, &bytes);
    assert_int_equal(count, 1);
    assert_int_equal(page_heap_stats().total_units * UNIT_BYTES, bytes);
    assert_true(is_all(memory_of(kept), 20 * UNIT_BYTES, PATTERN));
    fill(run_of_units(400));
    unblock_break();
}

static void a_region_goes_once_nothing_of_it_is_in_use(void **state)
{
    size_t count;
    size_t bytes;

    (void)state;
    block_break();
    struct span *first = run_of_units(4);
    struct span *second = run_of_units(4);

    fill(second);
    give_back(first);
    (void)page_heap_purge(0);
    region_mapped(&count, &bytes);
    assert_int_equal(count, 1);
    assert_true(is_all(memory_of(second), 4 * UNIT_BYTES, PATTERN));
    give_back(second);
    /* Twice: one that has gone is passed over. */
    for (int purge = 0; purge < 2; purge++) {
        (void)page_heap_purge(0);
        region_mapped(&count, &bytes);
        assert_int_equal(count, 0);
        assert_int_equal(page_heap_stats().total_units, 0);
    }
    unblock_break();
}

static void what_a_hard_limit_counts_is_right_after_regions_went(void **state)
{
    (void)state;
    block_break();
    limit_set(0, 500 * UNIT_BYTES);
    for (size_t units = 300; units < 320; units += 4) {
        struct span *span = run_of_units(units);

        fill(span);
        assert_null(request_run(501 - units, 1, true, false));
        give_back(span);
        assert_int_equal(page_heap_stats().held_units, page_heap_stats().free_used_units);
        (void)page_heap_purge(0);
        assert_int_equal(page_heap_stats().held_units, 0);
        assert_int_equal(page_heap_stats().total_units, 0);
    }
    unblock_break();
}

static void all_of_a_hard_limit_can_be_had(void **state)
{
    enum { UNITS = 20 };

    (void)state;
    limit_set(0, UNITS * UNIT_BYTES);
    struct span *span = run_of_units(UNITS - 1);

    assert_null(request_run(2, 1, true, false));
    assert_int_equal(page_heap_stats().refused, 1);
    give_back(span);
    assert_int_equal(page_heap_stats().frees, 1);
    (void)run_of_units(UNITS);
    assert_null(request_run(1, 1, true, false));
    assert_int_equal(page_heap_stats().refused, 2);
}

static void a_run_that_shrinks_leaves_room_below_the_limit(void **state)
{
    enum { UNITS = 20 };

    (void)state;
    limit_set(0, UNITS * UNIT_BYTES);
    struct span *span = run_of_units(UNITS / 2 + 1);

    assert_false(limit_is_far());
    assert_true(page_heap_resize(span, 1));
    assert_true(limit_is_far());
}

static void when_every_call_fails_nothing_changes(void **state)
{
    struct span *span = run_of_units(1);
    struct page_heap_stats before = page_heap_stats();

    (void)state;
    os_fail_calls(1, UINT64_MAX);
    assert_null(request_run(1000, 1, true, false));
    assert_false(page_heap_resize(span, 1000));
    os_fail_calls(0, 0);
    page_heap_check();
    assert_int_equal(page_heap_stats().total_units, before.total_units);
    assert_int_equal(page_heap_stats().free_units, before.free_units);
    assert_int_equal(page_heap_stats().allocs, before.allocs);
    (void)run_of_units(1000);
}

/* As there is none for its rows, for which many units need some. */
static void of_the_break_nothing_is_kept_that_cannot_be_used(void **state)
{
    enum { MANY = 1000 };

    (void)state;
    for (unsigned call = 1; call <= 8; call++) {
        size_t regions;
        size_t bytes;

        os_fail_calls(call, 1);
        (void)request_run(MANY, 1, true, false);
        os_fail_calls(0, 0);
        region_mapped(&regions, &bytes);
        assert_int_equal(break_top() - region_primary.base + bytes,
                         page_heap_stats().total_units * UNIT_BYTES);
        page_heap_check();
    }
}

static void whichever_call_fails_the_accounts_hold(void **state)
{
    (void)state;
    for (unsigned call = 1; call <= 30; call++) {
        os_fail_calls(call % 10 + 1, call / 10 + 1);
        struct span *span = request_run(20 + call * 4, 1, true, false);

        os_fail_calls(0, 0);
        page_heap_check();
        break_check();
        if (span != NULL) {
            fill(span);
        }
    }
}

static void a_run_beyond_all_measure_is_refused(void **state)
{
    (void)state;
    assert_null(request_run((size_t)UINT32_MAX + 1, 1, true, false));
    assert_null(request_run((size_t)PTRDIFF_MAX / UNIT_BYTES, 1, true, false));
    struct span *span = run_of_units(1);

    assert_false(page_heap_resize(span, (size_t)UINT32_MAX + 1));
    assert_int_equal(span->units, 1);
    page_heap_check();
}

static void without_a_break_at_the_start_there_are_no_tags_and_no_break_later(void **state)
{
    (void)state;
    block_break();
    assert_null(page_heap_tags_create());
    unblock_break();
    assert_true(region_primary_disabled);
    assert_int_not_equal(run_of_units(1)->region, region_primary.index);
    assert_int_equal(break_stats().bytes, 0);
}

static void tags_come_with_the_first_of_the_break(void **state)
{
    (void)state;
    assert_non_null(page_heap_tags_create());
    assert_true(page_heap_stats().total_units > 0);
    assert_non_null(page_heap_tags_create());
    page_heap_check();
}

/* A break that others move */

static void runs_never_lie_in_foreign_memory(void **state)
{
    enum { ROUNDS = 20, FOREIGN_BYTES = 70001 };
    char *foreign[ROUNDS];

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        foreign[round] = (char *)sbrk(FOREIGN_BYTES);
        memset(foreign[round], round, FOREIGN_BYTES);
        fill(run_of_units(20));
    }
    for (int round = 0; round < ROUNDS; round++) {
        assert_true(is_all(foreign[round], FOREIGN_BYTES, (unsigned char)round));
    }
    assert_in_range(break_stats().foreign_moves, ROUNDS / 2, ROUNDS - 1);
}

/* The free run at the top, at least `units` long; all below it is in use. */
static void a_run_resized_to_its_own_length_stays(void **state)
{
    struct span *span = run_of_units(3);

    (void)state;
    assert_true(page_heap_resize(span, 3));
    assert_true(page_heap_resize(span, 3));
    assert_int_equal(span->units, 3);
    assert_int_equal(page_heap_stats().resizes, 2);
    page_heap_check();
}

static void memory_that_the_kernel_does_not_take_is_not_counted_as_purged(void **state)
{
    struct span *locked = run_of_units(1);

    (void)state;
    (void)run_of_units(1);
    fill(locked);
    lock_pages(memory_of(locked), UNIT_BYTES);
    use_up_free_units();
    give_back(locked);
    assert_int_equal(page_heap_purge(0), 0);
    unlock_pages(memory_of(locked), UNIT_BYTES);
    assert_int_equal(page_heap_purge(0), UNIT_BYTES);
    page_heap_check();
}

static void memory_behind_a_foreign_part_of_the_break_is_got_whole(void **state)
{
    struct span *first = run_of_units(3);

    (void)state;
    (void)first;
    assert_true(sbrk(4096) != (void *)-1);
    /* More than the step: what follows on the free run at the top would not do. */
    struct span *second = run_of_units(20);

    fill(second);
    page_heap_check();
}

/* Whichever call fails: the wish, or the request itself. */
static void a_region_is_mapped_as_long_as_the_request_if_no_longer_one_can_be(void **state)
{
    (void)state;
    (void)run_of_units(100);
    block_break();
    for (uint64_t call = 1; call < 12; call++) {
        os_fail_calls(call, 1);
        fill(run_of_units(70));
    }
    os_fail_calls(0, 0);
    page_heap_check();
}

/* Address space of which little is used. */
static void of_many_regions_the_next_is_as_long_as_the_heap(void **state)
{
    enum { LARGE = 20000, REGIONS = 128 };
    struct span *large;

    (void)state;
    (void)run_of_units(1);
    use_up_free_units();
    block_break();
    large = request_run(LARGE, 1, true, false);
    assert_non_null(large);
    struct span *next = request_run(1, 1, true, false);

    assert_non_null(next);
    assert_in_range(region_units(region_by_index(next->region)), 1, LARGE - 1);
    use_up_free_units();
    for (size_t i = 0; i < REGIONS; i++) {
        assert_non_null(region_map(1));
    }
    next = request_run(1, 1, true, false);
    assert_non_null(next);
    assert_true(region_units(region_by_index(next->region)) > LARGE);
    unblock_break();
}

/* Nothing was written to it but its first and last row, nor is when it goes. */
static void of_a_long_run_that_goes_no_rows_are_written(void **state)
{
    enum { UNITS = 40000, FEW_PAGES = 8 };
    struct span *first = run_of_units(1);
    struct span *span = request_run(UNITS, 1, true, false);
    const size_t row_bytes = UNITS * sizeof(*span);

    (void)state;
    assert_non_null(span);
    const void *rows =
        (const void *)((uintptr_t)(region_primary.spans + 2 * 4096) & ~(uintptr_t)4095);

    page_heap_free(span);
    (void)page_heap_purge(0);
    assert_true(page_heap_stats().total_units < UNITS);
    assert_in_range(resident_pages(rows, row_bytes - (size_t)4 * 4096 * sizeof(*span)), 0,
                    FEW_PAGES);
    page_heap_check();
    /* They serve again. */
    span = request_run(UNITS, 1, true, false);
    assert_non_null(span);
    page_heap_check();
    give_back(span);
    give_back(first);
}

static void a_foreign_part_above_a_lowered_break_is_a_gap(void **state)
{
    struct span *first = run_of_units(1);
    struct span *high = run_of_units(60);

    (void)state;
    give_back(high);
    (void)page_heap_purge(0);
    /* Where the high run was. */
    assert_true(sbrk((intptr_t)(3 * UNIT_BYTES)) != (void *)-1);
    struct span *next = run_of_units(20);

    assert_true(span_address(next) >= span_address(first) + 4 * UNIT_BYTES);
    fill(next);
    page_heap_check();
    give_back(next);
    give_back(first);
}

static struct span *free_top_run(size_t units)
{
    struct span *span = run_of_units(units);

    give_back(span);
    return span;
}

static void a_free_run_that_was_cut_off_is_forgotten(void **state)
{
    struct span *used = run_of_units(3);
    struct span *top_run = free_top_run(30);

    (void)state;
    fill(used);
    move_break_to(span_address(top_run));
    assert_null(request_run(1, 1, false, false));
    page_heap_check();
    assert_int_equal(page_heap_stats().total_units, 3);
    struct span *fresh = run_of_units(30);

    assert_true(is_all(memory_of(fresh), 30 * UNIT_BYTES, 0));
    fill(fresh);
    assert_true(is_all(memory_of(used), 3 * UNIT_BYTES, PATTERN));
}

static void of_a_free_run_cut_in_two_the_lower_part_stays(void **state)
{
    (void)state;
    (void)run_of_units(3);
    struct span *top_run = free_top_run(30);

    move_break_to(span_address(top_run) + 10 * UNIT_BYTES + 777);
    assert_ptr_equal(request_run(10, 1, false, false), top_run);
    fill(top_run);
    assert_null(request_run(1, 1, false, false));
    page_heap_check();
    assert_int_equal(page_heap_stats().total_units, 13);
    fill(run_of_units(5));
}

static void a_purge_notices_that_free_runs_were_cut_off(void **state)
{
    (void)state;
    (void)run_of_units(3);
    struct span *top_run = free_top_run(30);

    move_break_to(span_address(top_run) + UNIT_BYTES);
    (void)page_heap_purge(0);
    page_heap_check();
    assert_int_equal(page_heap_stats().total_units, 4);
    (void)run_of_units(40);
}

static void the_break_may_be_lowered_again_and_again(void **state)
{
    (void)state;
    (void)run_of_units(3);
    struct span *top_run = free_top_run(60);

    for (size_t left = 50; left > 0; left -= 10) {
        move_break_to(span_address(top_run) + left * UNIT_BYTES);
        assert_null(request_run(left + 1, 1, false, false));
        assert_int_equal(page_heap_stats().total_units, 3 + left);
        page_heap_check();
    }
    /* As high as before, and lower once more. */
    (void)run_of_units(11);
    struct span *fresh = free_top_run(50);

    move_break_to(span_address(fresh) + 40 * UNIT_BYTES);
    assert_null(request_run(41, 1, false, false));
    fill(run_of_units(40));
    page_heap_check();
}

static void a_run_does_not_grow_into_what_was_cut_off(void **state)
{
    struct span *span = run_of_units(3);
    struct span *top_run = free_top_run(30);

    (void)state;
    assert_ptr_equal(top_run, span + 3);
    move_break_to(span_address(top_run) + 10 * UNIT_BYTES);
    assert_true(page_heap_resize(span, 12));
    (void)page_heap_resize(span, 30);
    fill(span);
    page_heap_check();
}

/* A foreign part of the break, so long that there is no row for what follows it as long as no call
 * of the kernel works but the break's own. */
static void the_break_may_stand_above_all_rows(void **state)
{
    struct span *span;

    (void)state;
    (void)run_of_units(3);
    assert_true(sbrk(100 * (intptr_t)MIB) != (void *)-1);
    os_fail_calls(2, UINT64_MAX);
    assert_null(request_run(40, 1, true, false));
    os_fail_calls(0, 0);
    assert_true(region_unit_of(&region_primary, break_top()) > region_units(&region_primary));
    (void)page_heap_stats();
    (void)page_heap_purge(0);
    span = run_of_units(40);
    fill(span);
    page_heap_check();
}

static void request_anything(void *unused)
{
    (void)unused;
    (void)request_run(1, 1, true, false);
}

static void lowering_the_break_below_a_block_in_use_dies(void **state)
{
    struct span *used = run_of_units(30);
    uintptr_t cut = span_address(used) + 7 * UNIT_BYTES;

    (void)state;
    move_break_to(cut + 5);
    assert_dies_at(request_anything, NULL, "the program lowered the break below blocks in use, to",
                   cut);
}

static void lowering_the_break_over_all_of_a_block_in_use_dies(void **state)
{
    (void)state;
    (void)run_of_units(2);
    struct span *used = run_of_units(30);

    give_back(run_of_units(1));
    move_break_to(span_address(used));
    assert_dies_at(request_anything, NULL, "the program lowered the break below blocks in use, to",
                   span_address(used));
}

static void free_runs_above_a_gap_that_the_break_was_lowered_to_are_forgotten(void **state)
{
    struct span *below = run_of_units(16);
    char *foreign = (char *)sbrk((intptr_t)(50 * UNIT_BYTES));
    struct span *above = run_of_units(100);

    (void)state;
    page_heap_free(above);
    move_break_to((uintptr_t)foreign + 20 * UNIT_BYTES);
    struct span *fresh = run_of_units(100);

    fill(below);
    fill(fresh);
    assert_true(is_all(memory_of(below), 16 * UNIT_BYTES, PATTERN));
    page_heap_free(fresh);
    (void)page_heap_purge(0);
    page_heap_check();
}

static void blocks_above_a_gap_that_the_break_was_lowered_to_are_noticed(void **state)
{
    (void)state;
    (void)run_of_units(16);
    char *foreign = (char *)sbrk((intptr_t)(50 * UNIT_BYTES));

    (void)run_of_units(100);
    move_break_to((uintptr_t)foreign + 20 * UNIT_BYTES);
    assert_dies_at(request_anything, NULL, "the program lowered the break below blocks in use, to",
                   (uintptr_t)foreign + 20 * UNIT_BYTES);
}

static void free_runs_on_both_sides_of_a_gap_are_forgotten(void **state)
{
    struct span *below = run_of_units(16);

    (void)state;
    char *foreign = (char *)sbrk((intptr_t)(5 * UNIT_BYTES));
    struct span *above = run_of_units(100);

    page_heap_free(below);
    page_heap_free(above);
    move_break_to((uintptr_t)foreign - 10 * UNIT_BYTES);
    assert_null(request_run(7, 1, false, false));
    assert_int_equal(page_heap_stats().total_units, 6);
    page_heap_check();
    fill(run_of_units(100));
}

/* Foreign memory that our base lies above, so that the break can be lowered below the base. */
static uintptr_t break_below_the_base(void)
{
    uintptr_t before = current_break();

    (void)sbrk((intptr_t)(3 * UNIT_BYTES));
    return before;
}

static void with_the_break_below_its_base_the_heap_goes_on_elsewhere(void **state)
{
    uintptr_t before = break_below_the_base();

    (void)state;
    give_back(run_of_units(5));
    move_break_to(before);
    struct span *span = run_of_units(5);

    assert_int_not_equal(span->region, region_primary.index);
    fill(span);
    assert_int_equal(current_break(), before);
    (void)page_heap_purge(0);
    page_heap_check();
    break_check();
}

static void lowering_the_break_below_the_base_of_blocks_in_use_dies(void **state)
{
    uintptr_t before = break_below_the_base();

    (void)state;
    (void)run_of_units(5);
    move_break_to(before);
    assert_dies_at(request_anything, NULL, "the program lowered the break below blocks in use, to",
                   region_primary.base);
}

/* The state of the heap can be wrong: the check sees it. */

static void check(void *unused)
{
    (void)unused;
    page_heap_check();
}

static void the_check_sees_a_run_of_a_wrong_length(void **state)
{
    struct span *span = run_of_units(2);

    (void)state;
    span->units = 3;
    assert_dies(check, NULL, "page heap: no run starts where the last one ends");
    span->units = 2;
    page_heap_check();
}

static void the_check_sees_units_that_got_lost(void **state)
{
    struct span *span = run_of_units(2);

    (void)state;
    span->state = SPAN_GAP;
    span[1].state = SPAN_GAP;
    assert_dies(check, NULL, "page heap: total, free and handed out units do not add up");
}

static void the_check_sees_a_heap_of_another_size(void **state)
{
    (void)state;
    (void)run_of_units(2);
    run_totals.total_units++;
    assert_dies(check, NULL, "growth: the size of the heap is not what its runs come to");
}

static void the_check_sees_memory_that_was_given_back_and_is_still_counted(void **state)
{
    struct span *span = run_of_units(2);

    (void)state;
    (void)run_of_units(1);
    give_back(span);
    *span_history(span) = UNIT_CLEAN;
    assert_dies(check, NULL, "page heap: total, free and handed out units do not add up");
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(the_first_run_grows_the_break),
        ISOLATED(runs_in_use_never_overlap),
        ISOLATED(what_is_cut_off_a_run_stays_free),
        ISOLATED(neighbours_are_joined_whichever_is_freed_last),
        ISOLATED(a_run_without_growth_comes_from_what_is_free_or_not_at_all),
        ISOLATED(a_long_run_has_few_rows_that_cost_memory),
        ISOLATED(the_shortest_run_that_fits_is_taken),
        ISOLATED(long_runs_that_share_a_bin_are_told_apart),
        ISOLATED(the_only_run_that_fits_is_found_behind_many_that_are_too_short),
        ISOLATED(aligned_runs_leave_what_lies_before_them_free),
        ISOLATED(zeroed_runs_are_zero_over_used_and_fresh_memory),
        ISOLATED(a_run_of_many_units_is_zeroed_without_memory),
        ISOLATED(where_the_kernel_takes_nothing_back_many_units_are_written),
        ISOLATED(no_trim_goes_on_where_somebody_forks),
        ISOLATED(looks_at_many_runs_count_as_much_as_what_goes),
        ISOLATED(a_look_that_ends_with_its_budget_is_through),
        ISOLATED(a_trim_looks_at_a_few_runs_while_it_holds_the_lock),
        ISOLATED(zeroing_does_not_touch_fresh_memory),
        ISOLATED(neither_handing_out_nor_taking_back_touches_memory),
        ISOLATED(fresh_memory_is_populated_as_far_as_asked),
        ISOLATED(purged_memory_need_not_be_zeroed_again),
        ISOLATED(memory_that_the_kernel_kept_is_zeroed_again),
        ISOLATED(a_shorter_run_gives_its_tail_back),
        ISOLATED(a_tail_given_back_goes_back_to_the_kernel_after_its_time),
        ISOLATED(a_run_grows_over_free_memory_behind_it),
        ISOLATED(a_run_with_a_neighbour_in_use_does_not_grow),
        ISOLATED(the_run_at_the_top_grows_with_the_break),
        ISOLATED(so_does_one_behind_which_nothing_is),
        ISOLATED(the_run_at_the_top_stays_when_the_break_cannot_grow),
        ISOLATED(a_run_grown_over_used_memory_counts_as_used),
        ISOLATED(a_run_grown_over_clean_memory_counts_as_used),
        ISOLATED(the_break_is_raised_by_no_more_than_a_run_at_the_top_lacks),
        ISOLATED(purging_lowers_the_break_to_the_last_run_in_use),
        ISOLATED(purging_leaves_the_pad_at_the_top),
        ISOLATED(below_somebody_else_s_memory_there_is_no_pad),
        ISOLATED(purging_takes_the_memory_of_inner_runs),
        ISOLATED(purging_does_not_touch_runs_in_use),
        ISOLATED(purging_leaves_a_foreign_top_alone),
        ISOLATED(a_break_that_cannot_grow_gives_mapped_regions),
        ISOLATED(runs_of_two_regions_are_not_joined),
        ISOLATED(the_break_comes_first_again_once_it_can_grow),
        ISOLATED(runs_that_need_regions_of_their_own_come_without_end),
        ISOLATED(a_purge_unmaps_regions_that_are_free),
        ISOLATED(a_region_goes_once_nothing_of_it_is_in_use),
        ISOLATED(what_a_hard_limit_counts_is_right_after_regions_went),
        ISOLATED(all_of_a_hard_limit_can_be_had),
        ISOLATED(a_run_that_shrinks_leaves_room_below_the_limit),
        ISOLATED(when_every_call_fails_nothing_changes),
        ISOLATED(of_the_break_nothing_is_kept_that_cannot_be_used),
        ISOLATED(whichever_call_fails_the_accounts_hold),
        ISOLATED(a_run_beyond_all_measure_is_refused),
        ISOLATED(without_a_break_at_the_start_there_are_no_tags_and_no_break_later),
        ISOLATED(tags_come_with_the_first_of_the_break),
        ISOLATED(runs_never_lie_in_foreign_memory),
        ISOLATED(a_free_run_that_was_cut_off_is_forgotten),
        ISOLATED(of_a_free_run_cut_in_two_the_lower_part_stays),
        ISOLATED(a_purge_notices_that_free_runs_were_cut_off),
        ISOLATED(the_break_may_be_lowered_again_and_again),
        ISOLATED(a_run_does_not_grow_into_what_was_cut_off),
        ISOLATED(the_break_may_stand_above_all_rows),
        ISOLATED(lowering_the_break_below_a_block_in_use_dies),
        ISOLATED(lowering_the_break_over_all_of_a_block_in_use_dies),
        ISOLATED(free_runs_above_a_gap_that_the_break_was_lowered_to_are_forgotten),
        ISOLATED(blocks_above_a_gap_that_the_break_was_lowered_to_are_noticed),
        ISOLATED(free_runs_on_both_sides_of_a_gap_are_forgotten),
        ISOLATED(with_the_break_below_its_base_the_heap_goes_on_elsewhere),
        ISOLATED(lowering_the_break_below_the_base_of_blocks_in_use_dies),
        ISOLATED(the_check_sees_a_run_of_a_wrong_length),
        ISOLATED(the_check_sees_units_that_got_lost),
        ISOLATED(the_check_sees_a_heap_of_another_size),
        ISOLATED(the_check_sees_memory_that_was_given_back_and_is_still_counted),
        ISOLATED(a_run_resized_to_its_own_length_stays),
        ISOLATED(memory_that_the_kernel_does_not_take_is_not_counted_as_purged),
        ISOLATED(memory_behind_a_foreign_part_of_the_break_is_got_whole),
        ISOLATED(of_many_regions_the_next_is_as_long_as_the_heap),
        ISOLATED(of_a_long_run_that_goes_no_rows_are_written),
        ISOLATED(a_foreign_part_above_a_lowered_break_is_a_gap),
        ISOLATED(a_region_is_mapped_as_long_as_the_request_if_no_longer_one_can_be),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
