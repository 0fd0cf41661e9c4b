/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_balance.c - which arena a thread belongs to: exchanges bring together, crowds part. */
#include "heap_support.h"

#include "arena.h"
#include "balance.h"
#include "breakwater/breakwater.h"
#include "gate.h"
#include "life.h"
#include "stats.h"

/* Blocks of which 8 are published at a time: misses come soon. */
enum { SIZE = 4096, COUNT = 20000 };

static void *of_first_arena[COUNT];
static void *own[COUNT];

/* The calling thread is in arena 0, one that starts now in arena 1; there are no more. */
static void set_up(void)
{
    bw_free(bw_malloc(1));
    assert_true(life_limit_arenas(2));
    for (size_t i = 0; i < COUNT; i++) {
        of_first_arena[i] = bw_malloc(SIZE);
    }
}

static void tidy_up(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        bw_free(of_first_arena[i]);
        bw_free(own[i]);
        of_first_arena[i] = NULL;
        own[i] = NULL;
    }
    check_all();
    (void)bw_malloc_trim(0);
    assert_int_equal(stats_memory().used_bytes, 0);
}

static unsigned arena_index(void)
{
    return life_cache()->arena->index;
}

static uint64_t looks(void)
{
    return life_cache()->misses / BALANCE_MISSES;
}

static void free_of_first(size_t i)
{
    bw_free(of_first_arena[i]);
    of_first_arena[i] = NULL;
}

/* Free blocks of the first arena, and get as many, until the thread has looked so often or is
 * there. Returns how many were freed. */
static size_t exchange(size_t first, uint64_t most_looks)
{
    uint64_t end = looks() + most_looks;
    size_t i = first;

    for (; i < COUNT && looks() < end && arena_index() != 0; i++) {
        free_of_first(i);
        own[i] = bw_malloc(SIZE);
    }
    assert_true(i < COUNT);
    return i - first;
}

static void *exchange_and_join(void *unused)
{
    assert_int_equal(arena_index(), 1);
    (void)exchange(0, 3);
    assert_int_equal(arena_index(), 0);
    assert_int_equal(life_stats().changes, 1);
    return unused;
}

static void who_exchanges_blocks_with_another_arena_joins_it(void **state)
{
    (void)state;
    set_up();
    run_threads(1, exchange_and_join, NULL);
    tidy_up();
}

static void *free_only(void *unused)
{
    for (size_t i = 0; i < COUNT; i++) {
        free_of_first(i);
    }
    assert_true(looks() > 1);
    assert_int_equal(arena_index(), 1);
    return unused;
}

static void who_only_frees_stays(void **state)
{
    (void)state;
    set_up();
    run_threads(1, free_only, NULL);
    assert_int_equal(life_stats().changes, 0);
    tidy_up();
}

/* One block of the first arena to so many of one's own, more than a stack holds. */
static void *free_mostly_own(void *unused)
{
    enum { OWN = 400, OTHERS = 50 };

    for (size_t at = 0; at + OTHERS <= COUNT; at += OTHERS) {
        for (size_t i = 0; i < OWN; i++) {
            own[i] = bw_malloc(SIZE);
        }
        for (size_t i = 0; i < OWN; i++) {
            bw_free(own[i]);
            own[i] = NULL;
        }
        for (size_t i = at; i < at + OTHERS; i++) {
            free_of_first(i);
        }
    }
    assert_true(looks() > 1);
    assert_int_equal(arena_index(), 1);
    return unused;
}

/* Many blocks come and go alone, which takes no miss. */
static void *free_mostly_single_blocks(void *unused)
{
    enum { ALONE = 20 };

    for (size_t i = 0; i < COUNT; i++) {
        for (size_t times = 0; times < ALONE; times++) {
            bw_free(bw_malloc(2 * SIZE));
        }
        free_of_first(i);
        own[i] = bw_malloc(SIZE);
    }
    assert_true(looks() > 1);
    assert_int_equal(arena_index(), 1);
    return unused;
}

static void who_frees_blocks_of_its_own_one_by_one_stays(void **state)
{
    (void)state;
    set_up();
    run_threads(1, free_mostly_single_blocks, NULL);
    assert_int_equal(life_stats().changes, 0);
    tidy_up();
}

