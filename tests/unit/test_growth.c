/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_growth.c - the break moves between two calls of ours, as another thread of the program might
 * move it: linked with --wrap=sbrk.
 */
#include "arena_support.h"

#include <string.h>
#include <unistd.h>

#include "break.h"
#include "growth.h"
#include "os.h"
#include "page_heap.h"
#include "region.h"

enum { PATTERN = 0x5a, FOREIGN_BYTES = 5000 };

/* What the other thread does: before so many looks at the break, or before it is raised or lowered
 * next, it moves it by so much. */
static struct {
    int looks;
    bool at_raise;
    bool at_lowering;
    intptr_t by;
    char *foreign;
} other;

/* The kernel does not say where the break is. */
static bool is_silent;

static bool lowering_fails;

/* Raising it by more than this fails; how often it was tried. */
static intptr_t most_bytes = INTPTR_MAX;
static unsigned raises;

/* --wrap gives them these names. */
void *__real_sbrk(intptr_t increment);
void *__wrap_sbrk(intptr_t increment);

void *__wrap_sbrk(intptr_t increment)
{
    /* Whether it had success: that is no look where the break is. */
    static bool has_moved;
    bool is_look = increment == 0 && !has_moved;
    bool is_now = (is_look && other.looks > 0 && --other.looks == 0) ||
                  (increment > 0 && other.at_raise) || (increment < 0 && other.at_lowering);

    if (is_now) {
        other.at_raise &= increment <= 0;
        other.at_lowering &= increment >= 0;
        other.foreign = (char *)__real_sbrk(other.by);
    }
    bool fails = (is_silent && increment == 0) || (lowering_fails && increment < 0) ||
                 increment > most_bytes;

    raises += increment > 0;
    has_moved = increment != 0;
    return fails ? (void *)-1 : __real_sbrk(increment);
}

static struct span *run_of_units(size_t units)
{
    struct run_request request = {
        .units = units, .align_units = 1, .state = SPAN_LARGE, .grow = true};
    struct span *span = page_heap_alloc(&request);

    assert_non_null(span);
    return span;
}

static char *filled(struct span *span)
{
    char *memory = (char *)span_address(span);

    memset(memory, PATTERN, span->units * UNIT_BYTES);
    return memory;
}

/* The looks at the break of the next request that has to raise it. */
static int looks_of_a_request(void)
{
    enum { MANY = 1000 };

    other.looks = MANY;
    (void)run_of_units(page_heap_stats().total_units + 1);
    int looks = MANY - other.looks;

    other.looks = 0;
    return looks;
}

static void free_memory_cut_off_before_the_break_is_raised_is_forgotten(void **state)
{
    (void)state;
    int looks = looks_of_a_request();

    assert_in_range(looks, 2, 10);
    for (int look = 1; look <= looks; look++) {
        char *kept = filled(run_of_units(20));

        use_up_free_runs();
        page_heap_free(run_of_units(40));
        other.by = -20 * (intptr_t)UNIT_BYTES - 100;
        other.looks = look;
        struct span *fresh = run_of_units(2 * page_heap_stats().total_units);

        assert_int_equal(other.looks, 0);
        (void)filled(fresh);
        assert_true(is_all(kept, 20 * UNIT_BYTES, PATTERN));
        page_heap_check();
        break_check();
    }
}

static void grow_while_the_break_is_lowered(void *look)
{
    other.by = -2 * (intptr_t)UNIT_BYTES;
    other.looks = *(const int *)look;
    (void)run_of_units(2 * page_heap_stats().total_units);
}

static void live_memory_cut_off_before_the_break_is_raised_is_noticed(void **state)
{
    (void)state;
    int looks = looks_of_a_request();

    use_up_free_runs();
    for (int look = 1; look <= looks; look++) {
        assert_dies_at(grow_while_the_break_is_lowered, &look,
                       "the program lowered the break below blocks in use, to",
                       break_top() - 2 * UNIT_BYTES);
    }
}

