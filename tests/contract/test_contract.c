/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_contract.c - what a block, a size, an alignment and errno owe the caller: one test a
 * statement. All of them hold for glibc 2.36 too, except where a test asks for is_breakwater. */
#include "subject.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

#define MIN_ALIGNMENT ((size_t)16)
#define TOP_BIT       (SIZE_MAX / 2 + 1) /* 2^63, the largest power of two */

/* An errno that no allocator sets: it must still be there after a call that may not touch it. */
#define UNTOUCHED EDOM

/* The largest size in the tests that go through all size classes. */
#define LARGEST_TRIED (4 * MIB)

static const size_t impossible_sizes[] = {
    PTRDIFF_MAX,
    (size_t)PTRDIFF_MAX + 1,
    (size_t)PTRDIFF_MAX + 2,
    TOP_BIT + TOP_BIT / 2,
    SIZE_MAX - 2 * MIB,
    SIZE_MAX - 64 * KIB,
    SIZE_MAX - 4096,
    SIZE_MAX - 4095,
    SIZE_MAX - 16,
    SIZE_MAX - 15,
    SIZE_MAX - 1,
    SIZE_MAX,
};

/* Factors whose product does not fit a size_t. */
static const size_t overflowing_products[][2] = {
    {SIZE_MAX, 2},
    {2, SIZE_MAX},
    {SIZE_MAX, SIZE_MAX},
    {TOP_BIT, 2},
    {3, SIZE_MAX / 2},
    {SIZE_MAX / 8 + 1, 8},
    {(size_t)1 << 32, (size_t)1 << 32},
    {((size_t)1 << 32) + 1, ((size_t)1 << 32) - 1 + 2},
};

/* The allocating functions reduced to one argument, to go through them in loops. */

static void *by_malloc(size_t size)
{
    return tested.malloc(size);
}

static void *by_calloc(size_t size)
{
    return tested.calloc(1, size);
}

static void *by_realloc(size_t size)
{
    return tested.realloc(NULL, size);
}

static void *by_reallocarray(size_t size)
{
    return tested.reallocarray(NULL, size, 1);
}

static void *by_aligned_alloc(size_t size)
{
    return tested.aligned_alloc(64, size);
}

static void *by_memalign(size_t size)
{
    return tested.memalign(64, size);
}

/* Turns the returned error into the errno the other functions set. */
static void *by_posix_memalign(size_t size)
{
    void *block = NULL;
    int error = tested.posix_memalign(&block, 64, size);

    if (error) {
        errno = error;
    }
    return block;
}

static void *by_valloc(size_t size)
{
    return tested.valloc(size);
}

static void *by_pvalloc(size_t size)
{
    return tested.pvalloc(size);
}

typedef void *(*allocator)(size_t size);

static const allocator allocators[] = {
    by_malloc,   by_calloc,         by_realloc, by_reallocarray, by_aligned_alloc,
    by_memalign, by_posix_memalign, by_valloc,  by_pvalloc,
};

static const allocator page_allocators[] = {by_valloc, by_pvalloc};

/* The functions that take an alignment first and set errno. */
typedef void *(*aligned_allocator)(size_t alignment, size_t size);

static void *by_memalign_of(size_t alignment, size_t size)
{
    return tested.memalign(alignment, size);
}

static void *by_aligned_alloc_of(size_t alignment, size_t size)
{
    return tested.aligned_alloc(alignment, size);
}

static const aligned_allocator aligned_allocators[] = {by_memalign_of, by_aligned_alloc_of};

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* From one size to the next: each small one, then about eight to a doubling. */
static size_t next_size(size_t size)
{
    return size + size / 8 + 1;
}

static size_t round_up_to_power_of_two(size_t number)
{
    size_t power = 1;

    while (power < number) {
        power *= 2;
    }
    return power;
}

static bool is_aligned(const void *block, size_t alignment)
{
    return (uintptr_t)block % alignment == 0;
}

static bool all_bytes_are(const unsigned char *bytes, unsigned char value, size_t count)
{
    return count == 0 || (bytes[0] == value && memcmp(bytes, bytes + 1, count - 1) == 0);
}

/* A byte that differs between neighbours in any sequence of blocks. */
static unsigned char pattern_of(size_t number)
{
    return (unsigned char)(number % 251 + 1);
}

static void assert_is_block(void *block, size_t size)
{
    assert_non_null(block);
    assert_true(is_aligned(block, MIN_ALIGNMENT));
    assert_true(tested.malloc_usable_size(block) >= size);
}

