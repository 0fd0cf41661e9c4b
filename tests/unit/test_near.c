/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_near.c - what serves in place of a block of a class whose slabs are several units. */
#include "cache_support.h"

#include "limit.h"
#include "near.h"
#include "proof.h"
#include "reclaim.h"
#include "refill.h"

/* Of sizes whose slabs are several units, where there is a free block of a larger size as well. */
static void what_the_bin_has_comes_before_what_is_near(void **state)
{
    unsigned index;

    (void)state;
    set_up(40 * KIB);
    assert_non_null(refill_one(arena, class_of_blocks));
    assert_non_null(refill_one(arena, size_class_of(56 * KIB)));
    void *block = near_take(cache, class_of_blocks, BLOCK_ALIGN);

    assert_non_null(block);
    assert_int_equal(slab_of_own_block((uintptr_t)block, &index)->class, class_of_blocks);
}

/* 112 KiB are aligned to 16 KiB, 96 KiB to 32. */
static void the_next_size_serves_only_where_it_is_aligned_enough(void **state)
{
    unsigned class = CLASS_COUNT - 1;

    (void)state;
    set_up(SIZE);
    while (size_classes[class].size != 96 * KIB) {
        class --;
    }
    void *block = refill_one(arena, class + 1);

    assert_true(cache_grow_free(cache, class + 1));
    assert_true(cache_push(cache_bin_of_class(cache, class + 1), block));
    stacks_make_class(cache, class)->dry = 2;
    assert_null(near_pop_next(cache, class, 32 * KIB));
    assert_ptr_equal(near_pop_next(cache, class, 16 * KIB), block);
}

static void a_block_of_the_next_size_is_proved_too(void **state)
{
    (void)state;
    set_up(48 * KIB);
    unsigned next = class_of_blocks;
    void *block = refill_one(arena, next);

    give(block);
    proof_need(stacks_made_class(cache, class_of_blocks));
    assert_int_equal(size_classes[next - 1].size, 40 * KIB);
    assert_ptr_equal(near_take(cache, next - 1, BLOCK_ALIGN), block);
}

static void near_a_limit_what_was_freed_of_one_unit_serves(void **state)
{
    (void)state;
    set_up(40 * KIB);
    unsigned single = size_class_single(class_of_blocks);
    void *block = refill_one(arena, single);

    assert_true(cache_grow_free(cache, single));
    assert_true(cache_push(cache_bin_of_class(cache, single), block));
    assert_null(near_pop_single(cache, class_of_blocks));
    limit_set(0, limit_used_bytes());
    assert_ptr_equal(near_pop_single(cache, class_of_blocks), block);
    assert_null(near_pop_single(cache, class_of_blocks));
    /* There is none for longer ones. */
    assert_null(near_pop_single(cache, CLASS_COUNT - 1));
}

/* What is due every so many misses would not come, or come each time. */
static void each_block_counts_as_a_miss(void **state)
{
    (void)state;
    set_up(40 * KIB);
    uint64_t misses = cache->misses;

    assert_non_null(near_take(cache, class_of_blocks, BLOCK_ALIGN));
    assert_int_equal(cache->misses, misses + 1);
    assert_non_null(near_take(cache, class_of_blocks, BLOCK_ALIGN));
    assert_int_equal(cache->misses, misses + 2);
}

enum { BORROWS = 15 };

/* How often another class's block serves, which goes back each time, before there is a slab of the
 * class itself; its block goes back, too. */
static unsigned count_borrowed(void)
{
    unsigned count = 0;

    while (true) {
        void *block = near_take(cache, class_of_blocks, BLOCK_ALIGN);
        unsigned index;

        assert_non_null(block);
        unsigned class = slab_of_own_block((uintptr_t)block, &index)->class;

        arena_free_blocks(arena, class, &block, 1);
        if (class == class_of_blocks) {
            return count;
        }
        count++;
        assert_true(count <= BORROWS);
    }
}

static void a_class_gets_its_first_slab_each_time_that_it_has_borrowed_often(void **state)
{
    (void)state;
    set_up(40 * KIB);
    assert_non_null(refill_one(arena, size_class_of(56 * KIB)));
    for (int round = 0; round < 3; round++) {
        assert_int_equal(count_borrowed(), BORROWS);
        reclaim_all();
    }
}

/* The slab's block would be nobody's. */
static void a_class_gets_no_slab_where_the_next_size_serves(void **state)
{
    (void)state;
    set_up(48 * KIB);
    unsigned class = class_of_blocks - 1;
    void *block = refill_one(arena, class_of_blocks);

    give(block);
    stacks_make_class(cache, class)->borrowed = BORROWS;
    assert_ptr_equal(near_take(cache, class, BLOCK_ALIGN), block);
    assert_int_equal(stacks_class(cache, class)->borrowed, BORROWS);
}

enum { LONG_SLABS = 4 };

static void *in_use[LONG_SLABS][UNIT_BYTES / BLOCK_ALIGN];

static unsigned take_slabs(void)
{
    unsigned blocks = size_classes[class_of_blocks].blocks;

    for (unsigned i = 0; i < LONG_SLABS * blocks; i++) {
        in_use[i / blocks][i % blocks] = refill_one(arena, class_of_blocks);
        assert_non_null(in_use[i / blocks][i % blocks]);
    }
    return blocks;
}

static void put_back(unsigned slab, unsigned count)
{
    arena_free_blocks(arena, class_of_blocks, in_use[slab], count);
}

static void what_was_freed_of_a_sparse_class_goes_back_first(void **state)
{
    (void)state;
    set_up(40 * KIB);
    unsigned blocks = take_slabs();

    put_back(0, blocks - 2);
    put_back(1, blocks - 2);
    put_back(LONG_SLABS - 1, 1);
    assert_false(bin_is_sparse(arena_bin(arena, class_of_blocks)));
    put_back(2, blocks - 2);
    assert_true(bin_is_sparse(arena_bin(arena, class_of_blocks)));
    give(in_use[0][blocks - 1]);
    assert_ptr_equal(near_take(cache, class_of_blocks, BLOCK_ALIGN), in_use[LONG_SLABS - 1][0]);
    assert_int_equal(cached_blocks(), 0);
    check();
}

static void what_was_freed_serves_where_a_class_is_sparse_no_more(void **state)
{
    (void)state;
    set_up(40 * KIB);
    (void)take_slabs();
    give(in_use[0][0]);
    stacks_made_class(cache, class_of_blocks)->is_sparse = true;
    stacks_made_class(cache, class_of_blocks)->swaps = SWAPS_PER_GROWTH;
    assert_ptr_equal(near_take(cache, class_of_blocks, BLOCK_ALIGN), in_use[0][0]);
    assert_int_equal(bin_slabs(arena_bin(arena, class_of_blocks)), LONG_SLABS);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(what_the_bin_has_comes_before_what_is_near),
        ISOLATED(the_next_size_serves_only_where_it_is_aligned_enough),
        ISOLATED(a_block_of_the_next_size_is_proved_too),
        ISOLATED(near_a_limit_what_was_freed_of_one_unit_serves),
        ISOLATED(each_block_counts_as_a_miss),
        ISOLATED(a_class_gets_its_first_slab_each_time_that_it_has_borrowed_often),
        ISOLATED(a_class_gets_no_slab_where_the_next_size_serves),
        ISOLATED(what_was_freed_of_a_sparse_class_goes_back_first),
        ISOLATED(what_was_freed_serves_where_a_class_is_sparse_no_more),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
