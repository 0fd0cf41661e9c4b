/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* interpose.c - the standard names, in libbreakwater.so and libbreakwater.a only.
 *
 * malloc, free and malloc_usable_size have the fast path inline; the rest goes through the bw_
 * function of its name. But names that a tool or program does not know which puts functions of its
 * own in place of malloc, free, realloc and memalign (valgrind does) go by those: its blocks do not
 * become ours, nor ours its.
 *
 * Owns         nothing.
 * Concurrency  any thread.
 * Called by    the program.
 */
#include <malloc.h>
#include <stdlib.h>

#include "breakwater/breakwater.h"
#include "resize.h"

/* Old and new names that the headers no longer, or not yet, declare. */
BW_API void cfree(void *block);
BW_API void free_sized(void *block, size_t size);
BW_API void free_aligned_sized(void *block, size_t alignment, size_t size);

BW_API void *malloc(size_t size)
{
    return heap_alloc(size);
}

BW_API void free(void *block)
{
    heap_free(block);
}

BW_API void *calloc(size_t count, size_t size)
{
    return bw_calloc(count, size);
}

BW_API void *realloc(void *block, size_t size)
{
    return bw_realloc(block, size);
}

BW_API void *reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;

    return __builtin_mul_overflow(count, size, &bytes) ? bw_reallocarray(block, count, size)
                                                       : realloc(block, bytes);
}

BW_API void free_sized(void *block, size_t size)
{
    (void)size;
    free(block);
}

BW_API void free_aligned_sized(void *block, size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    free(block);
}

BW_API void *aligned_alloc(size_t alignment, size_t size)
{
    return bw_aligned_alloc(alignment, size);
}

BW_API int posix_memalign(void **out, size_t alignment, size_t size)
{
    return bw_posix_memalign(out, alignment, size);
}

BW_API void *memalign(size_t alignment, size_t size)
{
    return bw_memalign(alignment, size);
}

BW_API void *valloc(size_t size)
{
    return bw_valloc(size);
}

BW_API void *pvalloc(size_t size)
{
    size_t page = os_page_bytes();

    return size > PTRDIFF_MAX - page ? bw_pvalloc(size) : memalign(page, align_up(size, page));
}

BW_API size_t malloc_usable_size(void *block)
{
    return block != NULL ? heap_usable_size(block, FAULT_USABLE_SIZE) : 0;
}

BW_API int malloc_trim(size_t pad)
{
    return bw_malloc_trim(pad);
}

BW_API int mallopt(int parameter, int value)
{
    return bw_mallopt(parameter, value);
}

COLD BW_API struct mallinfo2 mallinfo2(void)
{
    struct bw_mallinfo2 info = bw_mallinfo2();

    return (struct mallinfo2){
        .arena = info.arena,
        .ordblks = info.ordblks,
        .smblks = info.smblks,
        .hblks = info.hblks,
        .hblkhd = info.hblkhd,
        .fsmblks = info.fsmblks,
        .uordblks = info.uordblks,
        .fordblks = info.fordblks,
        .keepcost = info.keepcost,
    };
}

COLD BW_API struct mallinfo mallinfo(void)
{
    struct bw_mallinfo info = bw_mallinfo();

    return (struct mallinfo){
        .arena = info.arena,
        .ordblks = info.ordblks,
        .smblks = info.smblks,
        .hblks = info.hblks,
        .hblkhd = info.hblkhd,
        .fsmblks = info.fsmblks,
        .uordblks = info.uordblks,
        .fordblks = info.fordblks,
        .keepcost = info.keepcost,
    };
}

BW_API int malloc_info(int options, FILE *stream)
{
    return bw_malloc_info(options, stream);
}

BW_API void malloc_stats(void)
{
    bw_malloc_stats();
}

BW_API void cfree(void *block)
{
    bw_cfree(block);
}

/* Names of glibc's own, which it exports beside the others: a block that a program gets by one is
 * given to free() like any. */
/* gcc compares the attributes of an alias; clang neither does, nor can copy them. */
#if __has_attribute(copy)
#define AS(name) alias(TEXT_OF(name)), copy(name)
#else
#define AS(name) alias(TEXT_OF(name))
#endif
#define TEXT(name)       #name
#define TEXT_OF(name)    TEXT(name)
#define GLIBC_NAME(name) BW_API __typeof(name) __libc_##name __attribute__((AS(name)))

GLIBC_NAME(malloc);
GLIBC_NAME(free);
GLIBC_NAME(calloc);
GLIBC_NAME(realloc);
GLIBC_NAME(memalign);
GLIBC_NAME(valloc);
GLIBC_NAME(pvalloc);
GLIBC_NAME(mallopt);
BW_API struct mallinfo __libc_mallinfo(void) __attribute__((alias(TEXT_OF(mallinfo)), cold));
