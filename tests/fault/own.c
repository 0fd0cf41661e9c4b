/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* own.c - fault: a program with malloc, calloc, realloc and free of its own, which are what it must
 * have to replace the C library's, calls reallocarray, which comes from the preloaded library.
 *
 * Asserts: its block is the program's, as it is with the C library.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"

/* The library is to find them. */
#define PUBLIC __attribute__((visibility("default")))

enum { HEAP_BYTES = 1024 * 1024, ALIGNMENT = 16, COUNT = 10, SIZE = 30 };

static _Alignas(ALIGNMENT) char heap[HEAP_BYTES];
static size_t used;

static bool is_ours(const void *block)
{
    return (const char *)block >= heap && (const char *)block < heap + HEAP_BYTES;
}

PUBLIC void *malloc(size_t size)
{
    if (size > HEAP_BYTES - used - ALIGNMENT) {
        return NULL;
    }
    void *block = heap + used;

    used += (size + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    return block;
}

PUBLIC void *calloc(size_t count, size_t size)
{
    return malloc(count * size); /* nothing is ever used again */
}

PUBLIC void *realloc(void *block, size_t size)
{
    char *moved = (char *)malloc(size);

    /* It may be shorter than what is copied. */
    if (is_ours(block) && moved != NULL) {
        memmove(moved, block, size);
    }
    return moved;
}

PUBLIC void free(void *block)
{
    (void)block;
}

int main(void)
{
    char *block = (char *)malloc(SIZE);

    memset(block, 'x', SIZE);
    char *longer = (char *)reallocarray(block, COUNT, SIZE);

    CHECK(is_ours(longer) && longer[0] == 'x' && longer[SIZE - 1] == 'x');
    free(longer);
    return EXIT_SUCCESS;
}
