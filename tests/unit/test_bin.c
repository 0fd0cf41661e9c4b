/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_bin.c - one bin by itself: what it hands out, keeps and gives up. */
#include "bin_support.h"

#include <string.h>

#include "page_heap.h"

static void a_new_bin_has_nothing(void **state)
{
    struct magazine *stack = magazine_create(5);
    struct slab *released = NULL;

    (void)state;
    assert_non_null(stack);
    new_bin();
    assert_null(bin_take_one_locked(&bin));
    assert_null(bin_refill_locked(&bin, stack, 5));
    bin_age_locked(&bin, UINT32_MAX, &released);
    bin_reclaim_locked(&bin, &released);
    assert_null(released);
    bin_check_locked(&bin);
}

static void blocks_that_come_back_are_handed_out_again(void **state)
{
    static void *blocks[UNIT_BYTES / SIZE];

    (void)state;
    new_bin();
    (void)add_slab();
    take_slab(blocks);
    assert_null(bin_take_one_locked(&bin));
    assert_int_equal(bin.free_blocks, 0);
    put(&blocks[7], 1);
    assert_int_equal(bin.free_blocks, 1);
    assert_ptr_equal(take(), blocks[7]);
}

/* Rows */

enum { ROW_SIZE = 48, ROW_BLOCKS = UNIT_BYTES / ROW_SIZE };

static void *in_rows[ROW_BLOCKS + 1];

/* A slab all of whose blocks are with the program, in the order of their addresses. */
static void take_rows(void)
{
    new_bin_of(ROW_SIZE);
    (void)add_slab();
    take_slab(in_rows);
    for (size_t i = 1; i < ROW_BLOCKS; i++) {
        assert_true(in_rows[i] > in_rows[i - 1]);
    }
}

/* Put `count` of the blocks back, the i-th being in_rows[(start + i * step) % ROW_BLOCKS], as one
 * stack; nothing but they is free then. Take them again. */
static void assert_taken_in(size_t start, size_t step, size_t count)
{
    static void *blocks[ROW_BLOCKS];
    static bool expected[ROW_BLOCKS];

    memset(expected, 0, sizeof(expected));
    for (size_t i = 0; i < count; i++) {
        size_t index = (start + i * step) % ROW_BLOCKS;

        blocks[i] = in_rows[index];
        expected[index] = true;
    }
    put(blocks, count);
    assert_int_equal(bin.free_blocks, count);
    for (size_t i = 0; i < count; i++) {
        size_t index = ((uintptr_t)take() - (uintptr_t)in_rows[0]) / ROW_SIZE;

        assert_true(expected[index]);
        expected[index] = false;
    }
    assert_null(bin_take_one_locked(&bin));
}

static void rows_of_blocks_are_taken_in_up_and_down(void **state)
{
    (void)state;
    take_rows();
    for (size_t count = 1; count < 150; count += 7) {
        for (size_t start = 0; start < 200; start += 13) {
            assert_taken_in(start, 1, count);
            assert_taken_in(start + 150, ROW_BLOCKS - 1, count);
            assert_taken_in(start, 2, count);
            assert_taken_in(start, 64, count);
            /* Over the end of the slab to its start, and back. */
            assert_taken_in(ROW_BLOCKS - 1 - start % 20, 1, count);
            assert_taken_in(start % 20, ROW_BLOCKS - 1, count);
        }
    }
    assert_taken_in(0, 1, ROW_BLOCKS);
    assert_taken_in(ROW_BLOCKS - 1, ROW_BLOCKS - 1, ROW_BLOCKS);
}

static void rows_with_gaps_and_turns_are_taken_in(void **state)
{
    static void *blocks[ROW_BLOCKS];
    size_t count = 0;

    (void)state;
    take_rows();
    for (size_t i = 0; i < 400; i++) {
        if (i % 37 > 2) {
            blocks[count++] = in_rows[i];
        }
    }
    for (size_t i = 900; i > 500; i--) {
        blocks[count++] = in_rows[i];
    }
    for (size_t i = 1000; i < 1100; i += 2) {
        blocks[count++] = in_rows[i + 1];
        blocks[count++] = in_rows[i];
    }
    put(blocks, count);
    assert_int_equal(bin.free_blocks, count);
}

