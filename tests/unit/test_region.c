/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_region.c - which addresses are the heap's, and the tables that describe them. */
#include "support.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "meta.h"
#include "os.h"
#include "region.h"

/* The tables say nothing of the memory, which is not touched: any address does for a break. */
#define BASE  ((uintptr_t)0x10000000)
#define UNITS ((size_t)8)

static uintptr_t unit_address(size_t unit)
{
    return BASE + unit * UNIT_BYTES;
}

static void no_address_is_in_the_heap_before_the_first_memory(void **state)
{
    (void)state;
    assert_null(region_of(0));
    assert_null(region_of(BASE));
    assert_null(region_of(UINTPTR_MAX));
    assert_null(span_of(0));
    assert_int_equal(region_units(&region_primary), 0);
}

static void exactly_the_memory_added_is_in_the_break(void **state)
{
    (void)state;
    assert_true(region_add_break(BASE, UNITS * UNIT_BYTES));
    assert_null(region_of(BASE - 1));
    assert_ptr_equal(region_of(BASE), &region_primary);
    assert_ptr_equal(region_of(unit_address(UNITS) - 1), &region_primary);
    assert_null(region_of(unit_address(UNITS)));
    assert_null(region_of(0));
    assert_null(region_of(UINTPTR_MAX));
}

static void new_rows_are_clean_and_of_no_run(void **state)
{
    (void)state;
    assert_true(region_add_break(BASE, UNITS * UNIT_BYTES));
    for (size_t unit = 0; unit < UNITS; unit++) {
        assert_int_equal(region_primary.spans[unit].state, SPAN_NONE);
        assert_int_equal(region_primary.history[unit], UNIT_CLEAN);
        assert_null(region_primary.spans[unit].slab);
    }
}

static void every_address_of_a_unit_finds_its_row(void **state)
{
    (void)state;
    assert_true(region_add_break(BASE, UNITS * UNIT_BYTES));
    for (size_t unit = 0; unit < UNITS; unit++) {
        struct span *span = &region_primary.spans[unit];

        assert_ptr_equal(span_of(unit_address(unit)), span);
        assert_ptr_equal(span_of(unit_address(unit) + 1), span);
        assert_ptr_equal(span_of(unit_address(unit + 1) - 1), span);
        assert_int_equal(span_unit(span), unit);
        assert_int_equal(span_address(span), unit_address(unit));
        assert_ptr_equal(span_history(span), &region_primary.history[unit]);
    }
}

static void memory_after_a_gap_leaves_rows_that_are_not_ours(void **state)
{
    (void)state;
    assert_true(region_add_break(BASE, 2 * UNIT_BYTES));
    assert_true(region_add_break(unit_address(5), 3 * UNIT_BYTES));
    assert_int_equal(region_units(&region_primary), UNITS);
    for (size_t unit = 0; unit < UNITS; unit++) {
        bool gap = unit >= 2 && unit < 5;

        assert_int_equal(region_primary.spans[unit].state, gap ? SPAN_GAP : SPAN_NONE);
    }
}

static void memory_added_again_is_clean_again(void **state)
{
    (void)state;
    assert_true(region_add_break(BASE, UNITS * UNIT_BYTES));
    memset(region_primary.history, UNIT_FREED, UNITS);
    region_primary.spans[6].state = SPAN_GAP;
    region_primary.spans[7].state = SPAN_GAP;
    assert_true(region_add_break(unit_address(6), UNIT_BYTES));
    assert_int_equal(region_units(&region_primary), UNITS);
    assert_int_equal(region_primary.spans[6].state, SPAN_NONE);
    assert_int_equal(region_primary.history[6], UNIT_CLEAN);
    assert_int_equal(region_primary.spans[7].state, SPAN_GAP);
    assert_int_equal(region_primary.history[5], UNIT_FREED);
}

static void memory_out_of_the_tables_is_refused(void **state)
{
    (void)state;
    assert_true(region_add_break(BASE, UNIT_BYTES));
    assert_false(region_add_break(BASE - UNIT_BYTES, UNIT_BYTES));
    assert_false(region_add_break(unit_address(region_units_max()), UNIT_BYTES));
    assert_int_equal(region_units(&region_primary), 1);
}

