/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_proof.c - what was freed again after it went back to its slab is not handed out. */
#include "cache_support.h"

#include "proof.h"
#include "singles.h"

enum { LARGE = 4096 };

static struct cache_class *cold(void)
{
    return stacks_made_class(cache, class_of_blocks);
}

static void prove(void *unused)
{
    (void)unused;
    proof_make(cache, class_of_blocks);
}

static void prove_all(void *unused)
{
    (void)unused;
    proof_make_all(cache);
}

/* No freed block is handed out before the proof finds the one that is free in its slab too. */
static void assert_is_found(const void *block)
{
    empty_the_alloc_stack();
    assert_true(proof_is_needed(cold()));
    assert_null(cache_pop_freed(cache, class_of_blocks));
    assert_dies_at(prove, NULL, "double free of", (uintptr_t)block);
    assert_dies_at(prove_all, NULL, "double free of", (uintptr_t)block);
}

static void a_block_that_went_back_singly_is_found_on_the_first_stack(void **state)
{
    (void)state;
    set_up_with_a_slab(SIZE);
    void *block = singles_take(cache, class_of_blocks);
    void *other = singles_take(cache, class_of_blocks);

    assert_true(singles_give(cache, class_of_blocks, block));
    give(other);
    give(block);
    assert_is_found(block);
}

static void what_is_proved_may_serve(void **state)
{
    (void)state;
    set_up_with_a_slab(SIZE);
    void *block = singles_take(cache, class_of_blocks);
    void *other = singles_take(cache, class_of_blocks);

    assert_true(singles_give(cache, class_of_blocks, other));
    give(block);
    assert_null(cache_pop_freed(cache, class_of_blocks));
    proof_make(cache, class_of_blocks);
    assert_false(proof_is_needed(cold()));
    assert_ptr_equal(cache_pop_freed(cache, class_of_blocks), block);
}

/* The first block of a full stack, again after that has gone. */
static void freed_again_after_a_flush(size_t size)
{
    static void *blocks[BLOCKS_MAX];

    set_up(size);
    size_t capacity = size_classes[class_of_blocks].capacity;

    take_many(blocks, capacity + 1);
    give_many(blocks, capacity + 1);
    give(blocks[0]);
    assert_is_found(blocks[0]);
}

static void a_block_that_went_back_with_a_full_stack_is_found(void **state)
{
    (void)state;
    freed_again_after_a_flush(SIZE);
}

static void so_is_a_large_one_that_went_with_half_of_a_stack(void **state)
{
    (void)state;
    freed_again_after_a_flush(LARGE);
}

static void a_block_that_was_trimmed_is_found(void **state)
{
    void *blocks[30];

    (void)state;
    set_up(SIZE);
    take_many(blocks, ARRAY_SIZE(blocks));
    empty_the_alloc_stack();
    give_many(blocks, ARRAY_SIZE(blocks));
    assert_true(cache_swap(cache, class_of_blocks));
    cache_trim(cache, class_of_blocks, 1);
    give(blocks[0]);
    assert_is_found(blocks[0]);
}

static uint64_t in_depot(void)
{
    return depot_blocks(&arena_bin(arena, class_of_blocks)->depot);
}

static void the_first_stacks_go_to_no_depot_the_later_ones_need_no_proof(void **state)
{
    enum { STACKS = 70, ALL = 64 };
    static void *blocks[BLOCKS_MAX];
    unsigned unproved = 0;

    (void)state;
    set_up(SIZE);
    size_t capacity = size_classes[class_of_blocks].capacity;

    for (unsigned stack = 0; stack < STACKS; stack++) {
        take_many(blocks, capacity);
        give_many(blocks, capacity);
        proof_make(cache, class_of_blocks);
        cache_flush(cache, class_of_blocks);
        unproved += proof_is_needed(cold());
        assert_true(unproved <= stack || in_depot() == 0);
        proof_make(cache, class_of_blocks);
    }
    assert_true(in_depot() > 0);
    assert_in_range(unproved, ALL / 2, ALL);
    check();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_block_that_went_back_singly_is_found_on_the_first_stack),
        ISOLATED(what_is_proved_may_serve),
        ISOLATED(a_block_that_went_back_with_a_full_stack_is_found),
        ISOLATED(so_is_a_large_one_that_went_with_half_of_a_stack),
        ISOLATED(a_block_that_was_trimmed_is_found),
        ISOLATED(the_first_stacks_go_to_no_depot_the_later_ones_need_no_proof),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
