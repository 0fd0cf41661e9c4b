/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_resize.c - blocks are resized where they lie, or moved, with memory or without, with the
 * gate open or closed. */
#include "heap_support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "break.h"
#include "breakwater/breakwater.h"
#include "emergency.h"
#include "gate.h"
#include "limit.h"
#include "os.h"
#include "page_heap.h"
#include "resize.h"

#define LARGE (3 * UNIT_BYTES)

static void a_small_block_stays_while_it_fits_well(void **state)
{
    char *block = filled(1000);
    size_t bytes = usable(block);

    (void)state;
    assert_ptr_equal(heap_resize(block, bytes), block);
    assert_ptr_equal(heap_resize(block, bytes - bytes / 8), block);
    assert_ptr_not_equal(heap_resize(block, 16), block);
    check_all();
}

static void contents_move_along(void **state)
{
    static const size_t sizes[] = {1,       100,    17, 4000,    70000,     65536,     65537, 5,
                                   1000000, 900000, 64, 2000000, 3 * 65536, 5 * 65536, 1};
    char *block = filled(sizes[0]);

    (void)state;
    for (size_t i = 1; i < ARRAY_SIZE(sizes); i++) {
        block = (char *)heap_resize(block, sizes[i]);
        assert_non_null(block);
        assert_true(is_all(block, size_min(sizes[i - 1], sizes[i]), PATTERN));
        assert_true(usable(block) >= sizes[i]);
        memset(block, PATTERN, sizes[i]);
        check_all();
    }
    heap_free(block);
    assert_nothing_is_used();
}

static void a_large_block_shrinks_and_grows_where_it_lies(void **state)
{
    char *block = filled(10 * UNIT_BYTES);

    (void)state;
    assert_ptr_equal(heap_resize(block, 4 * UNIT_BYTES), block);
    assert_int_equal(usable(block), 4 * UNIT_BYTES);
    assert_ptr_equal(heap_resize(block, 9 * UNIT_BYTES + 1), block);
    assert_int_equal(usable(block), 10 * UNIT_BYTES);
    assert_true(is_all(block, 4 * UNIT_BYTES, PATTERN));
    assert_ptr_equal(heap_resize(block, 10 * UNIT_BYTES), block);
    check_all();
}

static void a_large_block_that_grew_where_it_lies_shrinks_again(void **state)
{
    char *block = filled(4 * UNIT_BYTES);

    (void)state;
    assert_ptr_equal(heap_resize(block, 10 * UNIT_BYTES), block);
    assert_ptr_equal(heap_resize(block, 6 * UNIT_BYTES), block);
    assert_int_equal(usable(block), 6 * UNIT_BYTES);
    check_all();
}

static void a_block_that_moves_to_shrink_gets_no_room(void **state)
{
    static const size_t sizes[] = {1000, 50 * KIB, MIB, 4 * MIB};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        char *block = (char *)heap_resize(filled(sizes[i]), 100);

        assert_int_equal(usable(block), usable(filled(100)));
        assert_true(is_all(block, 100, PATTERN));
    }
}

/* Over the soft limit what it gives up goes back at once, which the kernel refuses. */
static void what_fails_on_the_way_does_not_show_in_errno(void **state)
{
    const size_t bytes = 2 * MIB;
    char *block = filled(2 * bytes);

    (void)state;
    (void)filled(SMALL_MAX_BYTES + 1);
    lock_pages(block + bytes, bytes);
    limit_set(bytes, 0);
    limit_press(false);
    errno = ERRNO_BEFORE;
    assert_ptr_equal(heap_resize(block, bytes), block);
    assert_int_equal(errno, ERRNO_BEFORE);
    assert_int_equal(resident_pages(block + bytes, bytes), bytes / os_page_bytes());
    check_all();
}

static void a_block_that_cannot_grow_stays_as_it_was(void **state)
{
    char *small = filled(100);
    char *large = filled(LARGE);

    (void)state;
    use_up_all_memory();
    while (heap_alloc(16) != NULL) {
    }
    errno = 0;
    assert_null(heap_resize(small, 5000));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(heap_resize(large, 100 * LARGE));
    assert_int_equal(errno, ENOMEM);
    os_fail_calls(0, 0);
    assert_null(heap_resize(small, SIZE_MAX));
    assert_null(heap_resize(large, (size_t)PTRDIFF_MAX + 1));
    assert_true(is_all(small, 100, PATTERN));
    assert_true(is_all(large, LARGE, PATTERN));
    assert_int_equal(usable(large), LARGE);
    check_all();
}

