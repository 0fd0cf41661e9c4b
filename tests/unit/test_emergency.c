/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_emergency.c - memory while the gate is closed: no lock, space that serves again, memory that
 * goes back. */
#include "support.h"

#include <stdatomic.h>
#include <string.h>

#include "emergency.h"
#include "gate.h"
#include "group.h"
#include "os.h"

enum { THREADS = 4, ROUNDS = 500, HELD = 16 };

/* Of blocks of up to a page. */
static size_t granule_bytes(void)
{
    return os_page_bytes() / BITS_PER_WORD;
}

/* A block that must be had. */
static char *block_of(size_t size, size_t alignment)
{
    char *block = (char *)emergency_alloc(size, alignment);

    assert_non_null(block);
    assert_int_equal((uintptr_t)block % alignment, 0);
    assert_true(emergency_owns((uintptr_t)block));
    assert_true(emergency_usable_size((uintptr_t)block) >= size);
    return block;
}

static void nothing_is_ours_before_the_first_block(void **state)
{
    int local;

    (void)state;
    assert_false(emergency_owns((uintptr_t)&local));
    assert_false(emergency_owns(0));
    assert_int_equal(emergency_usable_size((uintptr_t)&local), 0);
    assert_int_equal(emergency_stats().mapped_bytes, 0);
}

static void blocks_are_as_long_as_asked_and_do_not_overlap(void **state)
{
    static char *blocks[100];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = block_of(i * 33, 16);
        memset(blocks[i], (int)i, emergency_usable_size((uintptr_t)blocks[i]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        assert_true(is_all(blocks[i], i * 33, (unsigned char)i));
        emergency_free((uintptr_t)blocks[i]);
    }
    assert_int_equal(emergency_stats().allocs, ARRAY_SIZE(blocks));
    emergency_check();
}

static void an_empty_block_is_a_block(void **state)
{
    char *first = block_of(0, 16);
    char *second = block_of(0, 16);

    (void)state;
    assert_ptr_not_equal(first, second);
    emergency_free((uintptr_t)first);
    emergency_free((uintptr_t)second);
}

static void every_alignment_is_kept(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2) {
        char *block = block_of(100, alignment);

        memset(block, 0x5a, 100);
    }
}

static void a_block_of_up_to_a_page_holds_no_other(void **state)
{
    size_t page = os_page_bytes();

    (void)state;
    for (size_t size = 1; size <= page; size += 100) {
        uintptr_t start = (uintptr_t)block_of(size, 16);

        assert_int_equal(start / page, (start + size - 1) / page);
    }
}

static void a_block_longer_than_a_run_gets_a_run_of_its_own(void **state)
{
    char *block = block_of(10 * MIB, 16);

    (void)state;
    memset(block, 0x5a, 10 * MIB);
    assert_true(emergency_owns((uintptr_t)block + 10 * MIB - 1));
    assert_true(emergency_stats().mapped_bytes >= 10 * MIB);
    emergency_free((uintptr_t)block);
}

static void sizes_beyond_all_measure_give_null(void **state)
{
    (void)state;
    assert_null(emergency_alloc(SIZE_MAX, 16));
    assert_null(emergency_alloc((size_t)PTRDIFF_MAX, 16));
    assert_null(emergency_alloc(1, (size_t)1 << 62));
    assert_null(emergency_alloc((size_t)1 << 46, 16));
    (void)block_of(1, 16);
}

static void without_memory_it_gives_null_until_there_is_some(void **state)
{
    (void)state;
    os_fail_calls(1, UINT64_MAX);
    assert_null(emergency_alloc(1, 16));
    os_fail_calls(0, 0);
    assert_int_equal(emergency_stats().mapped_bytes, 0);
    (void)block_of(1, 16);
}

/* Space that serves again */

static void the_first_free_space_that_is_long_enough_serves(void **state)
{
    char *first = block_of(1000, 16);
    char *second = block_of(500, 16);
    char *third = block_of(1000, 16);

    (void)state;
    emergency_free((uintptr_t)second);
    emergency_free((uintptr_t)first);
    assert_ptr_equal(block_of(1200, 16), first);
    emergency_free((uintptr_t)third);
    assert_true(block_of(200, 16) < third);
}

