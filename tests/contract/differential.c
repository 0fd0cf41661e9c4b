/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* differential.c - makes many calls and prints a line for each that says what it did: a block or
 * NULL, errno, the alignment that was asked, what was kept. Two runs, one under the C library and
 * one with a library preloaded, must print the same (differential.sh).
 *
 * Left out is all that the C library does not define: addresses, sizes above those asked, and
 * whether a size near what the machine has can be had.
 */
#include "subject.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define MIB     ((size_t)1024 * 1024)
#define TOP_BIT (SIZE_MAX / 2 + 1)

/* An errno that no allocator sets. */
#define UNTOUCHED EDOM

/* At most this much of a block is written to, so that large ones cost address space alone. */
#define WRITTEN_BYTES ((size_t)4096)

enum { MAX_SIZES = 256 };

static size_t sizes[MAX_SIZES];
static size_t size_count;

static size_t alignments[MAX_SIZES];
static size_t alignment_count;

static void add_size(size_t size)
{
    sizes[size_count++] = size;
}

static void add_alignment(size_t alignment)
{
    alignments[alignment_count++] = alignment;
}

/* Small enough to be had anywhere, or too large to be had anywhere. */
static void fill_tables(void)
{
    for (size_t power = 16; power <= 4 * MIB; power *= 2) {
        add_size(power - 1);
        add_size(power);
        add_size(power + 1);
    }
    for (size_t small = 0; small < 9; small++) {
        add_size(small);
        add_size((size_t)PTRDIFF_MAX - 2 + small);
        add_size(SIZE_MAX - small);
        add_size(TOP_BIT / 2 - 4 + small);
        add_size(TOP_BIT + TOP_BIT / 2 - 4 + small);
    }
    for (size_t power = 16; power <= MIB; power *= 2) {
        add_size((size_t)PTRDIFF_MAX - power);
        add_size((size_t)PTRDIFF_MAX - power + 1);
        add_size(SIZE_MAX - power);
        add_size(SIZE_MAX - power + 1);
    }
    for (size_t power = 4; power <= 2 * MIB; power *= 2) {
        add_alignment(power - 1);
        add_alignment(power);
        add_alignment(power + power / 2);
    }
    for (size_t small = 0; small < 3; small++) {
        add_alignment(small);
        add_alignment(TOP_BIT / 2 - 1 + small);
        add_alignment(TOP_BIT - 1 + small);
        add_alignment(TOP_BIT + TOP_BIT / 2 - 1 + small);
        add_alignment(SIZE_MAX - small);
    }
}

static const char *name_of_error(int error)
{
    switch (error) {
    case 0:
        return "0";
    case UNTOUCHED:
        return "untouched";
    case EINVAL:
        return "EINVAL";
    case ENOMEM:
        return "ENOMEM";
    default:
        return strerror(error);
    }
}

/* The power of two that an accepted alignment stands for; blocks have 16 in any case. */
static size_t effective_alignment(size_t alignment)
{
    size_t power = 16;

    while (power < alignment && power < TOP_BIT) {
        power *= 2;
    }
    return power;
}

static size_t written_of(size_t size)
{
    return size < WRITTEN_BYTES ? size : WRITTEN_BYTES;
}

/* Prints what a call returned, with errno as it is, and frees the block. */
static void print_outcome(unsigned char *block, size_t alignment, size_t size)
{
    int error = errno;

    printf(" -> %s, errno %s", block ? "block" : "NULL", name_of_error(error));
    if (block) {
        printf(", %saligned", (uintptr_t)block % effective_alignment(alignment) ? "not " : "");
        printf(", %s", tested.malloc_usable_size(block) >= size ? "large enough" : "too small");
        memset(block, 1, written_of(size));
        errno = UNTOUCHED;
        tested.free(block);
        printf(", free: errno %s", name_of_error(errno));
    }
    printf("\n");
    errno = UNTOUCHED;
}

static void call_by_size(size_t size)
{
    errno = UNTOUCHED;
    printf("malloc(%zu)", size);
    print_outcome(tested.malloc(size), 0, size);
    printf("calloc(1, %zu)", size);
    print_outcome(tested.calloc(1, size), 0, size);
    printf("calloc(%zu, 1)", size);
    print_outcome(tested.calloc(size, 1), 0, size);
    printf("realloc(NULL, %zu)", size);
    print_outcome(tested.realloc(NULL, size), 0, size);
    printf("reallocarray(NULL, 1, %zu)", size);
    print_outcome(tested.reallocarray(NULL, 1, size), 0, size);
    printf("valloc(%zu)", size);
    print_outcome(tested.valloc(size), 4096, size);
    printf("pvalloc(%zu)", size);
    print_outcome(tested.pvalloc(size), 4096, size);
}

static size_t product_or_zero(size_t count, size_t size)
{
    size_t product;

    return __builtin_mul_overflow(count, size, &product) ? 0 : product;
}

static bool can_be_had(size_t size)
{
    return size <= 64 * MIB;
}

/* Products between what any machine has and what none has are not defined. */
static bool product_is_defined(size_t count, size_t size)
{
    size_t product;

    return __builtin_mul_overflow(count, size, &product) || can_be_had(product) ||
           product >= TOP_BIT / 2 - MIB;
}

static void call_by_product(size_t count, size_t size)
{
    if (!product_is_defined(count, size)) {
        return;
    }
    errno = UNTOUCHED;
    printf("calloc(%zu, %zu)", count, size);
    print_outcome(tested.calloc(count, size), 0, product_or_zero(count, size));
    printf("reallocarray(NULL, %zu, %zu)", count, size);
    print_outcome(tested.reallocarray(NULL, count, size), 0, product_or_zero(count, size));
}

