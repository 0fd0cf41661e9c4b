/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* plain.c - a small program for the scripts: allocates, frees, and says how the heap was made.
 *
 * Prints "break" or "mapped" after where the memory came from, then "done". */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "fault.h"

static void *work(void *argument)
{
    void *blocks[400];

    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = fault_block(i * i);
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        fault_free(blocks[i], i * i);
    }
    return argument;
}

/* glibc's own names for the same functions, which it exports and some programs use. */
void *__libc_malloc(size_t size);
void __libc_free(void *block);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void *__libc_valloc(size_t size);
void *__libc_pvalloc(size_t size);
struct mallinfo __libc_mallinfo(void);

static void use_glibc_names(void)
{
    free(__libc_malloc(100));
    free(__libc_calloc(10, 100));
    free(__libc_realloc(malloc(10), 100));
    free(__libc_memalign(64, 100));
    free(__libc_valloc(100));
    free(__libc_pvalloc(100));
    __libc_free(malloc(100));
    /* The heap that is in use, and not another one. */
    CHECK(__libc_mallinfo().arena > 0 || __libc_mallinfo().hblkhd > 0);
}

int main(void)
{
    pthread_t id;

    (void)work(NULL);
    use_glibc_names();
    CHECK(pthread_create(&id, NULL, work, NULL) == 0);
    CHECK(pthread_join(id, NULL) == 0);
    puts(mallinfo2().hblks > 0 ? "mapped" : "break");
    puts("done");
    return EXIT_SUCCESS;
}