/* Few enough that they never fill a stack. */
static void *free_mostly_a_few_blocks(void *unused)
{
    enum { FEW = 20, FEW_SIZE = 256 };
    void *few[FEW];

    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < FEW; k++) {
            few[k] = bw_malloc(FEW_SIZE);
        }
        for (size_t k = 0; k < FEW; k++) {
            bw_free(few[k]);
        }
        free_of_first(i);
        own[i] = bw_malloc(SIZE);
    }
    assert_true(looks() > 1);
    assert_int_equal(arena_index(), 1);
    return unused;
}

static void who_frees_a_few_blocks_of_its_own_each_time_stays(void **state)
{
    (void)state;
    set_up();
    run_threads(1, free_mostly_a_few_blocks, NULL);
    assert_int_equal(life_stats().changes, 0);
    tidy_up();
}

static void *free_much_and_get_little(void *unused)
{
    enum { FREES_PER_BLOCK = 64 };

    for (size_t i = 0; i < COUNT; i++) {
        free_of_first(i);
        own[i] = i % FREES_PER_BLOCK == 0 ? bw_malloc(SIZE) : NULL;
    }
    assert_true(looks() > 1);
    assert_int_equal(arena_index(), 1);
    return unused;
}

static void who_gets_much_less_than_it_frees_stays(void **state)
{
    (void)state;
    set_up();
    run_threads(1, free_much_and_get_little, NULL);
    assert_int_equal(life_stats().changes, 0);
    tidy_up();
}

static void who_frees_mostly_its_own_arenas_blocks_stays(void **state)
{
    (void)state;
    set_up();
    run_threads(1, free_mostly_own, NULL);
    assert_int_equal(life_stats().changes, 0);
    tidy_up();
}

static void who_has_the_lower_index_stays(void **state)
{
    (void)state;
    set_up();
    run_threads(1, exchange_and_join, NULL);
    /* Of what that thread has got first, much is of the second arena. */
    for (size_t i = 0; i < COUNT && own[i] != NULL; i++) {
        bw_free(own[i]);
        own[i] = bw_malloc(SIZE);
    }
    assert_int_equal(arena_index(), 0);
    assert_int_equal(life_stats().changes, 1);
    tidy_up();
}

static void look_now(void)
{
    struct cache *cache = cache_self;

    assert_true(gate_enter(&cache->gate));
    cache->misses = (looks() + 1) * BALANCE_MISSES;
    balance_cache(cache);
    gate_leave(&cache->gate);
}

/* As if all threads of arena 0 had waited for each other. */
static void crowd(void)
{
    enum { WAITS = 1000 };

    atomic_fetch_add(&arena_by_index(0)->waits, WAITS);
}

static void *join_and_leave(void *unused)
{
    size_t next = 0;

    for (uint64_t stay = 0; stay < 4; stay = 2 * stay + 1) {
        next += exchange(next, stay + 2);
        assert_int_equal(arena_index(), 0);
        crowd();
        look_now();
        assert_int_equal(arena_index(), 1);
        /* Until then it stays, however much it exchanges. */
        next += exchange(next, stay);
        assert_int_equal(arena_index(), 1);
    }
    return unused;
}

static void who_leaves_a_crowd_comes_back_later_each_time(void **state)
{
    (void)state;
    set_up();
    run_threads(1, join_and_leave, NULL);
    assert_int_equal(life_stats().changes, 6);
    tidy_up();
}

static void *leave_when_others_wait(void *unused)
{
    (void)exchange(0, 3);
    look_now();
    assert_int_equal(arena_index(), 0);
    crowd();
    look_now();
    assert_int_equal(arena_index(), 1);
    /* Nobody has waited since. */
    look_now();
    assert_int_equal(arena_index(), 1);
    return unused;
}

static void where_threads_wait_for_each_other_one_leaves(void **state)
{
    (void)state;
    set_up();
    run_threads(1, leave_when_others_wait, NULL);
    tidy_up();
}

static void *look_and_stay(void *unused)
{
    assert_int_equal(arena_index(), 0);
    assert_true(life_limit_arenas(2));
    look_now();
    assert_int_equal(arena_index(), 0);
    return unused;
}

static void who_came_after_a_crowd_stays(void **state)
{
    (void)state;
    set_up();
    assert_true(life_limit_arenas(1));
    crowd();
    run_threads(1, look_and_stay, NULL);
    tidy_up();
}

