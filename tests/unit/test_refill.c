/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_refill.c - where blocks come from: a bin's stock, what others freed, new slabs, larger
 * blocks; and what is lost when there is no memory: nothing. */
#include "arena_support.h"

#include <string.h>

#include "limit.h"
#include "meta.h"
#include "os.h"
#include "page_heap.h"
#include "reclaim.h"
#include "refill.h"

static void a_refill_gives_what_is_wanted_in_ascending_order(void **state)
{
    struct arena *arena = first_arena();
    struct magazine *empty = new_stack();
    struct magazine *full = refill_stack(arena, class_of_blocks, empty, 20);

    (void)state;
    assert_ptr_equal(full, empty);
    assert_int_equal(full->count, 20);
    for (size_t i = 1; i < 20; i++) {
        assert_int_equal((uintptr_t)full->slots[i - 1], (uintptr_t)full->slots[i] + SIZE);
    }
    assert_null(full->floor);
    arena_check(arena);
}

static void a_refill_of_what_is_left_fills_the_stack_from_the_bottom(void **state)
{
    static void *blocks[UNIT_BYTES / SIZE];
    struct arena *arena = first_arena();

    (void)state;
    take_blocks(arena, blocks, ARRAY_SIZE(blocks));
    give_back(arena, blocks, 3);
    struct magazine *stack = stack_of(arena, 50);

    assert_int_equal(stack->count, 3);
    assert_ptr_equal(stack->slots[2], blocks[0]);
    assert_ptr_equal(stack->slots[0], blocks[2]);
    assert_int_equal(bin_of(arena)->stats.slabs_created, 1);
}

static void no_block_is_handed_out_twice(void **state)
{
    enum { STACKS = 30 };
    struct magazine *stacks[STACKS];
    size_t blocks = 0;

    (void)state;
    struct arena *arena = first_arena();

    for (size_t i = 0; i < STACKS; i++) {
        stacks[i] = stack_of(arena, 100);
        for (size_t k = 0; k < stacks[i]->count; k++) {
            uint64_t *block = (uint64_t *)stacks[i]->slots[k];

            assert_int_equal(*block, 0);
            *block = i + 1;
            blocks++;
        }
    }
    for (size_t i = 0; i < STACKS; i++) {
        for (size_t k = 0; k < stacks[i]->count; k++) {
            assert_int_equal(*(uint64_t *)stacks[i]->slots[k], i + 1);
        }
    }
    assert_true(blocks >= (size_t)STACKS * 50);
}

static void without_memory_a_refill_leaves_the_stack_with_its_caller(void **state)
{
    struct arena *arena = first_arena();
    struct magazine *empty = new_stack();

    (void)state;
    use_up_free_runs();
    os_fail_calls(1, UINT64_MAX);
    assert_null(refill_stack(arena, class_of_blocks, empty, 5));
    assert_null(refill_one(arena, class_of_blocks));
    os_fail_calls(0, 0);
    assert_int_equal(empty->count, 0);
    arena_check(arena);
    assert_ptr_equal(refill_stack(arena, class_of_blocks, empty, 5), empty);
    arena_check(arena);
}

static void whichever_call_fails_a_refill_loses_nothing(void **state)
{
    enum { CALLS = 12 };
    struct arena *arena = first_arena();
    struct magazine *stacks[CALLS];

    (void)state;
    for (unsigned call = 0; call < CALLS; call++) {
        struct magazine *empty = new_stack();

        os_fail_calls(call % 4 + 1, call / 4 + 1);
        stacks[call] = refill_stack(arena, class_of_blocks, empty, 200);
        os_fail_calls(0, 0);
        arena_check(arena);
        page_heap_check();
        stacks[call] = stacks[call] != NULL ? stacks[call] : empty;
    }
    for (unsigned call = 0; call < CALLS; call++) {
        magazine_destroy(arena_flush(arena, class_of_blocks, stacks[call], true));
    }
    assert_nothing_is_held(arena);
}

static size_t pages_of_slab(const void *block)
{
    return resident_pages((void *)align_down((uintptr_t)block, UNIT_BYTES), UNIT_BYTES);
}

