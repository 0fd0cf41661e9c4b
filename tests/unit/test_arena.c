/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_arena.c - arenas with all that they get and give up: stacks are filled and taken back,
 * remote frees come home, empty slabs go. */
#include "support.h"

#include "arena.h"
#include "meta.h"
#include "os.h"
#include "page_heap.h"
#include "reclaim.h"
#include "refill.h"

enum { SIZE = 64, SLABS = 90, THREADS = 4, ROUNDS = 200 };

static unsigned class_of_blocks;

/* The first arena of the process, with the class of SIZE to test. */
static struct arena *first_arena(void)
{
    size_class_init();
    class_of_blocks = size_class_of(SIZE);
    struct arena *arena = arena_create(0);

    assert_non_null(arena);
    return arena;
}

static struct bin *bin_of(struct arena *arena)
{
    return arena_bin(arena, class_of_blocks);
}

static unsigned blocks_per_slab(void)
{
    return size_classes[class_of_blocks].blocks;
}

/* A stack of the class's full capacity. */
static struct magazine *new_stack(void)
{
    struct magazine *magazine = magazine_create(size_classes[class_of_blocks].capacity);

    assert_non_null(magazine);
    return magazine;
}

/* A stack with `want` blocks of the arena, or what it gives at once. */
static struct magazine *stack_of(struct arena *arena, uint32_t want)
{
    struct magazine *magazine = refill_stack(arena, class_of_blocks, new_stack(), want);

    assert_non_null(magazine);
    assert_true(magazine->count >= 1);
    arena_check(arena);
    return magazine;
}

/* As full as a thread's frees make it. */
static struct magazine *full_stack_of(struct arena *arena)
{
    struct magazine *magazine = stack_of(arena, 1);

    while (magazine->count < magazine->capacity) {
        void *block = refill_one(arena, class_of_blocks);

        assert_non_null(block);
        magazine->slots[magazine->count++] = block;
    }
    return magazine;
}

/* Blocks out of the arena, one by one. */
static void take_blocks(struct arena *arena, void **blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        blocks[i] = refill_one(arena, class_of_blocks);
        assert_non_null(blocks[i]);
    }
    arena_check(arena);
}

static void give_back(struct arena *arena, void **blocks, size_t count)
{
    arena_free_blocks(arena, class_of_blocks, blocks, count);
    arena_check(arena);
}

static void assert_nothing_is_held(struct arena *arena)
{
    reclaim_all();
    arena_check(arena);
    page_heap_check();
    meta_check();
    assert_int_equal(page_heap_stats().free_units, page_heap_stats().total_units);
    assert_int_equal(arena_totals().free_bytes, 0);
    assert_int_equal(arena_totals().tail_bytes, 0);
}

/* Arenas */

static void an_arena_is_found_by_its_index_once_it_exists(void **state)
{
    (void)state;
    assert_null(arena_by_index(0));
    struct arena *first = first_arena();

    assert_ptr_equal(arena_by_index(0), first);
    assert_null(arena_by_index(1));
    struct arena *second = arena_create(1);

    assert_non_null(second);
    assert_ptr_not_equal(second, first);
    assert_ptr_equal(arena_by_index(1), second);
    assert_int_equal(second->index, 1);
    assert_null(arena_by_index(ARENAS_MAX));
    assert_null(arena_by_index(UINT32_MAX));
    arena_check(first);
    arena_check(second);
}

static void without_memory_there_is_no_arena(void **state)
{
    (void)state;
    size_class_init();
    os_fail_calls(1, UINT64_MAX);
    assert_null(arena_create(0));
    os_fail_calls(0, 0);
    assert_null(arena_by_index(0));
    assert_non_null(arena_create(0));
}

/* Refill and flush */

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