static void rows_go_over_from_one_slab_to_the_next(void **state)
{
    enum { FULL = UNIT_BYTES / 64 };
    static void *blocks[2 * FULL];
    static void *downwards[2 * FULL];

    (void)state;
    new_bin_of(64);
    (void)add_slab();
    take_slab(blocks);
    (void)add_slab();
    take_slab(&blocks[FULL]);
    assert_ptr_equal(blocks[FULL], (char *)blocks[FULL - 1] + 64);
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        downwards[i] = blocks[ARRAY_SIZE(blocks) - 1 - i];
    }
    put(&blocks[FULL - 100], 200);
    assert_int_equal(bin.free_blocks, 200);
    for (size_t i = 0; i < 200; i++) {
        (void)take();
    }
    put(downwards, ARRAY_SIZE(downwards));
    assert_int_equal(bin.free_blocks, ARRAY_SIZE(downwards));
}

static void put_in_rows(void *count)
{
    struct slab *released = NULL;

    bin_put_locked(&bin, in_rows, *(size_t *)count, false, &released);
}

static void a_block_twice_in_a_row_dies(void **state)
{
    size_t count = 100;

    (void)state;
    take_rows();
    in_rows[50] = in_rows[49];
    assert_dies_at(put_in_rows, &count, "double free of", (uintptr_t)in_rows[49]);
    in_rows[50] = in_rows[10];
    assert_dies_at(put_in_rows, &count, "double free of", (uintptr_t)in_rows[10]);
}

static void what_follows_the_last_block_of_a_slab_dies_in_a_row_too(void **state)
{
    enum { LAST = 20 };
    size_t count = LAST + 1;

    (void)state;
    take_rows();
    memmove(in_rows, &in_rows[ROW_BLOCKS - LAST], LAST * sizeof(in_rows[0]));
    in_rows[LAST] = (char *)in_rows[LAST - 1] + ROW_SIZE;
    assert_dies_at(put_in_rows, &count, "invalid free of", (uintptr_t)in_rows[LAST]);
}

/* Stacks whose blocks lie in one slab after the other */

enum { SCATTER_SLABS = 12, SCATTERED = SCATTER_SLABS * (UNIT_BYTES / SIZE) };

static void *scattered[SCATTERED];

/* Slabs all of whose blocks are with the program: block i of each, then block i + 1. */
static void take_scattered(void)
{
    static void *blocks[UNIT_BYTES / SIZE];

    new_bin();
    for (size_t slab = 0; slab < SCATTER_SLABS; slab++) {
        (void)add_slab();
        take_slab(blocks);
        for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
            scattered[i * SCATTER_SLABS + slab] = blocks[i];
        }
    }
}

static void put_scattered(void *count)
{
    struct slab *released = NULL;

    bin_put_locked(&bin, scattered, *(size_t *)count, false, &released);
}

static void scattered_blocks_come_back_to_their_slabs(void **state)
{
    (void)state;
    take_scattered();
    /* But for the last block of each slab: more empty ones the bin would not keep. */
    size_t count = SCATTERED - SCATTER_SLABS;

    bin.frees_in_order = true;
    put(&scattered[100], 300);
    assert_false(bin.frees_in_order);
    put(scattered, 100);
    put(&scattered[400], count - 400);
    assert_int_equal(bin.free_blocks, count);
    for (size_t i = 0; i < count; i++) {
        (void)take();
    }
    assert_null(bin_take_one_locked(&bin));
}

static void a_scattered_block_twice_dies(void **state)
{
    size_t count = 100;

    (void)state;
    take_scattered();
    scattered[50] = scattered[9];
    assert_dies_at(put_scattered, &count, "double free of", (uintptr_t)scattered[9]);
}