static void assert_failed_with(void *block, int error)
{
    assert_int_equal(errno, error);
    assert_null(block);
    errno = 0;
}

/* ---- sizes ---- */

static void each_zero_size_gives_a_unique_block(void **state)
{
    enum { ROUNDS = 40 };
    void *blocks[ROUNDS * ARRAY_SIZE(allocators)];
    size_t count = 0;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < ARRAY_SIZE(allocators); i++) {
            blocks[count] = allocators[i](0);
            assert_is_block(blocks[count], 0);
            for (size_t other = 0; other < count; other++) {
                assert_ptr_not_equal(blocks[count], blocks[other]);
            }
            count++;
        }
    }
    while (count > 0) {
        tested.free(blocks[--count]);
    }
}

static void a_zero_product_gives_a_block_whatever_the_other_factor(void **state)
{
    static const size_t products[][2] = {{0, 0}, {0, 1}, {1, 0}, {0, SIZE_MAX}, {SIZE_MAX, 0}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(products); i++) {
        void *zeroed = tested.calloc(products[i][0], products[i][1]);
        void *plain = tested.reallocarray(NULL, products[i][0], products[i][1]);

        assert_is_block(zeroed, 0);
        assert_is_block(plain, 0);
        assert_ptr_not_equal(zeroed, plain);
        tested.free(zeroed);
        tested.free(plain);
    }
}

static void every_block_is_aligned_to_16_bytes(void **state)
{
    enum { HELD = 5 }; /* so that neighbours in a slab are seen, not one block again and again */

    (void)state;
    for (size_t size = 1; size <= LARGEST_TRIED; size = next_size(size)) {
        for (size_t i = 0; i < ARRAY_SIZE(allocators); i++) {
            void *blocks[HELD];

            for (int held = 0; held < HELD; held++) {
                blocks[held] = allocators[i](size);
                assert_is_block(blocks[held], size);
            }
            for (int held = 0; held < HELD; held++) {
                tested.free(blocks[held]);
            }
        }
    }
}

static void every_byte_up_to_the_usable_size_can_be_written(void **state)
{
    (void)state;
    for (size_t size = 1; size <= LARGEST_TRIED; size = next_size(size)) {
        unsigned char *below = tested.malloc(size);
        unsigned char *block = tested.malloc(size);
        unsigned char *above = tested.malloc(size);
        size_t usable = tested.malloc_usable_size(block);

        assert_is_block(block, size);
        memset(below, 1, tested.malloc_usable_size(below));
        memset(above, 3, tested.malloc_usable_size(above));
        memset(block, 2, usable);
        assert_true(all_bytes_are(below, 1, tested.malloc_usable_size(below)));
        assert_true(all_bytes_are(block, 2, usable));
        assert_true(all_bytes_are(above, 3, tested.malloc_usable_size(above)));
        assert_int_equal(tested.malloc_usable_size(block), usable);
        tested.free(above);
        tested.free(block);
        tested.free(below);
    }
}

static void live_blocks_of_all_sizes_do_not_overlap(void **state)
{
    enum { LARGEST = 70000, STEP = 89, COUNT = LARGEST / STEP };
    static unsigned char *blocks[COUNT];

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = tested.malloc(1 + i * STEP);
        assert_is_block(blocks[i], 1 + i * STEP);
        memset(blocks[i], pattern_of(i), tested.malloc_usable_size(blocks[i]));
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(all_bytes_are(blocks[i], pattern_of(i), tested.malloc_usable_size(blocks[i])));
        tested.free(blocks[i]);
    }
}