static void a_short_stack_goes_back_to_the_slabs(void **state)
{
    struct arena *arena = first_arena();
    struct magazine *stack = stack_of(arena, 10);
    uint64_t free_blocks = bin_of(arena)->free_blocks;

    (void)state;
    assert_false(depot_would_keep(&bin_of(arena)->depot, bin_of(arena)->class, stack));
    struct magazine *empty = arena_flush(arena, class_of_blocks, stack, true);

    assert_ptr_equal(empty, stack);
    assert_int_equal(empty->count, 0);
    assert_int_equal(bin_of(arena)->free_blocks, free_blocks + 10);
    assert_int_equal(depot_blocks(&bin_of(arena)->depot), 0);
    magazine_destroy(empty);
    assert_nothing_is_held(arena);
}

static void a_full_stack_is_kept_whole_and_handed_on_unopened(void **state)
{
    struct arena *arena = first_arena();
    uint32_t capacity = size_classes[class_of_blocks].capacity;
    struct magazine *full = full_stack_of(arena);
    void *block = full->slots[7];

    (void)state;
    assert_int_equal(full->count, capacity);
    struct magazine *empty = arena_flush(arena, class_of_blocks, full, true);

    assert_ptr_not_equal(empty, full);
    assert_int_equal(empty->count, 0);
    assert_int_equal(depot_blocks(&bin_of(arena)->depot), capacity);
    arena_check(arena);
    /* Even when only one block is wanted. */
    assert_ptr_equal(refill_stack(arena, class_of_blocks, empty, 1), full);
    assert_int_equal(full->count, capacity);
    assert_ptr_equal(full->slots[7], block);
    assert_int_equal(depot_blocks(&bin_of(arena)->depot), 0);
    arena_check(arena);
}

static void a_depot_that_cannot_give_an_empty_stack_opens_the_full_one(void **state)
{
    struct arena *arena = first_arena();
    uint32_t capacity = size_classes[class_of_blocks].capacity;
    struct magazine *full = full_stack_of(arena);

    (void)state;
    /* Leave no free descriptor memory behind: the next magazine needs the kernel. */
    os_fail_calls(1, UINT64_MAX);
    while (magazine_create(capacity) != NULL) {
    }
    struct magazine *empty = arena_flush(arena, class_of_blocks, full, true);

    os_fail_calls(0, 0);
    assert_ptr_equal(empty, full);
    assert_int_equal(empty->count, 0);
    assert_int_equal(depot_blocks(&bin_of(arena)->depot), 0);
    arena_check(arena);
}

static void a_depot_is_bounded(void **state)
{
    enum { STACKS = 3000 };
    static struct magazine *stacks[STACKS];
    size_t capacity;

    (void)state;
    struct arena *arena = first_arena();

    class_of_blocks = size_class_of(512);
    capacity = size_classes[class_of_blocks].capacity;
    for (size_t i = 0; i < STACKS; i++) {
        stacks[i] = full_stack_of(arena);
    }
    for (size_t i = 0; i < STACKS; i++) {
        magazine_destroy(arena_flush(arena, class_of_blocks, stacks[i], true));
    }
    arena_check(arena);
    assert_true(depot_blocks(&bin_of(arena)->depot) < STACKS * capacity);
    assert_true(bin_of(arena)->stats.slabs_released > 0);
    assert_nothing_is_held(arena);
}

static void stacks_that_nobody_asked_for_leave_the_depot_before_growth(void **state)
{
    struct arena *arena = first_arena();
    uint32_t capacity = size_classes[class_of_blocks].capacity;
    struct magazine *stacks[3];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(stacks); i++) {
        stacks[i] = full_stack_of(arena);
    }
    for (size_t i = 0; i < ARRAY_SIZE(stacks); i++) {
        stacks[i] = arena_flush(arena, class_of_blocks, stacks[i], true);
    }
    /* The depot was empty at some moment since the start. */
    reclaim_before_growth();
    assert_int_equal(depot_blocks(&bin_of(arena)->depot), 3 * capacity);
    /* One of three is used: the others were idle. */
    struct magazine *used = refill_stack(arena, class_of_blocks, stacks[0], capacity);

    magazine_destroy(arena_flush(arena, class_of_blocks, used, true));
    reclaim_before_growth();
    assert_int_equal(depot_blocks(&bin_of(arena)->depot), capacity);
    reclaim_before_growth();
    assert_int_equal(depot_blocks(&bin_of(arena)->depot), 0);
    assert_nothing_is_held(arena);
}

