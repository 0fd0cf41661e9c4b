/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_scavenge.c - what a cache gives back by itself: classes that rest, and what is over its
 * share. */
#include "cache_support.h"

#include "conf.h"
#include "limit.h"
#include "page_heap.h"
#include "proof.h"
#include "refill.h"
#include "scavenge.h"
#include "singles.h"
#include "tick.h"

enum { MISSES = 16 /* between two looks at the share */ };

static void classes_not_used_between_two_looks_are_given_back(void **state)
{
    (void)state;
    set_up(SIZE);
    unsigned idle = size_class_of(1024);

    assert_true(cache_refill(cache, idle));
    give(take());
    cache->misses = 0;
    scavenge_cache(cache);
    assert_non_null(cache_pop(cache_bin_of_class(cache, class_of_blocks)));
    cache->misses = 0;
    scavenge_cache(cache);
    assert_null(cache_pop(cache_bin_of_class(cache, idle)));
    assert_null(stacks_class(cache, idle)->alloc);
    /* Should the class come back it has stacks at once. */
    assert_null(singles_take(cache, idle));
    assert_true(cached_blocks() > 0);
    cache->misses = 1;
    scavenge_cache(cache);
    assert_true(cached_blocks() > 0);
    check();
}

static void a_cache_that_holds_more_than_its_share_gives_half_back(void **state)
{
    static void *blocks[BLOCKS_MAX];

    (void)state;
    set_up(SIZE);
    take_many(blocks, BLOCKS_MAX);
    give_many(blocks, BLOCKS_MAX);
    size_t held = cached_bytes();

    assert_true(held > 0);
    conf.cache_limit = 2 * held;
    scavenge_share_among(2);
    cache->misses = MISSES;
    scavenge_cache(cache);
    assert_int_equal(cached_bytes(), held);
    conf.cache_limit = 0;
    scavenge_share_among(UINT32_MAX);
    scavenge_cache(cache);
    assert_int_equal(cached_bytes(), held);
    conf.cache_limit = 2 * held;
    scavenge_share_among(3);
    cache->misses = MISSES - 1;
    scavenge_cache(cache);
    assert_int_equal(cached_bytes(), held);
    cache->misses = MISSES;
    scavenge_cache(cache);
    assert_in_range(cached_bytes(), held / 2, held / 2 + 2 * SIZE);
    check();
    /* The last block of a stack stays, unless it alone is more than the share. */
    conf.cache_limit = SIZE;
    scavenge_share_among(1);
    for (size_t i = 0; i < held; i += SIZE) {
        scavenge_cache(cache);
    }
    assert_in_range(cached_bytes(), SIZE, 2 * SIZE);
    conf.cache_limit = SIZE - 1;
    scavenge_share_among(1);
    scavenge_cache(cache);
    assert_int_equal(cached_bytes(), 0);
    check();
}

/* The free stack holds the blocks, the alloc stack none; that is more than the share, which the
 * next scavenge_cache() looks at. */
static void free_over_the_share(void **blocks, size_t count)
{
    set_up(SIZE);
    take_many(blocks, count);
    empty_the_alloc_stack();
    give_many(blocks, count);
    conf.cache_limit = SIZE;
    scavenge_share_among(1);
    cache->misses = MISSES;
}

static void look_at_share(void *unused)
{
    (void)unused;
    scavenge_cache(cache);
}

static void a_block_in_both_halves_dies(void **state)
{
    void *blocks[6];

    (void)state;
    free_over_the_share(blocks, ARRAY_SIZE(blocks));
    give(blocks[0]);
    assert_dies_at(look_at_share, NULL, "double free of", (uintptr_t)blocks[0]);
}

static void the_newer_half_stays(void **state)
{
    enum { COUNT = 6 };
    void *blocks[COUNT];

    (void)state;
    free_over_the_share(blocks, COUNT);
    scavenge_cache(cache);
    assert_int_equal(cached_blocks(), COUNT / 2);
    (void)proof_make(cache, class_of_blocks);
    assert_true(swap_stacks());
    for (size_t i = COUNT; i > COUNT / 2; i--) {
        assert_ptr_equal(cache_pop(bin), blocks[i - 1]);
    }
}

static void a_block_that_went_with_the_older_half_is_proved(void **state)
{
    enum { COUNT = 6 };
    void *blocks[COUNT];

    (void)state;
    free_over_the_share(blocks, COUNT);
    assert_false(proof_is_needed(stacks_class(cache, class_of_blocks)));
    scavenge_cache(cache);
    assert_true(proof_is_needed(stacks_class(cache, class_of_blocks)));
}

static void a_class_that_comes_back_has_nearly_the_batch_it_had(void **state)
{
    enum { DOUBLINGS = 3 };

    (void)state;
    set_up(SIZE);
    give(take());
    stacks_made_class(cache, class_of_blocks)->doublings = DOUBLINGS;
    for (unsigned look = 0; look < 2; look++) {
        cache->misses = 0;
        scavenge_cache(cache);
    }
    assert_null(stacks_class(cache, class_of_blocks)->free);
    assert_int_equal(stacks_class(cache, class_of_blocks)->doublings, DOUBLINGS - 1);
}

