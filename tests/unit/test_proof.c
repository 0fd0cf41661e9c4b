/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_proof.c - what was freed again after it went back to its slab is not handed out. */
#include "cache_support.h"

#include "proof.h"
#include "reclaim.h"
#include "refill.h"
#include "singles.h"

enum { LARGE = 4096 };

static struct cache_class *cold(void)
{
    return stacks_made_class(cache, class_of_blocks);
}

static void prove(void *unused)
{
    (void)unused;
    (void)proof_make(cache, class_of_blocks);
}

static void prove_last(void *unused)
{
    (void)unused;
    proof_make_last(cache);
}

/* No freed block is handed out before the proof finds the one that is free in its slab too. */
static void assert_is_found(const void *block)
{
    empty_the_alloc_stack();
    assert_true(proof_is_needed(cold()));
    assert_null(cache_pop_freed(cache, class_of_blocks));
    assert_dies_at(prove, NULL, "double free of", (uintptr_t)block);
    assert_dies_at(prove_last, NULL, "double free of", (uintptr_t)block);
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
    assert_true(proof_make(cache, class_of_blocks));
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

static void so_is_one_that_is_freed_after_the_next_stack(void **state)
{
    static void *blocks[BLOCKS_MAX];

    (void)state;
    set_up(SIZE);
    size_t capacity = size_classes[class_of_blocks].capacity;

    take_many(blocks, capacity + 2);
    empty_the_alloc_stack();
    give_many(blocks, capacity + 2);
    assert_non_null(cache_pop_proved(cache, class_of_blocks));
    give(blocks[0]);
    assert_is_found(blocks[0]);
}

enum { COUNT = 30 };

/* Free all but the last `kept` of COUNT blocks; the first of them goes back to its slab. */
static void trim_the_first(void **blocks, size_t kept)
{
    set_up(SIZE);
    take_many(blocks, COUNT);
    empty_the_alloc_stack();
    give_many(blocks, COUNT - kept);
    assert_true(swap_stacks());
    cache_trim(cache, class_of_blocks, 1);
}

static void a_proof_does_not_hold_for_what_is_freed_later(void **state)
{
    void *blocks[COUNT];

    (void)state;
    trim_the_first(blocks, 1);
    empty_the_alloc_stack();
    give(blocks[COUNT - 1]);
    /* A refill should lengthen the stacks first. */
    cold()->swaps = SWAPS_PER_GROWTH;
    assert_null(cache_pop_proved(cache, class_of_blocks));
    give(blocks[0]);
    assert_is_found(blocks[0]);
}

static void a_block_whose_slab_is_another_class_s_now_is_found(void **state)
{
    (void)state;
    set_up(LARGE);
    void *block = refill_one(arena, class_of_blocks);

    give(block);
    arena_free_blocks(arena, class_of_blocks, &block, 1);
    reclaim_all();
    void *other = refill_one(arena, size_class_of(LARGE / 2));
    unsigned index;

    assert_ptr_equal(slab_of_block((uintptr_t)block, &index), slab_at((uintptr_t)other));
    proof_need(cold());
    assert_is_found(block);
}

static void at_the_end_nobody_is_waited_for(void **state)
{
    (void)state;
    set_up_with_a_slab(SIZE);
    void *block = singles_take(cache, class_of_blocks);

    assert_true(singles_give(cache, class_of_blocks, block));
    give(block);
    struct bin *central = arena_bin(arena, class_of_blocks);

    lock_acquire(&central->lock);
    proof_make_last(cache);
    lock_release(&central->lock);
    assert_dies_at(prove_last, NULL, "double free of", (uintptr_t)block);
}

static void a_block_that_was_trimmed_is_found(void **state)
{
    void *blocks[COUNT];

    (void)state;
    trim_the_first(blocks, 0);
    give(blocks[0]);
    assert_is_found(blocks[0]);
}

/* Then the second is freed. */
static void flush_with_the_first(void **blocks)
{
    set_up(SIZE);
    take_many(blocks, COUNT);
    give(blocks[0]);
    stacks_flush_class(cache, class_of_blocks);
    give(blocks[1]);
}

static void a_block_that_went_back_with_the_whole_class_is_found(void **state)
{
    void *blocks[COUNT];

    (void)state;
    flush_with_the_first(blocks);
    give(blocks[0]);
    assert_is_found(blocks[0]);
}

static void so_is_one_that_is_freed_after_what_came_next(void **state)
{
    void *blocks[COUNT];

    (void)state;
    flush_with_the_first(blocks);
    give(blocks[2]);
    assert_non_null(cache_pop_proved(cache, class_of_blocks));
    give(blocks[0]);
    assert_is_found(blocks[0]);
}

static void flush(void *unused)
{
    (void)unused;
    cache_flush(cache, class_of_blocks);
}

static void what_is_unproved_is_found_before_it_goes_to_a_depot(void **state)
{
    enum { ALL = 64 };
    static void *blocks[BLOCKS_MAX];

    (void)state;
    set_up(SIZE);
    size_t capacity = size_classes[class_of_blocks].capacity;

    take_many(blocks, capacity + 1);
    give_many(blocks, capacity + 1);
    assert_true(proof_is_needed(cold()));
    for (size_t i = 0; i + 1 < capacity; i++) {
        give(blocks[i]);
    }
    /* The next stack may stay whole. */
    cold()->stacks = ALL;
    assert_dies_at(flush, NULL, "double free of", (uintptr_t)blocks[0]);
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
        (void)proof_make(cache, class_of_blocks);
        cache_flush(cache, class_of_blocks);
        unproved += proof_is_needed(cold());
        assert_true(unproved <= stack || in_depot() == 0);
        (void)proof_make(cache, class_of_blocks);
    }
    assert_true(in_depot() > 0);
    assert_int_equal(unproved, ALL - 1);
    check();
}

static void the_first_stacks_are_the_cache_s_and_not_each_thread_s(void **state)
{
    enum { ALL = 64 };

    (void)state;
    set_up(SIZE);
    give(take());
    cold()->stacks = ALL - 1;
    stacks_flush_class(cache, class_of_blocks);
    assert_true(proof_is_for_all(cold()));
    give(take());
    cold()->stacks = ALL;
    stacks_flush_class(cache, class_of_blocks);
    assert_false(proof_is_for_all(cold()));
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_block_that_went_back_singly_is_found_on_the_first_stack),
        ISOLATED(what_is_proved_may_serve),
        ISOLATED(a_block_that_went_back_with_a_full_stack_is_found),
        ISOLATED(so_is_a_large_one_that_went_with_half_of_a_stack),
        ISOLATED(so_is_one_that_is_freed_after_the_next_stack),
        ISOLATED(a_proof_does_not_hold_for_what_is_freed_later),
        ISOLATED(a_block_whose_slab_is_another_class_s_now_is_found),
        ISOLATED(at_the_end_nobody_is_waited_for),
        ISOLATED(a_block_that_was_trimmed_is_found),
        ISOLATED(a_block_that_went_back_with_the_whole_class_is_found),
        ISOLATED(so_is_one_that_is_freed_after_what_came_next),
        ISOLATED(what_is_unproved_is_found_before_it_goes_to_a_depot),
        ISOLATED(the_first_stacks_go_to_no_depot_the_later_ones_need_no_proof),
        ISOLATED(the_first_stacks_are_the_cache_s_and_not_each_thread_s),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
