/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_verify.c - stacks of any length: what is twice on them, or starts between two blocks. */
#include "support.h"

#include "arena.h"
#include "refill.h"
#include "verify.h"

enum { SIZE = 48, SHORT = 5, LONG = 253, COUNT = UNIT_BYTES / SIZE };

static struct {
    unsigned class;
    char *first_block;
    size_t count;
    void *blocks[COUNT];
} stack;

static struct arena *arena;

static void set_up(void)
{
    size_class_init();
    stack.class = size_class_of(SIZE);
    arena = arena_create(0);
    stack.first_block = (char *)refill_one(arena, stack.class);
    assert_non_null(stack.first_block);
}

/* `count` blocks of one slab, which follow each other by `step`. */
static void fill(size_t count, size_t step)
{
    stack.count = count;
    for (size_t i = 0; i < count; i++) {
        stack.blocks[i] = stack.first_block + i * step % COUNT * SIZE;
    }
}

static void verify(void *unused)
{
    (void)unused;
    verify_stack(stack.class, arena->index, stack.blocks, stack.count);
}

static void a_stack_of_different_blocks_passes(void **state)
{
    (void)state;
    set_up();
    /* Steps that have no divisor in common with COUNT = 1365, so that no block is twice. */
    for (size_t step = 1; step < COUNT; step *= 2) {
        fill(LONG, step);
        verify(NULL);
        fill(COUNT, step);
        verify(NULL);
    }
    for (stack.count = 0; stack.count <= SHORT + 4; stack.count++) {
        verify(NULL);
    }
}

static void a_block_twice_dies(void **state)
{
    (void)state;
    set_up();
    for (size_t count = 2; count <= LONG; count += 9) {
        fill(count, 1);
        stack.blocks[count - 1] = stack.blocks[count / 3];
        assert_dies_at(verify, NULL, "double free of", (uintptr_t)stack.blocks[count - 1]);
    }
}

static void an_address_between_two_blocks_dies(void **state)
{
    (void)state;
    set_up();
    for (size_t count = 1; count <= LONG; count += SHORT) {
        fill(count, 1);
        stack.blocks[count / 2] = (char *)stack.blocks[count / 2] + SIZE / 3;
        assert_dies_at(verify, NULL, "invalid free of", (uintptr_t)stack.blocks[count / 2]);
    }
}

static void verify_other_class(void *block)
{
    verify_stack(stack.class + 1, arena->index, &block, 1);
}

static void verify_other_arena(void *block)
{
    verify_stack(stack.class, arena->index + 1U, &block, 1);
}

static void verify_own_class(void *block)
{
    verify_stack(stack.class, arena->index, &block, 1);
}

/* It was one of them when it was freed: all of its slab has come back since, and it too. */
static void a_block_that_is_another_s_now_was_freed_before(void **state)
{
    int variable;

    (void)state;
    set_up();
    fill(1, 1);
    verify_own_class(stack.blocks[0]);
    assert_dies_at(verify_other_class, stack.blocks[0], "double free of",
                   (uintptr_t)stack.blocks[0]);
    assert_dies_at(verify_other_arena, stack.blocks[0], "double free of",
                   (uintptr_t)stack.blocks[0]);
    assert_dies_at(verify_own_class, &variable, "invalid free of", (uintptr_t)&variable);
}

int main(void)
{
    const struct isolated_test tests[] = {
        ISOLATED(a_stack_of_different_blocks_passes),
        ISOLATED(a_block_twice_dies),
        ISOLATED(an_address_between_two_blocks_dies),
        ISOLATED(a_block_that_is_another_s_now_was_freed_before),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
