/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_pace.c - how much goes back at once, by how long the kernel took lately. */
#include "support.h"

#include "pace.h"

enum { PAGE = 4096, QUICK_NS = 100, SLOW_NS = 5000 };

static void a_quick_kernel_takes_much_at_once(void **state)
{
    (void)state;
    set_pace(QUICK_NS);
    assert_int_equal(pace_bytes(PACE_STEP_US), PACE_BYTES_MOST);
    /* 1,000 pages, in whole pieces. */
    assert_int_equal(pace_bytes(PACE_LOCK_US), 1000 * PAGE / PACE_BYTES_LEAST * PACE_BYTES_LEAST);
}

static void of_a_slow_one_nobody_waits_long(void **state)
{
    (void)state;
    set_pace(SLOW_NS);
    assert_int_equal(pace_bytes(PACE_STEP_US), PACE_BYTES_LEAST);
    assert_int_equal(pace_bytes(4 * PACE_STEP_US),
                     320 * PAGE / PACE_BYTES_LEAST * PACE_BYTES_LEAST);
}

static void calls_count_by_their_pages(void **state)
{
    enum { CALLS = 64, PAGES = 256 };

    (void)state;
    set_pace(QUICK_NS);
    for (unsigned i = 0; i < CALLS; i++) {
        pace_note(PAGE, (uint64_t)4 * SLOW_NS);
    }
    assert_true(pace_bytes(PACE_STEP_US) > PACE_BYTES_MOST / 8);
    for (unsigned i = 0; i < CALLS; i++) {
        pace_note((size_t)PAGES * PAGE, (uint64_t)PAGES * SLOW_NS);
    }
    assert_int_equal(pace_bytes(PACE_STEP_US), PACE_BYTES_LEAST);
}

/* Whose thread lost the processor for a second. */
static void one_call_that_took_very_long_changes_little(void **state)
{
    enum { PAGES = 16, LONG_NS = 1000000000 };

    (void)state;
    set_pace(QUICK_NS);
    pace_note((size_t)PAGES * PAGE, LONG_NS);
    assert_int_equal(pace_bytes(PACE_STEP_US), PACE_BYTES_MOST);
}

static void what_had_no_page_says_nothing(void **state)
{
    (void)state;
    set_pace(QUICK_NS);
    pace_note(0, SLOW_NS);
    pace_note(PAGE - 1, SLOW_NS);
    assert_int_equal(pace_bytes(0), PACE_BYTES_LEAST);
    assert_int_equal(pace_bytes(PACE_STEP_US), PACE_BYTES_MOST);
    /* Nor what had no memory. */
    set_pace(SLOW_NS);
    pace_note((size_t)1024 * PAGE, (uint64_t)1024);
    assert_int_equal(pace_bytes(PACE_STEP_US), PACE_BYTES_LEAST);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_quick_kernel_takes_much_at_once),
        ISOLATED(of_a_slow_one_nobody_waits_long),
        ISOLATED(calls_count_by_their_pages),
        ISOLATED(one_call_that_took_very_long_changes_little),
        ISOLATED(what_had_no_page_says_nothing),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