static void what_is_no_block_dies_among_scattered_ones(void **state)
{
    size_t count = 100;

    (void)state;
    take_scattered();
    scattered[50] = (char *)scattered[50] + BLOCK_ALIGN;
    assert_dies_at(put_scattered, &count, "invalid free of", (uintptr_t)scattered[50]);
    scattered[50] = &count;
    assert_dies_at(put_scattered, &count, "invalid free of", (uintptr_t)&count);
}

/* The first block of a new slab, which is not the bin's. */
static void *block_of_other_slab(unsigned class, unsigned arena)
{
    lock_release(&bin.lock);
    struct span *span = page_heap_alloc(
        &(struct run_request){.units = 1, .align_units = 1, .state = SPAN_SLAB, .grow = true});

    assert_non_null(span);
    assert_non_null(slab_create(span, class, arena, &queue));
    lock_acquire(&bin.lock);
    return (void *)span_address(span);
}

static void assert_dies_of(void *other)
{
    size_t many = 100;
    size_t few = 2;
    void *first = scattered[0];

    scattered[50] = other;
    assert_dies_at(put_scattered, &many, "double free of", (uintptr_t)other);
    /* Not an innocent one where it comes first. */
    scattered[0] = other;
    assert_dies_at(put_scattered, &many, "double free of", (uintptr_t)other);
    assert_dies_at(put_scattered, &few, "double free of", (uintptr_t)other);
    scattered[0] = first;
}

/* Its own slab has come back, and the memory is another's. */
static void a_block_of_another_class_or_arena_was_freed_before(void **state)
{
    (void)state;
    take_scattered();
    assert_dies_of(block_of_other_slab(size_class_of(2 * SIZE), 0));
    assert_dies_of(block_of_other_slab(class_of_bin, 1));
}

static void what_a_bin_gives_up_is_chained_to_what_was_given_up_before(void **state)
{
    struct slab *slabs[3];
    struct slab *released = NULL;

    (void)state;
    new_bin();
    slabs[0] = add_slab();
    slabs[1] = add_slab();
    bin_age_locked(&bin, UINT32_MAX, &released);
    slabs[2] = add_slab();
    bin_reclaim_locked(&bin, &released);
    size_t count = 0;

    for (; released != NULL; released = released->next) {
        count += released == slabs[0] || released == slabs[1] || released == slabs[2];
    }
    assert_int_equal(count, ARRAY_SIZE(slabs));
    assert_int_equal(bin.free_blocks, 0);
    bin_check_locked(&bin);
}

static void a_bin_keeps_few_units_in_empty_slabs(void **state)
{
    enum { BLOCKS = 4, KEPT = 4 };
    void *blocks[KEPT + 1][BLOCKS];
    struct slab *released = NULL;

    (void)state;
    new_bin_of_class(CLASS_COUNT - 1);
    assert_int_equal(blocks_of_slab(), BLOCKS);
    for (size_t i = 0; i <= KEPT; i++) {
        (void)add_slab();
        take_slab(blocks[i]);
    }
    for (size_t i = 0; i <= KEPT; i++) {
        assert_null(released);
        bin_put_locked(&bin, blocks[i], BLOCKS, false, &released);
    }
    assert_non_null(released);
    assert_null(released->next);
    bin_check_locked(&bin);
}

static void a_bin_that_ages_gives_its_empty_slabs_up(void **state)
{
    struct slab *released = NULL;

    (void)state;
    new_bin();
    struct slab *empty = add_slab();

    bin_age_locked(&bin, 0, &released);
    assert_ptr_equal(released, empty);
    assert_null(released->next);
    assert_int_equal(bin_slabs(&bin), 0);
    bin_check_locked(&bin);
}

/* Sparse bins */

enum { SPARSE_SLABS = 8 };

static void *in_use[SPARSE_SLABS][UNIT_BYTES / SIZE];