/* Of many blocks of `size` bytes only every `keep`-th stays: as many more need no other pool. */
static void assert_space_serves_again(size_t size, size_t keep)
{
    static char *blocks[1000];

    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = block_of(size, 16);
        memset(blocks[i], (int)i, size);
    }
    size_t mapped_bytes = emergency_stats().mapped_bytes;

    for (size_t round = 0; round < 10; round++) {
        for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
            if (i % keep != 0) {
                emergency_free((uintptr_t)blocks[i]);
            }
        }
        for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
            blocks[i] = i % keep != 0 ? block_of(size, 16) : blocks[i];
            memset(blocks[i], (int)i, size);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        assert_true(is_all(blocks[i], size, (unsigned char)i));
        emergency_free((uintptr_t)blocks[i]);
    }
    assert_int_equal(emergency_stats().mapped_bytes, mapped_bytes);
}

static void a_run_that_is_partly_live_serves_again(void **state)
{
    (void)state;
    assert_space_serves_again(1000, 10);
    assert_space_serves_again(3 * os_page_bytes(), 10);
}

/* However many pools there are, an address is looked up in few places. */
static void many_pools_are_few_groups(void **state)
{
    enum { POOLS = 200, GROUPS_MOST = 25 };
    char *blocks[POOLS];

    (void)state;
    for (size_t i = 0; i < POOLS; i++) {
        blocks[i] = block_of(MIB, 16);
        *blocks[i] = (char)i;
    }
    assert_true(emergency_stats().mapped_bytes >= POOLS * MIB);
    assert_in_range(group_count(), 2, GROUPS_MOST);
    for (size_t i = 0; i < POOLS; i++) {
        assert_int_equal(emergency_usable_size((uintptr_t)blocks[i]), MIB);
        assert_int_equal(emergency_usable_size((uintptr_t)blocks[i] + MIB), 0);
        assert_int_equal(*blocks[i], (char)i);
    }
    emergency_check();
    for (size_t i = 0; i < POOLS; i++) {
        emergency_free((uintptr_t)blocks[i]);
    }
    assert_int_equal(emergency_stats().used_bytes, 0);
    emergency_check();
}

/* A request refused for want of room is refused until there is some, and no longer. */
static void a_full_pool_serves_again_after_a_free(void **state)
{
    size_t page = os_page_bytes();
    char *first = block_of(page, 16);
    char *other = first;

    (void)state;
    while (emergency_stats().mapped_bytes < 2 * MIB) {
        other = block_of(page, 16);
    }
    emergency_free((uintptr_t)first);
    /* The newest pool is looked at first. */
    for (char *block = other; block != first;) {
        size_t mapped_bytes = emergency_stats().mapped_bytes;

        block = block_of(page, 16);
        assert_int_equal(emergency_stats().mapped_bytes, mapped_bytes);
    }
}

/* Pages that no other pool is mapped for. */
static char *pages_of_old(size_t pages)
{
    size_t mapped_bytes = emergency_stats().mapped_bytes;
    char *block = block_of(pages * os_page_bytes(), 16);

    assert_int_equal(emergency_stats().mapped_bytes, mapped_bytes);
    return block;
}

static void a_pool_too_full_for_one_block_serves_a_shorter_one(void **state)
{
    size_t pool_pages = MIB / os_page_bytes();

    (void)state;
    (void)block_of((pool_pages - 2) * os_page_bytes(), 16);
    (void)block_of((pool_pages - 1) * os_page_bytes(), 16);
    (void)pages_of_old(2);
}

static void a_pool_without_an_aligned_place_serves_others(void **state)
{
    size_t page = os_page_bytes();
    size_t left = MIB / page - 2;
    uintptr_t place = (uintptr_t)block_of(2 * page, 16) + 2 * page;

    (void)state;
    if (place % (2 * page) == 0) {
        (void)block_of(3 * page, 16);
        place += 3 * page;
        left -= 3;
    }
    (void)block_of(left * page, 2 * page);
    assert_int_equal((uintptr_t)pages_of_old(left), place);
}