static void without_memory_for_room_a_block_grows_as_far_as_it_has_to(void **state)
{
    char *block = filled(10 * UNIT_BYTES);

    (void)state;
    (void)filled(LARGE);
    char *free_run = filled(11 * UNIT_BYTES);

    (void)filled(LARGE);
    use_up_all_memory();
    heap_free(free_run);
    assert_ptr_equal(heap_resize(block, 11 * UNIT_BYTES), free_run);
    assert_true(is_all(free_run, 10 * UNIT_BYTES, PATTERN));
    os_fail_calls(0, 0);
    check_all();
}

static void a_block_that_cannot_move_to_shrink_stays_and_succeeds(void **state)
{
    char *block = filled(UNIT_BYTES);

    (void)state;
    use_up_all_memory();
    while (heap_alloc(16) != NULL) {
    }
    errno = ERRNO_BEFORE;
    assert_ptr_equal(heap_resize(block, 16), block);
    assert_int_equal(errno, ERRNO_BEFORE);
    assert_true(is_all(block, 16, PATTERN));
    os_fail_calls(0, 0);
    check_all();
}

static void a_block_stays_where_another_would_be_as_large(void **state)
{
    (void)state;
    for (size_t size = 1; size <= SMALL_MAX_BYTES; size = size * 9 / 8 + 1) {
        char *block = (char *)heap_alloc(size);
        size_t usable = heap_usable_size(block, "invalid");

        for (size_t other = size; other <= usable; other += size / 16 + 1) {
            assert_ptr_equal(heap_resize(block, other), block);
        }
        heap_free(block);
    }
}

static void so_does_one_beside_the_break(void **state)
{
    (void)state;
    heap_free(filled(1));
    block_break();
    while (page_heap_alloc(&(struct run_request){
               .units = 1, .align_units = 1, .state = SPAN_LARGE, .grow = false}) != NULL) {
    }
    char *block = filled(40 * KIB);

    assert_int_not_equal(span_of((uintptr_t)block)->region, region_primary.index);
    size_t bytes = usable(block);

    assert_true(bytes - bytes / 4 > 40 * KIB);
    assert_ptr_equal(heap_resize(block, bytes), block);
    assert_ptr_equal(heap_resize(block, 40 * KIB), block);
    unblock_break();
}

static void a_small_block_grows_by_an_eighth_but_not_past_a_power_of_two(void **state)
{
    (void)state;
    heap_free(filled(1));
    for (size_t power = 1024; power <= 16 * KIB; power *= 2) {
        const size_t size = power - power / 16;
        char *block = filled(power / 2);

        block = (char *)heap_resize(block, usable(block) + 1);
        assert_in_range(usable(block), power / 2 + power / 16, power);
        heap_free(block);
        /* A class so near to the power is made where there is much of its size. */
        size_class_refine(size_class_of(size), size);
        block = filled(size);
        assert_int_equal(usable(block), size);
        block = (char *)heap_resize(block, size + 1);
        assert_int_equal(usable(block), power);
        heap_free(block);
    }
}

static void a_huge_block_that_had_to_move_grows_into_the_room_it_was_left(void **state)
{
    enum { PIECES = 9 };
    const size_t size = PIECES * MIB;
    unsigned char *block = (unsigned char *)heap_alloc(size);

    (void)state;
    assert_non_null(block);
    for (size_t at = 0; at < size; at += UNIT_BYTES) {
        block[at] = (unsigned char)(at / UNIT_BYTES);
    }
    /* Right behind it, so that it cannot grow in place. */
    while ((unsigned char *)heap_alloc(LARGE) < block + size) {
    }
    unsigned char *moved = (unsigned char *)heap_resize(block, size + 1);

    assert_ptr_not_equal(moved, block);
    assert_true(heap_usable_size(moved, "invalid") >= 2 * size);
    for (size_t at = 0; at < size; at += UNIT_BYTES) {
        assert_int_equal(moved[at], (unsigned char)(at / UNIT_BYTES));
    }
    /* What was left behind took no memory with it. */
    assert_true(resident_pages(block, size) < size / 4096 / 4);
    /* The rest of it stays for the next time. */
    assert_ptr_equal(heap_resize(moved, size + MIB), moved);
    assert_true(heap_usable_size(moved, "invalid") >= 2 * size);
    assert_ptr_equal(heap_resize(moved, 2 * size), moved);
    assert_ptr_equal(heap_resize(moved, 2 * size - MIB), moved);
    assert_int_equal(heap_usable_size(moved, "invalid"), 2 * size - MIB);
    assert_ptr_equal(heap_resize(moved, size), moved);
    assert_int_equal(heap_usable_size(moved, "invalid"), size);
    heap_free(moved);
    page_heap_check();
}