static void use_slabs(void)
{
    for (size_t i = 0; i < SPARSE_SLABS; i++) {
        (void)add_slab();
        take_slab(in_use[i]);
    }
}

/* So many blocks of each slab, too few at once to tell of an order. */
static void put_of_each(size_t from, size_t count)
{
    enum { FEW = 8 };

    for (size_t i = 0; i < SPARSE_SLABS; i++) {
        for (size_t done = 0; done < count; done += FEW) {
            put(&in_use[i][from + done], size_min(FEW, count - done));
        }
    }
}

static void a_bin_is_sparse_as_long_as_much_of_its_slabs_is_free(void **state)
{
    (void)state;
    new_bin();
    struct magazine *magazine = magazine_create(size_classes[class_of_bin].capacity);

    use_slabs();
    /* A half, but for one block: more than a quarter, but not 256 KiB. */
    put_of_each(0, blocks_of_slab() / 2 - 1);
    for (size_t i = 0; i < SPARSE_SLABS - 1; i++) {
        put(&in_use[i][blocks_of_slab() - 1], 1);
    }
    assert_false(bin_is_sparse(&bin));
    put(&in_use[SPARSE_SLABS - 1][blocks_of_slab() - 1], 1);
    assert_true(bin_is_sparse(&bin));
    while (bin_refill_locked(&bin, magazine, magazine->capacity) != NULL) {
        magazine->count = 0;
    }
    assert_false(bin_is_sparse(&bin));
    lock_release(&bin.lock);
}

/* What is freed there does not serve next: it is no reason to wait for more. */
static void free_pages_of_a_sparse_bin_do_not_wait_anew(void **state)
{
    (void)state;
    new_bin();
    use_slabs();
    const struct slab *slab = slab_at((uintptr_t)in_use[0][0]);
    size_t half = blocks_of_slab() / 2;

    tick_advance();
    put(&in_use[0][0], 1);
    assert_int_equal(slab->freed_tick, tick_now());
    put_of_each(1, half);
    assert_true(bin_is_sparse(&bin));
    tick_advance();
    put(&in_use[0][half + 1], 1);
    assert_int_equal((uint8_t)(slab->freed_tick + 1), tick_now());
    lock_release(&bin.lock);
}

/* So many times what the slabs hold comes and goes. */
static void come_and_go(size_t turns)
{
    struct magazine *magazine = magazine_create(size_classes[class_of_bin].capacity);
    size_t blocks = turns * SPARSE_SLABS * blocks_of_slab();

    for (size_t done = 0; done < blocks; done += magazine->capacity) {
        assert_ptr_equal(bin_refill_locked(&bin, magazine, magazine->capacity), magazine);
        assert_int_equal(magazine->count, magazine->capacity);
        put(magazine->slots, magazine->count);
        magazine->count = 0;
    }
}

static void a_bin_none_of_whose_slabs_runs_empty_is_given_up(void **state)
{
    (void)state;
    new_bin();
    use_slabs();
    put_of_each(0, blocks_of_slab() / 2);
    come_and_go(3);
    assert_true(bin_is_sparse(&bin));
    come_and_go(2);
    assert_false(bin_is_sparse(&bin));
    come_and_go(5);
    assert_false(bin_is_sparse(&bin));
    /* Nor as it comes and goes across the bound. */
    struct magazine *out = magazine_create(size_classes[class_of_bin].capacity);

    assert_ptr_equal(bin_refill_locked(&bin, out, out->capacity), out);
    come_and_go(1);
    put(out->slots, out->count);
    assert_false(bin_is_sparse(&bin));
    /* An eighth more. */
    put_of_each(blocks_of_slab() / 2, blocks_of_slab() / 16);
    assert_false(bin_is_sparse(&bin));
    put_of_each(blocks_of_slab() / 2 + blocks_of_slab() / 16, blocks_of_slab() / 16);
    assert_true(bin_is_sparse(&bin));
    come_and_go(5);
    assert_false(bin_is_sparse(&bin));
    /* A slab runs empty after all. */
    size_t left = blocks_of_slab() / 2 + blocks_of_slab() / 8;

    put(&in_use[0][left], blocks_of_slab() - left);
    assert_true(bin_is_sparse(&bin));
    lock_release(&bin.lock);
}