static void tables_that_cannot_be_had_whole_are_had_smaller(void **state)
{
    (void)state;
    os_fail_calls(1, 2);
    assert_true(region_add_break(BASE, UNIT_BYTES));
    os_fail_calls(0, 0);
    assert_ptr_equal(region_of(BASE), &region_primary);
    size_t whole = size_min(os_address_space_bytes() / UNIT_BYTES, (size_t)1 << 27);

    assert_int_equal(region_units_max(), whole / 4);
}

static void without_memory_for_tables_nothing_is_added(void **state)
{
    (void)state;
    os_fail_calls(1, UINT64_MAX);
    assert_false(region_add_break(BASE, UNIT_BYTES));
    os_fail_calls(0, 0);
    assert_null(region_of(BASE));
    assert_int_equal(region_primary.base, 0);
    assert_true(region_add_break(BASE, UNIT_BYTES));
}

static void rows_that_cannot_be_committed_leave_the_region_as_it_was(void **state)
{
    size_t most = 4096;

    (void)state;
    assert_true(region_add_break(BASE, UNIT_BYTES));
    os_fail_calls(1, 1);
    assert_false(region_add_break(unit_address(1), most * UNIT_BYTES));
    os_fail_calls(0, 0);
    assert_int_equal(region_units(&region_primary), 1);
    assert_null(region_of(unit_address(1)));
    assert_true(region_add_break(unit_address(1), most * UNIT_BYTES));
    assert_ptr_equal(region_of(unit_address(most)), &region_primary);
}

/* Mapped regions */

static void a_mapped_region_is_found_by_address_and_index(void **state)
{
    struct region *region = region_map(UNITS);

    (void)state;
    assert_non_null(region);
    assert_int_equal(region->base % UNIT_BYTES, 0);
    assert_int_equal(region_units(region), UNITS);
    assert_ptr_equal(region_by_index(region->index), region);
    assert_ptr_equal(region_of(region->base), region);
    assert_ptr_equal(region_of(region->base + UNITS * UNIT_BYTES - 1), region);
    assert_null(region_of(region->base - 1));
    assert_null(region_of(region->base + UNITS * UNIT_BYTES));
    assert_true(is_all((void *)region->base, UNITS * UNIT_BYTES, 0));
    memset((void *)region->base, 0x5a, UNITS * UNIT_BYTES);
}

static void every_address_of_a_mapped_region_finds_its_row(void **state)
{
    (void)state;
    (void)region_map(1);
    struct region *region = region_map(UNITS);

    for (size_t unit = 0; unit < UNITS; unit++) {
        struct span *span = span_of(region->base + unit * UNIT_BYTES + 5);

        assert_ptr_equal(span, &region->spans[unit]);
        assert_int_equal(span->state, SPAN_NONE);
        assert_int_equal(region->history[unit], UNIT_CLEAN);
        /* As whoever makes it the start of a run does. */
        span->region = region->index;
        assert_int_equal(span_address(span), region->base + unit * UNIT_BYTES);
        assert_int_equal(span_unit(span), unit);
        assert_ptr_equal(span_history(span), &region->history[unit]);
    }
}

static void rows_that_nobody_has_written_cost_no_memory(void **state)
{
    size_t units = 16384;

    (void)state;
    assert_true(region_add_break(BASE, units * UNIT_BYTES));
    assert_int_equal(resident_pages(region_primary.spans, units * sizeof(struct span)), 0);
    assert_int_equal(resident_pages(region_primary.history, units), 0);
    struct region *region = region_map(units);

    assert_non_null(region);
    assert_int_equal(resident_pages(region->spans, units * sizeof(struct span)), 0);
}

static void regions_come_in_order_from_the_break_on(void **state)
{
    struct region *first = region_map(1);
    struct region *second = region_map(2);
    size_t count;
    size_t bytes;

    (void)state;
    assert_ptr_equal(region_next(NULL), &region_primary);
    assert_ptr_equal(region_next(&region_primary), first);
    assert_ptr_equal(region_next(first), second);
    assert_null(region_next(second));
    region_mapped(&count, &bytes);
    assert_int_equal(count, 2);
    assert_int_equal(bytes, 3 * UNIT_BYTES);
}