/* Nobody writes to the blocks here, so what has memory got it ahead. */
static void the_more_slabs_a_bin_has_the_more_of_the_next_gets_memory_ahead(void **state)
{
    enum { MANY = 40, PAGES_OF_UNIT = UNIT_BYTES / SLAB_PAGE_BYTES };
    static void *blocks[MANY * UNIT_BYTES / SIZE];
    struct arena *arena = first_arena();
    bool populates = kernel_populates() && os_page_bytes() == SLAB_PAGE_BYTES;

    (void)state;
    take_blocks(arena, blocks, MANY * blocks_per_slab());
    for (size_t slab = 0; slab < MANY; slab++) {
        size_t pages = pages_of_slab(blocks[slab * blocks_per_slab()]);
        /* A 32nd of what the bin holds, at most all of the slab. */
        size_t most = slab < 32 ? slab * PAGES_OF_UNIT / 32 : PAGES_OF_UNIT;

        assert_int_equal(pages, populates ? most : 0);
    }
}

static void blocks_longer_than_a_page_get_no_memory_ahead(void **state)
{
    enum { MANY = 40, LONG = 5000 };
    static void *blocks[MANY * UNIT_BYTES / LONG];
    struct arena *arena = first_arena();

    (void)state;
    class_of_blocks = size_class_of(LONG);
    take_blocks(arena, blocks, MANY * blocks_per_slab());
    for (size_t i = 0; i < MANY * blocks_per_slab(); i++) {
        assert_int_equal(pages_of_slab(blocks[i]), 0);
    }
}

static void the_heap_feeds_the_descriptors(struct arena *arena)
{
    enum { KEPT_UNITS = 4, PATTERN = 0x5a };
    void *blocks[8];
    struct magazine *stack = new_stack();
    struct span *kept = page_heap_alloc(&(struct run_request){
        .units = KEPT_UNITS, .align_units = 1, .state = SPAN_LARGE, .grow = true});

    assert_non_null(kept);
    memset((void *)span_address(kept), PATTERN, KEPT_UNITS * UNIT_BYTES);
    use_up_free_runs();
    os_fail_calls(1, UINT64_MAX);
    while (meta_alloc(CACHE_LINE_BYTES) != NULL) {
    }
    assert_null(refill_one(arena, class_of_blocks));
    page_heap_free(kept);
    assert_ptr_equal(refill_stack(arena, class_of_blocks, stack, 1), stack);
    blocks[0] = stack->slots[0];
    for (size_t i = 1; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = refill_one(arena, class_of_blocks);
        assert_non_null(blocks[i]);
    }
    assert_int_equal(meta_stats().donated_bytes, UNIT_BYTES);
    arena_free_blocks(arena, class_of_blocks, blocks, ARRAY_SIZE(blocks));
    arena_check(arena);
    page_heap_check();
    reclaim_all();
    assert_int_equal(page_heap_stats().free_units, KEPT_UNITS - 1);
}

static void the_heap_feeds_the_descriptors_when_nothing_can_be_mapped(void **state)
{
    (void)state;
    the_heap_feeds_the_descriptors(first_arena());
}

static void the_heap_feeds_the_descriptors_of_a_bin_that_exists(void **state)
{
    struct arena *arena = first_arena();
    void *block = refill_one(arena, class_of_blocks);

    (void)state;
    arena_free_blocks(arena, class_of_blocks, &block, 1);
    reclaim_all();
    the_heap_feeds_the_descriptors(arena);
}

/* For a thread without a cache as for a stack. */
static void for_a_single_block_others_give_up_empty_slabs_before_the_heap_grows(void **state)
{
    struct arena *arena = first_arena();
    void *block = refill_one(arena, class_of_blocks);

    (void)state;
    give_back(arena, &block, 1);
    use_up_free_runs();
    size_t units = page_heap_stats().total_units;

    assert_int_equal(bin_slabs(bin_of(arena)), 1);
    assert_non_null(refill_one(arena, size_class_of(4 * SIZE)));
    assert_int_equal(bin_slabs(bin_of(arena)), 0);
    assert_int_equal(page_heap_stats().total_units, units);
}