static void a_bin_one_of_whose_slabs_runs_empty_is_not_given_up(void **state)
{
    (void)state;
    new_bin();
    use_slabs();
    size_t freed = blocks_of_slab() / 4 * 3;

    put_of_each(0, freed);
    come_and_go(3);
    put(&in_use[0][freed], blocks_of_slab() - freed);
    assert_int_equal(bin.empty_slabs, 1);
    come_and_go(3);
    assert_true(bin_is_sparse(&bin));
    lock_release(&bin.lock);
}

static void a_bin_that_was_given_up_is_tried_again_once_little_was_free(void **state)
{
    struct magazine *out[8];

    (void)state;
    new_bin();
    use_slabs();
    put_of_each(0, blocks_of_slab() / 2);
    come_and_go(5);
    assert_false(bin_is_sparse(&bin));
    for (size_t i = 0; i < ARRAY_SIZE(out); i++) {
        out[i] = magazine_create(size_classes[class_of_bin].capacity);
        assert_ptr_equal(bin_refill_locked(&bin, out[i], out[i]->capacity), out[i]);
    }
    assert_true(bin.free_blocks < blocks_of_slab() / 2 * SPARSE_SLABS / 2);
    for (size_t i = 0; i < ARRAY_SIZE(out); i++) {
        put(out[i]->slots, out[i]->count);
    }
    assert_true(bin_is_sparse(&bin));
    lock_release(&bin.lock);
}

/* A bitmap word of blocks of each slab, freed by threads of another arena and taken in. */
static void take_in_of_each(void)
{
    struct slab *released = NULL;
    struct slab *next;

    for (size_t i = 0; i < SPARSE_SLABS; i++) {
        remote_publish(slab_at((uintptr_t)in_use[i][0]), 0, ~UINT64_C(0));
    }
    for (struct slab *slab = remote_take_queue(&queue); slab != NULL; slab = next) {
        next = remote_next(slab);
        assert_int_equal(bin_take_in_locked(&bin, slab, &released), BITS_PER_WORD);
    }
    assert_null(released);
}

static void what_comes_in_from_others_makes_a_bin_sparse(void **state)
{
    (void)state;
    new_bin();
    use_slabs();
    take_in_of_each();
    assert_true(bin_is_sparse(&bin));
    lock_release(&bin.lock);
}

static void what_came_and_went_before_a_bin_was_sparse_does_not_count(void **state)
{
    (void)state;
    new_bin();
    use_slabs();
    put_of_each(0, blocks_of_slab() / 4);
    come_and_go(5);
    assert_false(bin_is_sparse(&bin));
    put_of_each(blocks_of_slab() / 4, blocks_of_slab() / 4);
    assert_true(bin_is_sparse(&bin));
    lock_release(&bin.lock);
}

static void a_quarter_of_many_slabs_is_not_much(void **state)
{
    (void)state;
    new_bin();
    use_slabs();
    use_slabs();
    /* 256 KiB of 1 MiB, then more. */
    put_of_each(0, blocks_of_slab() / 2);
    assert_false(bin_is_sparse(&bin));
    put(&in_use[0][blocks_of_slab() - 1], 1);
    assert_true(bin_is_sparse(&bin));
    lock_release(&bin.lock);
}

static void empty_slabs_do_not_make_a_bin_sparse(void **state)
{
    (void)state;
    new_bin();
    use_slabs();
    put_of_each(0, blocks_of_slab());
    assert_int_equal(bin.empty_slabs, SPARSE_SLABS);
    assert_false(bin_is_sparse(&bin));
    lock_release(&bin.lock);
}