static void a_new_thread_is_not_asked_for_what_came_before_it(void **state)
{
    (void)state;
    set_up(SIZE);
    scavenge_ask_all();
    scavenge_bind(cache);
    give(take());
    cache->misses = 1;
    scavenge_cache(cache);
    assert_true(cached_blocks() > 0);
    scavenge_ask_all();
    scavenge_cache(cache);
    assert_int_equal(cached_blocks(), 0);
    /* Once. */
    give(take());
    scavenge_cache(cache);
    assert_true(cached_blocks() > 0);
}

static void few_steps_are_opened_between_two_looks_at_the_share(void **state)
{
    enum { STEPS_PER_LOOK = 3, ROUNDS = 2 };

    (void)state;
    set_up(SIZE);
    /* A step is an eighth of the share: a block. */
    conf.cache_limit = (size_t)8 * SIZE;
    scavenge_share_among(1);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(cache_grow_free(cache, class_of_blocks));
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned step = 0; step < STEPS_PER_LOOK; step++) {
            assert_true(scavenge_open_step(cache, class_of_blocks));
        }
        assert_false(scavenge_open_step(cache, class_of_blocks));
        cache->misses = MISSES;
        scavenge_cache(cache);
    }
}

static void a_block_that_is_much_of_the_share_has_no_step(void **state)
{
    (void)state;
    set_up(SMALL_MAX_BYTES);
    assert_true(cache_grow_free(cache, class_of_blocks));
    conf.cache_limit = (size_t)8 * SMALL_MAX_BYTES;
    scavenge_share_among(1);
    assert_true(scavenge_open_step(cache, class_of_blocks));
    cache->opened_bytes = 0;
    conf.cache_limit = SMALL_MAX_BYTES;
    scavenge_share_among(1);
    assert_false(scavenge_open_step(cache, class_of_blocks));
}

static void what_is_much_of_the_share_by_now_is_not_kept_again(void **state)
{
    (void)state;
    set_up(SMALL_MAX_BYTES);
    void *block = refill_one(arena, class_of_blocks);

    assert_true(cache_grow_free(cache, class_of_blocks));
    assert_true(cache_push(bin, block));
    conf.cache_limit = SMALL_MAX_BYTES;
    scavenge_share_among(1);
    assert_ptr_equal(cache_pop_any(cache, class_of_blocks), block);
    assert_false(cache_push(bin, block));
}

/* `count` blocks of a class of 64 KiB on its free stack. */
static void cache_large(size_t count)
{
    unsigned class = size_class_of(SMALL_MAX_BYTES);

    assert_true(cache_grow_free(cache, class));
    for (size_t i = 0; i < count; i++) {
        assert_true(cache_push(cache_bin_of_class(cache, class), refill_one(arena, class)));
    }
}

static void look_at_share_of(size_t cache_limit, uint32_t threads)
{
    conf.cache_limit = cache_limit;
    scavenge_share_among(threads);
    cache->misses = MISSES;
    scavenge_cache(cache);
    check();
}

static void the_largest_blocks_go_back_first(void **state)
{
    enum { COUNT = 4 };
    void *blocks[COUNT];

    (void)state;
    set_up(SIZE);
    take_many(blocks, COUNT);
    give_many(blocks, COUNT);
    size_t small_bytes = cached_bytes();

    cache_large(COUNT);
    look_at_share_of(small_bytes + (size_t)COUNT / 2 * SMALL_MAX_BYTES, 1);
    assert_int_equal(cached_bytes(), small_bytes + (size_t)COUNT / 2 * SMALL_MAX_BYTES);
    /* Half of them was not enough: then of smaller ones too. */
    look_at_share_of(small_bytes, 1);
    assert_in_range(cached_bytes(), SMALL_MAX_BYTES + SIZE, SMALL_MAX_BYTES + small_bytes - SIZE);
}

static void lone_blocks_stay_if_they_are_a_small_part_of_the_share(void **state)
{
    void *block;

    (void)state;
    set_up(SIZE);
    take_many(&block, 1);
    give_many(&block, 1);
    size_t small_bytes = cached_bytes();

    cache_large(1);
    look_at_share_of(small_bytes + SMALL_MAX_BYTES, 1);
    assert_int_equal(cached_bytes(), small_bytes + SMALL_MAX_BYTES);
    look_at_share_of(small_bytes + SMALL_MAX_BYTES - 1, 1);
    assert_int_equal(cached_bytes(), small_bytes);
}