static void a_region_that_cannot_be_mapped_leaves_nothing_behind(void **state)
{
    size_t count;
    size_t bytes;
    unsigned call = 1;

    (void)state;
    meta_free(meta_alloc(1), 1);
    size_t used = meta_stats().used_bytes;

    for (;; call++) {
        os_fail_calls(call, UINT64_MAX);
        struct region *region = region_map(1000);

        os_fail_calls(0, 0);
        if (region != NULL) {
            break;
        }
        assert_int_equal(meta_stats().used_bytes, used);
        assert_null(region_by_index(1));
        meta_check();
    }
    assert_true(call > 1);
    region_mapped(&count, &bytes);
    assert_int_equal(count, 1);
}

static void the_regions_end_when_their_indices_do(void **state)
{
    size_t count = 0;
    size_t mapped;
    size_t bytes;

    (void)state;
    while (count < 1000 && region_map(1) != NULL) {
        count++;
    }
    assert_int_equal(count, UINT8_MAX);
    region_mapped(&mapped, &bytes);
    assert_int_equal(mapped, UINT8_MAX);
    assert_non_null(region_by_index(UINT8_MAX));
    assert_null(region_next(region_by_index(UINT8_MAX)));
    assert_null(region_of(1));
}

static void a_region_that_is_unmapped_leaves_its_place_to_the_next(void **state)
{
    struct region *first = region_map(1000);
    struct region *second = region_map(2);
    uintptr_t address = first->base + 900 * UNIT_BYTES;
    char *mapping = (char *)first->mapping;
    size_t used = meta_stats().used_bytes;
    size_t count;
    size_t bytes;

    (void)state;
    region_unmap(first);
    meta_check();
    assert_true(meta_stats().used_bytes < used);
    assert_null(region_of(address));
    assert_null(span_of(address));
    assert_false(is_readable((void *)address));
    /* With what was mapped to align it. */
    assert_false(is_readable(mapping));
    assert_false(is_readable(mapping + 1001 * UNIT_BYTES - 1));
    assert_ptr_equal(region_of(second->base), second);
    region_mapped(&count, &bytes);
    assert_int_equal(count, 1);
    assert_int_equal(bytes, 2 * UNIT_BYTES);
    used = meta_stats().used_bytes;
    assert_ptr_equal(region_map(500), first);
    assert_int_equal(region_units(first), 500);
    assert_ptr_equal(region_of(first->base + 499 * UNIT_BYTES), first);
    assert_ptr_equal(span_of(first->base), first->spans);
    assert_null(region_of(first->base + 500 * UNIT_BYTES));
    assert_true(is_all((void *)first->base, 500 * UNIT_BYTES, 0));
    region_unmap(first);
    assert_true(meta_stats().used_bytes <= used);
    assert_ptr_equal(region_next(second), NULL);
}

static void a_full_table_has_room_again_where_a_region_is_unmapped(void **state)
{
    (void)state;
    while (region_map(1) != NULL) {
    }
    region_unmap(region_by_index(77));
    assert_ptr_equal(region_map(3), region_by_index(77));
    assert_null(region_map(1));
    assert_ptr_equal(region_of(region_by_index(UINT8_MAX)->base), region_by_index(UINT8_MAX));
}

/* A region that is in use, between two that come and go with other lengths. */
struct comings_and_goings {
    struct region *kept;
    _Atomic unsigned looks;
    _Atomic unsigned wrong_looks;
    _Atomic bool first_taken;
};

enum { CHANGES = 1000 };

static void *look_or_change(void *argument)
{
    struct comings_and_goings *shared = (struct comings_and_goings *)argument;

    if (!atomic_exchange(&shared->first_taken, true)) {
        for (size_t i = 0; i < CHANGES; i++) {
            struct region *region = region_map(1 + i % 300);

            region_unmap(region_by_index(1));
            region_unmap(region);
            (void)region_map(1 + i % 7);
        }
        return NULL;
    }
    for (size_t i = 0; i < (size_t)10 * CHANGES; i++) {
        uintptr_t address = shared->kept->base + i % UNITS * UNIT_BYTES;
        bool right = region_of(address) == shared->kept &&
                     span_of(address) == &shared->kept->spans[i % UNITS];

        atomic_fetch_add(right ? &shared->looks : &shared->wrong_looks, 1);
    }
    return NULL;
}

static void what_is_in_use_is_found_while_other_regions_come_and_go(void **state)
{
    struct comings_and_goings shared = {.kept = NULL};

    (void)state;
    (void)region_map(1);
    shared.kept = region_map(UNITS);
    run_threads(3, look_or_change, &shared);
    assert_int_equal(shared.wrong_looks, 0);
    assert_int_equal(shared.looks, 2 * 10 * CHANGES);
    meta_check();
}