static void recycled_blocks_do_not_overlap_live_ones(void **state)
{
    enum { COUNT = 3000, ROUNDS = 20 };
    static unsigned char *blocks[COUNT];
    static size_t sizes[COUNT];
    uint32_t random = 1;

    (void)state;
    memset(blocks, 0, sizeof(blocks));
    for (size_t step = 0; step < COUNT * ROUNDS; step++) {
        random = random * 1664525 + 1013904223;
        size_t i = (random >> 8) % COUNT;

        if (blocks[i]) {
            assert_true(all_bytes_are(blocks[i], pattern_of(i), sizes[i]));
            tested.free(blocks[i]);
        }
        sizes[i] = (size_t)1 << (random >> 28);
        sizes[i] += random % sizes[i];
        blocks[i] = tested.malloc(sizes[i]);
        assert_is_block(blocks[i], sizes[i]);
        memset(blocks[i], pattern_of(i), sizes[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        tested.free(blocks[i]);
    }
}

static void calloc_zeroes_recycled_memory(void **state)
{
    enum { HELD = 6 };

    (void)state;
    for (size_t size = 1; size <= LARGEST_TRIED; size = next_size(size)) {
        unsigned char *blocks[HELD];

        for (int held = 0; held < HELD; held++) {
            blocks[held] = tested.malloc(size);
            assert_non_null(blocks[held]);
            memset(blocks[held], 0xff, tested.malloc_usable_size(blocks[held]));
        }
        for (int held = 0; held < HELD; held++) {
            tested.free(blocks[held]);
        }
        for (int held = 0; held < HELD; held++) {
            blocks[held] = tested.calloc(1, size);
            assert_non_null(blocks[held]);
            assert_true(all_bytes_are(blocks[held], 0, size));
        }
        for (int held = 0; held < HELD; held++) {
            tested.free(blocks[held]);
        }
    }
}

static void calloc_zeroes_all_of_the_product(void **state)
{
    static const size_t products[][2] = {{3, 5}, {7, 100}, {100, 7}, {1000, 1000}, {4096, 257}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(products); i++) {
        size_t size = products[i][0] * products[i][1];
        unsigned char *block = tested.calloc(products[i][0], products[i][1]);

        assert_is_block(block, size);
        assert_true(all_bytes_are(block, 0, size));
        tested.free(block);
    }
}

/* ---- failures ---- */

static void every_function_fails_with_enomem_above_ptrdiff_max(void **state)
{
    (void)state;
    errno = 0;
    for (size_t i = 0; i < ARRAY_SIZE(allocators); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(impossible_sizes); j++) {
            assert_failed_with(allocators[i](impossible_sizes[j]), ENOMEM);
        }
    }
}

static void a_product_that_overflows_fails_with_enomem(void **state)
{
    void *block = tested.malloc(100);

    (void)state;
    errno = 0;
    for (size_t i = 0; i < ARRAY_SIZE(overflowing_products); i++) {
        size_t count = overflowing_products[i][0];
        size_t size = overflowing_products[i][1];

        assert_failed_with(tested.calloc(count, size), ENOMEM);
        assert_failed_with(tested.reallocarray(NULL, count, size), ENOMEM);
        assert_failed_with(tested.reallocarray(block, count, size), ENOMEM);
    }
    tested.free(block);
}

static void a_product_above_ptrdiff_max_fails_with_enomem(void **state)
{
    static const size_t products[][2] = {{2, TOP_BIT / 2}, {TOP_BIT / 8, 8}, {5, SIZE_MAX / 5}};

    (void)state;
    errno = 0;
    for (size_t i = 0; i < ARRAY_SIZE(products); i++) {
        assert_failed_with(tested.calloc(products[i][0], products[i][1]), ENOMEM);
        assert_failed_with(tested.reallocarray(NULL, products[i][0], products[i][1]), ENOMEM);
    }
}

static void a_failed_call_leaves_the_allocator_working(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(allocators); i++) {
        assert_null(allocators[i](PTRDIFF_MAX));

        unsigned char *block = allocators[i](1000);

        assert_is_block(block, 1000);
        memset(block, 1, 1000);
        tested.free(block);
    }
}

/* ---- realloc ---- */

static void a_failed_realloc_leaves_the_block_as_it_was(void **state)
{
    static const size_t sizes[] = {1, 100, 4 * KIB, 40 * KIB, MIB};

    (void)state;
    errno = 0;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        unsigned char *block = tested.malloc(sizes[i]);
        size_t usable = tested.malloc_usable_size(block);

        memset(block, 0x5a, usable);
        for (size_t j = 0; j < ARRAY_SIZE(impossible_sizes); j++) {
            assert_failed_with(tested.realloc(block, impossible_sizes[j]), ENOMEM);
            assert_failed_with(tested.reallocarray(block, 1, impossible_sizes[j]), ENOMEM);
            assert_failed_with(tested.reallocarray(block, impossible_sizes[j], 16), ENOMEM);
            assert_int_equal(tested.malloc_usable_size(block), usable);
        }
        assert_true(all_bytes_are(block, 0x5a, usable));

        unsigned char *grown = tested.realloc(block, 2 * sizes[i]);

        assert_is_block(grown, 2 * sizes[i]);
        assert_true(all_bytes_are(grown, 0x5a, sizes[i]));
        tested.free(grown);
    }
}

static void realloc_of_null_allocates(void **state)
{
    (void)state;
    for (size_t size = 0; size <= MIB; size = next_size(size)) {
        unsigned char *block = tested.realloc(NULL, size);
        unsigned char *array = tested.reallocarray(NULL, size, 1);

        assert_is_block(block, size);
        assert_is_block(array, size);
        memset(block, 1, size);
        memset(array, 2, size);
        assert_true(all_bytes_are(block, 1, size));
        tested.free(block);
        tested.free(array);
    }
}