static void a_refill_takes_remote_blocks_in_before_it_takes_a_slab(void **state)
{
    static void *blocks[4 * UNIT_BYTES / SIZE];

    (void)state;
    struct arena *arena = first_arena();
    unsigned count = blocks_per_slab();

    take_blocks(arena, blocks, count);
    arena_free_remote(blocks, count);
    struct magazine *stack = stack_of(arena, 10);

    assert_ptr_equal(stack->slots[9], blocks[0]);
    assert_int_equal(bin_of(arena)->stats.slabs_created, 1);
}

/* All that there is has been freed by threads of other arenas; returns one of those. */
static struct arena *hand_all_to_another(struct arena *arena)
{
    static void *blocks[SLABS * UNIT_BYTES / SIZE];
    struct arena *second = arena_create(1);

    take_blocks(arena, blocks, ARRAY_SIZE(blocks));
    use_up_free_runs();
    arena_free_remote(blocks, ARRAY_SIZE(blocks));
    return second;
}

static void every_arena_is_drained_before_the_heap_grows(void **state)
{
    (void)state;
    struct arena *arena = first_arena();
    struct arena *second = hand_all_to_another(arena);
    size_t total = page_heap_stats().total_units;

    assert_non_null(stack_of(second, 10));
    assert_false(remote_queue_has_slabs(&arena->queue));
    assert_int_equal(page_heap_stats().total_units, total);
    arena_check(arena);
}

static void every_arena_is_drained_for_a_single_block_too(void **state)
{
    (void)state;
    struct arena *arena = first_arena();
    struct arena *second = hand_all_to_another(arena);
    size_t total = page_heap_stats().total_units;

    assert_non_null(refill_one(second, class_of_blocks));
    assert_int_equal(page_heap_stats().total_units, total);
    arena_check(arena);
}

static void empty_slabs_make_way_for_a_longer_one_before_the_heap_grows(void **state)
{
    enum { EMPTY = 40 };
    static void *blocks[EMPTY * UNIT_BYTES / SIZE];
    struct arena *arena = first_arena();

    (void)state;
    take_blocks(arena, blocks, ARRAY_SIZE(blocks));
    use_up_free_runs();
    size_t total = page_heap_stats().total_units;

    give_back(arena, blocks, ARRAY_SIZE(blocks));
    assert_non_null(refill_near(arena, size_class_of(40 * KIB), BLOCK_ALIGN));
    assert_int_equal(page_heap_stats().total_units, total);
    arena_check(arena);
}

static void a_depot_makes_way_for_another_class_where_there_is_no_memory(void **state)
{
    struct arena *arena = first_arena();
    struct magazine *stack = new_stack();

    (void)state;
    magazine_destroy(arena_flush(arena, class_of_blocks, full_stack_of(arena), true));
    assert_true(depot_blocks(&bin_of(arena)->depot) > 0);
    use_up_free_runs();
    os_fail_calls(1, UINT64_MAX);
    assert_ptr_equal(refill_stack(arena, class_of_blocks + 1, stack, 5), stack);
    os_fail_calls(0, 0);
    assert_int_equal(stack->count, 5);
    arena_check(arena);
}

static bool is_worn(void)
{
    return atomic_load(&size_class_is_worn[class_of_blocks]);
}

static void the_more_threads_the_more_slabs_before_a_class_is_worn(void **state)
{
    enum { THREADS = 2, SLABS_OF_EACH = 4 };
    static void *blocks[THREADS * SLABS_OF_EACH * UNIT_BYTES / SIZE];
    struct arena *arena = first_arena();

    (void)state;
    size_class_coarsen(1);
    atomic_store(&arena->threads, THREADS);
    take_blocks(arena, blocks, ARRAY_SIZE(blocks));
    assert_int_equal(bin_slabs(bin_of(arena)), THREADS * SLABS_OF_EACH);
    assert_false(is_worn());
    assert_non_null(refill_one(arena, class_of_blocks));
    assert_true(is_worn());
}

