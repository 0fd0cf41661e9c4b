/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_bin.c - one bin by itself: what it hands out, keeps, gives up and purges. */
#include "support.h"

#include <string.h>

#include "bin.h"
#include "page_heap.h"
#include "remote.h"

enum { SIZE = 512, PATTERN = 0x5a };

static struct bin bin;
static struct remote_queue queue;
static unsigned class_of_blocks;

/* An empty bin, whose lock is held from now on. */
static void new_bin(void)
{
    size_class_init();
    class_of_blocks = size_class_of(SIZE);
    remote_queue_init(&queue);
    bin_init(&bin);
    lock_acquire(&bin.lock);
}

static unsigned blocks_per_slab(void)
{
    return size_classes[class_of_blocks].blocks;
}

/* One more slab; the page heap is called with no bin locked. */
static struct slab *add_slab(void)
{
    lock_release(&bin.lock);
    struct span *span = page_heap_alloc(
        &(struct run_request){.units = 1, .align_units = 1, .state = SPAN_SLAB, .grow = true});

    assert_non_null(span);
    struct slab *slab = slab_create(span, class_of_blocks, 0, &queue);

    assert_non_null(slab);
    lock_acquire(&bin.lock);
    bin_add_locked(&bin, slab);
    return slab;
}

static void *take(void)
{
    void *block = bin_take_one_locked(&bin);

    assert_non_null(block);
    memset(block, PATTERN, SIZE);
    return block;
}

static void take_slab(void **blocks)
{
    for (size_t i = 0; i < blocks_per_slab(); i++) {
        blocks[i] = take();
    }
}

static void put(void **blocks, size_t count)
{
    struct slab *released = NULL;

    bin_put_locked(&bin, blocks, count, false, &released);
    assert_null(released);
    bin_check_locked(&bin);
}

static void a_new_bin_has_nothing(void **state)
{
    struct magazine *stack = magazine_create(5);
    struct slab *released = NULL;
    unsigned slabs = 1;

    (void)state;
    assert_non_null(stack);
    new_bin();
    assert_null(bin_take_one_locked(&bin));
    assert_null(bin_refill_locked(&bin, stack, 5));
    assert_int_equal(bin_purge_locked(&bin, 0, &slabs), 0);
    assert_int_equal(slabs, 1);
    bin_age_locked(&bin, UINT32_MAX, &released);
    bin_reclaim_locked(&bin, &released);
    assert_null(released);
    assert_false(bin.is_used);
    bin_check_locked(&bin);
}

static void blocks_that_come_back_are_handed_out_again(void **state)
{
    static void *blocks[UNIT_BYTES / SIZE];

    (void)state;
    new_bin();
    (void)add_slab();
    assert_true(bin.is_used);
    take_slab(blocks);
    assert_null(bin_take_one_locked(&bin));
    assert_int_equal(bin.free_blocks, 0);
    put(&blocks[7], 1);
    assert_int_equal(bin.free_blocks, 1);
    assert_ptr_equal(take(), blocks[7]);
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

static void a_purge_looks_through_slabs_only_as_long_as_there_may_be_something(void **state)
{
    static void *blocks[2][UNIT_BYTES / SIZE];
    unsigned slabs = 1;

    (void)state;
    new_bin();
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        (void)add_slab();
        take_slab(blocks[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        put(&blocks[i][1], blocks_per_slab() - 1);
    }
    /* One slab a call, all of it but the page of the block in use. */
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        slabs = 1;
        assert_int_equal(bin_purge_locked(&bin, 0, &slabs), UNIT_BYTES - SLAB_PAGE_BYTES);
        assert_int_equal(slabs, 0);
        assert_true(bin.may_purge);
    }
    slabs = 1;
    assert_int_equal(bin_purge_locked(&bin, 0, &slabs), 0);
    assert_int_equal(slabs, 1);
    assert_false(bin.may_purge);
    assert_true(is_all(blocks[0][0], SIZE, PATTERN));
    assert_true(is_all(blocks[1][0], SIZE, PATTERN));
    /* The last block of a slab, and with it the page. */
    put(&blocks[0][0], 1);
    assert_true(bin.may_purge);
    assert_int_equal(bin_purge_locked(&bin, 0, &slabs), SLAB_PAGE_BYTES);
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
    bin.depot_blocks++;
    assert_dies(check, &bin, "bin: free blocks do not add up");
    bin.depot_blocks--;
    bin.depot_count++;
    assert_dies(check, &bin, "bin: stacks do not add up");
    bin.depot_count--;
    bin.depot_low++;
    assert_dies(check, &bin, "bin: stacks do not add up");
    bin.depot_low--;
    bin.spare_count++;
    assert_dies(check, &bin, "bin: stacks do not add up");
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_new_bin_has_nothing),
        ISOLATED(blocks_that_come_back_are_handed_out_again),
        ISOLATED(what_a_bin_gives_up_is_chained_to_what_was_given_up_before),
        ISOLATED(a_purge_looks_through_slabs_only_as_long_as_there_may_be_something),
        ISOLATED(the_check_sees_what_does_not_add_up),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