/* Foreign memory that comes between the look at the break and the call that raises it. */
static void check_foreign_memory(intptr_t bytes)
{
    char *kept = filled(run_of_units(20));

    use_up_free_runs();
    other.by = bytes;
    other.at_raise = true;
    struct span *fresh = run_of_units(2 * page_heap_stats().total_units);

    assert_false(other.at_raise);
    memset(other.foreign, 1, (size_t)bytes);
    (void)filled(fresh);
    assert_true(is_all(other.foreign, (size_t)bytes, 1));
    assert_true(is_all(kept, 20 * UNIT_BYTES, PATTERN));
    page_heap_check();
    break_check();
}

static void foreign_memory_that_comes_between_is_left_alone(void **state)
{
    (void)state;
    check_foreign_memory(FOREIGN_BYTES);
    check_foreign_memory(2 * (intptr_t)UNIT_BYTES);
    check_foreign_memory(FOREIGN_BYTES);
}

static void where_the_kernel_does_not_say_the_break_is_not_taken_for_lowered(void **state)
{
    (void)state;
    char *kept = filled(run_of_units(20));

    use_up_free_runs();
    is_silent = true;
    char *mapped = filled(run_of_units(20));

    assert_true(is_all(kept, 20 * UNIT_BYTES, PATTERN));
    assert_true(is_all(mapped, 20 * UNIT_BYTES, PATTERN));
    is_silent = false;
    page_heap_check();
}

/* A run that is a unit longer than the free one at the top, behind which there is foreign memory
 * all at once: what the heap grows by does not follow on it. */
static const struct span *run_behind_foreign_memory(bool may_grow_again)
{
    (void)run_of_units(1);
    page_heap_free(run_of_units(20));
    size_t free_units = page_heap_stats().free_units;

    other.by = FOREIGN_BYTES;
    other.at_raise = true;
    most_bytes = may_grow_again ? INTPTR_MAX : (intptr_t)(free_units * UNIT_BYTES);
    const struct span *fresh = run_of_units(free_units + 1);

    assert_false(other.at_raise);
    assert_true(page_heap_stats().free_units >= free_units);
    page_heap_check();
    return fresh;
}

static void foreign_memory_behind_a_free_run_makes_it_grow_again(void **state)
{
    (void)state;
    const struct span *fresh = run_behind_foreign_memory(true);

    assert_in_range(span_address(fresh), (uintptr_t)other.foreign, break_top());
}

static void where_it_cannot_grow_again_memory_is_mapped(void **state)
{
    (void)state;
    assert_true(span_address(run_behind_foreign_memory(false)) > break_top());
}

static void what_a_trim_cut_off_is_known_to_have_been_freed(void **state)
{
    struct span *run = run_of_units(4);
    uintptr_t address = span_address(run);

    (void)state;
    page_heap_free(run);
    assert_true(page_heap_purge(0) > 0);
    assert_true(break_top() <= address);
    assert_true(region_was_freed(address));
    /* Until there is memory again. */
    assert_ptr_equal(run_of_units(4), run);
    assert_false(region_was_freed(address));
    page_heap_check();
}

static void a_pad_without_end_keeps_all(void **state)
{
    (void)state;
    page_heap_free(run_of_units(40));
    uintptr_t top = break_top();

    (void)page_heap_purge(SIZE_MAX);
    assert_int_equal(break_top(), top);
    (void)page_heap_purge(SIZE_MAX - UNIT_BYTES);
    assert_int_equal(break_top(), top);
    (void)page_heap_purge(0);
    assert_true(break_top() < top);
}

static void foreign_addresses_stay_foreign_where_the_break_was_being_lowered(void **state)
{
    struct span *span = run_of_units(100);

    (void)state;
    uintptr_t top = break_top();

    page_heap_free(span);
    other.by = FOREIGN_BYTES;
    other.at_lowering = true;
    (void)page_heap_purge(0);
    assert_ptr_equal(__real_sbrk(0), other.foreign + FOREIGN_BYTES);
    assert_int_equal(break_top(), top);
    memset(other.foreign, PATTERN, FOREIGN_BYTES);
    char *memory = filled(run_of_units(page_heap_stats().total_units + 1));

    assert_true(memory >= other.foreign + FOREIGN_BYTES);
    assert_true(is_all(other.foreign, FOREIGN_BYTES, PATTERN));
    page_heap_check();
}