/* As with checked:true, where no thread has a cache. */
static void no_thread_counts_as_one(void **state)
{
    enum { SLABS_OF_EACH = 4 };
    static void *blocks[SLABS_OF_EACH * UNIT_BYTES / SIZE];
    struct arena *arena = first_arena();

    (void)state;
    size_class_coarsen(1);
    take_blocks(arena, blocks, ARRAY_SIZE(blocks));
    assert_false(is_worn());
    assert_non_null(refill_one(arena, class_of_blocks));
    assert_true(is_worn());
}

static void single_blocks_come_from_the_depot_too(void **state)
{
    struct arena *arena = first_arena();
    static void *blocks[8 * UNIT_BYTES / SIZE];
    struct magazine *full = full_stack_of(arena);

    (void)state;
    magazine_destroy(arena_flush(arena, class_of_blocks, full, true));
    uint64_t slabs = bin_of(arena)->stats.slabs_created;

    take_blocks(arena, blocks, slabs * blocks_per_slab());
    assert_int_equal(bin_of(arena)->stats.slabs_created, slabs);
    assert_int_equal(depot_blocks(&bin_of(arena)->depot), 0);
    give_back(arena, blocks, slabs * blocks_per_slab());
    assert_nothing_is_held(arena);
}

static void borrowing_gives_the_nearest_larger_block_there_is(void **state)
{
    struct arena *arena = first_arena();
    unsigned larger = class_of_blocks + 3;
    unsigned index;

    (void)state;
    assert_null(refill_borrow(arena, class_of_blocks, BLOCK_ALIGN, SIZE_MAX));
    void *first = refill_one(arena, larger + 2);
    void *second = refill_one(arena, larger);

    assert_non_null(first);
    assert_non_null(second);
    void *borrowed = refill_borrow(arena, class_of_blocks, BLOCK_ALIGN, SIZE_MAX);

    assert_int_equal(slab_of_own_block((uintptr_t)borrowed, &index)->class, larger);
    assert_null(refill_borrow(arena, CLASS_COUNT - 1, BLOCK_ALIGN, SIZE_MAX));
    arena_free_blocks(arena, larger, &borrowed, 1);
    arena_check(arena);
}

static unsigned class_of(void *block)
{
    unsigned index;

    return slab_of_own_block((uintptr_t)block, &index)->class;
}

/* As a thread's cache does (near_take()). */
static void *take_near(struct arena *arena, unsigned class, size_t alignment)
{
    void *block = arena_take_one(arena, class);

    return block != NULL ? block : refill_near(arena, class, alignment);
}

static void what_is_near_is_taken_before_there_is_another_slab(void **state)
{
    struct arena *arena = first_arena();
    unsigned class = size_class_of(40 * KIB);
    unsigned larger = size_class_of(56 * KIB);
    unsigned too_large = size_class_of(64 * KIB);

    (void)state;
    void *blocks[8];

    /* Too large by far: rather a slab of its own. */
    assert_non_null(refill_one(arena, too_large));
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = take_near(arena, class, BLOCK_ALIGN);
        assert_int_equal(class_of(blocks[i]), class);
    }
    assert_ptr_equal(slab_at((uintptr_t)blocks[7]), slab_at((uintptr_t)blocks[0]));
    assert_non_null(refill_one(arena, larger));
    assert_int_equal(class_of(take_near(arena, class, BLOCK_ALIGN)), larger);
    /* What comes home first. */
    arena_free_remote(&blocks[5], 1);
    assert_ptr_equal(take_near(arena, class, BLOCK_ALIGN), blocks[5]);
    /* The larger ones are not aligned as much. */
    void *other = take_near(arena, class, size_classes[larger].align_mask + 2UL);

    assert_int_equal(class_of(other), class);
    assert_ptr_not_equal(slab_at((uintptr_t)other), slab_at((uintptr_t)blocks[0]));
    arena_check(arena);
}

static void without_room_for_its_slab_nothing_is_near(void **state)
{
    struct arena *arena = first_arena();

    (void)state;
    void *block = refill_one(arena, size_class_of(16));

    use_up_free_runs();
    os_fail_calls(1, UINT64_MAX);
    assert_non_null(block);
    assert_null(refill_near(arena, size_class_of(40 * KIB), BLOCK_ALIGN));
    os_fail_calls(0, 0);
    page_heap_check();
}

