/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_heap.c - blocks of every size and alignment, resized, freed by anybody, with memory or
 * without, with the gate open or closed. */
#include "heap_support.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "break.h"
#include "deferred.h"
#include "emergency.h"
#include "gate.h"
#include "large.h"
#include "life.h"
#include "meta.h"
#include "os.h"
#include "page_heap.h"
#include "refill.h"
#include "resize.h"
#include "run_cache.h"
#include "scavenge.h"
#include "stats.h"

enum { BLOCKS = 200 };

#define LARGE (3 * UNIT_BYTES)

/* Sizes */

static void every_size_gets_a_usable_aligned_block(void **state)
{
    (void)state;
    for (size_t size = 0; size < 3 * UNIT_BYTES; size += size < 2000 ? 1 : 1009) {
        char *block = filled(size);

        assert_int_equal((uintptr_t)block % BLOCK_ALIGN, 0);
        assert_true(usable(block) >= size);
        memset(block, PATTERN, usable(block));
        heap_free(block);
    }
    check_all();
    assert_nothing_is_used();
}

static void live_blocks_never_overlap(void **state)
{
    char *blocks[BLOCKS];

    (void)state;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = filled(i * i * 3);
        memset(blocks[i], (int)i, usable(blocks[i]));
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        assert_true(is_all(blocks[i], usable(blocks[i]), (unsigned char)i));
        heap_free(blocks[i]);
    }
    assert_nothing_is_used();
}

static void a_large_block_is_a_run_of_its_own(void **state)
{
    char *block = filled(LARGE - 1);

    (void)state;
    assert_int_equal((uintptr_t)block % UNIT_BYTES, 0);
    assert_int_equal(usable(block), LARGE);
    size_t free_units = page_heap_stats().free_units;

    heap_free(block);
    run_cache_empty_all();
    assert_int_equal(page_heap_stats().free_units, free_units + 3);
    check_all();
}

static void sizes_beyond_all_measure_are_refused(void **state)
{
    (void)state;
    errno = 0;
    assert_null(heap_alloc((size_t)PTRDIFF_MAX + 1));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(heap_alloc(SIZE_MAX));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(heap_alloc((size_t)PTRDIFF_MAX));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(heap_alloc_zeroed(SIZE_MAX));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(heap_alloc_aligned((size_t)1 << 63, 1));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(heap_alloc_aligned((size_t)1 << 62, (size_t)1 << 62));
    assert_int_equal(errno, ENOMEM);
    check_all();
}

static size_t blocks_kept(void)
{
    size_t count;
    size_t bytes;

    cache_count(cache_self, &count, &bytes);
    return count;
}

/* Programs probe. */
static void a_refusal_beyond_all_measure_empties_no_cache(void **state)
{
    void *blocks[100];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = heap_alloc(100);
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        heap_free(blocks[i]);
    }
    size_t before = blocks_kept();

    assert_true(before > 0);
    assert_null(heap_alloc((size_t)1 << 61));
    assert_null(heap_alloc_aligned((size_t)1 << 61, 1));
    assert_int_equal(blocks_kept(), before);
}

static void every_alignment_is_kept(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment <= 16 * MIB; alignment *= 2) {
        for (size_t size = 0; size <= LARGE; size = size * 5 + 1) {
            char *block = (char *)heap_alloc_aligned(alignment, size);

            assert_non_null(block);
            assert_int_equal((uintptr_t)block % alignment, 0);
            assert_true(usable(block) >= size);
            memset(block, PATTERN, size);
            heap_free(block);
        }
    }
    check_all();
    assert_nothing_is_used();
}

static void an_aligned_block_is_the_next_of_its_class(void **state)
{
    enum { ALIGNMENT = 64, ROUNDED = 128, SIZE = 100, COUNT = 3 };
    void *blocks[COUNT];

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = heap_alloc(ROUNDED);
    }
    for (size_t i = 0; i < COUNT; i++) {
        heap_free(blocks[i]);
    }
    void *first = heap_alloc_aligned(ALIGNMENT, SIZE);
    void *next = *cache_bin_of_code(cache_self, size_class_code(ROUNDED))->alloc_top;

    assert_non_null(next);
    assert_ptr_equal(heap_alloc_aligned(ALIGNMENT, SIZE), next);
    heap_free(next);
    heap_free(first);
}

static void a_class_that_is_not_aligned_so_is_passed_over(void **state)
{
    enum { ALIGNMENT = 32, COUNT = 4 };
    void *blocks[COUNT];
    size_t size = ALIGNMENT;

    (void)state;
    heap_free(heap_alloc(1));
    while (size_classes[size_class_of(size)].align_mask >= ALIGNMENT - 1) {
        size += ALIGNMENT;
    }
    /* Often enough for a stack. */
    for (size_t i = 0; i < 2 * COUNT * SINGLES_MAX; i++) {
        void *block = heap_alloc(size);

        if (i >= COUNT) {
            heap_free(blocks[i % COUNT]);
        }
        blocks[i % COUNT] = block;
    }
    for (size_t i = 0; i < COUNT; i++) {
        heap_free(blocks[i]);
    }
    /* The stacks change places. */
    blocks[0] = heap_alloc(size);
    for (size_t i = 1; i < COUNT; i++) {
        blocks[i] = heap_alloc_aligned(ALIGNMENT, size);
        assert_int_equal((uintptr_t)blocks[i] % ALIGNMENT, 0);
    }
    for (size_t i = 0; i < COUNT; i++) {
        heap_free(blocks[i]);
    }
}

static void what_wraps_when_it_is_rounded_is_refused(void **state)
{
    (void)state;
    assert_null(heap_alloc_aligned(64, SIZE_MAX - 8));
    assert_null(heap_alloc_aligned(64, SIZE_MAX - 63));
    assert_null(heap_alloc_aligned((size_t)1 << 63, 16));
    assert_null(heap_alloc_aligned((size_t)1 << 63, (size_t)1 << 63));
}

static void zeroed_blocks_are_zero_over_used_memory(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 20 * UNIT_BYTES; size = size * 3 + 1) {
        heap_free(filled(size));
        char *block = (char *)heap_alloc_zeroed(size);

        assert_non_null(block);
        assert_true(is_all(block, size, 0));
        memset(block, PATTERN, usable(block));
        heap_free(block);
    }
    check_all();
}

static void a_fresh_large_zeroed_block_is_not_touched(void **state)
{
    char *block = (char *)heap_alloc_zeroed(50 * UNIT_BYTES);

    (void)state;
    assert_non_null(block);
    assert_int_equal(resident_pages(block, 50 * UNIT_BYTES), 0);
    heap_free(block);
}

static struct {
    char *block;
    size_t bytes;
    int faults;
    bool was_inside;
} protected;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    char *address = (char *)info->si_addr;

    (void)context;
    if (address < protected.block || address >= protected.block + protected.bytes ||
        mprotect(protected.block, protected.bytes, PROT_READ | PROT_WRITE) != 0) {
        _exit(128 + signal);
    }
    protected.faults++;
    protected.was_inside = gate_has_caller(cache_gate(cache_self));
}

