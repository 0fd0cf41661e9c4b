/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_small.c - the start under a small limit, and a process that sets itself one later.
 *
 * A program of its own, since a sanitizer's own memory exceeds the limit.
 */
#include "heap_support.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "breakwater/breakwater.h"
#include "os.h"
#include "page_heap.h"

/* Emulators of a processor say that it is set, and set nothing: what takes all there is would then
 * take all of the machine's memory. */
static void set_limit(unsigned resource, const struct rlimit *limit)
{
    struct rlimit found = {0};

    assert_int_equal(setrlimit(resource, limit), 0);
    assert_int_equal(getrlimit(resource, &found), 0);
    if (found.rlim_cur != limit->rlim_cur) {
        fail_msg("nothing holds this process to the limits that it sets itself");
    }
}

static size_t usable_under_limit(size_t limit_bytes, size_t size)
{
    const struct rlimit small = {.rlim_cur = limit_bytes, .rlim_max = limit_bytes};

    set_limit(RLIMIT_DATA, &small);
    void *block = bw_malloc(size);

    assert_non_null(block);
    size_t usable = bw_malloc_usable_size(block);

    bw_free(block);
    cache_check(cache_self);
    page_heap_check();
    return usable;
}

/* Of this process. */
static size_t address_space_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    (void)fclose(file);
    return pages * os_page_bytes();
}

static void limit_address_space(rlim_t bytes)
{
    const struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};

    set_limit(RLIMIT_AS, &limit);
}

static void in_a_small_address_space_sizes_are_powers_of_two(void **state)
{
    (void)state;
    assert_int_equal(usable_under_limit(12 * MIB, 300), 512);
}

static void in_the_smallest_one_every_second_power_is_left_out(void **state)
{
    (void)state;
    assert_int_equal(usable_under_limit(5 * MIB - UNIT_BYTES, 300), 1024);
}

static void where_address_space_is_short_little_room_is_left(void **state)
{
    (void)state;
    bw_free(bw_malloc(1));
    limit_address_space(70 * MIB);
    assert_in_range(usable_after_a_move(), 9 * MIB + 1, 11 * MIB);
}

static void free_regions_make_room_for_a_longer_one(void **state)
{
    const size_t room = 100 * MIB;

    (void)state;
    bw_free(bw_malloc(100));
    block_break();
    void *kept = bw_malloc(2 * room);

    bw_free(bw_malloc(3 * room));
    limit_address_space(address_space_bytes() + room);
    void *longer = bw_malloc(3 * room + MIB);

    assert_non_null(longer);
    bw_free(longer);
    bw_free(kept);
    assert_nothing_is_used();
    unblock_break();
}

/* Blocks of `size` until there are no more, in a list; their bytes go to *bytes. */
static void **take_all(size_t size, size_t *bytes)
{
    void **list = NULL;
    void **block;

    for (*bytes = 0; (block = (void **)bw_malloc(size)) != NULL; *bytes += size) {
        *block = list;
        list = block;
    }
    return list;
}

static void free_all(void **list)
{
    while (list != NULL) {
        void **next = (void **)*list;

        bw_free(list);
        list = next;
    }
    cache_check(cache_self);
    page_heap_check();
}

/* The tables for all that the machine may need take more than the limit leaves. */
static void a_limit_that_the_process_sets_itself_leaves_room_for_blocks(void **state)
{
    const size_t room = 24 * MIB;
    size_t bytes;

    (void)state;
    bw_free(bw_malloc(100));
    size_t rows = region_units_max();
    size_t tables = rows * (sizeof(struct span) + sizeof(uint8_t));

    limit_address_space(address_space_bytes() - tables + room);
    for (size_t size = 4000; size <= 400000; size *= 10) {
        void **blocks = take_all(size, &bytes);

        assert_in_range(bytes, room - 4 * MIB, room + 4 * MIB);
        assert_int_equal(span_of((uintptr_t)blocks)->region, region_primary.index);
        free_all(blocks);
    }
    assert_true(region_units_max() < rows);
}

static void a_tag_table_takes_the_place_of_rows_that_the_limit_leaves_no_use_for(void **state)
{
    (void)state;
    assert_non_null(page_heap_tags_create());
    limit_address_space(address_space_bytes());
    assert_null(os_map(os_page_bytes()));
    assert_non_null(page_heap_tags_create());
    limit_address_space(RLIM_INFINITY);
}