static void of_blocks_longer_than_a_page_more_than_half_has_to_be_free(void **state)
{
    enum { LARGE = 8192 };

    (void)state;
    new_bin_of(LARGE);
    use_slabs();
    /* Half is 256 KiB. */
    put_of_each(0, blocks_of_slab() / 2);
    assert_false(bin_is_sparse(&bin));
    put(&in_use[0][blocks_of_slab() - 1], 1);
    assert_true(bin_is_sparse(&bin));
    lock_release(&bin.lock);
}

/* Of the first class, also of the finer ones, that is for blocks of so many bytes. */
static void new_bin_of_exactly(size_t size)
{
    unsigned class = 0;

    size_class_init();
    while (size_classes[class].size != size) {
        class ++;
    }
    new_bin_of_class(class);
}

static void of_long_slabs_two_have_to_be_free(void **state)
{
    enum { SLABS = 3, LONG = 40 * 1024 };

    (void)state;
    new_bin_of_exactly(LONG);
    for (size_t i = 0; i < SLABS; i++) {
        (void)add_slab();
        take_slab(in_use[i]);
    }
    size_t blocks = blocks_of_slab();

    put(in_use[0], blocks - 1);
    put(in_use[1], blocks - 1);
    put(in_use[2], 1);
    assert_false(bin_is_sparse(&bin));
    put(&in_use[2][1], 1);
    assert_true(bin_is_sparse(&bin));
    lock_release(&bin.lock);
}

static void a_bin_of_medium_blocks_is_never_sparse(void **state)
{
    enum { MEDIUM = 80 * 1024 };

    (void)state;
    new_bin_of_exactly(MEDIUM);
    use_slabs();
    put_of_each(0, blocks_of_slab() - 1);
    assert_false(bin_is_sparse(&bin));
    lock_release(&bin.lock);
}

static void a_sparse_bin_serves_from_slabs_and_not_from_its_depot(void **state)
{
    (void)state;
    new_bin();
    struct magazine *kept = magazine_create(size_classes[class_of_bin].capacity);
    struct magazine *empty = magazine_create(size_classes[class_of_bin].capacity);

    use_slabs();
    while (kept->count < kept->capacity) {
        kept->slots[kept->count] = in_use[0][kept->count];
        kept->count++;
    }
    assert_non_null(depot_put_locked(&bin.depot, class_of_bin, kept));
    put_of_each(blocks_of_slab() / 2, blocks_of_slab() / 2);
    assert_true(bin_is_sparse(&bin));
    assert_ptr_equal(bin_refill_locked(&bin, empty, empty->capacity), empty);
    /* Then less than 256 KiB are free. */
    empty->count = 0;
    assert_ptr_equal(bin_refill_locked(&bin, empty, empty->capacity), kept);
    lock_release(&bin.lock);
}

/* Where blocks come back in the order of their allocation, the fullest slabs are those that have
 * just begun to run empty. */
static void where_frees_come_in_order_one_slab_is_filled_at_a_time(void **state)
{
    (void)state;
    new_bin();
    size_t most = blocks_of_slab() / 4 * 3;
    size_t few = blocks_of_slab() / 8;

    use_slabs();
    put(in_use[0], most);
    put(in_use[1], few);
    assert_false(bin_is_sparse(&bin));
    /* A quarter of 256 KiB. */
    put(in_use[2], few);
    assert_true(bin_is_sparse(&bin));
    for (size_t i = 0; i < few; i++) {
        assert_ptr_equal(slab_at((uintptr_t)take()), slab_at((uintptr_t)in_use[0][0]));
    }
    put(in_use[3], most);
    for (size_t i = few; i < most; i++) {
        assert_ptr_equal(slab_at((uintptr_t)take()), slab_at((uintptr_t)in_use[0][0]));
    }
    void *block = take();

    assert_ptr_equal(slab_at((uintptr_t)block), slab_at((uintptr_t)in_use[3][0]));
    /* It runs empty. */
    put(&in_use[3][most], blocks_of_slab() - most);
    put(&block, 1);
    assert_int_equal(bin.empty_slabs, 1);
    lock_release(&bin.lock);
}