/* A fork need not wait until gigabytes are zero. */
static void the_gate_has_been_left_while_a_block_is_zeroed(void **state)
{
    const struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    (void)state;
    protected.bytes = 50 * UNIT_BYTES;
    protected.block = (char *)heap_alloc(protected.bytes);
    assert_non_null(protected.block);
    memset(protected.block, 'x', protected.bytes);
    heap_free(protected.block);
    assert_int_equal(sigaction(SIGSEGV, &action, NULL), 0);
    assert_int_equal(mprotect(protected.block, protected.bytes, PROT_NONE), 0);

    char *zeroed = (char *)heap_alloc_zeroed(protected.bytes);

    assert_ptr_equal(zeroed, protected.block);
    assert_int_equal(protected.faults, 1);
    assert_false(protected.was_inside);
    assert_true(is_all(zeroed, protected.bytes, 0));
    heap_free(zeroed);
}

static void a_free_block_is_not_touched(void **state)
{
    static void *blocks[UNIT_BYTES / 64];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = heap_alloc(64);
    }
    char *unit = (char *)align_down((uintptr_t)blocks[100], UNIT_BYTES);

    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        heap_free(blocks[i]);
    }
    assert_int_equal(resident_pages(unit, UNIT_BYTES), 0);
}

/* errno */

static void success_leaves_errno_alone(void **state)
{
    (void)state;
    errno = ERRNO_BEFORE;
    for (size_t size = 0; size < 20 * UNIT_BYTES; size = size * 2 + 1) {
        char *blocks[BLOCKS / 4];

        for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
            blocks[i] = (char *)heap_alloc(size);
            blocks[i] = (char *)heap_resize(blocks[i], size * 2 + 1);
        }
        for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
            heap_free(blocks[i]);
        }
        heap_free(heap_alloc_zeroed(size));
        heap_free(heap_alloc_aligned(4096, size));
    }
    heap_free(NULL);
    assert_int_equal(errno, ERRNO_BEFORE);
}

static void a_block_got_after_the_break_failed_leaves_errno_alone(void **state)
{
    (void)state;
    heap_free(heap_alloc(1));
    block_break();
    errno = ERRNO_BEFORE;
    char *block = (char *)heap_alloc(100 * UNIT_BYTES);

    assert_non_null(block);
    assert_int_equal(errno, ERRNO_BEFORE);
    heap_free(block);
    assert_int_equal(errno, ERRNO_BEFORE);
    unblock_break();
}

/* Without memory */

static void without_memory_a_small_block_comes_from_a_larger_class_or_not_at_all(void **state)
{
    char *large = filled(2000);

    (void)state;
    heap_free(filled(100));
    cache_flush_all(cache_self);
    use_up_all_memory();
    /* What is left is free in the slab that `large` keeps. */
    char *block = (char *)heap_alloc(100);

    assert_non_null(block);
    assert_true(usable(block) >= usable(large));
    while (heap_alloc(100) != NULL) {
    }
    errno = 0;
    assert_null(heap_alloc(100));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(heap_alloc(LARGE));
    assert_int_equal(errno, ENOMEM);
    os_fail_calls(0, 0);
    check_all();
    heap_free(large);
    heap_free(block);
    assert_non_null(heap_alloc(100));
    assert_non_null(heap_alloc(LARGE));
    check_all();
}

static void what_is_freed_without_memory_can_be_had_again(void **state)
{
    char *small = filled(100);
    char *large = filled(LARGE);

    (void)state;
    use_up_all_memory();
    while (heap_alloc(16) != NULL) {
    }
    assert_null(heap_alloc(UNIT_BYTES));
    heap_free(large);
    assert_ptr_equal(heap_alloc(LARGE), large);
    heap_free(small);
    assert_non_null(heap_alloc(100));
    os_fail_calls(0, 0);
    check_all();
}

static void without_memory_for_a_stack_a_block_goes_straight_back(void **state)
{
    char *block = filled(STACKS_BYTES_MODEST + 1);

    (void)state;
    os_fail_calls(1, UINT64_MAX);
    while (meta_alloc(CACHE_LINE_BYTES) != NULL) {
    }
    heap_free(block);
    os_fail_calls(0, 0);
    assert_int_equal(stats_memory().cached_blocks, 0);
    assert_nothing_is_used();
}

static void blocks_not_needed_go_back_where_every_request_is_a_hit(void **state)
{
    enum { COUNT = 12, LONG = 16384, PAIRS = 5000 };
    void *blocks[COUNT];

    (void)state;
    use_class(LONG);
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = filled(LONG);
    }
    for (size_t i = 0; i < COUNT; i++) {
        heap_free(blocks[i]);
    }
    assert_true(stats_memory().cached_bytes >= (size_t)COUNT * LONG);
    for (size_t i = 0; i < PAIRS; i++) {
        heap_free(heap_alloc(LONG));
    }
    assert_in_range(stats_memory().cached_bytes, 0, (size_t)2 * LONG);
    check_all();
}

/* Two to a unit. */
static void use_up_for_what_the_own_cache_holds(void)
{
    enum { HALF = UNIT_BYTES / 2 };
    void *blocks[8];

    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = filled(HALF);
    }
    use_up_all_memory();
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        heap_free(blocks[i]);
    }
}

static void what_the_own_cache_holds_makes_way_for_a_large_block(void **state)
{
    (void)state;
    use_up_for_what_the_own_cache_holds();
    assert_non_null(heap_alloc(SMALL_MAX_BYTES + 1));
    os_fail_calls(0, 0);
    check_all();
}

/* Which no larger one is cut for. */
static void so_it_does_for_a_small_one_of_another_class(void **state)
{
    (void)state;
    use_up_for_what_the_own_cache_holds();
    assert_non_null(heap_alloc(SMALL_MAX_BYTES));
    os_fail_calls(0, 0);
    check_all();
}

/* Every kind of call once; what fails must leave all in order. */
static void call_everything(void)
{
    char *blocks[12] = {NULL};
    size_t size = 10;

    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++, size = size * 3 + 1) {
        blocks[i] =
            (char *)(i % 3 == 0   ? heap_alloc(size)
                     : i % 3 == 1 ? heap_alloc_zeroed(size)
                                  : heap_alloc_aligned(size_min((size_t)4096 << i, MIB), size));
        if (blocks[i] == NULL) {
            continue;
        }
        memset(blocks[i], PATTERN, size);
        char *resized = (char *)heap_resize(blocks[i], size * 2);

        assert_true(is_all(resized != NULL ? resized : blocks[i], size, PATTERN));
        blocks[i] = resized != NULL ? resized : blocks[i];
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        heap_free(blocks[i]);
    }
}