static void realloc_keeps_the_bytes_both_sizes_have(void **state)
{
    static const size_t sizes[] = {1,       16,        17,        100,           128,   1000,
                                   4 * KIB, 5000,      16 * KIB,  32 * KIB,      33000, 64 * KIB,
                                   70000,   200 * KIB, 256 * KIB, 512 * KIB + 1, MIB,   3 * MIB};

    (void)state;
    for (size_t from = 0; from < ARRAY_SIZE(sizes); from++) {
        for (size_t to = 0; to < ARRAY_SIZE(sizes); to++) {
            size_t kept = sizes[from] < sizes[to] ? sizes[from] : sizes[to];
            unsigned char *block = tested.malloc(sizes[from]);

            memset(block, pattern_of(from), sizes[from]);
            block = tested.realloc(block, sizes[to]);
            assert_is_block(block, sizes[to]);
            assert_true(all_bytes_are(block, pattern_of(from), kept));
            memset(block, pattern_of(to), tested.malloc_usable_size(block));
            tested.free(block);
        }
    }
}

static void reallocarray_keeps_the_bytes_both_sizes_have(void **state)
{
    unsigned char *block = tested.reallocarray(NULL, 10, 10);

    (void)state;
    memset(block, 7, 100);
    block = tested.reallocarray(block, 1000, 100);
    assert_is_block(block, 100000);
    assert_true(all_bytes_are(block, 7, 100));
    block = tested.reallocarray(block, 5, 5);
    assert_is_block(block, 25);
    assert_true(all_bytes_are(block, 7, 25));
    tested.free(block);
}

static void realloc_keeps_the_bytes_of_an_aligned_block(void **state)
{
    static const size_t alignments[] = {64, 256, 4096, 64 * KIB, MIB};
    static const size_t sizes[] = {1, 100, 5000, 70000, MIB};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(alignments); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(sizes); j++) {
            unsigned char *block = tested.memalign(alignments[i], sizes[j]);

            memset(block, 9, sizes[j]);
            block = tested.realloc(block, 3 * sizes[j]);
            assert_is_block(block, 3 * sizes[j]);
            assert_true(all_bytes_are(block, 9, sizes[j]));
            block = tested.realloc(block, sizes[j] / 2 + 1);
            assert_true(all_bytes_are(block, 9, sizes[j] / 2 + 1));
            tested.free(block);
        }
    }
}

static void *free_by_realloc(void *block)
{
    return tested.realloc(block, 0);
}

static void *free_by_count_zero(void *block)
{
    return tested.reallocarray(block, 0, 100);
}

static void *free_by_size_zero(void *block)
{
    return tested.reallocarray(block, 100, 0);
}

static void *free_by_zero_of_huge(void *block)
{
    return tested.reallocarray(block, SIZE_MAX, 0);
}

static void *(*const freeing_reallocs[])(void *) = {free_by_realloc, free_by_count_zero,
                                                    free_by_size_zero, free_by_zero_of_huge};

static void realloc_to_zero_returns_null_and_keeps_errno(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 4 * KIB, 40 * KIB, MIB, 40 * MIB};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(freeing_reallocs); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(sizes); j++) {
            void *block = tested.malloc(sizes[j]);

            assert_non_null(block);
            errno = UNTOUCHED;
            assert_null(freeing_reallocs[i](block));
            assert_int_equal(errno, UNTOUCHED);
        }
    }
}

static size_t bytes_in_use(void)
{
    struct subject_usage usage = tested.mallinfo2();

    return usage.uordblks + usage.hblkhd;
}

static void realloc_to_zero_frees_the_block(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(freeing_reallocs); i++) {
        size_t before = bytes_in_use();

        for (int round = 0; round < 300; round++) {
            assert_null(freeing_reallocs[i](tested.malloc(MIB)));
        }
        assert_true(bytes_in_use() < before + 100 * MIB);
    }
}

/* ---- alignment ---- */

static void posix_memalign_refuses_a_bad_alignment_and_touches_nothing(void **state)
{
    static const size_t bad[] = {
        0,  1,   2,    3,    4,           7,           9,           12,           24,
        48, 100, 4095, 4097, TOP_BIT - 1, TOP_BIT + 1, TOP_BIT + 8, SIZE_MAX - 7, SIZE_MAX};
    static const size_t sizes[] = {0, 1, 100, 100000, PTRDIFF_MAX, SIZE_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(sizes); j++) {
            void *out = &out;

            errno = UNTOUCHED;
            assert_int_equal(tested.posix_memalign(&out, bad[i], sizes[j]), EINVAL);
            assert_int_equal(errno, UNTOUCHED);
            assert_ptr_equal(out, &out);
        }
    }
}

