/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_deferred.c - frees that wait: each is done once, and what a fork makes of them. */
#include "support.h"

#include <stdatomic.h>

#include "deferred.h"
#include "emergency.h"
#include "os.h"

enum { THREADS = 4, ROUNDS = 500 };

static void *released[8];
static size_t released_count;

static void release(void *block)
{
    released[released_count++] = block;
}

static void each_deferred_block_is_released_once(void **state)
{
    int blocks[3];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        deferred_push(&blocks[i]);
    }
    assert_int_equal(deferred_count(), 3);
    deferred_release(release);
    assert_int_equal(released_count, 3);
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        bool found = false;

        for (size_t k = 0; k < released_count; k++) {
            found = found || released[k] == &blocks[i];
        }
        assert_true(found);
    }
    deferred_release(release);
    assert_int_equal(released_count, 3);
}

static void what_remembers_deferred_blocks_is_given_back(void **state)
{
    void *first = emergency_alloc(16, 16);

    (void)state;
    assert_non_null(first);
    emergency_free((uintptr_t)first);
    deferred_push(&state);
    deferred_release(release);
    assert_ptr_equal(emergency_alloc(16, 16), first);
}

static void without_memory_a_block_remembers_itself(void **state)
{
    uint64_t blocks[3];
    int other;

    (void)state;
    os_fail_calls(1, UINT64_MAX);
    deferred_push(&blocks[0]);
    deferred_push(&blocks[1]);
    os_fail_calls(0, 0);
    deferred_push(&other);
    os_fail_calls(1, UINT64_MAX);
    deferred_push(&blocks[2]);
    os_fail_calls(0, 0);
    assert_int_equal(deferred_count(), 4);
    deferred_release(release);
    assert_int_equal(released_count, 4);
    assert_ptr_equal(released[0], &blocks[2]);
    assert_ptr_equal(released[1], &other);
    assert_ptr_equal(released[2], &blocks[1]);
    assert_ptr_equal(released[3], &blocks[0]);
}

/* A fork */

static void a_child_forgets_what_others_deferred(void **state)
{
    (void)state;
    deferred_push(&state);
    deferred_reset_in_child();
    deferred_release(release);
    assert_int_equal(released_count, 0);
}

static void what_the_forking_thread_deferred_is_released_in_the_child(void **state)
{
    int others;
    int own[2];

    (void)state;
    deferred_push(&others);
    deferred_fork_begins();
    deferred_push(&own[0]);
    /* A handler may fork as well. */
    deferred_fork_begins();
    deferred_push(&own[1]);
    deferred_fork_ends();
    emergency_reset_in_child();
    deferred_reset_in_child();
    deferred_fork_ends();
    deferred_release(release);
    assert_int_equal(released_count, 2);
    assert_ptr_equal(released[0], &own[0]);
    assert_ptr_equal(released[1], &own[1]);
}

static void in_the_parent_all_is_released(void **state)
{
    int others;
    int own;

    (void)state;
    deferred_push(&others);
    deferred_fork_begins();
    deferred_push(&own);
    deferred_fork_ends();
    deferred_release(release);
    assert_int_equal(released_count, 2);
}

/* Threads */

static _Atomic size_t released_by_threads;

static void count_release(void *block)
{
    (void)block;
    atomic_fetch_add(&released_by_threads, 1);
}

static void *defer_and_release(void *argument)
{
    for (int round = 0; round < ROUNDS; round++) {
        deferred_push(argument);
        if (round % 10 == 0) {
            deferred_release(count_release);
        }
    }
    return NULL;
}

static void threads_lose_no_deferred_block(void **state)
{
    (void)state;
    run_threads(THREADS, defer_and_release, &released_by_threads);
    deferred_release(count_release);
    assert_int_equal(released_by_threads, THREADS * ROUNDS);
    emergency_check();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(each_deferred_block_is_released_once),
        ISOLATED(what_remembers_deferred_blocks_is_given_back),
        ISOLATED(without_memory_a_block_remembers_itself),
        ISOLATED(a_child_forgets_what_others_deferred),
        ISOLATED(what_the_forking_thread_deferred_is_released_in_the_child),
        ISOLATED(in_the_parent_all_is_released),
        ISOLATED(threads_lose_no_deferred_block),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