static void whichever_call_fails_nothing_is_lost(void **state)
{
    (void)state;
    for (unsigned first = 1; first <= 40; first++) {
        os_fail_calls(first, first % 2 == 0 ? 1 : UINT64_MAX);
        call_everything();
        os_fail_calls(0, 0);
        assert_nothing_is_used();
    }
}

/* Faults */

static void free_it(void *block)
{
    heap_free(block);
}

static void resize_it(void *block)
{
    (void)heap_resize(block, 10);
}

static void ask_its_size(void *block)
{
    (void)heap_usable_size_slow(block, "invalid malloc_usable_size of");
}

static void assert_no_block(void *address, const char *fault_of_free)
{
    assert_dies_at(free_it, address, fault_of_free, (uintptr_t)address);
    assert_dies_at(resize_it, address, "invalid realloc of", (uintptr_t)address);
    assert_dies_at(ask_its_size, address, "invalid malloc_usable_size of", (uintptr_t)address);
}

static void addresses_that_are_no_blocks_die(void **state)
{
    static char unknown[64];
    char *small = filled(100);
    char *large = filled(LARGE);

    (void)state;
    assert_no_block(small + 16, "invalid free of");
    assert_no_block(small + 1, "invalid free of");
    assert_no_block(large + 16, "invalid free of");
    assert_no_block(large + UNIT_BYTES, "invalid free of");
    assert_no_block(unknown, "invalid free of");
    assert_no_block((void *)16, "invalid free of");
    assert_no_block((void *)(break_top() - UNIT_BYTES), "invalid free of");
    assert_no_block((void *)break_top(), "invalid free of");
}

static void addresses_inside_a_block_of_a_mapped_region_die(void **state)
{
    (void)state;
    heap_free(filled(100));
    block_break();
    char *block = (char *)heap_alloc(512 * UNIT_BYTES);

    assert_non_null(block);
    assert_int_not_equal(span_of((uintptr_t)block)->region, region_primary.index);
    assert_no_block(block + 300 * UNIT_BYTES, "invalid free of");
    heap_free(block);
    assert_no_block(block + 300 * UNIT_BYTES, "invalid free of");
    assert_no_block(block, "double free of");
    unblock_break();
}

static void a_small_block_of_a_mapped_region_goes_on_a_stack_too(void **state)
{
    enum { SIZE = 1000 };

    (void)state;
    use_class(SIZE);
    (void)heap_alloc(SIZE);
    block_break();
    char *block;

    do {
        block = filled(SIZE);
    } while (span_of((uintptr_t)block)->region == region_primary.index);
    uint64_t misses = cache_self->misses;

    /* What needs more than the stack would have to wait. */
    gate_close(cache_gate(cache_self));
    heap_free(block);
    assert_int_equal(deferred_count(), 0);
    assert_dies_at(free_it, block, "double free of", (uintptr_t)block);
    open_gate();
    assert_int_equal(cache_self->misses, misses);
    assert_dies_at(free_it, block + 16, "invalid free of", (uintptr_t)block + 16);
    unblock_break();
    check_all();
}

static void a_block_whose_region_is_gone_is_an_unknown_address(void **state)
{
    (void)state;
    heap_free(filled(100));
    block_break();
    char *block = filled(512 * UNIT_BYTES);

    heap_free(block);
    (void)heap_trim(0);
    assert_null(span_of((uintptr_t)block));
    assert_no_block(block, "invalid free of");
    assert_no_block(block + 300 * UNIT_BYTES, "invalid free of");
    unblock_break();
}

static void a_large_block_freed_twice_dies(void **state)
{
    char *block = filled(LARGE);

    (void)state;
    heap_free(block);
    assert_no_block(block, "double free of");
}

static void a_small_block_freed_twice_in_a_row_dies(void **state)
{
    (void)state;
    use_class(100);
    char *block = filled(100);

    heap_free(block);
    assert_dies_at(free_it, block, "double free of", (uintptr_t)block);
}

static void a_block_whose_slab_is_gone_is_freed_twice(void **state)
{
    char *first = filled(40000);

    (void)state;
    heap_free(first);
    (void)heap_trim(SIZE_MAX / 2);
    assert_dies_at(free_it, first, "double free of", (uintptr_t)first);
}

/* Other threads */

/* Of another arena's, which is kept without a look at its slab, as the buffer has room. */
static void *free_between_blocks(void *blocks)
{
    char *inside = ((char **)blocks)[1] + BLOCK_ALIGN;

    heap_free(((char **)blocks)[0]);
    assert_dies_at(free_it, inside, "invalid free of", (uintptr_t)inside);
    return NULL;
}

static void a_misaligned_address_of_another_arena_dies_at_once(void **state)
{
    void *blocks[] = {filled(64), filled(64)};

    (void)state;
    assert_true(life_limit_arenas(2));
    run_threads(1, free_between_blocks, blocks);
}

static void *free_in_thread(void *block)
{
    heap_free(block);
    return NULL;
}

struct freed_before_exit {
    void *twice;
    void *between;
    bool goes_back; /* to its slab */
};

static void free_twice_and_exit(void *argument)
{
    const struct freed_before_exit *freed = (const struct freed_before_exit *)argument;

    heap_free(freed->twice);
    if (freed->goes_back) {
        cache_flush_all(cache_self);
    }
    heap_free(freed->between);
    heap_free(freed->twice);
    exit(EXIT_SUCCESS);
}

/* On one stack, which nobody looked through; and in a slab and on a stack. */
static void a_block_freed_twice_dies_at_exit_at_the_latest(void **state)
{
    (void)state;
    use_class(64);
    struct freed_before_exit freed = {filled(64), filled(64), false};

    assert_dies_at(free_twice_and_exit, &freed, "double free of", (uintptr_t)freed.twice);
    freed.goes_back = true;
    assert_dies_at(free_twice_and_exit, &freed, "double free of", (uintptr_t)freed.twice);
}

static void blocks_freed_by_other_threads_come_home(void **state)
{
    (void)state;
    for (size_t size = 1; size < 4 * UNIT_BYTES; size = size * 2 + 1) {
        for (int i = 0; i < 5; i++) {
            run_threads(1, free_in_thread, filled(size));
        }
    }
    assert_nothing_is_used();
}

static void *fill_pointer(void *out)
{
    *(char **)out = (char *)heap_alloc(500);
    return NULL;
}

static void blocks_of_threads_that_ended_can_be_freed(void **state)
{
    char *block = NULL;

    (void)state;
    heap_free(filled(1));
    run_threads(1, fill_pointer, &block);
    memset(block, PATTERN, 500);
    heap_free(block);
    assert_nothing_is_used();
}

/* Trimming */

static void trimming_gives_memory_back_once(void **state)
{
    char *kept = filled(100);

    (void)state;
    heap_free(filled(100 * UNIT_BYTES));
    assert_true(heap_trim(0) >= 100 * UNIT_BYTES);
    check_all();
    assert_int_equal(heap_trim(0), 0);
    assert_true(is_all(kept, 100, PATTERN));
    heap_free(kept);
    assert_nothing_is_used();
}

/* With the gate closed, as during a fork */

