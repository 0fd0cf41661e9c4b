/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_emergency.c - memory while the gate is closed: no lock, runs that start over, frees that
 * wait. */
#include "support.h"

#include <stdatomic.h>
#include <string.h>

#include "emergency.h"
#include "os.h"

enum { GRANULE = 64, THREADS = 4, ROUNDS = 500, HELD = 16 };

/* A block that must be had. */
static char *block_of(size_t size, size_t alignment)
{
    char *block = (char *)emergency_alloc(size, alignment);

    assert_non_null(block);
    assert_int_equal((uintptr_t)block % alignment, 0);
    assert_true(emergency_owns((uintptr_t)block));
    assert_true(emergency_usable_size((uintptr_t)block) >= size);
    return block;
}

static void nothing_is_ours_before_the_first_block(void **state)
{
    int local;

    (void)state;
    assert_false(emergency_owns((uintptr_t)&local));
    assert_false(emergency_owns(0));
    assert_int_equal(emergency_usable_size((uintptr_t)&local), 0);
    assert_int_equal(emergency_stats().mapped_bytes, 0);
}

static void blocks_are_as_long_as_asked_and_do_not_overlap(void **state)
{
    static char *blocks[100];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = block_of(i * 33, 16);
        memset(blocks[i], (int)i, emergency_usable_size((uintptr_t)blocks[i]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        assert_true(is_all(blocks[i], i * 33, (unsigned char)i));
        emergency_free((uintptr_t)blocks[i]);
    }
    assert_int_equal(emergency_stats().allocs, ARRAY_SIZE(blocks));
}

static void an_empty_block_is_a_block(void **state)
{
    char *first = block_of(0, 16);
    char *second = block_of(0, 16);

    (void)state;
    assert_ptr_not_equal(first, second);
    emergency_free((uintptr_t)first);
    emergency_free((uintptr_t)second);
}

static void every_alignment_is_kept(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2) {
        char *block = block_of(100, alignment);

        memset(block, 0x5a, 100);
    }
}

static void a_block_longer_than_a_run_gets_a_run_of_its_own(void **state)
{
    char *block = block_of(10 * MIB, 16);

    (void)state;
    memset(block, 0x5a, 10 * MIB);
    assert_true(emergency_owns((uintptr_t)block + 10 * MIB - 1));
    assert_true(emergency_stats().mapped_bytes >= 10 * MIB);
    emergency_free((uintptr_t)block);
}

static void sizes_beyond_all_measure_give_null(void **state)
{
    (void)state;
    assert_null(emergency_alloc(SIZE_MAX, 16));
    assert_null(emergency_alloc((size_t)PTRDIFF_MAX, 16));
    assert_null(emergency_alloc(1, (size_t)1 << 62));
    assert_null(emergency_alloc((size_t)1 << 46, 16));
    (void)block_of(1, 16);
}

static void without_memory_it_gives_null_until_there_is_some(void **state)
{
    (void)state;
    os_fail_calls(1, UINT64_MAX);
    assert_null(emergency_alloc(1, 16));
    assert_false(emergency_defer(&state));
    os_fail_calls(0, 0);
    assert_int_equal(emergency_stats().mapped_bytes, 0);
    assert_int_equal(emergency_stats().lost, 1);
    (void)block_of(1, 16);
}

static void a_run_starts_over_when_its_last_block_is_freed(void **state)
{
    char *first = block_of(1000, 16);
    char *second = block_of(1000, 16);

    (void)state;
    emergency_free((uintptr_t)first);
    /* One is still live: nothing of the run comes back. */
    char *third = block_of(1000, 16);

    assert_true(third > second);
    emergency_free((uintptr_t)third);
    emergency_free((uintptr_t)second);
    assert_ptr_equal(block_of(1000, 16), first);
}

static void forks_without_end_need_no_memory_without_end(void **state)
{
    (void)state;
    for (int round = 0; round < 10000; round++) {
        emergency_free((uintptr_t)block_of(100000, 16));
    }
    assert_true(emergency_stats().mapped_bytes < 2 * MIB);
}

static void only_the_start_of_a_live_block_has_a_size(void **state)
{
    char *block = block_of(200, 16);
    uintptr_t address = (uintptr_t)block;

    (void)state;
    for (size_t offset = 1; offset < 256; offset++) {
        assert_int_equal(emergency_usable_size(address + offset), 0);
    }
    (void)block_of(1, 16);
    emergency_free(address);
    assert_int_equal(emergency_usable_size(address), 0);
    assert_true(emergency_owns(address));
}

static void free_address(void *address)
{
    emergency_free((uintptr_t)address);
}

static void bad_frees_die(void **state)
{
    char *block = block_of(200, 16);
    char *other = block_of(200, 16);

    (void)state;
    assert_dies_at(free_address, block + 8, "invalid free of", (uintptr_t)block + 8);
    assert_dies_at(free_address, block + GRANULE, "double free of", (uintptr_t)block + GRANULE);
    emergency_free((uintptr_t)block);
    assert_dies_at(free_address, block, "double free of", (uintptr_t)block);
    emergency_free((uintptr_t)other);
}