static void call_posix_memalign(size_t alignment, size_t size)
{
    unsigned char unset;
    void *out = &unset;

    errno = UNTOUCHED;
    int result = tested.posix_memalign(&out, alignment, size);

    printf("posix_memalign(.., %zu, %zu) = %s", alignment, size, name_of_error(result));
    if (result == 0) {
        print_outcome(out, alignment, size);
        return;
    }
    printf(", out %s, errno %s\n", out == &unset ? "untouched" : "changed", name_of_error(errno));
}

static void call_by_alignment(size_t alignment, size_t size)
{
    errno = UNTOUCHED;
    printf("memalign(%zu, %zu)", alignment, size);
    print_outcome(tested.memalign(alignment, size), alignment, size);
    printf("aligned_alloc(%zu, %zu)", alignment, size);
    print_outcome(tested.aligned_alloc(alignment, size), alignment, size);
    call_posix_memalign(alignment, size);
}

static void print_kept(const unsigned char *block, unsigned char value, size_t count)
{
    size_t kept = 0;

    while (kept < count && block[kept] == value) {
        kept++;
    }
    printf(", %s", kept == count ? "content kept" : "content lost");
}

static void call_realloc(size_t from, size_t to)
{
    size_t written = written_of(from);
    unsigned char *block = tested.malloc(from);

    memset(block, 7, written);
    printf("realloc(malloc(%zu), %zu)", from, to);
    errno = UNTOUCHED;

    unsigned char *moved = tested.realloc(block, to);

    if (moved) {
        print_kept(moved, 7, written < to ? written : to);
    } else if (to > 0) {
        int error = errno;

        print_kept(block, 7, written);
        tested.free(block);
        errno = error;
    }
    print_outcome(moved, 0, to);
}

static void call_reallocarray(size_t from, size_t count, size_t size)
{
    unsigned char *block = tested.malloc(from);

    printf("reallocarray(malloc(%zu), %zu, %zu)", from, count, size);
    errno = UNTOUCHED;

    unsigned char *moved = tested.reallocarray(block, count, size);

    if (!moved && count > 0 && size > 0) {
        tested.free(block);
    }
    print_outcome(moved, 0, product_or_zero(count, size));
}

static void call_all_products(void)
{
    static const size_t factors[] = {0,
                                     1,
                                     2,
                                     3,
                                     16,
                                     1000,
                                     4096,
                                     65536,
                                     (size_t)1 << 31,
                                     ((size_t)1 << 32) - 1,
                                     (size_t)1 << 32,
                                     ((size_t)1 << 32) + 1,
                                     TOP_BIT / 2,
                                     TOP_BIT - 1,
                                     TOP_BIT,
                                     SIZE_MAX / 3,
                                     SIZE_MAX / 3 + 1,
                                     SIZE_MAX - 1,
                                     SIZE_MAX};

    for (size_t i = 0; i < ARRAY_SIZE(factors); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(factors); j++) {
            call_by_product(factors[i], factors[j]);
        }
    }
}

static void call_all_reallocs(void)
{
    for (size_t i = 0; i < size_count; i++) {
        for (size_t j = 0; can_be_had(sizes[i]) && j < size_count; j++) {
            call_realloc(sizes[i], sizes[j]);
        }
    }
    for (size_t i = 0; i < size_count; i++) {
        call_reallocarray(100, 0, sizes[i]);
        call_reallocarray(100, sizes[i], 0);
        call_reallocarray(100, 1, sizes[i]);
        call_reallocarray(5000, SIZE_MAX, sizes[i] | 2);
    }
}

/* Unknown parameters are left out: glibc accepts them, against its manual. */
static void call_mallopt(void)
{
    static const int parameters[] = {M_MXFAST,   M_TRIM_THRESHOLD, M_TOP_PAD,
                                     M_MMAP_MAX, M_MMAP_THRESHOLD, M_CHECK_ACTION,
                                     M_PERTURB,  M_ARENA_TEST,     M_ARENA_MAX};
    static const int values[] = {0, 1, 8, 80, 128, 160, 161, 4096, 33554432, INT_MAX, -1, INT_MIN};

    for (size_t i = 0; i < ARRAY_SIZE(parameters); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(values); j++) {
            printf("mallopt(%d, %d) = %d\n", parameters[i], values[j],
                   tested.mallopt(parameters[i], values[j]));
        }
    }
}

static void call_malloc_info(void)
{
    static const int options[] = {0, 1, -1, INT_MAX};
    FILE *nowhere = fopen("/dev/null", "w");

    for (size_t i = 0; nowhere && i < ARRAY_SIZE(options); i++) {
        printf("malloc_info(%d, ..) = %s\n", options[i],
               name_of_error(tested.malloc_info(options[i], nowhere)));
    }
}

static void call_with_null(void)
{
    errno = UNTOUCHED;
    tested.free(NULL);
    printf("free(NULL): errno %s\n", name_of_error(errno));
    printf("malloc_usable_size(NULL) = %zu\n", tested.malloc_usable_size(NULL));
    printf("usmblks = %zu\n", tested.mallinfo2().usmblks);
}

int main(int argc, char **argv)
{
    subject_open(argc, argv);
    fill_tables();
    for (size_t i = 0; i < size_count; i++) {
        call_by_size(sizes[i]);
    }
    for (size_t i = 0; i < alignment_count; i++) {
        for (size_t j = 0; j < size_count; j++) {
            call_by_alignment(alignments[i], sizes[j]);
        }
    }
    call_all_products();
    call_all_reallocs();
    call_with_null();
    call_malloc_info();
    call_mallopt();
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