static void with_the_gate_closed_blocks_come_from_elsewhere(void **state)
{
    (void)state;
    heap_free(filled(1));
    (void)heap_trim(0);
    gate_close(cache_gate(cache_self));
    char *small = filled(100);
    char *large = filled(LARGE);
    char *zeroed = (char *)heap_alloc_zeroed(LARGE);
    char *aligned = (char *)heap_alloc_aligned(8192, 100);

    assert_true(emergency_owns((uintptr_t)small));
    assert_true(emergency_owns((uintptr_t)large));
    assert_true(is_all(zeroed, LARGE, 0));
    assert_int_equal((uintptr_t)aligned % 8192, 0);
    assert_true(usable(small) >= 100 && usable(large) >= LARGE);
    open_gate();
    heap_free(small);
    heap_free(large);
    heap_free(zeroed);
    heap_free(aligned);
    assert_nothing_is_used();
}

static void what_was_used_with_the_gate_closed_reads_as_zero_where_it_has_to(void **state)
{
    (void)state;
    heap_free(filled(1));
    (void)heap_trim(0);
    gate_close(cache_gate(cache_self));
    char *used = filled(LARGE);

    heap_free(used);
    char *zeroed = (char *)heap_alloc_zeroed(LARGE);

    assert_ptr_equal(zeroed, used);
    assert_true(is_all(zeroed, LARGE, 0));
    open_gate();
    heap_free(zeroed);
    assert_nothing_is_used();
}

static void a_thread_may_call_first_with_the_gate_closed(void **state)
{
    (void)state;
    gate_close(cache_gate(cache_self));
    char *block = filled(100);

    assert_true(emergency_owns((uintptr_t)block));
    assert_false(life_started());
    heap_free(block);
    open_gate();
    heap_free(filled(100));
    assert_true(life_started());
    assert_nothing_is_used();
}

/* Freed with the gate closed. */
static void assert_freed_when_it_opens(bool has_memory)
{
    static char *blocks[BLOCKS];
    char *kept = filled(LARGE);
    char *too_long_to_be_kept = filled((RUN_CACHE_UNITS + 1) * UNIT_BYTES);

    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = filled(1000);
    }
    gate_close(cache_gate(cache_self));
    os_fail_calls(1, has_memory ? 0 : UINT64_MAX);
    uint64_t before = deferred_count();

    for (size_t i = 0; i < BLOCKS; i++) {
        heap_free(blocks[i]);
    }
    uint64_t small = deferred_count();

    assert_true(small > before);
    heap_free(kept);
    assert_int_equal(deferred_count(), small);
    heap_free(too_long_to_be_kept);
    assert_int_equal(deferred_count(), small + 1);
    os_fail_calls(0, 0);
    open_gate();
    assert_nothing_is_used();
}

static void frees_with_the_gate_closed_are_done_when_it_opens(void **state)
{
    (void)state;
    assert_freed_when_it_opens(true);
}

static void so_they_are_where_there_is_no_memory_to_remember_them(void **state)
{
    (void)state;
    assert_freed_when_it_opens(false);
}

/* Fork's handlers may run in a signal handler that interrupted the thread on a fast path. */
static void what_was_deferred_goes_back_past_the_cache(void **state)
{
    enum { SIZE = 1000, MANY = 40 };
    char *blocks[MANY];
    size_t cached[2];
    size_t bytes;

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        blocks[i] = filled(SIZE);
    }
    const struct cache_class *known = stacks_class(cache_self, size_class_of(SIZE));

    assert_null(known->free);
    cache_count(cache_self, &cached[0], &bytes);
    gate_close(cache_gate(cache_self));
    for (size_t i = 0; i < MANY; i++) {
        heap_free(blocks[i]);
    }
    assert_int_equal(deferred_count(), MANY);
    open_gate();
    cache_count(cache_self, &cached[1], &bytes);
    assert_int_equal(cached[1], cached[0]);
    assert_null(known->free);
    assert_nothing_is_used();
}

static void faults_are_found_with_the_gate_closed(void **state)
{
    char *block;

    (void)state;
    heap_free(filled(1));
    gate_close(cache_gate(cache_self));
    block = filled(LARGE);
    assert_no_block(block + os_page_bytes(), "invalid free of");
    assert_no_block(block + 8, "invalid free of");
    assert_no_block(block + 64, "invalid free of");
    heap_free(block);
    assert_no_block(block, "double free of");
    open_gate();
}

/* A miss is a refill, a flush or a block that passes singly. What is due every so many misses must
 * not be due at every call between two of them. */
static void a_growing_free_stack_leaves_other_classes_alone(void **state)
{
    void *blocks[100];

    (void)state;
    use_class(64);
    use_class(1000);
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = heap_alloc(64);
    }
    const struct cache_class *idle = stacks_class(cache_self, size_class_of(1000));

    assert_non_null(idle->free);
    cache_self->misses = 0;
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        heap_free(blocks[i]);
    }
    assert_int_equal(cache_self->misses, 0);
    assert_non_null(idle->free);
}

/* Seven blocks of each size: fewer than a class has stacks for. */
static void *do_a_little(void *unused)
{
    enum { SIZES = 7, EACH = 7 };
    void *blocks[SIZES * EACH];

    (void)unused;
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = heap_alloc((size_t)64 << i % SIZES);
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        heap_free(blocks[i]);
    }
    return NULL;
}

static void *do_a_little_and_count_stacks(void *stacks)
{
    (void)do_a_little(NULL);
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        const struct cache_class *cold = stacks_class(cache_self, class);

        *(size_t *)stacks += (size_t)(cold->alloc != NULL) + (size_t)(cold->free != NULL);
    }
    return NULL;
}

/* Each of many threads that sleep would keep one at least. */
static void where_caches_are_small_large_blocks_are_not_kept(void **state)
{
    static const size_t sizes[] = {20000, 40000, SMALL_MAX_BYTES, MEDIUM_MAX_BYTES};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        for (unsigned ask = 0; sizes[i] > SMALL_MAX_BYTES && ask < 50; ask++) {
            size_class_ask_medium(sizes[i]);
        }
        /* The first thread's share is large. */
        for (unsigned round = 0; round < 3; round++) {
            heap_free(heap_alloc(sizes[i]));
        }
        assert_true(blocks_kept() > 0);
        /* So many threads have come that a step is less; what was kept goes too. */
        conf.cache_limit = 8 * MIB;
        scavenge_share_among(100);
        for (unsigned round = 0; round < 3; round++) {
            void *block = heap_alloc(sizes[i]);
            void *other = heap_alloc(sizes[i]);

            assert_ptr_not_equal(block, other);
            heap_free(block);
            heap_free(other);
        }
        assert_int_equal(blocks_kept(), 0);
        conf.cache_limit = 64 * MIB;
        scavenge_share_among(1);
    }
    check_all();
}

enum { STRANGERS = 8 };

struct strangers {
    pthread_barrier_t all_have_caches;
    _Atomic unsigned next;
    void *blocks[STRANGERS];
};

