/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_magazine.c - magazines are empty, fill whole cache lines, and leave no memory behind. */
#include "support.h"

#include "magazine.h"
#include "meta.h"
#include "os.h"

enum { CAPACITY_MAX = 253 };

static void a_new_magazine_is_empty_with_a_null_below_its_bottom(void **state)
{
    (void)state;
    for (uint32_t capacity = MAGAZINE_SMALLEST; capacity <= CAPACITY_MAX;
         capacity = magazine_next_capacity(capacity)) {
        struct magazine *magazine = magazine_create(capacity);

        assert_non_null(magazine);
        assert_int_equal(magazine->capacity, capacity);
        assert_int_equal(magazine->count, 0);
        assert_null(magazine->next);
        assert_ptr_equal(magazine->slots, &magazine->floor + 1);
        assert_null(magazine->floor);
        assert_true(is_all(magazine->slots, capacity * sizeof(void *), 0));
        magazine_destroy(magazine);
    }
    meta_check();
}

static void capacities_fill_cache_lines_without_a_rest(void **state)
{
    size_t lines = 1;

    (void)state;
    for (uint32_t capacity = MAGAZINE_SMALLEST; capacity <= CAPACITY_MAX;
         capacity = magazine_next_capacity(capacity)) {
        assert_int_equal(sizeof(struct magazine) + capacity * sizeof(void *),
                         lines * CACHE_LINE_BYTES);
        lines *= 2;
    }
}

static void a_destroyed_magazine_leaves_no_memory_in_use(void **state)
{
    (void)state;
    magazine_destroy(magazine_create(MAGAZINE_SMALLEST));
    size_t used = meta_stats().used_bytes;
    struct magazine *magazine = magazine_create(CAPACITY_MAX);

    magazine->slots[CAPACITY_MAX - 1] = magazine;
    magazine->slots[0] = magazine;
    magazine_destroy(magazine);
    assert_int_equal(meta_stats().used_bytes, used);
    /* Reused, and empty again. */
    assert_ptr_equal(magazine_create(CAPACITY_MAX), magazine);
    assert_null(magazine->slots[0]);
    assert_null(magazine->slots[CAPACITY_MAX - 1]);
    meta_check();
}

static void without_memory_there_is_no_magazine(void **state)
{
    (void)state;
    os_fail_calls(1, UINT64_MAX);
    assert_null(magazine_create(MAGAZINE_SMALLEST));
    os_fail_calls(0, 0);
    assert_int_equal(meta_stats().used_bytes, 0);
}

static void destroying_null_does_nothing(void **state)
{
    (void)state;
    magazine_destroy(NULL);
    assert_int_equal(meta_stats().used_bytes, 0);
    meta_check();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_new_magazine_is_empty_with_a_null_below_its_bottom),
        ISOLATED(capacities_fill_cache_lines_without_a_rest),
        ISOLATED(a_destroyed_magazine_leaves_no_memory_in_use),
        ISOLATED(without_memory_there_is_no_magazine),
        ISOLATED(destroying_null_does_nothing),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
