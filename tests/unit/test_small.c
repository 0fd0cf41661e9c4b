/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_small.c - the start under a small limit.
 *
 * A program of its own, since a sanitizer's own memory exceeds the limit.
 */
#include "support.h"

#include <sys/resource.h>

#include "breakwater/breakwater.h"
#include "heap.h"
#include "page_heap.h"

static void in_a_small_address_space_sizes_are_powers_of_two(void **state)
{
    const struct rlimit small = {.rlim_cur = 12 * MIB, .rlim_max = 12 * MIB};

    (void)state;
    assert_int_equal(setrlimit(RLIMIT_DATA, &small), 0);
    void *block = bw_malloc(300);

    assert_non_null(block);
    assert_int_equal(bw_malloc_usable_size(block), 512);
    bw_free(block);
    cache_check(cache_self);
    page_heap_check();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(in_a_small_address_space_sizes_are_powers_of_two),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