static void *free_what_was_never_used_here(void *argument)
{
    struct strangers *strangers = (struct strangers *)argument;

    heap_free(heap_alloc(1));
    (void)pthread_barrier_wait(&strangers->all_have_caches);
    heap_free(strangers->blocks[atomic_fetch_add(&strangers->next, 1)]);
    return NULL;
}

/* Half of the threads are of the arena that the blocks are of. */
static void what_a_small_cache_has_never_used_goes_straight_back(void **state)
{
    static struct strangers strangers;

    (void)state;
    conf.cache_limit = MIB;
    for (size_t i = 0; i < STRANGERS; i++) {
        strangers.blocks[i] = filled(60000);
    }
    assert_int_equal(pthread_barrier_init(&strangers.all_have_caches, NULL, STRANGERS), 0);
    run_threads(STRANGERS, free_what_was_never_used_here, &strangers);
    assert_int_equal(blocks_kept(), 0);
    check_all();
}

static void a_thread_that_does_a_little_of_everything_keeps_nothing(void **state)
{
    size_t stacks = 0;

    (void)state;
    /* So that the one arena has blocks of these classes. */
    (void)do_a_little(NULL);
    life_limit_arenas(1);
    /* The second gets the first one's cache. */
    run_threads(1, do_a_little_and_count_stacks, &stacks);
    run_threads(1, do_a_little_and_count_stacks, &stacks);
    assert_int_equal(stacks, 0);
    check_all();
}

static void a_class_that_is_used_more_gets_stacks(void **state)
{
    (void)state;
    use_class(64);
    void *block = heap_alloc(64);
    size_t kept = blocks_kept();

    heap_free(block);
    assert_int_equal(blocks_kept(), kept + 1);
    check_all();
}

static void of_a_class_in_use_whole_stacks_go_back(void **state)
{
    static char *blocks[10 * BLOCKS];

    (void)state;
    use_class(64);
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = filled(64);
    }
    const struct bin *bin = arena_bin(cache_self->arena, size_class_of(64));
    uint64_t flushes = bin->stats.flushes;

    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        heap_free(blocks[i]);
    }
    assert_in_range(bin->stats.flushes - flushes, 1, ARRAY_SIZE(blocks) / 50);
    check_all();
}

/* A block is freed, others after it, and then again; where there are others, blocks are asked for
 * until it would have been handed out. */
struct freed_again {
    void *block;
    void *others[3];
    size_t between;
};

static void free_again(void *argument)
{
    const struct freed_again *faulty = (const struct freed_again *)argument;

    heap_free(faulty->block);
    for (size_t i = 0; i < faulty->between; i++) {
        heap_free(faulty->others[i]);
    }
    heap_free(faulty->block);
    for (size_t i = 0; faulty->between > 0 && i < 2 * UNIT_BYTES / 64; i++) {
        (void)heap_alloc(64);
    }
}

static void whatever_went_back_singly_a_block_freed_twice_dies(void **state)
{
    enum { SINGLES = 20 };
    struct freed_again faulty;
    void *last = NULL;

    (void)state;
    heap_free(heap_alloc(1000));
    /* The arena has blocks, the thread no stack. */
    assert_non_null(refill_one(cache_self->arena, size_class_of(64)));
    faulty.block = heap_alloc(64);
    for (size_t i = 0; i < ARRAY_SIZE(faulty.others); i++) {
        faulty.others[i] = heap_alloc(64);
    }
    for (size_t single = 0; single < SINGLES; single++) {
        for (faulty.between = 0; faulty.between <= ARRAY_SIZE(faulty.others); faulty.between++) {
            assert_dies_at(free_again, &faulty, "double free of", (uintptr_t)faulty.block);
        }
        heap_free(last);
        last = last == NULL ? heap_alloc(64) : NULL;
        assert_int_equal(stacks_class(cache_self, size_class_of(64))->singles,
                         single < 10 ? 5 + single : 15);
    }
    assert_non_null(stacks_class(cache_self, size_class_of(64))->free);
    check_all();
}

static void free_again_after_a_refill(void *block)
{
    enum { MORE = 1000 };
    unsigned class = size_class_of(64);

    while (stacks_class(cache_self, class)->singles < SINGLES_MAX - 1) {
        assert_non_null(heap_alloc(64));
    }
    heap_free(block);
    /* The first stack, out of the depot. */
    void *other = heap_alloc(64);

    assert_int_equal(depot_blocks(&arena_bin(cache_self->arena, class)->depot), 0);
    heap_free(other);
    heap_free(block);
    for (size_t i = 0; i < MORE; i++) {
        (void)heap_alloc(64);
    }
}

/* As many blocks of the class as a stack holds. */
static struct magazine *full_stack(unsigned class)
{
    struct magazine *full = magazine_create(size_classes[class].capacity);

    assert_non_null(full);
    while (full->count < full->capacity) {
        full->slots[full->count++] = refill_one(cache_self->arena, class);
    }
    return full;
}

static void a_stack_out_of_the_depot_proves_nothing_of_what_went_back_singly(void **state)
{
    (void)state;
    heap_free(heap_alloc(1000));
    unsigned class = size_class_of(64);
    struct magazine *full = full_stack(class);

    magazine_destroy(arena_flush(cache_self->arena, class, full, true));
    assert_int_equal(depot_blocks(&arena_bin(cache_self->arena, class)->depot),
                     size_classes[class].capacity);
    void *block = heap_alloc(64);

    assert_dies_at(free_again_after_a_refill, block, "double free of", (uintptr_t)block);
    check_all();
}

static void a_class_that_fills_slabs_is_split_into_finer_ones(void **state)
{
    (void)state;
    void *first = heap_alloc(300);

    assert_int_equal(heap_usable_size_slow(first, ""), 384);
    for (size_t bytes = 0; bytes < 8 * UNIT_BYTES; bytes += 384) {
        assert_non_null(heap_alloc(300));
    }
    assert_int_equal(heap_usable_size_slow(heap_alloc(300), ""), 304);
    assert_int_equal(heap_usable_size_slow(first, ""), 384);
    /* Nobody uses so much of these. */
    assert_int_equal(heap_usable_size_slow(heap_alloc(600), ""), 768);
    heap_free(first);
}

/* A queue of blocks: what is oldest goes first. */
static struct {
    void *blocks[64 * 1024];
    size_t first, count;
} queue;

static void queue_add(size_t count)
{
    for (; count > 0; count--) {
        void *block = heap_alloc(64);

        assert_non_null(block);
        queue.blocks[(queue.first + queue.count++) % ARRAY_SIZE(queue.blocks)] = block;
    }
}

static void queue_drop(size_t count)
{
    for (; count > 0; count--) {
        heap_free(queue.blocks[queue.first]);
        queue.first = (queue.first + 1) % ARRAY_SIZE(queue.blocks);
        queue.count--;
    }
}