static void room_that_is_too_short_is_left_as_it_was(void **state)
{
    size_t page = os_page_bytes();
    char *first = block_of(BITS_PER_WORD / 2 * page, 16);
    char *second = block_of(BITS_PER_WORD * page, 16);
    char *third = block_of(2 * page, 16);

    (void)state;
    emergency_free((uintptr_t)second);
    /* More than a word of bits: some of them are set before one turns out to be taken. */
    assert_true(block_of((BITS_PER_WORD + 1) * page, 16) != second);
    assert_ptr_equal(block_of(BITS_PER_WORD * page, 16), second);
    emergency_free((uintptr_t)first);
    emergency_free((uintptr_t)third);
}

static void long_and_aligned_blocks_serve_again(void **state)
{
    char *block = block_of(100 * os_page_bytes(), 4 * MIB);
    char *neighbour = block_of(2 * os_page_bytes(), 16);

    (void)state;
    memset(block, 0x5a, 100 * os_page_bytes());
    memset(neighbour, 0xa5, 2 * os_page_bytes());
    emergency_free((uintptr_t)block);
    assert_ptr_equal(block_of(100 * os_page_bytes(), 4 * MIB), block);
    assert_true(is_all(neighbour, 2 * os_page_bytes(), 0xa5));
    emergency_check();
}

static void forks_without_end_need_no_memory_without_end(void **state)
{
    (void)state;
    for (int round = 0; round < 10000; round++) {
        emergency_free((uintptr_t)block_of(100000, 16));
    }
    assert_true(emergency_stats().mapped_bytes < 2 * MIB);
}

/* Memory that goes back */

/* As when the last fork ends. */
static void open_gate(void)
{
    gate_open();
    assert_true(gate_is_open());
    (void)emergency_purge(SIZE_MAX);
}

static void memory_of_a_long_block_goes_back(void **state)
{
    size_t bytes = 10 * MIB;
    char *block = block_of(bytes, 16);

    (void)state;
    memset(block, 0x5a, bytes);
    assert_int_equal(resident_pages(block, bytes), bytes / os_page_bytes());
    assert_int_equal(emergency_purge(SIZE_MAX), 0);
    emergency_free((uintptr_t)block);
    assert_int_equal(emergency_purge(SIZE_MAX), bytes);
    assert_int_equal(resident_pages(block, bytes), 0);
    assert_ptr_equal(block_of(bytes, 16), block);
    assert_true(is_all(block, bytes, 0));
}

static void a_page_goes_back_with_its_last_block(void **state)
{
    size_t page = os_page_bytes();
    char *blocks[4];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = block_of(page / 2, 16);
        memset(blocks[i], 0x5a, page / 2);
    }
    assert_int_equal(resident_pages(blocks[0], 2 * page), 2);
    emergency_free((uintptr_t)blocks[0]);
    emergency_free((uintptr_t)blocks[2]);
    assert_int_equal(emergency_purge(SIZE_MAX), 0);
    assert_int_equal(resident_pages(blocks[0], 2 * page), 2);
    emergency_free((uintptr_t)blocks[3]);
    assert_int_equal(emergency_purge(SIZE_MAX), page);
    assert_int_equal(resident_pages(blocks[0], page), 1);
    assert_int_equal(resident_pages(blocks[0] + page, page), 0);
    assert_true(is_all(blocks[1], page / 2, 0x5a));
    emergency_free((uintptr_t)blocks[1]);
    assert_int_equal(emergency_purge(SIZE_MAX), page);
    assert_int_equal(resident_pages(blocks[0], page), 0);
}

static void memory_freed_during_a_fork_goes_back_when_it_ends(void **state)
{
    static char *blocks[1000];
    size_t page = os_page_bytes();

    (void)state;
    gate_close(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        /* Half of them long, alternating. */
        blocks[i] = block_of(i % 2 == 0 ? page : 2 * page, page);
        memset(blocks[i], (int)i, page);
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        if (i % 10 > 1) {
            emergency_free((uintptr_t)blocks[i]);
        }
    }
    /* It will soon serve again. */
    assert_int_equal(emergency_purge(SIZE_MAX), 0);
    open_gate();
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        assert_int_equal(resident_pages(blocks[i], page), i % 10 > 1 ? 0 : 1);
        assert_true(i % 10 > 1 || is_all(blocks[i], page, (unsigned char)i));
    }
}

