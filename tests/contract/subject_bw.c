/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* subject_bw.c - runs the contract tests against the names with the prefix bw_. */
#include "subject.h"

#include <breakwater/breakwater.h>

#include <string.h>

struct subject tested;

static size_t widen(int field)
{
    return (size_t)field;
}

static struct subject_usage usage_of_mallinfo(void)
{
    struct bw_mallinfo info = bw_mallinfo();

    return (struct subject_usage){
        .arena = widen(info.arena),
        .ordblks = widen(info.ordblks),
        .smblks = widen(info.smblks),
        .hblks = widen(info.hblks),
        .hblkhd = widen(info.hblkhd),
        .usmblks = widen(info.usmblks),
        .fsmblks = widen(info.fsmblks),
        .uordblks = widen(info.uordblks),
        .fordblks = widen(info.fordblks),
        .keepcost = widen(info.keepcost),
    };
}

static struct subject_usage usage_of_mallinfo2(void)
{
    struct bw_mallinfo2 info = bw_mallinfo2();
    struct subject_usage usage;

    _Static_assert(sizeof(info) == sizeof(usage), "the same ten fields in the same order");
    memcpy(&usage, &info, sizeof(usage));
    return usage;
}

void subject_open(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    tested = (struct subject){
        .is_breakwater = true,
        .malloc = bw_malloc,
        .calloc = bw_calloc,
        .realloc = bw_realloc,
        .free = bw_free,
        .aligned_alloc = bw_aligned_alloc,
        .posix_memalign = bw_posix_memalign,
        .free_sized = bw_free_sized,
        .free_aligned_sized = bw_free_aligned_sized,
        .reallocarray = bw_reallocarray,
        .memalign = bw_memalign,
        .valloc = bw_valloc,
        .pvalloc = bw_pvalloc,
        .malloc_usable_size = bw_malloc_usable_size,
        .malloc_trim = bw_malloc_trim,
        .purge = bw_purge,
        .mallopt = bw_mallopt,
        .mallinfo = usage_of_mallinfo,
        .mallinfo2 = usage_of_mallinfo2,
        .malloc_info = bw_malloc_info,
        .malloc_stats = bw_malloc_stats,
        .cfree = bw_cfree,
    };
}
