/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_break.c - extents of the break, and everybody else who moves it. */
#include "support.h"

#include <string.h>
#include <unistd.h>

#include "break.h"
#include "os.h"
#include "size_class.h"

/* An extent of `units`, which must be had. */
static struct break_extent grow(size_t units)
{
    struct break_extent extent = break_grow(units * UNIT_BYTES);

    assert_int_equal(extent.bytes, units * UNIT_BYTES);
    break_check();
    return extent;
}

static uintptr_t end_of(struct break_extent extent)
{
    return extent.start + extent.bytes;
}

static void nothing_is_ours_before_the_first_growth(void **state)
{
    uintptr_t before = current_break();

    (void)state;
    assert_int_equal(break_top(), 0);
    assert_int_equal(break_intact_end(), 0);
    assert_int_equal(break_stats().bytes, 0);
    assert_false(break_lower(before));
    assert_int_equal(current_break(), before);
    break_check();
}

static void the_first_extent_is_aligned_and_ends_at_the_break(void **state)
{
    uintptr_t before = current_break();
    struct break_extent extent = grow(3);

    (void)state;
    assert_int_equal(extent.start % UNIT_BYTES, 0);
    assert_true(extent.start >= before && extent.start - before < UNIT_BYTES);
    assert_int_equal(end_of(extent), current_break());
    assert_int_equal(break_top(), current_break());
    assert_int_equal(break_intact_end(), current_break());
}

static void extents_are_zeroed_and_writable(void **state)
{
    struct break_extent extent = grow(2);

    (void)state;
    assert_true(is_all((void *)extent.start, extent.bytes, 0));
    memset((void *)extent.start, 0x5a, extent.bytes);
}

static void extents_follow_on_each_other(void **state)
{
    uintptr_t end = end_of(grow(1));

    (void)state;
    for (size_t units = 1; units < 10; units++) {
        struct break_extent extent = grow(units);

        assert_int_equal(extent.start, end);
        end = end_of(extent);
    }
    assert_int_equal(break_stats().gap_bytes, 0);
    assert_int_equal(break_stats().foreign_moves, 0);
    assert_int_equal(break_stats().grown, 10);
    assert_int_equal(break_stats().bytes, 46 * UNIT_BYTES);
}

static void without_memory_nothing_changes(void **state)
{
    uintptr_t top = end_of(grow(1));

    (void)state;
    os_fail_calls(1, UINT64_MAX);
    assert_int_equal(break_grow(UNIT_BYTES).bytes, 0);
    os_fail_calls(0, 0);
    assert_int_equal(break_top(), top);
    assert_int_equal(current_break(), top);
    assert_int_equal(break_stats().failed, 1);
    assert_int_equal(break_stats().bytes, UNIT_BYTES);
    assert_int_equal(grow(1).start, top);
}

static void a_blocked_break_gives_nothing(void **state)
{
    (void)state;
    block_break();
    assert_int_equal(break_grow(UNIT_BYTES).bytes, 0);
    assert_int_equal(break_top(), 0);
    unblock_break();
    (void)grow(1);
}

static void more_than_the_address_space_gives_nothing(void **state)
{
    size_t most = (size_t)PTRDIFF_MAX & ~(UNIT_BYTES - 1);

    (void)state;
    assert_int_equal(break_grow(most).bytes, 0);
    assert_int_equal(break_grow(~(UNIT_BYTES - 1)).bytes, 0);
    assert_int_equal(break_stats().bytes, 0);
    (void)grow(1);
}

/* Foreign moves */

static void foreign_memory_is_never_handed_out(void **state)
{
    static const intptr_t odd[] = {1, 12345, 65535, 65536, 65537, 1000003};
    size_t gaps = 0;

    (void)state;
    uintptr_t top = end_of(grow(1));

    for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
        char *foreign = (char *)sbrk(odd[i]);

        assert_ptr_equal(foreign, top);
        memset(foreign, (int)i + 1, (size_t)odd[i]);
        struct break_extent extent = grow(2);

        assert_int_equal(extent.start % UNIT_BYTES, 0);
        assert_true(extent.start >= (uintptr_t)foreign + (size_t)odd[i]);
        memset((void *)extent.start, 0xff, extent.bytes);
        assert_true(is_all(foreign, (size_t)odd[i], (unsigned char)(i + 1)));
        gaps += extent.start - top;
        top = end_of(extent);
        assert_int_equal(break_stats().foreign_moves, i + 1);
        assert_int_equal(break_stats().gap_bytes, gaps);
    }
}

static void a_foreign_move_within_our_top_shows_before_we_grow(void **state)
{
    uintptr_t top = end_of(grow(4));

    (void)state;
    move_break_to(top - UNIT_BYTES - 1);
    assert_int_equal(break_intact_end(), top - 2 * UNIT_BYTES);
    assert_int_equal(break_top(), top);
    break_check();
}