static void a_first_slab_is_made_once_and_not_near_a_limit(void **state)
{
    struct arena *arena = first_arena();
    unsigned class = size_class_of(40 * KIB);

    (void)state;
    for (size_t size = 16; size <= 8192; size *= 2) {
        assert_non_null(refill_one(arena, size_class_of(size)));
    }
    /* There would be room for it. */
    limit_set(0, 16 * UNIT_BYTES);
    assert_false(limit_is_far());
    assert_null(refill_first(arena, class));
    limit_set(0, 0);
    use_up_free_runs();
    os_fail_calls(1, UINT64_MAX);
    assert_null(refill_first(arena, class));
    os_fail_calls(0, 0);
    assert_int_equal(class_of(refill_first(arena, class)), class);
    assert_null(refill_first(arena, class));
}

static void what_other_arenas_have_serves_in_the_end(void **state)
{
    struct arena *other;
    unsigned larger = class_of_blocks + 3;
    unsigned index;

    (void)state;
    (void)first_arena();
    other = arena_create(1);
    assert_null(refill_from_any(class_of_blocks, BLOCK_ALIGN));
    assert_non_null(refill_one(other, larger));
    void *borrowed = refill_from_any(class_of_blocks, BLOCK_ALIGN);
    const struct slab *slab = slab_of_own_block((uintptr_t)borrowed, &index);

    assert_int_equal(slab->class, larger);
    assert_int_equal(slab->arena, 1);
    assert_non_null(refill_one(other, class_of_blocks));
    void *block = refill_from_any(class_of_blocks, BLOCK_ALIGN);

    assert_int_equal(slab_of_own_block((uintptr_t)block, &index)->class, class_of_blocks);
    arena_check(other);
}

static void the_smallest_blocks_are_never_borrowed_for_larger_ones(void **state)
{
    struct arena *arena = first_arena();

    (void)state;
    assert_non_null(refill_one(arena, 0));
    assert_null(refill_borrow(arena, 0, BLOCK_ALIGN, SIZE_MAX));
    assert_null(refill_borrow(arena, class_of_blocks, BLOCK_ALIGN, SIZE_MAX));
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_refill_gives_what_is_wanted_in_ascending_order),
        ISOLATED(a_refill_of_what_is_left_fills_the_stack_from_the_bottom),
        ISOLATED(no_block_is_handed_out_twice),
        ISOLATED(without_memory_a_refill_leaves_the_stack_with_its_caller),
        ISOLATED(whichever_call_fails_a_refill_loses_nothing),
        ISOLATED(the_more_slabs_a_bin_has_the_more_of_the_next_gets_memory_ahead),
        ISOLATED(blocks_longer_than_a_page_get_no_memory_ahead),
        ISOLATED(the_heap_feeds_the_descriptors_when_nothing_can_be_mapped),
        ISOLATED(the_heap_feeds_the_descriptors_of_a_bin_that_exists),
        ISOLATED(for_a_single_block_others_give_up_empty_slabs_before_the_heap_grows),
        ISOLATED(a_refill_takes_remote_blocks_in_before_it_takes_a_slab),
        ISOLATED(every_arena_is_drained_before_the_heap_grows),
        ISOLATED(every_arena_is_drained_for_a_single_block_too),
        ISOLATED(empty_slabs_make_way_for_a_longer_one_before_the_heap_grows),
        ISOLATED(a_depot_makes_way_for_another_class_where_there_is_no_memory),
        ISOLATED(the_more_threads_the_more_slabs_before_a_class_is_worn),
        ISOLATED(no_thread_counts_as_one),
        ISOLATED(single_blocks_come_from_the_depot_too),
        ISOLATED(borrowing_gives_the_nearest_larger_block_there_is),
        ISOLATED(what_is_near_is_taken_before_there_is_another_slab),
        ISOLATED(without_room_for_its_slab_nothing_is_near),
        ISOLATED(a_first_slab_is_made_once_and_not_near_a_limit),
        ISOLATED(what_other_arenas_have_serves_in_the_end),
        ISOLATED(the_smallest_blocks_are_never_borrowed_for_larger_ones),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