/* New blocks take the places of old ones, wherever those lie: in all slabs, were it not for those
 * that are fuller. */
static void a_class_that_shrinks_slowly_gathers_in_few_slabs(void **state)
{
    enum { MOST = 64 * 1024 - 100, LEAST = MOST / 8, TURN = 100, LONG_MS = 1000 * 1000 * 1000 };

    (void)state;
    /* Nor is anything aged while this runs, however slow the machine. */
    conf.decay_ms = LONG_MS;
    queue_add(MOST);
    struct bin *bin = arena_bin(cache_self->arena, size_class_of(64));

    assert_in_range(bin_slabs(bin), MOST / 1024, MOST / 1024 + 4);
    for (size_t turn = 0; queue.count > LEAST; turn++) {
        queue_drop(TURN + turn % 8);
        queue_add(TURN);
    }
    assert_in_range(bin_slabs(bin) - bin->empty_slabs, LEAST / 1024, MOST / 1024 / 3);
    check_all();
}

static void a_full_stack_of_a_sparse_class_goes_past_the_depot(void **state)
{
    (void)state;
    heap_free(heap_alloc(1000));
    unsigned class = size_class_of(64);
    struct magazine *full = full_stack(class);
    struct bin *bin = arena_bin(cache_self->arena, class);

    atomic_store_explicit(&bin->is_sparse, true, memory_order_relaxed);
    assert_ptr_equal(arena_flush(cache_self->arena, class, full, true), full);
    assert_int_equal(full->count, 0);
    assert_int_equal(depot_blocks(&bin->depot), 0);
    magazine_destroy(full);
    check_all();
}

/* What is freed of a sparse class does not serve before the fullest slabs do; but no call in two is
 * a miss for that. */
static void a_pair_in_a_sparse_class_is_a_miss_now_and_then_only(void **state)
{
    enum { MOST = 64 * 1024 - 100, PAIRS = 100000, FEW = PAIRS / 16 };

    (void)state;
    queue_add(MOST);
    struct bin *bin = arena_bin(cache_self->arena, size_class_of(64));

    for (size_t i = 0; i < MOST; i++) {
        if (i % 4 != 0) {
            heap_free(queue.blocks[i]);
        }
    }
    assert_true(bin_is_sparse(bin));
    uint64_t misses = cache_self->misses;
    uint64_t refills = bin->stats.refills;
    uint64_t kept = depot_blocks(&bin->depot);

    for (size_t i = 0; i < PAIRS; i++) {
        heap_free(heap_alloc(64));
    }
    assert_in_range(cache_self->misses - misses, 1, FEW);
    assert_in_range(bin->stats.refills - refills, 1, FEW);
    assert_int_equal(depot_blocks(&bin->depot), kept);
    check_all();
}

/* Blocks between the small and the large */

#define MEDIUM (100 * KIB)

static void sizes_asked_for_often_get_slabs(void **state)
{
    static char *blocks[BLOCKS];

    (void)state;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = filled(MEDIUM);
        memset(blocks[i], (int)i, usable(blocks[i]));
    }
    assert_null(slab_at((uintptr_t)blocks[0]));
    assert_non_null(slab_at((uintptr_t)blocks[BLOCKS - 1]));
    assert_int_equal(usable(blocks[BLOCKS - 1]), 112 * KIB);
    check_all();
    for (size_t i = 0; i < BLOCKS; i++) {
        assert_true(is_all(blocks[i], usable(blocks[i]), (unsigned char)i));
        heap_free(blocks[i]);
    }
    assert_nothing_is_used();
}

static void take_and_free(size_t size, size_t times)
{
    for (; times > 0; times--) {
        heap_free(filled(size));
    }
}

/* As of files that are read one after the other. A size that larger blocks could serve has blocks
 * of its own in the end. */
static void one_buffer_at_a_time_of_any_size_comes_from_the_threads_own_stacks(void **state)
{
    enum { WARM = 20000, TURNS = 2000, FEW = TURNS / 100, LEAST_KIB = 66, SIZES = 190, STEP = 37 };
    uint64_t misses = 0;

    (void)state;
    for (size_t i = 0; i < WARM + TURNS; i++) {
        misses = i == WARM ? cache_self->misses : misses;
        heap_free(heap_alloc((LEAST_KIB + i * STEP % SIZES) * KIB));
    }
    assert_in_range(cache_self->misses - misses, 0, FEW);
    check_all();
}

static void sizes_that_kept_runs_serve_again_and_again_get_slabs(void **state)
{
    enum { TIMES = 31 * 64 };

    (void)state;
    take_and_free(MEDIUM, TIMES);
    assert_int_equal(size_class_code_of_any(MEDIUM), 0);
    /* Too large to have a class. */
    take_and_free(MEDIUM_MAX_BYTES + 1, TIMES);
    assert_int_equal(size_class_code_of_any(MEDIUM), 0);
    take_and_free(MEDIUM, 2 * 64);
    assert_int_not_equal(size_class_code_of_any(MEDIUM), 0);
}

static bool is_of_a_slab(void *block)
{
    return slab_at((uintptr_t)block) != NULL;
}

static void what_is_to_be_zeroed_or_aligned_more_than_its_class_is_a_run(void **state)
{
    (void)state;
    make_medium(MEDIUM);
    void *plain = heap_alloc(MEDIUM);
    void *zeroed = heap_alloc_zeroed(MEDIUM);
    void *of_pages = heap_alloc_aligned(4096, MEDIUM);
    void *of_units = heap_alloc_aligned(UNIT_BYTES, MEDIUM);

    assert_true(is_of_a_slab(plain));
    assert_false(is_of_a_slab(zeroed));
    assert_true(is_of_a_slab(of_pages));
    assert_false(is_of_a_slab(of_units));
    assert_int_equal((uintptr_t)of_pages % 4096, 0);
    assert_int_equal((uintptr_t)of_units % UNIT_BYTES, 0);
    assert_int_equal(resident_pages(zeroed, MEDIUM), 0);
    /* As far as all of its class's blocks are aligned. */
    size_t aligned =
        size_classes[size_class_of_code(size_class_code_of_any(MEDIUM))].align_mask + 1;

    assert_true(is_of_a_slab(heap_alloc_aligned(aligned, MEDIUM)));
    assert_false(is_of_a_slab(heap_alloc_aligned(2 * aligned, MEDIUM)));
    heap_free(plain);
    /* The same way without the slow path. */
    assert_ptr_equal(heap_alloc_aligned(4096, MEDIUM), plain);
    check_all();
}

static void without_room_for_a_slab_a_medium_block_is_a_run(void **state)
{
    char *large = filled(2 * UNIT_BYTES);

    (void)state;
    make_medium(MEDIUM);
    use_up_all_memory();
    assert_null(heap_alloc(MEDIUM));
    heap_free(large);
    char *block = (char *)heap_alloc(MEDIUM);

    assert_ptr_equal(block, large);
    assert_int_equal(usable(block), 2 * UNIT_BYTES);
    heap_free(block);
    os_fail_calls(0, 0);
    check_all();
}