/* All but what is too short for a call of its own. */
static void what_a_move_leaves_behind_is_free_and_clean(void **state)
{
    (void)state;
    (void)usable_after_a_move();
    assert_true(page_heap_stats().free_units >= 9 * MIB / UNIT_BYTES);
    assert_true(page_heap_stats().free_used_units < 2 * MIB / UNIT_BYTES);
    page_heap_check();
}

/* The room may lie where others' blocks were. */
static void the_room_takes_no_memory_where_it_was_in_use(void **state)
{
    const size_t size = 9 * MIB;
    char *block = filled(size);

    (void)state;
    /* Right behind it, so that it cannot grow in place. */
    while ((char *)heap_alloc(LARGE) < block + size) {
    }
    char *used = filled(4 * size);

    (void)heap_alloc(LARGE);
    heap_free(used);
    char *moved = (char *)heap_resize(block, size + 1);

    assert_ptr_not_equal(moved, block);
    assert_true(moved >= used && moved < used + 4 * size);
    assert_true(heap_usable_size(moved, "invalid") >= 2 * size);
    assert_true(resident_pages(moved + size + MIB, size - MIB) == 0);
}

static void where_memory_is_limited_no_room_is_left(void **state)
{
    (void)state;
    heap_free(filled(1));
    limit_set((size_t)1024 * MIB, 0);
    assert_in_range(usable_after_a_move(), 9 * MIB + 1, 9 * MIB + UNIT_BYTES);
}

/* `block`, of `bytes`, which cannot grow where it is: others lie behind it. */
static char *grown_by_a_byte(char *block, size_t bytes)
{
    while ((char *)heap_alloc(LARGE) < block + bytes) {
    }
    return (char *)heap_resize(block, bytes + 1);
}

/* Beyond what was asked for, as far as nobody has written there. */
static void room_that_nobody_wrote_to_takes_no_memory_when_it_is_moved(void **state)
{
    const size_t size = 9 * MIB;
    (void)state;
    char *block = grown_by_a_byte(filled(size), size);
    size_t bytes = usable(block);

    assert_in_range(bytes, 2 * size, 2 * size + MIB);
    block[size + size / 2] = PATTERN;
    char *moved = grown_by_a_byte(block, bytes);

    assert_ptr_not_equal(moved, block);
    assert_true(is_all(moved, size, PATTERN));
    assert_int_equal(moved[size + size / 2], PATTERN);
    /* In pieces of 4 MiB; the last is not looked at, since that may bring memory. */
    assert_true(resident_pages(moved, bytes) * os_page_bytes() <= size + 8 * MIB);
    assert_true(resident_pages(moved + 16 * MIB, bytes - 16 * MIB) == 0);
    assert_true(is_all(moved + 16 * MIB, bytes - 16 * MIB, 0));
}

/* Whoever asks for the usable size may use it. */
static void room_that_is_full_of_one_byte_moves_along(void **state)
{
    const size_t size = 9 * MIB;
    (void)state;
    char *block = grown_by_a_byte(filled(size), size);
    size_t bytes = usable(block);

    memset(block, PATTERN, bytes);
    char *moved = grown_by_a_byte(block, bytes);

    assert_ptr_not_equal(moved, block);
    assert_true(is_all(moved, bytes, PATTERN));
}

static void a_medium_block_stays_while_it_fits_and_grows_into_a_run(void **state)
{
    (void)state;
    make_medium(100 * KIB);
    make_medium(200 * KIB);
    char *block = filled(100 * KIB);

    assert_non_null(slab_at((uintptr_t)block));
    assert_ptr_equal(heap_resize(block, 112 * KIB), block);
    assert_ptr_equal(heap_resize(block, 84 * KIB), block);
    char *moved = (char *)heap_resize(block, 200 * KIB);

    assert_null(slab_at((uintptr_t)moved));
    assert_true(is_all(moved, 84 * KIB, PATTERN));
    heap_free(moved);
    block = filled(100 * KIB);
    moved = (char *)heap_resize(block, 100);
    assert_ptr_not_equal(moved, block);
    assert_true(is_all(moved, 100, PATTERN));
    heap_free(moved);
    assert_nothing_is_used();
}