static void no_more_goes_at_once_than_was_asked_for(void **state)
{
    size_t bytes = 1000 * os_page_bytes();
    char *block = block_of(bytes, 16);
    size_t first = BITS_PER_WORD * os_page_bytes();

    (void)state;
    memset(block, 0x5a, bytes);
    emergency_free((uintptr_t)block);
    assert_in_range(emergency_purge(1), 1, first);
    assert_in_range(emergency_purge(first + 1), first + 1, 2 * first);
    assert_true(resident_pages(block, bytes) >= 1000 - 3 * BITS_PER_WORD);
    (void)emergency_purge(SIZE_MAX);
    assert_int_equal(resident_pages(block, bytes), 0);
}

static void memory_that_the_kernel_keeps_goes_back_later(void **state)
{
    size_t bytes = 10 * os_page_bytes();
    char *block = block_of(bytes, 16);
    char *neighbour = block_of(bytes, 16);

    (void)state;
    lock_pages(block, bytes);
    emergency_free((uintptr_t)block);
    assert_int_equal(emergency_purge(SIZE_MAX), 0);
    assert_int_equal(resident_pages(block, bytes), 10);
    unlock_pages(block, bytes);
    emergency_free((uintptr_t)neighbour);
    (void)emergency_purge(SIZE_MAX);
    assert_int_equal(resident_pages(block, bytes), 0);
}

static void only_the_start_of_a_live_block_has_a_size(void **state)
{
    char *block = block_of(200, 16);
    uintptr_t address = (uintptr_t)block;

    (void)state;
    for (size_t offset = 1; offset < 256; offset++) {
        assert_int_equal(emergency_usable_size(address + offset), 0);
    }
    (void)block_of(1, 16);
    emergency_free(address);
    assert_int_equal(emergency_usable_size(address), 0);
    assert_true(emergency_owns(address));
}

static void free_address(void *address)
{
    emergency_free((uintptr_t)address);
}

static void bad_frees_die(void **state)
{
    char *block = block_of(2 * granule_bytes(), 16);
    char *other = block_of(200, 16);

    (void)state;
    assert_dies_at(free_address, block + 8, "invalid free of", (uintptr_t)block + 8);
    assert_dies_at(free_address, block + granule_bytes(), "invalid free of",
                   (uintptr_t)block + granule_bytes());
    emergency_free((uintptr_t)block);
    assert_dies_at(free_address, block, "double free of", (uintptr_t)block);
    emergency_free((uintptr_t)other);
}

/* A fork */

static void a_child_leaves_old_pools_alone(void **state)
{
    char *before = block_of(100, 16);

    (void)state;
    memset(before, 0x5a, 100);
    emergency_reset_in_child();
    assert_int_equal(emergency_stats().mapped_bytes, 0);
    /* Old blocks are still blocks, and may be freed, but their pool does not serve again. */
    assert_true(is_all(before, 100, 0x5a));
    assert_true(emergency_usable_size((uintptr_t)before) >= 100);
    char *after = block_of(100, 16);

    assert_true(after > before + MIB / 2 || before > after + MIB / 2);
    emergency_free((uintptr_t)before);
    assert_ptr_not_equal(block_of(100, 16), before);
    assert_dies_at(free_address, before, "double free of", (uintptr_t)before);
}

/* Or each of a chain of children would have one pool more. */
static void pools_that_are_unused_serve_a_child(void **state)
{
    char *page = block_of(os_page_bytes() + 1, 16);
    char *small = block_of(100, 16);

    (void)state;
    size_t mapped = emergency_stats().mapped_bytes;

    emergency_free((uintptr_t)small);
    emergency_reset_in_child();
    assert_in_range(emergency_stats().mapped_bytes, MIB, mapped - MIB);
    assert_ptr_equal(block_of(100, 16), small);
    char *other = block_of(os_page_bytes() + 1, 16);

    assert_true(other > page + MIB / 2 || page > other + MIB / 2);
    emergency_free((uintptr_t)page);
    emergency_free((uintptr_t)other);
    emergency_reset_in_child();
    assert_true(emergency_stats().mapped_bytes > mapped - MIB);
    assert_int_equal(emergency_usable_size((uintptr_t)small) >= 100, true);
    emergency_check();
}

