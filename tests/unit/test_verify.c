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
    struct magazine *freed; /* longer than caches' are */
    void **blocks;          /* its slots */
} stack;

static struct arena *arena;

static void make_stack(void)
{
    size_class_init();
    stack.freed = magazine_create(COUNT);
    assert_non_null(stack.freed);
    stack.blocks = stack.freed->slots;
}

static void set_up(void)
{
    make_stack();
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
    verify_stack(stack.class, arena->index, stack.freed, stack.count);
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

static void verify_lone(unsigned class, unsigned arena_index, void *block)
{
    stack.blocks[0] = block;
    verify_stack(class, arena_index, stack.freed, 1);
}

static void verify_other_class(void *block)
{
    verify_lone(stack.class + 1, arena->index, block);
}

static void verify_other_arena(void *block)
{
    verify_lone(stack.class, arena->index + 1U, block);
}

static void verify_own_class(void *block)
{
    verify_lone(stack.class, arena->index, block);
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

/* Starts are looked at by number alone: any unit will do. */
static void verify_starts_of(void *class)
{
    verify_starts(*(const unsigned *)class, stack.freed, stack.count);
}

/* `count` blocks of `size` from the start of a unit on. */
static void fill_unit(size_t size, size_t count)
{
    stack.count = count;
    for (size_t i = 0; i < count; i++) {
        stack.blocks[i] = (void *)(UNIT_BYTES + i * size);
    }
}

/* Wherever the wrong one is among those that are looked at together: elsewhere each time, for a
 * child each would take long. */
static void assert_start_dies(unsigned class, size_t offset)
{
    static size_t times;
    size_t count = size_min(SHORT + 6, size_classes[class].blocks);

    fill_unit(size_classes[class].size, count);
    stack.blocks[times++ % count] = (void *)(UNIT_BYTES + offset);
    assert_dies_at(verify_starts_of, &class, "invalid free of", UNIT_BYTES + offset);
}

static void of_every_class_blocks_start_where_they_may(void **state)
{
    (void)state;
    make_stack();
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        const struct size_class *described = &size_classes[class];
        size_t power = (size_t)described->align_mask + 1;

        if (described->units > 1 || described->size == power) {
            continue;
        }
        assert_true(described->blocks <= COUNT);
        fill_unit(described->size, described->blocks);
        verify_starts_of(&class);
        assert_start_dies(class, power);
        assert_start_dies(class, described->bytes - power);
        if (described->bytes < UNIT_BYTES) {
            assert_start_dies(class, described->bytes);
        }
    }
}

/* 40 KiB are aligned to 8. */
static void of_slabs_of_several_units_too(void **state)
{
    (void)state;
    make_stack();
    stack.class = size_class_of(40 * KIB);
    arena = arena_create(0);
    for (stack.count = 0; stack.count < SHORT; stack.count++) {
        stack.blocks[stack.count] = refill_one(arena, stack.class);
        assert_non_null(stack.blocks[stack.count]);
    }
    verify_starts_of(&stack.class);
    for (size_t at = 0; at < SHORT; at++) {
        char *block = (char *)stack.blocks[at];

        stack.blocks[at] = block + 8 * KIB;
        assert_dies_at(verify_starts_of, &stack.class, "invalid free of",
                       (uintptr_t)stack.blocks[at]);
        stack.blocks[at] = block;
    }
}

/* The header, and what earlier blocks have left beyond the last. */
static void what_is_no_block_of_the_stack_is_not_looked_at(void **state)
{
    (void)state;
    make_stack();
    unsigned class = size_class_of(SIZE);

    for (size_t count = 0; count <= SHORT + 13; count++) {
        fill_unit(SIZE, COUNT);
        stack.blocks[count] = (void *)(UNIT_BYTES + SIZE / 3);
        stack.count = count;
        verify_starts_of(&class);
        stack.count = count + 1;
        assert_dies_at(verify_starts_of, &class, "invalid free of", UNIT_BYTES + SIZE / 3);
    }
    stack.freed->next = (struct magazine *)(UNIT_BYTES + SIZE / 3);
    stack.count = 0;
    verify_starts_of(&class);
}

int main(void)
{
    const struct isolated_test tests[] = {
        ISOLATED(a_stack_of_different_blocks_passes),
        ISOLATED(a_block_twice_dies),
        ISOLATED(an_address_between_two_blocks_dies),
        ISOLATED(a_block_that_is_another_s_now_was_freed_before),
        ISOLATED(of_every_class_blocks_start_where_they_may),
        ISOLATED(of_slabs_of_several_units_too),
        ISOLATED(what_is_no_block_of_the_stack_is_not_looked_at),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