static void blocks_got_with_the_gate_closed_are_resized_like_others(void **state)
{
    (void)state;
    heap_free(filled(1));
    gate_close(cache_gate(cache_self));
    char *block = filled(1000);
    char *large = filled(LARGE);

    block = (char *)heap_resize(block, 3000);
    assert_true(is_all(block, 1000, PATTERN));
    large = (char *)heap_resize(large, 4 * LARGE);
    assert_true(is_all(large, LARGE, PATTERN));
    open_gate();
    block = (char *)heap_resize(block, 9000);
    assert_true(is_all(block, 1000, PATTERN));
    large = (char *)heap_resize(large, 8 * LARGE);
    assert_true(is_all(large, LARGE, PATTERN));
    assert_false(emergency_owns((uintptr_t)large));
    heap_free(block);
    heap_free(large);
    assert_nothing_is_used();
}

static void a_heap_block_is_resized_with_the_gate_closed(void **state)
{
    char *small = filled(1000);
    char *large = filled(LARGE);

    (void)state;
    gate_close(cache_gate(cache_self));
    small = (char *)heap_resize(small, 5000);
    assert_true(is_all(small, 1000, PATTERN));
    assert_ptr_equal(heap_resize(large, LARGE - UNIT_BYTES), large);
    large = (char *)heap_resize(large, 4 * LARGE);
    assert_true(is_all(large, LARGE - UNIT_BYTES, PATTERN));
    open_gate();
    heap_free(small);
    heap_free(large);
    assert_nothing_is_used();
}

struct resized {
    void *block;
    size_t size;
};

static void resize(void *argument)
{
    const struct resized *resized = (const struct resized *)argument;

    (void)bw_realloc(resized->block, resized->size);
}

static void shrink(void *block)
{
    (void)heap_resize(block, 60000);
}

static void the_unit_of_a_slab_where_no_block_starts_is_no_block(void **state)
{
    (void)state;
    make_medium(80 * KIB);
    char *block = filled(80 * KIB);

    assert_int_equal(usable(block), 80 * KIB);
    assert_dies_at(shrink, block + UNIT_BYTES, "invalid realloc of", (uintptr_t)block + UNIT_BYTES);
}

/* Though it could stay where it lies. */
static void in_checked_mode_a_freed_block_is_not_resized(void **state)
{
    static const size_t sizes[] = {100, 20000, 60000};

    (void)state;
    assert_int_equal(setenv("BREAKWATER_CONF", "checked:true", 1), 0);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct resized resized = {bw_malloc(sizes[i]), sizes[i]};

        assert_non_null(resized.block);
        assert_ptr_equal(bw_realloc(resized.block, sizes[i]), resized.block);
        bw_free(resized.block);
        assert_dies_at(resize, &resized, "invalid realloc of", (uintptr_t)resized.block);
    }
    assert_nothing_is_used();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_small_block_stays_while_it_fits_well),
        ISOLATED(contents_move_along),
        ISOLATED(a_large_block_shrinks_and_grows_where_it_lies),
        ISOLATED(a_large_block_that_grew_where_it_lies_shrinks_again),
        ISOLATED(a_block_that_moves_to_shrink_gets_no_room),
        ISOLATED(what_fails_on_the_way_does_not_show_in_errno),
        ISOLATED(a_block_that_cannot_grow_stays_as_it_was),
        ISOLATED(without_memory_for_room_a_block_grows_as_far_as_it_has_to),
        ISOLATED(a_block_that_cannot_move_to_shrink_stays_and_succeeds),
        ISOLATED(a_block_stays_where_another_would_be_as_large),
        ISOLATED(so_does_one_beside_the_break),
        ISOLATED(a_small_block_grows_by_an_eighth_but_not_past_a_power_of_two),
        ISOLATED(a_huge_block_that_had_to_move_grows_into_the_room_it_was_left),
        ISOLATED(what_a_move_leaves_behind_is_free_and_clean),
        ISOLATED(the_room_takes_no_memory_where_it_was_in_use),
        ISOLATED(where_memory_is_limited_no_room_is_left),
        ISOLATED(room_that_nobody_wrote_to_takes_no_memory_when_it_is_moved),
        ISOLATED(room_that_is_full_of_one_byte_moves_along),
        ISOLATED(a_medium_block_stays_while_it_fits_and_grows_into_a_run),
        ISOLATED(blocks_got_with_the_gate_closed_are_resized_like_others),
        ISOLATED(a_heap_block_is_resized_with_the_gate_closed),
        ISOLATED(the_unit_of_a_slab_where_no_block_starts_is_no_block),
        ISOLATED(in_checked_mode_a_freed_block_is_not_resized),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