static void what_a_child_frees_of_old_pools_goes_back(void **state)
{
    char *before = block_of(MIB, 16);

    (void)state;
    memset(before, 0x5a, MIB);
    emergency_reset_in_child();
    assert_int_equal(resident_pages(before, MIB), MIB / os_page_bytes());
    emergency_free((uintptr_t)before);
    assert_int_equal(emergency_purge(SIZE_MAX), MIB);
    assert_int_equal(resident_pages(before, MIB), 0);
    emergency_check();
}

/* Threads */

static _Atomic unsigned next_thread;

static bool fill_and_look(char *blocks[HELD], unsigned char mark)
{
    bool good = true;

    for (size_t i = 0; i < HELD; i++) {
        blocks[i] = (char *)emergency_alloc(i * 50 + 1, 16);
        good = good && blocks[i] != NULL;
        if (blocks[i] != NULL) {
            memset(blocks[i], mark, i * 50 + 1);
        }
    }
    for (size_t i = 0; i < HELD; i++) {
        good = good && blocks[i] != NULL && is_all(blocks[i], i * 50 + 1, mark);
        if (blocks[i] != NULL) {
            emergency_free((uintptr_t)blocks[i]);
        }
    }
    return good;
}

static void *allocate_and_free(void *failed)
{
    unsigned char mark = (unsigned char)(atomic_fetch_add(&next_thread, 1) + 1);
    char *blocks[HELD];

    for (int round = 0; round < ROUNDS; round++) {
        if (!fill_and_look(blocks, mark)) {
            atomic_store((_Atomic bool *)failed, true);
        }
    }
    return NULL;
}

static void threads_never_share_a_block(void **state)
{
    _Atomic bool failed = false;

    (void)state;
    run_threads(THREADS, allocate_and_free, &failed);
    assert_false(failed);
    assert_int_equal(emergency_stats().allocs, THREADS * ROUNDS * HELD);
    emergency_check();
}

/* Blocks that threads exchange, while one of them closes and opens the gate. */

enum { SLOTS = 64, EXCHANGES = 2000, GATE_ROUNDS = 16 };

static _Atomic(char *) slots[SLOTS];
static char *handed_out[THREADS][EXCHANGES];

/* Of all bytes the same. */
static bool drop(char *block)
{
    size_t bytes = block != NULL ? emergency_usable_size((uintptr_t)block) : 0;
    bool good = block == NULL || is_all(block, bytes, (unsigned char)block[0]);

    if (block != NULL) {
        emergency_free((uintptr_t)block);
    }
    return good;
}

/* A block in the place of another. Sizes on both sides of a page. */
static char *exchange(unsigned number, bool *good)
{
    size_t size = number % 7 == 0 ? number % 5 * os_page_bytes() + 1 : number % 3000 + 1;
    char *block = (char *)emergency_alloc(size, (size_t)1 << number % 14);

    *good = block != NULL;
    if (block != NULL) {
        memset(block, (int)number, emergency_usable_size((uintptr_t)block));
        *good = drop(atomic_exchange(&slots[number % SLOTS], block));
    }
    return block;
}

static void open_or_close_gate(int round)
{
    if (round % GATE_ROUNDS == 0) {
        gate_close(NULL);
    }
    if (round % GATE_ROUNDS == GATE_ROUNDS / 2) {
        open_gate();
    }
}

static void *exchange_blocks(void *failed)
{
    unsigned index = atomic_fetch_add(&next_thread, 1);
    unsigned seed = index;

    for (int round = 0; round < EXCHANGES; round++) {
        bool good;

        if (index == 0) {
            open_or_close_gate(round);
        }
        seed = seed * 1664525 + 1013904223;
        handed_out[index][round] = exchange(seed >> 8, &good);
        if (!good) {
            atomic_store((_Atomic bool *)failed, true);
        }
    }
    return NULL;
}

