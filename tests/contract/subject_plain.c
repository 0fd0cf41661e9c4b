/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* subject_plain.c - runs the contract tests against the standard names, whoever defines them.
 *
 * Names that the C library has no longer (cfree), not yet (free_sized), never had (bw_purge) or
 * declares deprecated (mallinfo) are looked up at run time.
 */
#include "subject.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

struct subject tested;

static struct mallinfo (*plain_mallinfo)(void);

static size_t widen(int field)
{
    return (size_t)field;
}

static struct subject_usage usage_of_mallinfo(void)
{
    struct mallinfo info = plain_mallinfo();

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
    struct mallinfo2 info = mallinfo2();
    struct subject_usage usage;

    _Static_assert(sizeof(info) == sizeof(usage), "the same ten fields in the same order");
    memcpy(&usage, &info, sizeof(usage));
    return usage;
}

/* ISO C has no conversion from void * to a function pointer, but POSIX gives both one
 * representation. */
static void look_up(void *function, const char *name)
{
    void *address = dlsym(RTLD_DEFAULT, name);

    memcpy(function, &address, sizeof(address));
}

static const char *object_that_defines(const char *name)
{
    Dl_info object = {0};

    if (!dladdr(dlsym(RTLD_DEFAULT, name), &object)) {
        return "";
    }
    return object.dli_fname;
}

void subject_open(int argc, char **argv)
{
    const char *object = object_that_defines("malloc");

    if (argc > 1 && !strstr(object, argv[1])) {
        fprintf(stderr, "malloc is defined by %s, not by %s\n", object, argv[1]);
        exit(EXIT_FAILURE);
    }
    tested = (struct subject){
        .is_breakwater = strstr(object, "libbreakwater") != NULL,
        .malloc = malloc,
        .calloc = calloc,
        .realloc = realloc,
        .free = free,
        .aligned_alloc = aligned_alloc,
        .posix_memalign = posix_memalign,
        .reallocarray = reallocarray,
        .memalign = memalign,
        .valloc = valloc,
        .pvalloc = pvalloc,
        .malloc_usable_size = malloc_usable_size,
        .malloc_trim = malloc_trim,
        .mallopt = mallopt,
        .mallinfo = usage_of_mallinfo,
        .mallinfo2 = usage_of_mallinfo2,
        .malloc_info = malloc_info,
        .malloc_stats = malloc_stats,
    };
    look_up(&tested.purge, "bw_purge");
    look_up(&tested.free_sized, "free_sized");
    look_up(&tested.free_aligned_sized, "free_aligned_sized");
    look_up(&tested.cfree, "cfree");
    look_up(&plain_mallinfo, "mallinfo");
}