/* A class that rests while time passes, and `come_by` is all that the thread does in each tick. */
static void expect_it_goes_in_time(void (*come_by)(struct cache *cache))
{
    enum { TICKS = 2 * 4 };

    set_up(SIZE);
    scavenge_cache(cache);
    assert_true(cache_refill(cache, size_class_of(1024)));
    for (unsigned tick = 0; tick < TICKS; tick++) {
        come_by(cache);
        assert_true(cached_bytes() > 0);
        tick_advance();
    }
    come_by(cache);
    assert_int_equal(cached_bytes(), 0);
    check();
}

static void miss(struct cache *missing)
{
    missing->misses = 1;
    scavenge_cache(missing);
}

/* Such as a thread that waits for requests, few of which make it ask its arena. */
static void in_time_a_few_misses_suffice(void **state)
{
    (void)state;
    expect_it_goes_in_time(miss);
}

/* Such as a thread that wants nothing but large blocks by now. */
static void in_time_none_is_needed_either(void **state)
{
    (void)state;
    expect_it_goes_in_time(scavenge_without_miss);
}

static void of_a_large_heap_caches_share_an_eighth(void **state)
{
    enum { COUNT = 4, SHARERS = 512 };
    const size_t heap_bytes = (size_t)8 * SHARERS * COUNT * SMALL_MAX_BYTES;

    (void)state;
    set_up(SIZE);
    struct span *span = page_heap_alloc(&(struct run_request){
        .units = heap_bytes / UNIT_BYTES, .align_units = 1, .state = SPAN_LARGE, .grow = true});

    assert_non_null(span);
    cache_large(COUNT);
    look_at_share_of(CACHE_LIMIT_AUTO, SHARERS);
    assert_int_equal(cached_bytes(), COUNT * SMALL_MAX_BYTES);
    look_at_share_of(CACHE_LIMIT_AUTO, 2 * SHARERS);
    assert_int_equal(cached_bytes(), COUNT / 2 * SMALL_MAX_BYTES);
    look_at_share_of(0, UINT32_MAX);
    assert_int_equal(cached_bytes(), COUNT / 2 * SMALL_MAX_BYTES);
    /* What is free again is no reason to keep more. */
    page_heap_free(span);
    look_at_share_of(CACHE_LIMIT_AUTO, SHARERS);
    assert_int_equal(cached_bytes(), COUNT / 4 * SMALL_MAX_BYTES);
}

/* Of COUNT of the largest blocks for each of SHARERS. */
enum { COUNT = 4, SHARERS = 16 };

#define LIMIT ((size_t)8 * SHARERS * COUNT * SMALL_MAX_BYTES)

static void assert_an_eighth_is_shared(size_t soft, size_t hard)
{
    set_up(SIZE);
    limit_set(soft, hard);
    cache_large(COUNT);
    look_at_share_of(0, SHARERS);
    assert_int_equal(cached_bytes(), COUNT * SMALL_MAX_BYTES);
    look_at_share_of(0, 2 * SHARERS);
    assert_int_equal(cached_bytes(), COUNT / 2 * SMALL_MAX_BYTES);
}

static void of_a_limit_caches_share_an_eighth(void **state)
{
    (void)state;
    assert_an_eighth_is_shared(0, LIMIT);
}

static void of_a_soft_limit_they_do_too(void **state)
{
    (void)state;
    assert_an_eighth_is_shared(LIMIT, 0);
}

/* It is all threads' that have none. */
static void a_thread_without_a_cache_gives_nothing_back(void **state)
{
    struct cache before = cache_none;

    (void)state;
    set_up(SIZE);
    scavenge_ask_all();
    for (unsigned tick = 0; tick < 5; tick++) {
        tick_advance();
    }
    scavenge_without_miss(&cache_none);
    assert_memory_equal(&cache_none, &before, sizeof(before));
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(classes_not_used_between_two_looks_are_given_back),
        ISOLATED(a_cache_that_holds_more_than_its_share_gives_half_back),
        ISOLATED(a_block_in_both_halves_dies),
        ISOLATED(the_newer_half_stays),
        ISOLATED(a_block_that_went_with_the_older_half_is_proved),
        ISOLATED(a_class_that_comes_back_has_nearly_the_batch_it_had),
        ISOLATED(a_new_thread_is_not_asked_for_what_came_before_it),
        ISOLATED(few_steps_are_opened_between_two_looks_at_the_share),
        ISOLATED(a_block_that_is_much_of_the_share_has_no_step),
        ISOLATED(what_is_much_of_the_share_by_now_is_not_kept_again),
        ISOLATED(the_largest_blocks_go_back_first),
        ISOLATED(lone_blocks_stay_if_they_are_a_small_part_of_the_share),
        ISOLATED(in_time_a_few_misses_suffice),
        ISOLATED(in_time_none_is_needed_either),
        ISOLATED(of_a_large_heap_caches_share_an_eighth),
        ISOLATED(of_a_limit_caches_share_an_eighth),
        ISOLATED(of_a_soft_limit_they_do_too),
        ISOLATED(a_thread_without_a_cache_gives_nothing_back),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