/* Before that is undone. */
static void memory_got_where_the_break_was_just_lowered_is_not_handed_out(void **state)
{
    enum { UNITS = 3 };
    struct span *span = run_of_units(100);
    uintptr_t top = break_top();

    (void)state;
    page_heap_free(span);
    other.by = UNITS * UNIT_BYTES;
    other.at_lowering = true;
    other.at_raise = true;
    (void)page_heap_purge(0);
    assert_false(other.at_raise);
    assert_true((uintptr_t)other.foreign < top);
    memset(other.foreign, PATTERN, UNITS * UNIT_BYTES);
    for (int i = 0; i < 10; i++) {
        memset(filled(run_of_units(20)), 0, 20 * UNIT_BYTES);
    }
    assert_true(is_all(other.foreign, UNITS * UNIT_BYTES, PATTERN));
    page_heap_check();
}

static void where_the_break_cannot_be_lowered_it_stays(void **state)
{
    struct span *span = run_of_units(100);
    uintptr_t top = break_top();

    (void)state;
    page_heap_free(span);
    lowering_fails = true;
    (void)page_heap_purge(0);
    assert_int_equal(break_top(), top);
    assert_ptr_equal(run_of_units(100), span);
    page_heap_check();
}

/* Whichever call fails as the heap grows by so much that new rows are needed. */
static void what_there_are_no_rows_for_is_given_back(void **state)
{
    enum { CALLS = 8, MANY = 2000 };
    unsigned failed = 0;

    (void)state;
    (void)run_of_units(1);
    for (uint64_t call = 1; call <= CALLS; call++) {
        struct run_request request = {
            .units = MANY, .align_units = 1, .state = SPAN_LARGE, .grow = true};
        size_t mapped;
        size_t bytes;
        size_t before;

        region_mapped(&before, &bytes);
        os_fail_calls(call, 1);
        assert_non_null(page_heap_alloc(&request));
        os_fail_calls(0, 0);
        region_mapped(&mapped, &bytes);
        failed += mapped > before;
        assert_int_equal(growth_top_unit(), region_units(&region_primary));
        page_heap_check();
    }
    assert_true(failed >= 2);
}

/* The heap grows by more than is asked for, where it can. */
static void where_the_break_has_room_for_little_what_is_needed_is_got(void **state)
{
    enum { FEW = 8 };

    (void)state;
    (void)run_of_units(1);
    (void)run_of_units(page_heap_stats().free_units);
    size_t total = page_heap_stats().total_units;

    most_bytes = FEW * UNIT_BYTES;
    (void)run_of_units(FEW);
    assert_int_equal(page_heap_stats().total_units, total + FEW);
    most_bytes = INTPTR_MAX;
    (void)run_of_units(FEW);
    assert_true(page_heap_stats().total_units > total + 2 * FEW);
    page_heap_check();
}

static void where_the_break_has_no_room_each_length_is_asked_for_once(void **state)
{
    enum { WISHED_AND_NEEDED = 2 };

    (void)state;
    (void)run_of_units(1);
    uintptr_t top = break_top();

    most_bytes = 0;
    raises = 0;
    (void)run_of_units(page_heap_stats().free_units + 1);
    assert_int_equal(raises, WISHED_AND_NEEDED);
    assert_int_equal(break_top(), top);
    page_heap_check();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(free_memory_cut_off_before_the_break_is_raised_is_forgotten),
        ISOLATED(live_memory_cut_off_before_the_break_is_raised_is_noticed),
        ISOLATED(foreign_memory_that_comes_between_is_left_alone),
        ISOLATED(foreign_memory_behind_a_free_run_makes_it_grow_again),
        ISOLATED(where_it_cannot_grow_again_memory_is_mapped),
        ISOLATED(where_the_kernel_does_not_say_the_break_is_not_taken_for_lowered),
        ISOLATED(what_a_trim_cut_off_is_known_to_have_been_freed),
        ISOLATED(a_pad_without_end_keeps_all),
        ISOLATED(foreign_addresses_stay_foreign_where_the_break_was_being_lowered),
        ISOLATED(memory_got_where_the_break_was_just_lowered_is_not_handed_out),
        ISOLATED(where_the_break_cannot_be_lowered_it_stays),
        ISOLATED(what_there_are_no_rows_for_is_given_back),
        ISOLATED(where_the_break_has_room_for_little_what_is_needed_is_got),
        ISOLATED(where_the_break_has_no_room_each_length_is_asked_for_once),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