static void a_medium_block_freed_twice_or_from_its_middle_dies(void **state)
{
    (void)state;
    make_medium(MEDIUM);
    char *block = filled(MEDIUM);

    assert_dies_at(free_it, block + UNIT_BYTES, "invalid free of", (uintptr_t)block + UNIT_BYTES);
    heap_free(block);
    assert_dies_at(free_it, block, "double free of", (uintptr_t)block);
}

static void a_medium_block_whose_slab_is_gone_is_freed_twice(void **state)
{
    (void)state;
    make_medium(MEDIUM);
    char *first = filled(MEDIUM);
    char *second = filled(MEDIUM);

    assert_ptr_equal(slab_at((uintptr_t)first), slab_at((uintptr_t)second));
    heap_free(first);
    heap_free(second);
    (void)heap_trim(SIZE_MAX / 2);
    assert_null(slab_at((uintptr_t)first));
    assert_dies_at(free_it, first, "double free of", (uintptr_t)first);
    assert_dies_at(free_it, second, "double free of", (uintptr_t)second);
}

static void *free_medium(void *block)
{
    heap_free(block);
    return NULL;
}

static void a_small_block_without_room_for_its_slab_has_a_unit_of_its_own(void **state)
{
    static char *blocks[BLOCKS];

    (void)state;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = filled(40 * KIB);
    }
    assert_true(slab_class(slab_at((uintptr_t)blocks[BLOCKS - 1]))->units > 1);
    char *unit = (char *)heap_alloc_aligned(UNIT_BYTES, UNIT_BYTES + 1);

    use_up_all_memory();
    /* Its own slabs' free blocks first, and those of the next sizes. */
    while (heap_alloc(40 * KIB) != NULL) {
    }
    heap_free(unit);
    char *block = (char *)heap_alloc(40 * KIB);

    assert_non_null(block);
    assert_int_equal(slab_class(slab_at((uintptr_t)block))->units, 1);
    os_fail_calls(0, 0);
    check_all();
}

static void the_units_that_a_thread_holds_serve_for_a_slab_without_room(void **state)
{
    void *units[3];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        units[i] = filled(60 * KIB);
        assert_int_equal(slab_class(slab_at((uintptr_t)units[i]))->units, 1);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        (void)filled(40 * KIB);
    }
    use_up_all_memory();
    while (heap_alloc(40 * KIB) != NULL) {
    }
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        heap_free(units[i]);
    }
    /* The first of them lets the stacks change places. */
    for (size_t i = ARRAY_SIZE(units); i > 0; i--) {
        assert_ptr_equal(heap_alloc(i == ARRAY_SIZE(units) ? 60 * KIB : 40 * KIB), units[i - 1]);
    }
    os_fail_calls(0, 0);
    check_all();
}

static void a_thread_keeps_few_medium_blocks(void **state)
{
    enum { COUNT = 40, FEW = 13 };
    char *blocks[COUNT];

    (void)state;
    make_medium(MEDIUM_MAX_BYTES);
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = filled(MEDIUM_MAX_BYTES);
    }
    for (size_t i = 0; i < COUNT; i++) {
        heap_free(blocks[i]);
        size_t count;
        size_t bytes;

        cache_count(cache_self, &count, &bytes);
        /* A small one may be there besides. */
        assert_true(bytes < (FEW + 1) * MEDIUM_MAX_BYTES);
    }
    check_all();
}

static void the_next_size_that_the_thread_holds_serves_too(void **state)
{
    (void)state;
    make_medium(80 * KIB);
    make_medium(96 * KIB);
    char *first = filled(80 * KIB);
    char *second = filled(96 * KIB);
    unsigned class = slab_at((uintptr_t)first)->class;

    assert_int_equal(slab_at((uintptr_t)second)->class, class + 1);
    /* All of the smaller class are taken. */
    while (arena_take_one(cache_self->arena, class) != NULL) {
    }
    heap_free(second);
    assert_ptr_equal(heap_alloc(70 * KIB), second);
    /* As large as the class that it could have got: it stays. */
    assert_ptr_equal(heap_resize(second, 66 * KIB), second);
    check_all();
}

static void after_a_vain_miss_the_next_size_serves_without_the_arena(void **state)
{
    enum { DRY_MISSES = 16 };

    (void)state;
    make_medium(80 * KIB);
    make_medium(96 * KIB);
    unsigned class = slab_at((uintptr_t)filled(80 * KIB))->class;
    char *larger = filled(96 * KIB);

    while (arena_take_one(cache_self->arena, class) != NULL) {
    }
    heap_free(larger);
    assert_ptr_equal(heap_alloc(80 * KIB), larger);
    heap_free(larger);
    assert_ptr_equal(heap_alloc(80 * KIB), larger);
    heap_free(larger);
    /* Both of the larger class's stacks are made. No lock could be taken now. */
    gate_close(cache_gate(cache_self));
    const struct cache_class *cold = stacks_class(cache_self, class);

    assert_in_range(cold->dry, 1, DRY_MISSES);
    while (cold->dry > 0) {
        assert_ptr_equal(heap_alloc(80 * KIB), larger);
        heap_free(larger);
    }
    /* The arena is due to be asked again. */
    void *other = heap_alloc(80 * KIB);

    assert_true(emergency_owns((uintptr_t)other));
    heap_free(other);
    open_gate();
    check_all();
}

static void a_medium_block_freed_by_another_thread_comes_home(void **state)
{
    (void)state;
    make_medium(MEDIUM);
    char *blocks[4];

    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = filled(MEDIUM);
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        run_threads(1, free_medium, blocks[i]);
    }
    assert_nothing_is_used();
}

static void with_the_gate_closed_a_medium_block_comes_from_elsewhere(void **state)
{
    (void)state;
    make_medium(MEDIUM);
    char *before = filled(MEDIUM);

    gate_close(cache_gate(cache_self));
    char *block = filled(MEDIUM);

    assert_true(emergency_owns((uintptr_t)block));
    heap_free(block);
    heap_free(before);
    open_gate();
    assert_nothing_is_used();
}

static void *free_elsewhere(void *block)
{
    heap_free(block);
    return NULL;
}

/* By a thread of another arena, which has taken it in nowhere yet. */
static char *freed_elsewhere(size_t size)
{
    char *block = filled(size);

    assert_true(life_limit_arenas(2));
    run_threads(1, free_elsewhere, block);
    return block;
}

static void free_and_trim(void *block)
{
    heap_free(block);
    (void)heap_trim(0);
}

static void a_block_freed_elsewhere_is_freed_again_singly(void **state)
{
    (void)state;
    heap_free(heap_alloc(1));
    char *block = freed_elsewhere(100);

    assert_dies_at(free_it, block, "double free of", (uintptr_t)block);
    check_all();
}

static void a_block_freed_elsewhere_is_freed_again_onto_a_stack(void **state)
{
    (void)state;
    use_class(100);
    char *block = freed_elsewhere(100);

    assert_dies_at(free_and_trim, block, "double free of", (uintptr_t)block);
    check_all();
}