static void once_the_limit_is_lifted_the_heap_goes_on_in_mapped_regions(void **state)
{
    size_t bytes;

    (void)state;
    bw_free(bw_malloc(100));
    limit_address_space(64 * MIB);
    void **blocks = take_all(4000, &bytes);

    limit_address_space(RLIM_INFINITY);
    void *more = bw_malloc(128 * MIB);

    assert_non_null(more);
    assert_int_not_equal(span_of((uintptr_t)more)->region, region_primary.index);
    bw_free(more);
    free_all(blocks);
    assert_nothing_is_used();
}

/* Tables given up. The memory they tell of is not touched: any address does for a break. */

#define BASE ((uintptr_t)0x10000000)

static uintptr_t unit_address(size_t unit)
{
    return BASE + unit * UNIT_BYTES;
}

/* Does anything, be it a reservation, take up the page at `address`? */
static bool is_taken(const void *address)
{
    unsigned char resident;
    uintptr_t page = (uintptr_t)address & ~(os_page_bytes() - 1);

    return mincore((void *)page, 1, &resident) == 0;
}

static bool give_up_rows_under_limit(size_t units)
{
    limit_address_space(units * UNIT_BYTES);
    bool given_up = region_give_up_rows();

    limit_address_space(RLIM_INFINITY);
    return given_up;
}

static void without_a_new_limit_no_table_is_given_up(void **state)
{
    (void)state;
    assert_false(region_give_up_rows());
    assert_true(region_add_break(BASE, UNIT_BYTES));
    size_t most = region_units_max();

    assert_false(region_give_up_rows());
    assert_int_equal(region_units_max(), most);
    assert_true(is_taken(&region_primary.spans[most - 1]));
    assert_true(is_taken(&region_primary.history[most - 1]));
}

static void tables_are_cut_down_to_what_a_limit_allows(void **state)
{
    const size_t allowed = 2048;

    (void)state;
    assert_true(region_add_break(BASE, UNIT_BYTES));
    size_t most = region_units_max();
    _Atomic uint16_t *tags = region_tags_create();

    assert_true(give_up_rows_under_limit(allowed));
    assert_int_equal(region_units_max(), allowed);
    assert_false(give_up_rows_under_limit(allowed));
    assert_false(is_taken(&region_primary.spans[allowed]));
    assert_false(is_taken(&region_primary.spans[most - 1]));
    assert_false(is_taken(&region_primary.history[most - 1]));
    /* Threads read those that there are, for any address. */
    assert_int_equal(tags[most - 1], 0);
    assert_false(region_add_break(unit_address(allowed), UNIT_BYTES));
    assert_true(region_add_break(unit_address(1), (allowed - 1) * UNIT_BYTES));
    memset(&region_primary.spans[allowed - 1], 0, sizeof(struct span));
    assert_null(span_of(unit_address(allowed)));
}

static void what_has_taken_their_place_stays(void **state)
{
    const size_t allowed = 65536;

    (void)state;
    assert_true(region_add_break(BASE, UNIT_BYTES));
    assert_true(give_up_rows_under_limit(allowed));
    void *place = &region_primary.spans[allowed];

    assert_ptr_equal(mmap(place, os_page_bytes(), PROT_READ,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
                     place);
    assert_true(give_up_rows_under_limit(allowed / 2));
    assert_false(is_taken(&region_primary.spans[allowed / 2]));
    assert_true(is_taken(place));
}

static void rows_in_use_are_not_given_up(void **state)
{
    const size_t used = 5000;

    (void)state;
    assert_true(region_add_break(BASE, used * UNIT_BYTES));
    assert_true(give_up_rows_under_limit(100));
    assert_int_equal(region_units_max(), used);
    assert_ptr_equal(span_of(unit_address(used - 1)), &region_primary.spans[used - 1]);
    assert_int_equal(region_primary.spans[used - 1].state, SPAN_NONE);
    assert_int_equal(region_primary.history[used - 1], UNIT_CLEAN);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(in_a_small_address_space_sizes_are_powers_of_two),
        ISOLATED(in_the_smallest_one_every_second_power_is_left_out),
        ISOLATED(where_address_space_is_short_little_room_is_left),
        ISOLATED(free_regions_make_room_for_a_longer_one),
        ISOLATED(a_limit_that_the_process_sets_itself_leaves_room_for_blocks),
        ISOLATED(a_tag_table_takes_the_place_of_rows_that_the_limit_leaves_no_use_for),
        ISOLATED(without_a_new_limit_no_table_is_given_up),
        ISOLATED(tables_are_cut_down_to_what_a_limit_allows),
        ISOLATED(what_has_taken_their_place_stays),
        ISOLATED(rows_in_use_are_not_given_up),
        ISOLATED(once_the_limit_is_lifted_the_heap_goes_on_in_mapped_regions),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