static void without_memory_a_refill_leaves_the_stack_with_its_caller(void **state)
{
    struct arena *arena = first_arena();
    struct magazine *empty = new_stack();

    (void)state;
    while (page_heap_alloc(&(struct run_request){
               .units = 1, .align_units = 1, .state = SPAN_LARGE, .grow = false}) != NULL) {
    }
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

/* Slabs */

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

static void the_fullest_slab_serves_first(void **state)
{
    static void *blocks[2 * UNIT_BYTES / SIZE];

    (void)state;
    struct arena *arena = first_arena();
    unsigned count = blocks_per_slab();

    take_blocks(arena, blocks, (size_t)2 * count);
    /* The first slab nearly empty, the second with one block free. */
    give_back(arena, blocks, count - 1);
    give_back(arena, &blocks[count + 5], 1);
    assert_ptr_equal(refill_one(arena, class_of_blocks), blocks[count + 5]);
    assert_ptr_equal(refill_one(arena, class_of_blocks), blocks[0]);
    arena_check(arena);
}

static void a_bin_keeps_few_empty_slabs(void **state)
{
    static void *blocks[SLABS * UNIT_BYTES / SIZE];

    (void)state;
    struct arena *arena = first_arena();

    take_blocks(arena, blocks, ARRAY_SIZE(blocks));
    assert_int_equal(bin_of(arena)->stats.slabs_created, SLABS);
    size_t free_units = page_heap_stats().free_units;

    for (unsigned slab = 0; slab < SLABS; slab++) {
        give_back(arena, &blocks[slab * blocks_per_slab()], blocks_per_slab());
        assert_int_equal(page_heap_stats().free_units +
                             run_cache_bytes(&arena->slab_runs) / UNIT_BYTES,
                         free_units + bin_of(arena)->stats.slabs_released);
    }
    assert_in_range(bin_of(arena)->stats.slabs_released, SLABS / 4, SLABS / 2);
    assert_nothing_is_held(arena);
}

static void an_empty_stack_can_be_taken_back(void **state)
{
    (void)state;
    struct arena *arena = first_arena();
    struct magazine *stack = new_stack();
    void *block = refill_one(arena, class_of_blocks);

    assert_ptr_equal(arena_flush(arena, class_of_blocks, stack, true), stack);
    assert_int_equal(stack->count, 0);
    arena_free_blocks(arena, class_of_blocks, &block, 1);
    assert_nothing_is_held(arena);
}

static void a_class_has_a_bin_from_its_first_slab_on(void **state)
{
    (void)state;
    struct arena *arena = first_arena();

    assert_null(arena_bin(arena, class_of_blocks));
    assert_int_equal(arena_totals().bins, 0);
    void *block = refill_one(arena, class_of_blocks);

    assert_non_null(arena_bin(arena, class_of_blocks));
    assert_int_equal(arena_totals().bins, 1);
    arena_free_blocks(arena, class_of_blocks, &block, 1);
    reclaim_all();
    assert_int_equal(arena_totals().bins, 1);
    arena_check(arena);
}

static void all_the_arenas_that_there_may_be_are_drained(void **state)
{
    (void)state;
    (void)first_arena();

    for (unsigned index = 1; index < ARENAS_MAX; index++) {
        assert_non_null(arena_create(index));
    }
    assert_null(arena_by_index(ARENAS_MAX));
    void *block = refill_one(arena_by_index(ARENAS_MAX - 1), class_of_blocks);

    arena_free_remote(&block, 1);
    arena_drain_all();
    assert_nothing_is_held(arena_by_index(ARENAS_MAX - 1));
}

static void the_heap_feeds_the_descriptors(struct arena *arena)
{
    enum { KEPT_UNITS = 4 };
    void *blocks[8];
    struct magazine *stack = new_stack();
    struct span *kept = page_heap_alloc(&(struct run_request){
        .units = KEPT_UNITS, .align_units = 1, .state = SPAN_LARGE, .grow = true});

    assert_non_null(kept);
    while (page_heap_alloc(&(struct run_request){
               .units = 1, .align_units = 1, .state = SPAN_LARGE, .grow = false}) != NULL) {
    }
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

static void a_tag_tells_the_class_while_the_slab_lives(void **state)
{
    struct arena *arena = first_arena();
    struct arena *other = arena_create(1);
    void *block = refill_one(arena, class_of_blocks);
    size_t unit = region_unit_of(&region_primary, (uintptr_t)block);

    (void)state;
    assert_int_equal(arena->tags[unit], SIZE_CLASS_CODE(class_of_blocks));
    assert_int_equal(other->tags[unit], 0);
    give_back(arena, &block, 1);
    reclaim_all();
    assert_int_equal(arena->tags[unit], 0);
    arena_check(arena);
}

static void each_unit_of_a_slab_has_its_tag(void **state)
{
    struct arena *arena = first_arena();

    (void)state;
    class_of_blocks = size_class_of(48 * KIB);
    const struct size_class *described = &size_classes[class_of_blocks];
    void *block = refill_one(arena, class_of_blocks);
    size_t unit = region_unit_of(&region_primary, slab_at((uintptr_t)block)->start);

    assert_true(described->units > 1);
    for (size_t i = 0; i < described->units; i++) {
        assert_int_equal(arena->tags[unit + i], SIZE_CLASS_CODE(class_of_blocks));
    }
    assert_int_equal(arena->tags[unit + described->units], 0);
    give_back(arena, &block, 1);
    reclaim_all();
    for (size_t i = 0; i < described->units; i++) {
        assert_int_equal(arena->tags[unit + i], 0);
    }
    arena_check(arena);
    page_heap_check();
}

static void blocks_of_several_slabs_find_their_own(void **state)
{
    static void *blocks[4 * UNIT_BYTES / SIZE];

    (void)state;
    struct arena *arena = first_arena();
    size_t count = (size_t)3 * blocks_per_slab();

    take_blocks(arena, blocks, count);
    /* Every 7th, round and round: neighbours in the list are of other words and slabs. */
    for (size_t start = 0; start < 7; start++) {
        static void *part[4 * UNIT_BYTES / SIZE];
        size_t length = 0;

        for (size_t i = start; i < count; i += 7) {
            part[length++] = blocks[i];
        }
        give_back(arena, part, length);
    }
    assert_nothing_is_held(arena);
}

struct frees {
    struct arena *arena;
    void *blocks[4];
    size_t count;
};

static void free_blocks(void *argument)
{
    struct frees *frees = (struct frees *)argument;

    arena_free_blocks(frees->arena, class_of_blocks, frees->blocks, frees->count);
}

static void free_remote_and_drain(void *argument)
{
    struct frees *frees = (struct frees *)argument;

    arena_free_remote(frees->blocks, frees->count);
    (void)arena_drain(frees->arena);
}

static void a_block_freed_twice_dies_however_it_is_freed(void **state)
{
    struct arena *arena = first_arena();
    void *blocks[2];

    (void)state;
    take_blocks(arena, blocks, 2);
    struct frees frees = {arena, {blocks[0], blocks[1], blocks[0]}, 3};
    uintptr_t address = (uintptr_t)blocks[0];

    assert_dies_at(free_blocks, &frees, "double free of", address);
    assert_dies_at(free_remote_and_drain, &frees, "double free of", address);
    give_back(arena, blocks, 1);
    frees = (struct frees){arena, {blocks[0]}, 1};
    assert_dies_at(free_blocks, &frees, "double free of", address);
    assert_dies_at(free_remote_and_drain, &frees, "double free of", address);
}

static void an_address_that_is_no_block_dies_however_it_is_freed(void **state)
{
    struct arena *arena = first_arena();
    char *block = (char *)refill_one(arena, class_of_blocks);
    struct frees frees = {arena, {block + 8}, 1};

    (void)state;
    assert_dies_at(free_blocks, &frees, "invalid free of", (uintptr_t)block + 8);
    assert_dies_at(free_remote_and_drain, &frees, "invalid free of", (uintptr_t)block + 8);
}

static void what_lies_behind_the_last_block_dies_however_it_is_freed(void **state)
{
    struct arena *arena = first_arena();

    (void)state;
    class_of_blocks = size_class_of(48);
    char *block = (char *)refill_one(arena, class_of_blocks);
    char *tail = (char *)align_down((uintptr_t)block, UNIT_BYTES) + (size_t)48 * blocks_per_slab();
    struct frees frees = {arena, {block, tail}, 2};

    assert_dies_at(free_blocks, &frees, "invalid free of", (uintptr_t)tail);
    assert_dies_at(free_remote_and_drain, &frees, "invalid free of", (uintptr_t)tail);
}

/* Remote frees */

static void draining_hands_back_each_remote_block_once(void **state)
{
    static void *blocks[4 * UNIT_BYTES / SIZE];

    (void)state;
    struct arena *arena = first_arena();
    size_t count = (size_t)2 * blocks_per_slab() + 3;

    take_blocks(arena, blocks, count);
    assert_int_equal(arena_drain(arena), 0);
    arena_free_remote(blocks, count);
    assert_int_equal(arena_drain(arena), count);
    assert_int_equal(arena_drain(arena), 0);
    assert_int_equal(bin_of(arena)->stats.remote_blocks, count);
    assert_nothing_is_held(arena);
}

static void blocks_of_one_word_travel_together(void **state)
{
    void *blocks[BITS_PER_WORD];

    (void)state;
    struct arena *arena = first_arena();

    take_blocks(arena, blocks, BITS_PER_WORD);
    arena_free_remote(blocks, BITS_PER_WORD);
    assert_int_equal(arena_drain(arena), BITS_PER_WORD);
    assert_int_equal(bin_of(arena)->stats.remote_batches, 1);
}

static void a_slab_with_a_pending_block_is_not_released(void **state)
{
    static void *blocks[SLABS * UNIT_BYTES / SIZE];

    (void)state;
    struct arena *arena = first_arena();
    unsigned count = blocks_per_slab();

    take_blocks(arena, blocks, ARRAY_SIZE(blocks));
    give_back(arena, &blocks[count], ARRAY_SIZE(blocks) - count);
    uint64_t released = bin_of(arena)->stats.slabs_released;

    /* The bin keeps no more: the next empty slab goes. */
    assert_true(released > 0);
    arena_free_remote(blocks, 1);
    give_back(arena, &blocks[1], count - 1);
    assert_int_equal(bin_of(arena)->stats.slabs_released, released);
    assert_int_equal(arena_drain(arena), 1);
    assert_int_equal(bin_of(arena)->stats.slabs_released, released + 1);
    arena_check(arena);
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

static void every_arena_is_drained_before_the_heap_grows(void **state)
{
    static void *blocks[SLABS * UNIT_BYTES / SIZE];

    (void)state;
    struct arena *arena = first_arena();
    struct arena *second = arena_create(1);

    take_blocks(arena, blocks, ARRAY_SIZE(blocks));
    while (page_heap_alloc(&(struct run_request){
               .units = 1, .align_units = 1, .state = SPAN_LARGE, .grow = false}) != NULL) {
    }
    size_t total = page_heap_stats().total_units;

    arena_free_remote(blocks, ARRAY_SIZE(blocks));
    assert_non_null(stack_of(second, 10));
    assert_false(remote_queue_has_slabs(&arena->queue));
    assert_int_equal(page_heap_stats().total_units, total);
    arena_check(arena);
}

/* Single blocks */

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
        blocks[i] = refill_near(arena, class, BLOCK_ALIGN);
        assert_int_equal(class_of(blocks[i]), class);
    }
    assert_ptr_equal(slab_at((uintptr_t)blocks[7]), slab_at((uintptr_t)blocks[0]));
    assert_non_null(refill_one(arena, larger));
    assert_int_equal(class_of(refill_near(arena, class, BLOCK_ALIGN)), larger);
    /* What comes home first, and what is its own before all. */
    arena_free_remote(&blocks[5], 1);
    assert_ptr_equal(refill_near(arena, class, BLOCK_ALIGN), blocks[5]);
    class_of_blocks = class;
    give_back(arena, &blocks[2], 1);
    assert_ptr_equal(refill_near(arena, class, BLOCK_ALIGN), blocks[2]);
    /* The larger ones are not aligned as much. */
    void *other = refill_near(arena, class, size_classes[larger].align_mask + 2UL);

    assert_int_equal(class_of(other), class);
    assert_ptr_not_equal(slab_at((uintptr_t)other), slab_at((uintptr_t)blocks[0]));
    arena_check(arena);
}

static void without_room_for_its_slab_nothing_is_near(void **state)
{
    struct arena *arena = first_arena();

    (void)state;
    void *block = refill_one(arena, size_class_of(16));

    while (page_heap_alloc(&(struct run_request){
               .units = 1, .align_units = 1, .state = SPAN_LARGE, .grow = false}) != NULL) {
    }
    os_fail_calls(1, UINT64_MAX);
    assert_non_null(block);
    assert_null(refill_near(arena, size_class_of(40 * KIB), BLOCK_ALIGN));
    os_fail_calls(0, 0);
    page_heap_check();
}

static void the_smallest_blocks_are_never_borrowed_for_larger_ones(void **state)
{
    struct arena *arena = first_arena();

    (void)state;
    assert_non_null(refill_one(arena, 0));
    assert_null(refill_borrow(arena, 0, BLOCK_ALIGN, SIZE_MAX));
    assert_null(refill_borrow(arena, class_of_blocks, BLOCK_ALIGN, SIZE_MAX));
}

/* Accounts */

static void totals_count_what_is_free_and_what_slabs_cannot_use(void **state)
{
    struct arena *arena = first_arena();

    (void)state;
    class_of_blocks = size_class_of(48);
    void *block = refill_one(arena, class_of_blocks);
    size_t blocks = blocks_per_slab();

    assert_int_equal(arena_totals().tail_bytes, UNIT_BYTES - blocks * 48);
    assert_int_equal(arena_totals().free_bytes, (blocks - 1) * 48);
    give_back(arena, &block, 1);
    assert_int_equal(arena_totals().free_bytes, blocks * 48);
    assert_nothing_is_held(arena);
}

static void check(void *arena)
{
    arena_check((struct arena *)arena);
}

static void the_check_sees_blocks_that_got_lost(void **state)
{
    struct arena *arena = first_arena();
    void *block = refill_one(arena, class_of_blocks);
    unsigned index;

    (void)state;
    bin_of(arena)->free_blocks--;
    assert_dies(check, arena, "bin: free blocks do not add up");
    bin_of(arena)->free_blocks++;
    slab_of_own_block((uintptr_t)block, &index)->list = SLAB_LIST_EMPTY;
    assert_dies(check, arena, "bin: a slab is on the wrong list");
}

/* Threads */

enum { RACERS = 2 };

static struct race {
    struct arena *arenas[ARENAS_MAX];
    _Atomic unsigned arrived;
    void *blocks[RACERS][ARENAS_MAX][CLASS_COUNT];
} race;

/* The first block of each class of each arena, at the same moment as the other racers. */
static void *take_first_blocks(void *blocks_of_arenas)
{
    void *(*blocks)[CLASS_COUNT] = (void *(*)[CLASS_COUNT])blocks_of_arenas;
    unsigned rounds = 0;

    for (unsigned index = 0; index < ARENAS_MAX; index++) {
        for (unsigned class = 0; class < CLASS_COUNT; class ++) {
            rounds++;
            atomic_fetch_add(&race.arrived, 1);
            while (atomic_load(&race.arrived) < rounds * RACERS) {
                sched_yield();
            }
            blocks[index][class] = refill_one(race.arenas[index], class);
        }
    }
    return NULL;
}

static void threads_that_need_a_class_at_once_make_one_bin(void **state)
{
    pthread_t racers[RACERS];

    (void)state;
    for (unsigned index = 0; index < ARENAS_MAX; index++) {
        race.arenas[index] = index == 0 ? first_arena() : arena_create(index);
        assert_non_null(race.arenas[index]);
    }
    for (size_t i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_create(&racers[i], NULL, take_first_blocks, race.blocks[i]), 0);
    }
    for (size_t i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_join(racers[i], NULL), 0);
    }
    assert_int_equal(arena_totals().bins, ARENAS_MAX * CLASS_COUNT);
    for (unsigned index = 0; index < ARENAS_MAX; index++) {
        for (unsigned class = 0; class < CLASS_COUNT; class ++) {
            for (size_t i = 0; i < RACERS; i++) {
                arena_free_blocks(race.arenas[index], class, &race.blocks[i][index][class], 1);
            }
        }
        arena_check(race.arenas[index]);
    }
    reclaim_all();
    assert_int_equal(page_heap_stats().free_units, page_heap_stats().total_units);
    meta_check();
}

