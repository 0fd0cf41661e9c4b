/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_depot.c - which stacks a depot keeps, and what it gives for them. It never looks at a block:
 * addresses that are no memory do.
 */
#include "support.h"

#include "depot.h"
#include "lock.h"
#include "meta.h"
#include "os.h"
#include "size_class.h"

enum { SIZE = 64, LARGE = 2048, DEPOT_KIB = 64, STACKS_MAX = 32 };

/* Of the bin that the depot would be of. */
static struct lock bin_lock = LOCK_INITIALIZER(LOCK_RANK_BIN);

static struct depot depot;
static unsigned class_of_blocks;
static uint32_t capacity;
static uintptr_t blocks_made;

/* The lock is held from now on. */
static void new_depot_of(size_t size)
{
    lock_acquire(&bin_lock);
    size_class_init();
    class_of_blocks = size_class_of(size);
    capacity = size_classes[class_of_blocks].capacity;
}

static void *new_block(void)
{
    return (void *)(++blocks_made * SIZE);
}

static struct magazine *stack_with(uint32_t room, uint32_t count)
{
    struct magazine *stack = magazine_create(room);

    assert_non_null(stack);
    while (stack->count < count) {
        stack->slots[stack->count++] = new_block();
    }
    return stack;
}

static struct magazine *put_full(void)
{
    struct magazine *empty =
        depot_put_locked(&depot, class_of_blocks, stack_with(capacity, capacity));

    depot_check_locked(&depot);
    return empty;
}

static void zeroed_memory_is_an_empty_depot(void **state)
{
    (void)state;
    new_depot_of(SIZE);
    struct magazine *empty = stack_with(capacity, 0);

    depot_check_locked(&depot);
    assert_int_equal(depot_blocks(&depot), 0);
    assert_null(depot_take_locked(&depot, empty));
    assert_null(depot_take_one_locked(&depot));
    assert_null(depot_pop_locked(&depot));
    assert_int_equal(depot_age_locked(&depot, UINT32_MAX), 0);
    magazine_destroy(empty);
    assert_int_equal(meta_stats().used_bytes, 0);
}

static void a_full_stack_is_handed_on_unopened(void **state)
{
    (void)state;
    new_depot_of(SIZE);
    struct magazine *full = stack_with(capacity, capacity);
    void *first = full->slots[0];
    void *last = full->slots[capacity - 1];
    struct magazine *empty = depot_put_locked(&depot, class_of_blocks, full);

    assert_non_null(empty);
    assert_ptr_not_equal(empty, full);
    assert_int_equal(empty->count, 0);
    assert_int_equal(empty->capacity, capacity);
    assert_int_equal(depot_blocks(&depot), capacity);
    assert_ptr_equal(depot_take_locked(&depot, empty), full);
    assert_ptr_equal(full->slots[0], first);
    assert_ptr_equal(full->slots[capacity - 1], last);
    assert_int_equal(full->count, capacity);
    assert_int_equal(depot_blocks(&depot), 0);
    depot_check_locked(&depot);
    /* The empty one is given for the next. */
    assert_ptr_equal(depot_put_locked(&depot, class_of_blocks, full), empty);
    depot_check_locked(&depot);
}

static void only_full_stacks_of_the_full_length_are_kept(void **state)
{
    (void)state;
    new_depot_of(SIZE);
    struct magazine *half = stack_with(capacity, capacity / 2);
    struct magazine *shorter = stack_with(MAGAZINE_SMALLEST, MAGAZINE_SMALLEST);

    assert_false(depot_would_keep(&depot, class_of_blocks, half));
    assert_null(depot_put_locked(&depot, class_of_blocks, half));
    assert_false(depot_would_keep(&depot, class_of_blocks, shorter));
    assert_null(depot_put_locked(&depot, class_of_blocks, shorter));
    assert_int_equal(depot_blocks(&depot), 0);
}

static void stacks_of_large_blocks_are_not_kept(void **state)
{
    (void)state;
    new_depot_of(LARGE);
    struct magazine *full = stack_with(capacity, capacity);

    assert_false(depot_keeps(class_of_blocks));
    assert_false(depot_would_keep(&depot, class_of_blocks, full));
    assert_null(depot_put_locked(&depot, class_of_blocks, full));
}