/* After a block that makes the thread collect what it frees of others. */
static void *free_after_another(void *address)
{
    heap_free(*(void **)address);
    heap_free(((void **)address)[1]);
    return NULL;
}

static void free_inside_elsewhere(void *address)
{
    void *blocks[] = {filled(48), address};

    assert_true(life_limit_arenas(2));
    run_threads(1, free_after_another, blocks);
}

/* It is kept until it is published: here as its thread ends. */
static void an_address_inside_another_arena_s_block_dies(void **state)
{
    (void)state;
    char *block = filled(48);

    assert_dies_at(free_inside_elsewhere, block + 16, "invalid free of", (uintptr_t)block + 16);
    assert_dies_at(free_inside_elsewhere, block + 8, "invalid free of", (uintptr_t)block + 8);
    heap_free(block);
    check_all();
}

static void a_large_block_is_claimed_once(void **state)
{
    char *block = filled(LARGE);

    (void)state;
    assert_null(large_claim((uintptr_t)block + UNIT_BYTES, "double free of"));
    struct span *run = large_claim((uintptr_t)block, "double free of");

    assert_non_null(run);
    assert_dies_at(free_it, block, "double free of", (uintptr_t)block);
    large_unclaim(run);
    heap_free(block);
    check_all();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(every_size_gets_a_usable_aligned_block),
        ISOLATED(live_blocks_never_overlap),
        ISOLATED(a_large_block_is_a_run_of_its_own),
        ISOLATED(sizes_beyond_all_measure_are_refused),
        ISOLATED(a_refusal_beyond_all_measure_empties_no_cache),
        ISOLATED(every_alignment_is_kept),
        ISOLATED(an_aligned_block_is_the_next_of_its_class),
        ISOLATED(a_class_that_is_not_aligned_so_is_passed_over),
        ISOLATED(what_wraps_when_it_is_rounded_is_refused),
        ISOLATED(zeroed_blocks_are_zero_over_used_memory),
        ISOLATED(a_fresh_large_zeroed_block_is_not_touched),
        ISOLATED(the_gate_has_been_left_while_a_block_is_zeroed),
        ISOLATED(a_free_block_is_not_touched),
        ISOLATED(success_leaves_errno_alone),
        ISOLATED(a_block_got_after_the_break_failed_leaves_errno_alone),
        ISOLATED(without_memory_a_small_block_comes_from_a_larger_class_or_not_at_all),
        ISOLATED(what_is_freed_without_memory_can_be_had_again),
        ISOLATED(without_memory_for_a_stack_a_block_goes_straight_back),
        ISOLATED(blocks_not_needed_go_back_where_every_request_is_a_hit),
        ISOLATED(what_the_own_cache_holds_makes_way_for_a_large_block),
        ISOLATED(so_it_does_for_a_small_one_of_another_class),
        ISOLATED(whichever_call_fails_nothing_is_lost),
        ISOLATED(addresses_that_are_no_blocks_die),
        ISOLATED(addresses_inside_a_block_of_a_mapped_region_die),
        ISOLATED(a_small_block_of_a_mapped_region_goes_on_a_stack_too),
        ISOLATED(a_block_whose_region_is_gone_is_an_unknown_address),
        ISOLATED(a_large_block_freed_twice_dies),
        ISOLATED(a_small_block_freed_twice_in_a_row_dies),
        ISOLATED(a_block_whose_slab_is_gone_is_freed_twice),
        ISOLATED(a_misaligned_address_of_another_arena_dies_at_once),
        ISOLATED(a_block_freed_twice_dies_at_exit_at_the_latest),
        ISOLATED(blocks_freed_by_other_threads_come_home),
        ISOLATED(blocks_of_threads_that_ended_can_be_freed),
        ISOLATED(trimming_gives_memory_back_once),
        ISOLATED(with_the_gate_closed_blocks_come_from_elsewhere),
        ISOLATED(what_was_used_with_the_gate_closed_reads_as_zero_where_it_has_to),
        ISOLATED(a_thread_may_call_first_with_the_gate_closed),
        ISOLATED(frees_with_the_gate_closed_are_done_when_it_opens),
        ISOLATED(so_they_are_where_there_is_no_memory_to_remember_them),
        ISOLATED(what_was_deferred_goes_back_past_the_cache),
        ISOLATED(faults_are_found_with_the_gate_closed),
        ISOLATED(a_growing_free_stack_leaves_other_classes_alone),
        ISOLATED(where_caches_are_small_large_blocks_are_not_kept),
        ISOLATED(what_a_small_cache_has_never_used_goes_straight_back),
        ISOLATED(a_thread_that_does_a_little_of_everything_keeps_nothing),
        ISOLATED(a_class_that_is_used_more_gets_stacks),
        ISOLATED(of_a_class_in_use_whole_stacks_go_back),
        ISOLATED(whatever_went_back_singly_a_block_freed_twice_dies),
        ISOLATED(a_stack_out_of_the_depot_proves_nothing_of_what_went_back_singly),
        ISOLATED(a_class_that_fills_slabs_is_split_into_finer_ones),
        ISOLATED(a_class_that_shrinks_slowly_gathers_in_few_slabs),
        ISOLATED(a_full_stack_of_a_sparse_class_goes_past_the_depot),
        ISOLATED(a_pair_in_a_sparse_class_is_a_miss_now_and_then_only),
        ISOLATED(sizes_asked_for_often_get_slabs),
        ISOLATED(one_buffer_at_a_time_of_any_size_comes_from_the_threads_own_stacks),
        ISOLATED(sizes_that_kept_runs_serve_again_and_again_get_slabs),
        ISOLATED(what_is_to_be_zeroed_or_aligned_more_than_its_class_is_a_run),
        ISOLATED(without_room_for_a_slab_a_medium_block_is_a_run),
        ISOLATED(a_medium_block_whose_slab_is_gone_is_freed_twice),
        ISOLATED(a_medium_block_freed_twice_or_from_its_middle_dies),
        ISOLATED(a_small_block_without_room_for_its_slab_has_a_unit_of_its_own),
        ISOLATED(the_units_that_a_thread_holds_serve_for_a_slab_without_room),
        ISOLATED(a_thread_keeps_few_medium_blocks),
        ISOLATED(the_next_size_that_the_thread_holds_serves_too),
        ISOLATED(after_a_vain_miss_the_next_size_serves_without_the_arena),
        ISOLATED(a_medium_block_freed_by_another_thread_comes_home),
        ISOLATED(a_block_freed_elsewhere_is_freed_again_singly),
        ISOLATED(a_block_freed_elsewhere_is_freed_again_onto_a_stack),
        ISOLATED(an_address_inside_another_arena_s_block_dies),
        ISOLATED(a_large_block_is_claimed_once),
        ISOLATED(with_the_gate_closed_a_medium_block_comes_from_elsewhere),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