/* Refills and flushes; half of what it gets it frees as a thread of another arena would. */
static void *churn(void *argument)
{
    struct arena *arena = (struct arena *)argument;
    struct magazine *stack = magazine_create(size_classes[class_of_blocks].capacity);

    for (uint32_t round = 0; stack != NULL && round < ROUNDS; round++) {
        struct magazine *full =
            refill_stack(arena, class_of_blocks, stack, round % stack->capacity + 1);

        if (full == NULL) {
            break;
        }
        if (round % 2 == 0) {
            arena_free_remote(full->slots, full->count);
            full->count = 0;
            stack = full;
        } else {
            stack = arena_flush(arena, class_of_blocks, full, true);
        }
    }
    magazine_destroy(stack);
    return NULL;
}

static void *take_and_free_one(void *argument)
{
    struct arena *arena = (struct arena *)argument;
    void *block = arena_take_one(arena, class_of_blocks);

    assert_non_null(block);
    arena_free_blocks(arena, class_of_blocks, &block, 1);
    return NULL;
}

/* A thread waits for the bin of `size` bytes until it sleeps. */
static void let_a_thread_wait(struct arena *arena, size_t size)
{
    pthread_t thread;
    void *block;

    class_of_blocks = size_class_of(size);
    take_blocks(arena, &block, 1);
    struct lock *lock = &bin_of(arena)->lock;

    lock_acquire(lock);
    assert_int_equal(pthread_create(&thread, NULL, take_and_free_one, arena), 0);
    while (atomic_load(&lock->state) != 2) {
        (void)sched_yield();
    }
    lock_release(lock);
    assert_int_equal(pthread_join(thread, NULL), 0);
    arena_free_blocks(arena, class_of_blocks, &block, 1);
    arena_check(arena);
}