static void no_more_bytes_are_kept_than_stay_in_a_cache(void **state)
{
    uint32_t kept = 0;

    (void)state;
    new_depot_of(SIZE);
    assert_true(depot_keeps(class_of_blocks));
    while (put_full() != NULL) {
        kept++;
    }
    assert_int_equal(kept, DEPOT_KIB * KIB / (capacity * SIZE));
    assert_int_equal(depot_blocks(&depot), kept * capacity);
}

static void without_memory_for_an_empty_stack_the_full_one_is_not_kept(void **state)
{
    (void)state;
    new_depot_of(SIZE);
    struct magazine *full = stack_with(capacity, capacity);

    /* Leave no free descriptor memory behind: the next magazine needs the kernel. */
    os_fail_calls(1, UINT64_MAX);
    while (magazine_create(capacity) != NULL) {
    }
    assert_true(depot_would_keep(&depot, class_of_blocks, full));
    assert_null(depot_put_locked(&depot, class_of_blocks, full));
    os_fail_calls(0, 0);
    assert_int_equal(full->count, capacity);
    depot_check_locked(&depot);
}

static void single_blocks_come_from_a_full_stack_that_is_spare_afterwards(void **state)
{
    (void)state;
    new_depot_of(SIZE);
    struct magazine *full = stack_with(capacity, capacity);
    void *first = full->slots[0];
    void *last = full->slots[capacity - 1];

    magazine_destroy(depot_put_locked(&depot, class_of_blocks, full));
    (void)depot_age_locked(&depot, 0);
    assert_ptr_equal(depot_take_one_locked(&depot), last);
    for (uint32_t i = 2; i < capacity; i++) {
        assert_non_null(depot_take_one_locked(&depot));
        depot_check_locked(&depot);
    }
    assert_ptr_equal(depot_take_one_locked(&depot), first);
    assert_null(depot_take_one_locked(&depot));
    assert_int_equal(depot.full_count, 0);
    assert_int_equal(depot.spare_count, 1);
    depot_check_locked(&depot);
}

/* Fill the depot with the full stacks and take them all out again, for the empty ones that it gave.
 * Returns how many fit. */
static unsigned swing(struct magazine *stacks[STACKS_MAX])
{
    unsigned count = 0;

    while (depot_would_keep(&depot, class_of_blocks, stacks[count])) {
        stacks[count] = depot_put_locked(&depot, class_of_blocks, stacks[count]);
        assert_non_null(stacks[count]);
        count++;
    }
    for (unsigned i = 0; i < count; i++) {
        stacks[i] = depot_take_locked(&depot, stacks[i]);
        assert_non_null(stacks[i]);
        depot_check_locked(&depot);
    }
    return count;
}

static void a_depot_that_fills_and_empties_makes_its_stacks_once(void **state)
{
    struct magazine *stacks[STACKS_MAX];

    (void)state;
    new_depot_of(BLOCK_ALIGN);
    for (unsigned i = 0; i < STACKS_MAX; i++) {
        stacks[i] = stack_with(capacity, capacity);
    }
    unsigned count = swing(stacks);
    size_t bytes = meta_stats().used_bytes;

    assert_int_equal(count, DEPOT_KIB * KIB / (capacity * BLOCK_ALIGN));
    assert_int_equal(depot.spare_count, count);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(swing(stacks), count);
        assert_int_equal(meta_stats().used_bytes, bytes);
    }
    assert_int_equal(depot_age_locked(&depot, UINT32_MAX), 0);
    assert_int_equal(depot.spare_count, count);
    depot_drop_spares_locked(&depot);
    assert_int_equal(depot.spare_count, 0);
    for (unsigned i = 0; i < STACKS_MAX; i++) {
        magazine_destroy(stacks[i]);
    }
    assert_int_equal(meta_stats().used_bytes, 0);
}

static void an_empty_stack_of_another_length_is_not_kept(void **state)
{
    (void)state;
    new_depot_of(SIZE);
    magazine_destroy(put_full());
    magazine_destroy(depot_take_locked(&depot, stack_with(MAGAZINE_SMALLEST, 0)));
    assert_int_equal(depot.spare_count, 0);
    assert_int_equal(meta_stats().used_bytes, 0);
}