static void *leave_as_often_as_it_looks(void *unused)
{
    (void)exchange(0, 3);
    look_now();
    crowd();
    let_ticks_pass(2);
    look_now();
    assert_int_equal(arena_index(), 0);
    /* However long: the stamps of free memory have begun anew then. */
    crowd();
    let_ticks_pass(UINT8_MAX + 1);
    look_now();
    assert_int_equal(arena_index(), 0);
    crowd();
    look_now();
    assert_int_equal(arena_index(), 1);
    return unused;
}

static void what_others_waited_while_it_rested_moves_nobody(void **state)
{
    (void)state;
    set_up();
    run_threads(1, leave_as_often_as_it_looks, NULL);
    tidy_up();
}

static void *leave_the_others(void *unused)
{
    assert_int_equal(arena_index(), 0);
    assert_true(life_limit_arenas(3));
    crowd();
    look_now();
    assert_int_not_equal(arena_index(), 0);
    return unused;
}

static void *see_one_leave(void *unused)
{
    assert_int_equal(arena_index(), 0);
    run_threads(1, leave_the_others, NULL);
    look_now();
    assert_int_equal(arena_index(), 0);
    return unused;
}

static void of_a_crowd_one_leaves_at_a_time(void **state)
{
    (void)state;
    set_up();
    assert_true(life_limit_arenas(1));
    run_threads(1, see_one_leave, NULL);
    tidy_up();
}

/* What it freed before the last look does not keep it from others. */
static void *free_much_then_exchange(void *unused)
{
    enum { FREES = 100000 };

    for (size_t i = 0; i < FREES; i++) {
        bw_free(bw_malloc(2 * SIZE));
    }
    look_now();
    (void)exchange(0, 4);
    assert_int_equal(arena_index(), 0);
    return unused;
}

static void who_begins_to_exchange_blocks_joins(void **state)
{
    (void)state;
    set_up();
    run_threads(1, free_much_then_exchange, NULL);
    tidy_up();
}

/* Blocks of the first arena that threads one after the other have freed. */
static size_t exchanged;

static void *leave_again_and_again(void *unused)
{
    for (uint64_t stay = 0; stay < 4; stay = 2 * stay + 1) {
        exchanged += exchange(exchanged, stay + 2);
        assert_int_equal(arena_index(), 0);
        crowd();
        look_now();
        assert_int_equal(arena_index(), 1);
    }
    return unused;
}

static void *exchange_next_and_join(void *unused)
{
    assert_int_equal(arena_index(), 1);
    (void)exchange(exchanged, 3);
    assert_int_equal(arena_index(), 0);
    return unused;
}

static void who_left_a_crowd_does_not_keep_the_next_thread_from_joining(void **state)
{
    (void)state;
    set_up();
    run_threads(1, leave_again_and_again, NULL);
    run_threads(1, exchange_next_and_join, NULL);
    tidy_up();
}

static void who_is_alone_in_a_crowd_stays(void **state)
{
    (void)state;
    set_up();
    crowd();
    look_now();
    assert_int_equal(arena_index(), 0);
    assert_int_equal(life_stats().changes, 0);
    tidy_up();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(who_exchanges_blocks_with_another_arena_joins_it),
        ISOLATED(who_only_frees_stays),
        ISOLATED(who_frees_mostly_its_own_arenas_blocks_stays),
        ISOLATED(who_frees_blocks_of_its_own_one_by_one_stays),
        ISOLATED(who_frees_a_few_blocks_of_its_own_each_time_stays),
        ISOLATED(who_gets_much_less_than_it_frees_stays),
        ISOLATED(who_has_the_lower_index_stays),
        ISOLATED(who_leaves_a_crowd_comes_back_later_each_time),
        ISOLATED(where_threads_wait_for_each_other_one_leaves),
        ISOLATED(who_came_after_a_crowd_stays),
        ISOLATED(what_others_waited_while_it_rested_moves_nobody),
        ISOLATED(of_a_crowd_one_leaves_at_a_time),
        ISOLATED(who_begins_to_exchange_blocks_joins),
        ISOLATED(who_left_a_crowd_does_not_keep_the_next_thread_from_joining),
        ISOLATED(who_is_alone_in_a_crowd_stays),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
