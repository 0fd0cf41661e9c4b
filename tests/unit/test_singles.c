/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_singles.c - a class's first blocks in a thread come and go without a stack. */
#include "cache_support.h"

#include "proof.h"
#include "refill.h"
#include "scavenge.h"
#include "singles.h"

static bool has_a_stack(void)
{
    const struct cache_class *known = stacks_class(cache, class_of_blocks);

    return known->alloc != NULL || known->free != NULL;
}

static size_t free_in_slabs(void)
{
    return arena_bin(arena, class_of_blocks)->free_blocks;
}

static void the_first_blocks_come_and_go_without_a_stack(void **state)
{
    (void)state;
    set_up_with_a_slab(SIZE);
    size_t before = free_in_slabs();

    for (unsigned round = 0; round < SINGLES_MAX / 2; round++) {
        void *block = singles_take(cache, class_of_blocks);

        assert_non_null(block);
        assert_int_equal(free_in_slabs(), before - 1);
        assert_true(singles_give(cache, class_of_blocks, block));
        assert_int_equal(free_in_slabs(), before);
    }
    assert_false(has_a_stack());
    assert_int_equal(cached_blocks(), 0);
    assert_int_equal(cache->misses, SINGLES_MAX / 2 * 2);
    check();
}

static void after_so_many_there_are_stacks(void **state)
{
    void *blocks[SINGLES_MAX];

    (void)state;
    set_up_with_a_slab(SIZE);
    for (size_t i = 0; i < SINGLES_MAX; i++) {
        blocks[i] = singles_take(cache, class_of_blocks);
        assert_non_null(blocks[i]);
    }
    assert_null(singles_take(cache, class_of_blocks));
    assert_false(singles_give(cache, class_of_blocks, blocks[0]));
    give_many(blocks, SINGLES_MAX);
    assert_true(has_a_stack());
    check();
}

/* As when another thread gets the cache, or this one goes to another arena. */
static void a_cache_that_is_bound_anew_begins_with_singles(void **state)
{
    (void)state;
    set_up_with_a_slab(SIZE);
    while (singles_take(cache, class_of_blocks) != NULL) {
    }
    cache_bind(cache, arena);
    assert_non_null(singles_take(cache, class_of_blocks));
}

static void a_class_that_has_a_stack_has_no_singles(void **state)
{
    (void)state;
    set_up_with_a_slab(SIZE);
    void *block = take();

    assert_true(has_a_stack());
    assert_null(singles_take(cache, class_of_blocks));
    assert_false(singles_give(cache, class_of_blocks, block));
}

static void large_blocks_do_not_pass_singly(void **state)
{
    (void)state;
    set_up_with_a_slab(STACKS_BYTES_MODEST + 1);
    void *block = refill_one(arena, class_of_blocks);

    assert_null(singles_take(cache, class_of_blocks));
    assert_false(singles_give(cache, class_of_blocks, block));
}

/* By then it may be larger, and the block freed again. */
static void what_goes_straight_back_is_proved_later(void **state)
{
    (void)state;
    set_up(SMALL_MAX_BYTES);
    void *block = refill_one(arena, class_of_blocks);

    assert_non_null(stacks_make_class(cache, class_of_blocks));
    conf.cache_limit = SMALL_MAX_BYTES;
    scavenge_share_among(1);
    assert_true(singles_give(cache, class_of_blocks, block));
    assert_true(proof_is_needed(stacks_class(cache, class_of_blocks)));
}

static void and_takes_along_what_was_kept_as_the_share_was_larger(void **state)
{
    (void)state;
    set_up(SMALL_MAX_BYTES);
    void *kept = refill_one(arena, class_of_blocks);
    void *block = refill_one(arena, class_of_blocks);

    give(kept);
    conf.cache_limit = SMALL_MAX_BYTES;
    scavenge_share_among(1);
    assert_true(has_a_stack());
    assert_true(singles_give(cache, class_of_blocks, block));
    assert_false(has_a_stack());
    assert_int_equal(cached_blocks(), 0);
    check();
}

static void an_arena_without_blocks_gives_none(void **state)
{
    (void)state;
    set_up(SIZE);
    assert_null(singles_take(cache, class_of_blocks));
    assert_int_equal(cache->misses, 0);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(the_first_blocks_come_and_go_without_a_stack),
        ISOLATED(after_so_many_there_are_stacks),
        ISOLATED(a_cache_that_is_bound_anew_begins_with_singles),
        ISOLATED(a_class_that_has_a_stack_has_no_singles),
        ISOLATED(large_blocks_do_not_pass_singly),
        ISOLATED(what_goes_straight_back_is_proved_later),
        ISOLATED(and_takes_along_what_was_kept_as_the_share_was_larger),
        ISOLATED(an_arena_without_blocks_gives_none),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