static void posix_memalign_without_memory_sets_errno_and_leaves_the_out_pointer(void **state)
{
    static const size_t alignments[] = {8, 16, 64, 4096, 64 * KIB, MIB, TOP_BIT / 2, TOP_BIT};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(alignments); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(impossible_sizes); j++) {
            void *out = &out;

            errno = UNTOUCHED;
            assert_int_equal(tested.posix_memalign(&out, alignments[i], impossible_sizes[j]),
                             ENOMEM);
            assert_ptr_equal(out, &out);
            assert_int_equal(errno, ENOMEM);
        }
    }
}

static void posix_memalign_fails_when_the_alignment_cannot_be_met(void **state)
{
    static const size_t alignments[] = {TOP_BIT / 2, TOP_BIT};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(alignments); i++) {
        void *out = &out;

        assert_int_equal(tested.posix_memalign(&out, alignments[i], 1), ENOMEM);
        assert_ptr_equal(out, &out);
    }
}

/* Several at a time: one block alone may be aligned by chance. */
static void check_aligned_blocks(aligned_allocator allocate, size_t alignment, size_t size)
{
    enum { HELD = 4 };
    size_t effective = round_up_to_power_of_two(alignment);
    unsigned char *blocks[HELD];

    for (int held = 0; held < HELD; held++) {
        blocks[held] = allocate(alignment, size);
        assert_is_block(blocks[held], size);
        assert_true(is_aligned(blocks[held], effective));
        memset(blocks[held], held + 1, size);
    }
    for (int held = 0; held < HELD; held++) {
        assert_true(all_bytes_are(blocks[held], (unsigned char)(held + 1), size));
        tested.free(blocks[held]);
    }
}

static void *by_posix_memalign_of(size_t alignment, size_t size)
{
    void *block = NULL;

    assert_int_equal(tested.posix_memalign(&block, alignment, size), 0);
    return block;
}

static void aligned_blocks_have_their_alignment_at_every_size(void **state)
{
    static const size_t sizes[] = {0,   1,    15,      16,   17,    63,       64,   65,
                                   100, 1000, 4 * KIB, 5000, 33000, 64 * KIB, 70000};

    (void)state;
    for (size_t alignment = sizeof(void *); alignment <= 2 * MIB; alignment *= 2) {
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
            check_aligned_blocks(by_posix_memalign_of, alignment, sizes[i]);
            check_aligned_blocks(by_memalign_of, alignment, sizes[i]);
            check_aligned_blocks(by_aligned_alloc_of, alignment, sizes[i]);
        }
    }
}

static void any_other_alignment_is_rounded_up_to_a_power_of_two(void **state)
{
    static const size_t alignments[] = {0,    1,    2,    3,     5,     12,    17,
                                        24,   33,   48,   65,    100,   129,   1000,
                                        4095, 4097, 5000, 12288, 65535, 65537, 100000};
    static const size_t sizes[] = {0, 1, 24, 100, 5000, 70000};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(alignments); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(sizes); j++) {
            check_aligned_blocks(by_memalign_of, alignments[i], sizes[j]);
            check_aligned_blocks(by_aligned_alloc_of, alignments[i], sizes[j]);
        }
    }
}

static void an_alignment_over_the_largest_power_of_two_is_invalid(void **state)
{
    static const size_t alignments[] = {TOP_BIT + 1, TOP_BIT + 16, TOP_BIT + TOP_BIT / 2,
                                        SIZE_MAX - 1, SIZE_MAX};
    static const size_t sizes[] = {0, 1, 100, PTRDIFF_MAX, SIZE_MAX};

    (void)state;
    errno = 0;
    for (size_t i = 0; i < ARRAY_SIZE(alignments); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(sizes); j++) {
            for (size_t k = 0; k < ARRAY_SIZE(aligned_allocators); k++) {
                assert_failed_with(aligned_allocators[k](alignments[i], sizes[j]), EINVAL);
            }
        }
    }
}