static void blocks_that_threads_exchange_leave_no_memory_behind(void **state)
{
    _Atomic bool failed = false;

    (void)state;
    run_threads(THREADS, exchange_blocks, &failed);
    assert_true(gate_is_open());
    for (size_t i = 0; i < SLOTS; i++) {
        assert_true(drop(slots[i]));
    }
    assert_false(failed);
    (void)emergency_purge(SIZE_MAX);
    for (size_t i = 0; i < THREADS; i++) {
        for (size_t k = 0; k < EXCHANGES; k++) {
            uintptr_t page = align_down((uintptr_t)handed_out[i][k], os_page_bytes());

            assert_int_equal(resident_pages((void *)page, os_page_bytes()), 0);
        }
    }
    assert_true(emergency_stats().mapped_bytes < 3 * THREADS * MIB);
    emergency_check();
}

enum { MARKS = 4 };

/* The words of marks of a pool's first granules, where its only block is the first of them: they
 * lie before the memory, each with its first bit set. */
static uint64_t *marks_before(char *first_block)
{
    uint64_t *marks = (uint64_t *)(void *)first_block - MARKS;

    while (marks[0] != 1 || marks[1] != 1 || marks[2] != 1 || marks[3] != 1) {
        marks--;
    }
    return marks;
}

static void check_without_a_mark(void *mark)
{
    *(uint64_t *)mark = 0;
    emergency_check();
}

static void a_check_misses_each_mark_of_a_block(void **state)
{
    char *block = block_of(1, 1);
    uint64_t *marks = marks_before(block);

    (void)state;
    for (size_t i = 0; i < MARKS; i++) {
        emergency_check();
        assert_dies(check_without_a_mark, &marks[i],
                    "emergency: the bits of a pool do not add up to blocks");
    }
    emergency_free((uintptr_t)block);
    emergency_check();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(nothing_is_ours_before_the_first_block),
        ISOLATED(blocks_are_as_long_as_asked_and_do_not_overlap),
        ISOLATED(an_empty_block_is_a_block),
        ISOLATED(every_alignment_is_kept),
        ISOLATED(a_block_of_up_to_a_page_holds_no_other),
        ISOLATED(a_block_longer_than_a_run_gets_a_run_of_its_own),
        ISOLATED(sizes_beyond_all_measure_give_null),
        ISOLATED(without_memory_it_gives_null_until_there_is_some),
        ISOLATED(the_first_free_space_that_is_long_enough_serves),
        ISOLATED(a_run_that_is_partly_live_serves_again),
        ISOLATED(many_pools_are_few_groups),
        ISOLATED(a_full_pool_serves_again_after_a_free),
        ISOLATED(a_pool_too_full_for_one_block_serves_a_shorter_one),
        ISOLATED(a_pool_without_an_aligned_place_serves_others),
        ISOLATED(room_that_is_too_short_is_left_as_it_was),
        ISOLATED(long_and_aligned_blocks_serve_again),
        ISOLATED(forks_without_end_need_no_memory_without_end),
        ISOLATED(memory_of_a_long_block_goes_back),
        ISOLATED(a_page_goes_back_with_its_last_block),
        ISOLATED(memory_freed_during_a_fork_goes_back_when_it_ends),
        ISOLATED(no_more_goes_at_once_than_was_asked_for),
        ISOLATED(memory_that_the_kernel_keeps_goes_back_later),
        ISOLATED(only_the_start_of_a_live_block_has_a_size),
        ISOLATED(bad_frees_die),
        ISOLATED(a_child_leaves_old_pools_alone),
        ISOLATED(what_a_child_frees_of_old_pools_goes_back),
        ISOLATED(pools_that_are_unused_serve_a_child),
        ISOLATED(threads_never_share_a_block),
        ISOLATED(blocks_that_threads_exchange_leave_no_memory_behind),
        ISOLATED(a_check_misses_each_mark_of_a_block),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
