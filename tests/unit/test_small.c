/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_small.c - the start under a small limit.
 *
 * A program of its own, since a sanitizer's own memory exceeds the limit.
 */
#include "heap_support.h"

#include <stdio.h>
#include <sys/resource.h>

#include "breakwater/breakwater.h"
#include "os.h"
#include "page_heap.h"

static size_t usable_under_limit(size_t limit_bytes, size_t size)
{
    const struct rlimit small = {.rlim_cur = limit_bytes, .rlim_max = limit_bytes};

    assert_int_equal(setrlimit(RLIMIT_DATA, &small), 0);
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

static void free_regions_make_room_for_a_longer_one(void **state)
{
    const size_t room = 100 * MIB;

    (void)state;
    bw_free(bw_malloc(100));
    block_break();
    void *kept = bw_malloc(2 * room);

    bw_free(bw_malloc(3 * room));
    const struct rlimit limit = {.rlim_cur = address_space_bytes() + room,
                                 .rlim_max = RLIM_INFINITY};

    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    void *longer = bw_malloc(3 * room + MIB);

    assert_non_null(longer);
    bw_free(longer);
    bw_free(kept);
    assert_nothing_is_used();
    unblock_break();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(in_a_small_address_space_sizes_are_powers_of_two),
        ISOLATED(in_the_smallest_one_every_second_power_is_left_out),
        ISOLATED(free_regions_make_room_for_a_longer_one),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
