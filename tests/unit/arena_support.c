/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* arena_support.c - see arena_support.h. */
#include "arena_support.h"

#include "meta.h"
#include "page_heap.h"
#include "reclaim.h"
#include "refill.h"

unsigned class_of_blocks;

struct arena *first_arena(void)
{
    size_class_init();
    class_of_blocks = size_class_of(SIZE);
    struct arena *arena = arena_create(0);

    assert_non_null(arena);
    return arena;
}

struct bin *bin_of(struct arena *arena)
{
    return arena_bin(arena, class_of_blocks);
}

unsigned blocks_per_slab(void)
{
    return size_classes[class_of_blocks].blocks;
}

struct magazine *new_stack(void)
{
    struct magazine *magazine = magazine_create(size_classes[class_of_blocks].capacity);

    assert_non_null(magazine);
    return magazine;
}

struct magazine *stack_of(struct arena *arena, uint32_t want)
{
    struct magazine *magazine = refill_stack(arena, class_of_blocks, new_stack(), want);

    assert_non_null(magazine);
    assert_true(magazine->count >= 1);
    arena_check(arena);
    return magazine;
}

struct magazine *full_stack_of(struct arena *arena)
{
    struct magazine *magazine = stack_of(arena, 1);

    while (magazine->count < magazine->capacity) {
        void *block = refill_one(arena, class_of_blocks);

        assert_non_null(block);
        magazine->slots[magazine->count++] = block;
    }
    return magazine;
}

void take_blocks(struct arena *arena, void **blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        blocks[i] = refill_one(arena, class_of_blocks);
        assert_non_null(blocks[i]);
    }
    arena_check(arena);
}

void give_back(struct arena *arena, void **blocks, size_t count)
{
    arena_free_blocks(arena, class_of_blocks, blocks, count);
    arena_check(arena);
}

void use_up_free_runs(void)
{
    while (page_heap_alloc(&(struct run_request){
               .units = 1, .align_units = 1, .state = SPAN_LARGE, .grow = false}) != NULL) {
    }
}

void assert_nothing_is_held(struct arena *arena)
{
    reclaim_all();
    arena_check(arena);
    page_heap_check();
    meta_check();
    assert_int_equal(page_heap_stats().free_units, page_heap_stats().total_units);
    assert_int_equal(arena_totals().free_bytes, 0);
    assert_int_equal(arena_totals().tail_bytes, 0);
}
