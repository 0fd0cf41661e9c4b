/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* count_calls.c - the standard names in the counting build (bench/atomics): each call is counted
 * and handed on to interpose.c, whose functions have the prefix counted_ there. At exit it prints,
 * in one line on standard error: atomic operations, lock acquisitions, calls. */
#include "count_atomics.h"

#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

unsigned long bench_counted[COUNT_KINDS];

void *counted_malloc(size_t size);
void counted_free(void *block);
void *counted_calloc(size_t count, size_t size);
void *counted_realloc(void *block, size_t size);
void *counted_aligned_alloc(size_t alignment, size_t size);
int counted_posix_memalign(void **out, size_t alignment, size_t size);

EXPORTED void *malloc(size_t size)
{
    BENCH_COUNT(COUNT_CALLS, 1);
    return counted_malloc(size);
}

EXPORTED void free(void *block)
{
    BENCH_COUNT(COUNT_CALLS, 1);
    counted_free(block);
}

EXPORTED void *calloc(size_t count, size_t size)
{
    BENCH_COUNT(COUNT_CALLS, 1);
    return counted_calloc(count, size);
}

EXPORTED void *realloc(void *block, size_t size)
{
    BENCH_COUNT(COUNT_CALLS, 1);
    return counted_realloc(block, size);
}

EXPORTED void *aligned_alloc(size_t alignment, size_t size)
{
    BENCH_COUNT(COUNT_CALLS, 1);
    return counted_aligned_alloc(alignment, size);
}

EXPORTED int posix_memalign(void **out, size_t alignment, size_t size)
{
    BENCH_COUNT(COUNT_CALLS, 1);
    return counted_posix_memalign(out, alignment, size);
}

__attribute__((destructor(101))) static void print_counts(void)
{
    char line[128];
    int length = snprintf(line, sizeof(line), "counted %lu %lu %lu\n", bench_counted[COUNT_ATOMICS],
                          bench_counted[COUNT_LOCKS], bench_counted[COUNT_CALLS]);

    (void)!write(STDERR_FILENO, line, (size_t)length);
}