static void a_region_beyond_all_measure_is_refused(void **state)
{
    (void)state;
    assert_null(region_map(SIZE_MAX / UNIT_BYTES));
    assert_null(region_map(((size_t)1 << 27) + 1));
    meta_check();
}

/* Tags */

static void a_tag_table_has_a_zero_for_every_unit_there_may_be(void **state)
{
    (void)state;
    assert_true(region_add_break(BASE, UNIT_BYTES));
    _Atomic uint16_t *tags = region_tags_create();

    assert_non_null(tags);
    assert_int_equal(tags[0], 0);
    assert_int_equal(tags[region_units_max() - 1], 0);
    assert_ptr_not_equal(region_tags_create(), tags);
    os_fail_calls(1, 1);
    assert_null(region_tags_create());
    os_fail_calls(0, 0);
}

/* Where all that is mapped gets its memory at once, tag tables, which are mostly for memory that
 * never comes, give it back. */
static void a_tag_table_of_a_program_that_is_locked_has_no_memory(void **state)
{
    (void)state;
    assert_true(region_add_break(BASE, UNIT_BYTES));
    assert_int_equal(syscall(SYS_mlockall, MCL_FUTURE), 0);
    _Atomic uint16_t *tags = region_tags_create();

    if (tags == NULL && geteuid() != 0) {
        print_message("not tested: who is not root may lock too little\n");
        return;
    }
    assert_non_null(tags);
    assert_int_equal(resident_pages((void *)tags, region_units_max() * sizeof(*tags)), 0);
}

static void check_with_a_region_elsewhere(void *region)
{
    ((struct region *)region)->base += UNIT_BYTES;
    region_check();
}

static void check_with_a_region_unaccounted_for(void *region)
{
    atomic_store(&((struct region *)region)->units, 0);
    region_check();
}

static void check_with_rows_without_memory(void *unused)
{
    (void)unused;
    atomic_store(&region_primary.units, UNITS + os_page_bytes());
    region_check();
}

static void a_check_finds_what_is_wrong(void **state)
{
    (void)state;
    assert_true(region_add_break(BASE, UNITS * UNIT_BYTES));
    struct region *region = region_map(UNITS);

    assert_non_null(region);
    region_check();
    assert_dies(check_with_a_region_elsewhere, region,
                "region: a mapped one is not where its addresses are looked for");
    assert_dies(check_with_a_region_unaccounted_for, region,
                "region: units and regions do not add up");
    assert_dies(check_with_rows_without_memory, NULL, "region: rows of the break have no memory");
    region_unmap(region);
    region_check();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(no_address_is_in_the_heap_before_the_first_memory),
        ISOLATED(exactly_the_memory_added_is_in_the_break),
        ISOLATED(new_rows_are_clean_and_of_no_run),
        ISOLATED(every_address_of_a_unit_finds_its_row),
        ISOLATED(memory_after_a_gap_leaves_rows_that_are_not_ours),
        ISOLATED(memory_added_again_is_clean_again),
        ISOLATED(memory_out_of_the_tables_is_refused),
        ISOLATED(tables_that_cannot_be_had_whole_are_had_smaller),
        ISOLATED(without_memory_for_tables_nothing_is_added),
        ISOLATED(rows_that_cannot_be_committed_leave_the_region_as_it_was),
        ISOLATED(a_mapped_region_is_found_by_address_and_index),
        ISOLATED(every_address_of_a_mapped_region_finds_its_row),
        ISOLATED(rows_that_nobody_has_written_cost_no_memory),
        ISOLATED(regions_come_in_order_from_the_break_on),
        ISOLATED(a_region_that_cannot_be_mapped_leaves_nothing_behind),
        ISOLATED(the_regions_end_when_their_indices_do),
        ISOLATED(a_region_that_is_unmapped_leaves_its_place_to_the_next),
        ISOLATED(a_full_table_has_room_again_where_a_region_is_unmapped),
        ISOLATED(what_is_in_use_is_found_while_other_regions_come_and_go),
        ISOLATED(a_region_beyond_all_measure_is_refused),
        ISOLATED(a_tag_table_has_a_zero_for_every_unit_there_may_be),
        ISOLATED(a_tag_table_of_a_program_that_is_locked_has_no_memory),
        ISOLATED(a_check_finds_what_is_wrong),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