static void an_alignment_that_cannot_be_met_fails_with_enomem(void **state)
{
    static const size_t pairs[][2] = {
        {TOP_BIT, 0},
        {TOP_BIT, 1},
        {TOP_BIT, PTRDIFF_MAX},
        {TOP_BIT, SIZE_MAX},
        {TOP_BIT - 1, 1},
        {TOP_BIT / 2 + 1, 1},
        {TOP_BIT / 2, 1},
        {TOP_BIT / 2, TOP_BIT},
        {4096, SIZE_MAX - 4096},
        {4096, SIZE_MAX - 4095},
        {64, SIZE_MAX - 64},
        {64, SIZE_MAX - 63},
        {TOP_BIT / 2, TOP_BIT / 2},
    };

    (void)state;
    errno = 0;
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(aligned_allocators); k++) {
            assert_failed_with(aligned_allocators[k](pairs[i][0], pairs[i][1]), ENOMEM);
        }
    }
}

static void valloc_and_pvalloc_align_to_a_page(void **state)
{
    (void)state;
    for (size_t size = 0; size <= MIB; size = next_size(size)) {
        for (size_t i = 0; i < ARRAY_SIZE(page_allocators); i++) {
            unsigned char *first = page_allocators[i](size);
            unsigned char *second = page_allocators[i](size);

            assert_is_block(first, size);
            assert_is_block(second, size);
            assert_true(is_aligned(first, page_size()));
            assert_true(is_aligned(second, page_size()));
            tested.free(first);
            tested.free(second);
        }
    }
}

static void pvalloc_rounds_the_size_up_to_a_page(void **state)
{
    static const size_t sizes[] = {1, 100, 4095, 4096, 4097, 10000, 65537, 1000000};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        size_t rounded = (sizes[i] + page_size() - 1) / page_size() * page_size();
        unsigned char *block = tested.pvalloc(sizes[i]);

        assert_is_block(block, rounded);
        memset(block, 1, rounded);
        tested.free(block);
    }
}

static void pvalloc_fails_when_rounding_up_overflows(void **state)
{
    (void)state;
    errno = 0;
    for (size_t below = 0; below < page_size(); below += 5) {
        assert_failed_with(tested.pvalloc(SIZE_MAX - below), ENOMEM);
        assert_failed_with(tested.pvalloc(PTRDIFF_MAX - below), ENOMEM);
    }
}

/* ---- free ---- */

static void freeing_null_does_nothing(void **state)
{
    (void)state;
    errno = UNTOUCHED;
    tested.free(NULL);
    assert_int_equal(errno, UNTOUCHED);
    assert_int_equal(tested.malloc_usable_size(NULL), 0);
    assert_int_equal(errno, UNTOUCHED);
}

static void free_keeps_errno_at_every_size(void **state)
{
    (void)state;
    for (size_t size = 0; size <= LARGEST_TRIED; size = next_size(size)) {
        for (size_t i = 0; i < ARRAY_SIZE(allocators); i++) {
            void *block = allocators[i](size);

            assert_non_null(block);
            errno = UNTOUCHED;
            tested.free(block);
            assert_int_equal(errno, UNTOUCHED);
        }
    }
}

/* More blocks than any cache holds, so that some go down through every layer. */
static void free_keeps_errno_when_caches_overflow(void **state)
{
    static const struct {
        size_t size, count;
    } floods[] = {{16, 50000}, {100, 50000}, {4 * KIB, 4000}, {32 * KIB, 600}, {MIB, 200}};
    static void *blocks[50000];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(floods); i++) {
        for (size_t j = 0; j < floods[i].count; j++) {
            blocks[j] = tested.malloc(floods[i].size);
            assert_non_null(blocks[j]);
        }
        errno = UNTOUCHED;
        for (size_t j = 0; j < floods[i].count; j++) {
            tested.free(blocks[j]);
        }
        assert_int_equal(errno, UNTOUCHED);
    }
}

struct handover {
    void *blocks[5000];
    int errno_after;
};

static void *free_all_of(void *argument)
{
    struct handover *handover = argument;

    errno = UNTOUCHED;
    for (size_t i = 0; i < ARRAY_SIZE(handover->blocks); i++) {
        tested.free(handover->blocks[i]);
    }
    handover->errno_after = errno;
    return NULL;
}

static void free_keeps_errno_on_a_thread_that_did_not_allocate(void **state)
{
    static const size_t sizes[] = {1, 64, 1000, 4 * KIB, 20 * KIB};
    static struct handover handover;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        pthread_t thread;

        for (size_t j = 0; j < ARRAY_SIZE(handover.blocks); j++) {
            handover.blocks[j] = tested.malloc(sizes[i]);
            assert_non_null(handover.blocks[j]);
        }
        assert_int_equal(pthread_create(&thread, NULL, free_all_of, &handover), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(handover.errno_after, UNTOUCHED);
    }
}