/* Deferred frees */

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
        assert_true(emergency_defer(&blocks[i]));
    }
    assert_int_equal(emergency_stats().deferred, 3);
    emergency_release_deferred(release);
    assert_int_equal(released_count, 3);
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        bool found = false;

        for (size_t k = 0; k < released_count; k++) {
            found = found || released[k] == &blocks[i];
        }
        assert_true(found);
    }
    emergency_release_deferred(release);
    assert_int_equal(released_count, 3);
}

static void what_remembers_deferred_blocks_is_given_back(void **state)
{
    char *first = block_of(16, 16);

    (void)state;
    emergency_free((uintptr_t)first);
    assert_true(emergency_defer(&state));
    emergency_release_deferred(release);
    assert_ptr_equal(block_of(16, 16), first);
}

/* A fork */

static void a_child_forgets_what_was_deferred_and_leaves_old_runs_alone(void **state)
{
    char *before = block_of(100, 16);

    (void)state;
    memset(before, 0x5a, 100);
    assert_true(emergency_defer(&state));
    emergency_reset_in_child();
    emergency_release_deferred(release);
    assert_int_equal(released_count, 0);
    /* Old blocks are still blocks, and may be freed, but their run does not serve again. */
    assert_true(is_all(before, 100, 0x5a));
    assert_true(emergency_usable_size((uintptr_t)before) >= 100);
    char *after = block_of(100, 16);

    assert_true(after > before + MIB / 2 || before > after + MIB / 2);
    emergency_free((uintptr_t)before);
    assert_ptr_not_equal(block_of(100, 16), before);
    assert_dies_at(free_address, before, "double free of", (uintptr_t)before);
}

/* Threads */

static _Atomic unsigned next_thread;

static bool fill_and_look(char *blocks[HELD], unsigned char mark)
{
    bool good = true;

    for (size_t i = 0; i < HELD; i++) {
        blocks[i] = (char *)emergency_alloc(i * 50 + 1, 16);
        good = good && blocks[i] != NULL;
        if (blocks[i] != NULL) {
            memset(blocks[i], mark, i * 50 + 1);
        }
    }
    for (size_t i = 0; i < HELD; i++) {
        good = good && blocks[i] != NULL && is_all(blocks[i], i * 50 + 1, mark);
        if (blocks[i] != NULL) {
            emergency_free((uintptr_t)blocks[i]);
        }
    }
    return good;
}

static void *allocate_and_free(void *failed)
{
    unsigned char mark = (unsigned char)(atomic_fetch_add(&next_thread, 1) + 1);
    char *blocks[HELD];

    for (int round = 0; round < ROUNDS; round++) {
        if (!fill_and_look(blocks, mark)) {
            atomic_store((_Atomic bool *)failed, true);
        }
    }
    return NULL;
}

static void threads_never_share_a_block(void **state)
{
    _Atomic bool failed = false;

    (void)state;
    run_threads(THREADS, allocate_and_free, &failed);
    assert_false(failed);
    assert_int_equal(emergency_stats().allocs, THREADS * ROUNDS * HELD);
    assert_int_equal(emergency_stats().lost, 0);
}

static _Atomic size_t released_by_threads;

static void count_release(void *block)
{
    (void)block;
    atomic_fetch_add(&released_by_threads, 1);
}

static void *defer_and_release(void *argument)
{
    for (int round = 0; round < ROUNDS; round++) {
        (void)emergency_defer(argument);
        if (round % 10 == 0) {
            emergency_release_deferred(count_release);
        }
    }
    return NULL;
}

static void threads_lose_no_deferred_block(void **state)
{
    (void)state;
    run_threads(THREADS, defer_and_release, &released_by_threads);
    emergency_release_deferred(count_release);
    assert_int_equal(released_by_threads, THREADS * ROUNDS);
    assert_int_equal(emergency_stats().lost, 0);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(nothing_is_ours_before_the_first_block),
        ISOLATED(blocks_are_as_long_as_asked_and_do_not_overlap),
        ISOLATED(an_empty_block_is_a_block),
        ISOLATED(every_alignment_is_kept),
        ISOLATED(a_block_longer_than_a_run_gets_a_run_of_its_own),
        ISOLATED(sizes_beyond_all_measure_give_null),
        ISOLATED(without_memory_it_gives_null_until_there_is_some),
        ISOLATED(a_run_starts_over_when_its_last_block_is_freed),
        ISOLATED(forks_without_end_need_no_memory_without_end),
        ISOLATED(only_the_start_of_a_live_block_has_a_size),
        ISOLATED(bad_frees_die),
        ISOLATED(each_deferred_block_is_released_once),
        ISOLATED(what_remembers_deferred_blocks_is_given_back),
        ISOLATED(a_child_forgets_what_was_deferred_and_leaves_old_runs_alone),
        ISOLATED(threads_never_share_a_block),
        ISOLATED(threads_lose_no_deferred_block),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