static void what_was_cut_off_is_only_handed_out_as_new_memory(void **state)
{
    struct break_extent first = grow(4);

    (void)state;
    memset((void *)first.start, 0x5a, first.bytes);
    move_break_to(first.start + UNIT_BYTES + 100);
    struct break_extent second = grow(1);

    assert_int_equal(second.start, first.start + 2 * UNIT_BYTES);
    assert_int_equal(break_top(), end_of(second));
    assert_int_equal(break_intact_end(), end_of(second));
    assert_true(is_all((void *)second.start, second.bytes, 0));
    assert_int_equal(break_stats().foreign_moves, 1);
}

static void a_break_below_our_base_leaves_nothing_of_ours_intact(void **state)
{
    uintptr_t before = current_break();

    (void)state;
    (void)sbrk((intptr_t)(3 * UNIT_BYTES));
    struct break_extent first = grow(4);

    move_break_to(before);
    assert_int_equal(break_intact_end(), first.start);
    break_check();
}

static void memory_below_our_base_is_never_handed_out(void **state)
{
    uintptr_t before = current_break();

    (void)state;
    (void)sbrk((intptr_t)(3 * UNIT_BYTES));
    struct break_extent first = grow(4);

    move_break_to(before);
    struct break_extent second = break_grow(UNIT_BYTES);

    assert_true(second.bytes == 0 || second.start >= first.start);
    break_check();
    assert_true(break_stats().bytes <= 5 * UNIT_BYTES);
}

/* Lowering */

static void lowering_gives_the_memory_back(void **state)
{
    struct break_extent extent = grow(4);
    uintptr_t middle = extent.start + UNIT_BYTES;

    (void)state;
    memset((void *)extent.start, 0x5a, extent.bytes);
    assert_true(break_lower(middle));
    assert_int_equal(current_break(), middle);
    assert_int_equal(break_top(), middle);
    assert_int_equal(break_stats().lowered, 1);
    assert_int_equal(break_stats().bytes, UNIT_BYTES);
    assert_false(is_readable((void *)middle));
    break_check();
    extent = grow(3);
    assert_int_equal(extent.start, middle);
    assert_true(is_all((void *)extent.start, extent.bytes, 0));
}

static void lowering_to_the_base_keeps_the_base(void **state)
{
    struct break_extent extent = grow(2);

    (void)state;
    assert_true(break_lower(extent.start));
    assert_int_equal(break_stats().bytes, 0);
    assert_int_equal(grow(1).start, extent.start);
}

static void lowering_out_of_our_range_is_refused(void **state)
{
    struct break_extent extent = grow(2);
    uintptr_t top = end_of(extent);

    (void)state;
    assert_false(break_lower(top));
    assert_false(break_lower(top + UNIT_BYTES));
    assert_false(break_lower(extent.start - UNIT_BYTES));
    assert_int_equal(current_break(), top);
    assert_int_equal(break_stats().lowered, 0);
    break_check();
}

static void lowering_under_a_foreign_top_is_refused(void **state)
{
    struct break_extent extent = grow(2);
    char *foreign = (char *)sbrk(100);

    (void)state;
    memset(foreign, 7, 100);
    assert_false(break_lower(extent.start));
    assert_true(is_all(foreign, 100, 7));
    assert_int_equal(break_top(), end_of(extent));
    /* Once it is gone, the top is ours again. */
    move_break_to((uintptr_t)foreign);
    assert_true(break_lower(extent.start));
    break_check();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(nothing_is_ours_before_the_first_growth),
        ISOLATED(the_first_extent_is_aligned_and_ends_at_the_break),
        ISOLATED(extents_are_zeroed_and_writable),
        ISOLATED(extents_follow_on_each_other),
        ISOLATED(without_memory_nothing_changes),
        ISOLATED(a_blocked_break_gives_nothing),
        ISOLATED(more_than_the_address_space_gives_nothing),
        ISOLATED(foreign_memory_is_never_handed_out),
        ISOLATED(a_foreign_move_within_our_top_shows_before_we_grow),
        ISOLATED(what_was_cut_off_is_only_handed_out_as_new_memory),
        ISOLATED(a_break_below_our_base_leaves_nothing_of_ours_intact),
        ISOLATED(memory_below_our_base_is_never_handed_out),
        ISOLATED(lowering_gives_the_memory_back),
        ISOLATED(lowering_to_the_base_keeps_the_base),
        ISOLATED(lowering_out_of_our_range_is_refused),
        ISOLATED(lowering_under_a_foreign_top_is_refused),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