static void cfree_frees(void **state)
{
    (void)state;
    if (!tested.cfree && !tested.is_breakwater) {
        skip();
    }
    assert_true(tested.cfree != NULL);

    size_t before = bytes_in_use();

    errno = UNTOUCHED;
    tested.cfree(NULL);
    for (int round = 0; round < 300; round++) {
        tested.cfree(tested.malloc(MIB));
        tested.cfree(tested.malloc(100));
    }
    assert_int_equal(errno, UNTOUCHED);
    assert_true(bytes_in_use() < before + 100 * MIB);
}

static void free_sized_frees(void **state)
{
    (void)state;
    if (!tested.free_sized && !tested.is_breakwater) {
        skip();
    }
    assert_true(tested.free_sized != NULL);

    size_t before = bytes_in_use();

    errno = UNTOUCHED;
    tested.free_sized(NULL, 0);
    tested.free_sized(NULL, 100);
    for (int round = 0; round < 300; round++) {
        tested.free_sized(tested.malloc(MIB), MIB);
        tested.free_sized(tested.calloc(10, 10), 100);
        tested.free_sized(tested.malloc(0), 0);
    }
    assert_int_equal(errno, UNTOUCHED);
    assert_true(bytes_in_use() < before + 100 * MIB);
}

static void free_aligned_sized_frees(void **state)
{
    (void)state;
    if (!tested.free_aligned_sized && !tested.is_breakwater) {
        skip();
    }
    assert_true(tested.free_aligned_sized != NULL);

    size_t before = bytes_in_use();

    errno = UNTOUCHED;
    tested.free_aligned_sized(NULL, 64, 0);
    for (int round = 0; round < 300; round++) {
        tested.free_aligned_sized(tested.aligned_alloc(64 * KIB, MIB), 64 * KIB, MIB);
        tested.free_aligned_sized(tested.aligned_alloc(64, 128), 64, 128);
    }
    assert_int_equal(errno, UNTOUCHED);
    assert_true(bytes_in_use() < before + 100 * MIB);
}

/* ---- errno ---- */

static void a_success_leaves_errno_alone(void **state)
{
    (void)state;
    errno = UNTOUCHED;
    for (size_t size = 0; size <= LARGEST_TRIED; size = next_size(size)) {
        for (size_t i = 0; i < ARRAY_SIZE(allocators); i++) {
            void *block = allocators[i](size);

            assert_non_null(block);
            assert_int_equal(errno, UNTOUCHED);
            block = tested.realloc(block, 2 * size + 1);
            assert_non_null(block);
            assert_int_equal(errno, UNTOUCHED);
            block = tested.reallocarray(block, size + 1, 1);
            assert_non_null(block);
            assert_int_equal(errno, UNTOUCHED);
            tested.malloc_usable_size(block);
            assert_int_equal(errno, UNTOUCHED);
            tested.free(block);
        }
    }
}

static void *allocate_on_a_fresh_thread(void *argument)
{
    errno = UNTOUCHED;
    tested.free(tested.malloc(100));
    *(int *)argument = errno;
    return NULL;
}

static void the_first_allocation_of_a_thread_leaves_errno_alone(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        pthread_t thread;
        int errno_after = 0;

        assert_int_equal(pthread_create(&thread, NULL, allocate_on_a_fresh_thread, &errno_after),
                         0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(errno_after, UNTOUCHED);
    }
}

/* ---- cancellation and signals ---- */

/* Calls every function that takes or gives memory, at sizes that reach every layer. */
static void use_the_whole_family(void)
{
    for (size_t size = 0; size <= MIB; size = next_size(size)) {
        for (size_t i = 0; i < ARRAY_SIZE(allocators); i++) {
            void *block = tested.realloc(allocators[i](size), size + 100);

            tested.malloc_usable_size(block);
            tested.free(block);
        }
    }
    for (int i = 0; i < 20; i++) {
        tested.free(tested.malloc(20 * MIB));
    }
    tested.malloc(PTRDIFF_MAX);
    tested.malloc_trim(0);
    tested.mallinfo2();
}

static void *allocate_with_a_cancellation_pending(void *finished)
{
    pthread_cancel(pthread_self());
    use_the_whole_family();
    *(bool *)finished = true;
    pthread_testcancel();
    return NULL;
}

static void a_pending_cancellation_never_acts_inside(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        bool finished = false;
        void *result = NULL;
        pthread_t thread;

        assert_int_equal(
            pthread_create(&thread, NULL, allocate_with_a_cancellation_pending, &finished), 0);
        assert_int_equal(pthread_join(thread, &result), 0);
        assert_true(finished);
        assert_ptr_equal(result, PTHREAD_CANCELED);
    }
}