static void blocks_of_few_slabs_tell_of_no_order(void **state)
{
    (void)state;
    new_bin();
    add_slabs(3);
    for (size_t i = 0; i < 3; i++) {
        take_slab(in_use[i]);
    }
    put(in_use[0], blocks_of_slab() / 4 * 3);
    put(in_use[1], blocks_of_slab() / 4 * 3);
    assert_false(bin_is_sparse(&bin));
    lock_release(&bin.lock);
}

static void check(void *argument)
{
    bin_check_locked((struct bin *)argument);
}

static void the_check_sees_what_does_not_add_up(void **state)
{
    (void)state;
    new_bin();
    (void)add_slab();
    bin.free_blocks++;
    assert_dies(check, &bin, "bin: free blocks do not add up");
    bin.free_blocks--;
    bin.empty_slabs++;
    assert_dies(check, &bin, "bin: free blocks do not add up");
    bin.empty_slabs--;
    bin.slab_count++;
    assert_dies(check, &bin, "bin: slabs do not add up");
    bin.slab_count--;
    bin.is_sparse = true;
    bin.hopeless_free = 1;
    assert_dies(check, &bin, "bin: it is sparse and given up");
    bin.is_sparse = false;
    bin.filling = bin.slabs[SLAB_LIST_EMPTY];
    assert_dies(check, &bin, "bin: the slab that is to be filled is not partly free");
    bin.filling = NULL;
    bin.depot.blocks++;
    assert_dies(check, &bin, "depot: blocks do not add up");
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_new_bin_has_nothing),
        ISOLATED(blocks_that_come_back_are_handed_out_again),
        ISOLATED(rows_of_blocks_are_taken_in_up_and_down),
        ISOLATED(rows_with_gaps_and_turns_are_taken_in),
        ISOLATED(rows_go_over_from_one_slab_to_the_next),
        ISOLATED(a_block_twice_in_a_row_dies),
        ISOLATED(what_follows_the_last_block_of_a_slab_dies_in_a_row_too),
        ISOLATED(scattered_blocks_come_back_to_their_slabs),
        ISOLATED(a_scattered_block_twice_dies),
        ISOLATED(what_is_no_block_dies_among_scattered_ones),
        ISOLATED(a_block_of_another_class_or_arena_was_freed_before),
        ISOLATED(what_a_bin_gives_up_is_chained_to_what_was_given_up_before),
        ISOLATED(a_bin_keeps_few_units_in_empty_slabs),
        ISOLATED(a_bin_that_ages_gives_its_empty_slabs_up),
        ISOLATED(a_bin_is_sparse_as_long_as_much_of_its_slabs_is_free),
        ISOLATED(free_pages_of_a_sparse_bin_do_not_wait_anew),
        ISOLATED(a_bin_none_of_whose_slabs_runs_empty_is_given_up),
        ISOLATED(a_bin_one_of_whose_slabs_runs_empty_is_not_given_up),
        ISOLATED(a_bin_that_was_given_up_is_tried_again_once_little_was_free),
        ISOLATED(what_comes_in_from_others_makes_a_bin_sparse),
        ISOLATED(what_came_and_went_before_a_bin_was_sparse_does_not_count),
        ISOLATED(a_quarter_of_many_slabs_is_not_much),
        ISOLATED(empty_slabs_do_not_make_a_bin_sparse),
        ISOLATED(of_blocks_longer_than_a_page_more_than_half_has_to_be_free),
        ISOLATED(of_long_slabs_two_have_to_be_free),
        ISOLATED(a_bin_of_medium_blocks_is_never_sparse),
        ISOLATED(a_sparse_bin_serves_from_slabs_and_not_from_its_depot),
        ISOLATED(where_frees_come_in_order_one_slab_is_filled_at_a_time),
        ISOLATED(blocks_of_few_slabs_tell_of_no_order),
        ISOLATED(the_check_sees_what_does_not_add_up),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