static void pop_idle(uint32_t most, uint32_t expected)
{
    uint32_t idle = depot_age_locked(&depot, most);

    assert_int_equal(idle, expected);
    depot_check_locked(&depot);
    for (; idle > 0; idle--) {
        magazine_destroy(depot_pop_locked(&depot));
    }
    depot_check_locked(&depot);
}

static void what_nobody_asked_for_since_the_last_look_is_idle(void **state)
{
    enum { STACKS = 5, USED = 2 };

    (void)state;
    new_depot_of(BLOCK_ALIGN);
    for (unsigned i = 0; i < STACKS; i++) {
        magazine_destroy(put_full());
    }
    /* It was empty at some moment since the start. */
    pop_idle(UINT32_MAX, 0);
    struct magazine *used[USED];

    for (unsigned i = 0; i < USED; i++) {
        used[i] = depot_take_locked(&depot, stack_with(capacity, 0));
    }
    for (unsigned i = 0; i < USED; i++) {
        magazine_destroy(depot_put_locked(&depot, class_of_blocks, used[i]));
    }
    pop_idle(1, 1);
    pop_idle(UINT32_MAX, STACKS - 1);
    assert_int_equal(depot.full_count, 0);
}

static void it_is_the_fewest_that_there_were_since(void **state)
{
    enum { STACKS = 3, USED = 2 };
    struct magazine *used[USED];

    (void)state;
    new_depot_of(BLOCK_ALIGN);
    for (unsigned i = 0; i < STACKS; i++) {
        magazine_destroy(put_full());
    }
    pop_idle(UINT32_MAX, 0);
    for (unsigned i = 0; i < USED; i++) {
        used[i] = depot_take_locked(&depot, stack_with(capacity, 0));
    }
    for (unsigned i = 0; i < USED; i++) {
        magazine_destroy(depot_put_locked(&depot, class_of_blocks, used[i]));
    }
    magazine_destroy(depot_take_locked(&depot, stack_with(capacity, 0)));
    pop_idle(UINT32_MAX, STACKS - USED);
}

static void check(void *argument)
{
    depot_check_locked((struct depot *)argument);
}

static void the_check_sees_what_does_not_add_up(void **state)
{
    (void)state;
    new_depot_of(BLOCK_ALIGN);
    magazine_destroy(put_full());
    magazine_destroy(depot_take_locked(&depot, stack_with(capacity, 0)));
    depot.blocks++;
    assert_dies(check, &depot, "depot: blocks do not add up");
    depot.blocks--;
    depot.spares->count++;
    assert_dies(check, &depot, "depot: blocks do not add up");
    depot.spares->count--;
    depot.full_count++;
    assert_dies(check, &depot, "depot: stacks do not add up");
    depot.full_count--;
    depot.low++;
    assert_dies(check, &depot, "depot: stacks do not add up");
    depot.low--;
    depot.spare_count++;
    assert_dies(check, &depot, "depot: stacks do not add up");
}

static void put_without_lock(void *full)
{
    lock_release(&bin_lock);
    (void)depot_put_locked(&depot, class_of_blocks, (struct magazine *)full);
}

static void without_the_lock_nothing_is_kept(void **state)
{
    (void)state;
    new_depot_of(SIZE);
    assert_dies(put_without_lock, stack_with(capacity, capacity),
                "assertion failed: lock_rank_is_held(LOCK_RANK_BIN)");
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(zeroed_memory_is_an_empty_depot),
        ISOLATED(a_full_stack_is_handed_on_unopened),
        ISOLATED(only_full_stacks_of_the_full_length_are_kept),
        ISOLATED(stacks_of_large_blocks_are_not_kept),
        ISOLATED(no_more_bytes_are_kept_than_stay_in_a_cache),
        ISOLATED(without_memory_for_an_empty_stack_the_full_one_is_not_kept),
        ISOLATED(single_blocks_come_from_a_full_stack_that_is_spare_afterwards),
        ISOLATED(a_depot_that_fills_and_empties_makes_its_stacks_once),
        ISOLATED(an_empty_stack_of_another_length_is_not_kept),
        ISOLATED(what_nobody_asked_for_since_the_last_look_is_idle),
        ISOLATED(it_is_the_fewest_that_there_were_since),
        ISOLATED(the_check_sees_what_does_not_add_up),
        ISOLATED(without_the_lock_nothing_is_kept),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