static sigjmp_buf back_to_the_loop;

static void jump_back(int signal_number)
{
    (void)signal_number;
    siglongjmp(back_to_the_loop, 1);
}

/* The jump leaves code that holds blocks but is not in the allocator. */
static void a_handler_may_jump_out_of_code_around_the_allocator(void **state)
{
    enum { JUMPS = 2000, KEPT = 64 };
    struct sigaction action = {.sa_handler = jump_back};
    struct sigaction before;
    static unsigned char *kept[KEPT];
    volatile unsigned jumps = 0;

    (void)state;
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    sigsetjmp(back_to_the_loop, 1);
    while (jumps < JUMPS) {
        unsigned slot = jumps++ % KEPT;

        assert_true(!kept[slot] || kept[slot][0] == pattern_of(slot));
        tested.free(kept[slot]);
        kept[slot] = tested.malloc((size_t)16 << jumps % 14);
        assert_non_null(kept[slot]);
        kept[slot][0] = pattern_of(slot);
        raise(SIGUSR1);
        fail_msg("the handler returned");
    }
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
    for (size_t slot = 0; slot < KEPT; slot++) {
        tested.free(kept[slot]);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_zero_size_gives_a_unique_block),
        cmocka_unit_test(a_zero_product_gives_a_block_whatever_the_other_factor),
        cmocka_unit_test(every_block_is_aligned_to_16_bytes),
        cmocka_unit_test(every_byte_up_to_the_usable_size_can_be_written),
        cmocka_unit_test(live_blocks_of_all_sizes_do_not_overlap),
        cmocka_unit_test(recycled_blocks_do_not_overlap_live_ones),
        cmocka_unit_test(calloc_zeroes_recycled_memory),
        cmocka_unit_test(calloc_zeroes_all_of_the_product),
        cmocka_unit_test(every_function_fails_with_enomem_above_ptrdiff_max),
        cmocka_unit_test(a_product_that_overflows_fails_with_enomem),
        cmocka_unit_test(a_product_above_ptrdiff_max_fails_with_enomem),
        cmocka_unit_test(a_failed_call_leaves_the_allocator_working),
        cmocka_unit_test(a_failed_realloc_leaves_the_block_as_it_was),
        cmocka_unit_test(realloc_of_null_allocates),
        cmocka_unit_test(realloc_keeps_the_bytes_both_sizes_have),
        cmocka_unit_test(reallocarray_keeps_the_bytes_both_sizes_have),
        cmocka_unit_test(realloc_keeps_the_bytes_of_an_aligned_block),
        cmocka_unit_test(realloc_to_zero_returns_null_and_keeps_errno),
        cmocka_unit_test(realloc_to_zero_frees_the_block),
        cmocka_unit_test(posix_memalign_refuses_a_bad_alignment_and_touches_nothing),
        cmocka_unit_test(posix_memalign_without_memory_sets_errno_and_leaves_the_out_pointer),
        cmocka_unit_test(posix_memalign_fails_when_the_alignment_cannot_be_met),
        cmocka_unit_test(aligned_blocks_have_their_alignment_at_every_size),
        cmocka_unit_test(any_other_alignment_is_rounded_up_to_a_power_of_two),
        cmocka_unit_test(an_alignment_over_the_largest_power_of_two_is_invalid),
        cmocka_unit_test(an_alignment_that_cannot_be_met_fails_with_enomem),
        cmocka_unit_test(valloc_and_pvalloc_align_to_a_page),
        cmocka_unit_test(pvalloc_rounds_the_size_up_to_a_page),
        cmocka_unit_test(pvalloc_fails_when_rounding_up_overflows),
        cmocka_unit_test(freeing_null_does_nothing),
        cmocka_unit_test(free_keeps_errno_at_every_size),
        cmocka_unit_test(free_keeps_errno_when_caches_overflow),
        cmocka_unit_test(free_keeps_errno_on_a_thread_that_did_not_allocate),
        cmocka_unit_test(cfree_frees),
        cmocka_unit_test(free_sized_frees),
        cmocka_unit_test(free_aligned_sized_frees),
        cmocka_unit_test(a_success_leaves_errno_alone),
        cmocka_unit_test(the_first_allocation_of_a_thread_leaves_errno_alone),
        cmocka_unit_test(a_pending_cancellation_never_acts_inside),
        cmocka_unit_test(a_handler_may_jump_out_of_code_around_the_allocator),
    };

    subject_open(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
