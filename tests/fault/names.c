/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* names.c - fault: the program exports functions that are called as Breakwater's are. The standard
 * names must not end up in them. */
#include <malloc.h>
#include <stdlib.h>

#include "fault.h"

/* Exported, for the dynamic linker to find first. */
#pragma GCC visibility push(default)
void *bw_calloc(size_t count, size_t size);
void *bw_memalign(size_t alignment, size_t size);
void *bw_realloc(void *block, size_t size);

void *bw_calloc(size_t count, size_t size)
{
    (void)count;
    (void)size;
    abort();
}

void *bw_memalign(size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    abort();
}

void *bw_realloc(void *block, size_t size)
{
    (void)block;
    (void)size;
    abort();
}
#pragma GCC visibility pop

int main(void)
{
    fault_start();
    void *zeroed = calloc(3, 5);
    void *aligned = memalign(64, 100);
    void *longer = realloc(zeroed, 100);

    CHECK(longer != NULL && aligned != NULL);
    free(longer);
    free(aligned);
    return EXIT_SUCCESS;
}