static void an_arena_counts_what_its_threads_wait_for_small_blocks(void **state)
{
    struct arena *arena = first_arena();

    (void)state;
    assert_int_equal(atomic_load(&arena->waits), 0);
    let_a_thread_wait(arena, SIZE);
    assert_int_equal(atomic_load(&arena->waits), 1);
    let_a_thread_wait(arena, 2048);
    assert_int_equal(atomic_load(&arena->waits), 1);
}

static void threads_lose_nothing(void **state)
{
    struct arena *arena = first_arena();

    (void)state;
    run_threads(THREADS, churn, arena);
    (void)arena_drain(arena);
    assert_nothing_is_held(arena);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(an_arena_is_found_by_its_index_once_it_exists),
        ISOLATED(without_memory_there_is_no_arena),
        ISOLATED(a_refill_gives_what_is_wanted_in_ascending_order),
        ISOLATED(a_refill_of_what_is_left_fills_the_stack_from_the_bottom),
        ISOLATED(no_block_is_handed_out_twice),
        ISOLATED(a_short_stack_goes_back_to_the_slabs),
        ISOLATED(a_full_stack_is_kept_whole_and_handed_on_unopened),
        ISOLATED(a_depot_that_cannot_give_an_empty_stack_opens_the_full_one),
        ISOLATED(a_depot_is_bounded),
        ISOLATED(stacks_that_nobody_asked_for_leave_the_depot_before_growth),
        ISOLATED(without_memory_a_refill_leaves_the_stack_with_its_caller),
        ISOLATED(whichever_call_fails_a_refill_loses_nothing),
        ISOLATED(the_more_slabs_a_bin_has_the_more_of_the_next_gets_memory_ahead),
        ISOLATED(blocks_longer_than_a_page_get_no_memory_ahead),
        ISOLATED(the_fullest_slab_serves_first),
        ISOLATED(a_bin_keeps_few_empty_slabs),
        ISOLATED(an_empty_stack_can_be_taken_back),
        ISOLATED(a_class_has_a_bin_from_its_first_slab_on),
        ISOLATED(all_the_arenas_that_there_may_be_are_drained),
        ISOLATED(the_heap_feeds_the_descriptors_when_nothing_can_be_mapped),
        ISOLATED(the_heap_feeds_the_descriptors_of_a_bin_that_exists),
        ISOLATED(a_tag_tells_the_class_while_the_slab_lives),
        ISOLATED(each_unit_of_a_slab_has_its_tag),
        ISOLATED(blocks_of_several_slabs_find_their_own),
        ISOLATED(a_block_freed_twice_dies_however_it_is_freed),
        ISOLATED(an_address_that_is_no_block_dies_however_it_is_freed),
        ISOLATED(what_lies_behind_the_last_block_dies_however_it_is_freed),
        ISOLATED(draining_hands_back_each_remote_block_once),
        ISOLATED(blocks_of_one_word_travel_together),
        ISOLATED(a_slab_with_a_pending_block_is_not_released),
        ISOLATED(a_refill_takes_remote_blocks_in_before_it_takes_a_slab),
        ISOLATED(every_arena_is_drained_before_the_heap_grows),
        ISOLATED(single_blocks_come_from_the_depot_too),
        ISOLATED(borrowing_gives_the_nearest_larger_block_there_is),
        ISOLATED(what_is_near_is_taken_before_there_is_another_slab),
        ISOLATED(without_room_for_its_slab_nothing_is_near),
        ISOLATED(the_smallest_blocks_are_never_borrowed_for_larger_ones),
        ISOLATED(totals_count_what_is_free_and_what_slabs_cannot_use),
        ISOLATED(the_check_sees_blocks_that_got_lost),
        ISOLATED(an_arena_counts_what_its_threads_wait_for_small_blocks),
        ISOLATED(threads_lose_nothing),
        ISOLATED(threads_that_need_a_class_at_once_make_one_bin),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
