/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* operators_nothrow.c - C++'s nothrow operator new and delete, in the shared library only.
 *
 * A nothrow form must return NULL even if the new-handler throws. Only C++ code can catch: once an
 * allocation has failed and there is a handler to call, the C++ library's own form of the operator
 * takes over, which calls the throwing form (operators.c) and catches.
 *
 * Owns         nothing.
 * Concurrency  any thread.
 */
#include <dlfcn.h>

#include "heap.h"
#include "operators.h"

/* Mangled names are reserved identifiers by nature. */
/* NOLINTBEGIN(bugprone-reserved-identifier) */

static void *next_definition(const char *name)
{
    bool handler = _ZSt15get_new_handlerv != NULL && _ZSt15get_new_handlerv() != NULL;

    return handler ? dlsym(RTLD_NEXT, name) : NULL;
}

static void *new_after_failure(const char *name, size_t size, const void *nothrow)
{
    /* POSIX lets dlsym() give functions: the conversion is the one it documents. */
    void *(*next)(size_t, const void *);

    *(void **)&next = next_definition(name);
    return next != NULL ? next(size, nothrow) : NULL;
}

static void *new_aligned_after_failure(const char *name, size_t size, size_t alignment,
                                       const void *nothrow)
{
    void *(*next)(size_t, size_t, const void *);

    *(void **)&next = next_definition(name);
    return next != NULL ? next(size, alignment, nothrow) : NULL;
}

BW_API void *_ZnwmRKSt9nothrow_t(size_t size, const void *nothrow);
BW_API void *_ZnwmRKSt9nothrow_t(size_t size, const void *nothrow)
{
    void *block = heap_alloc(size);

    return likely(block != NULL) ? block : new_after_failure("_ZnwmRKSt9nothrow_t", size, nothrow);
}

BW_API void *_ZnamRKSt9nothrow_t(size_t size, const void *nothrow);
BW_API void *_ZnamRKSt9nothrow_t(size_t size, const void *nothrow)
{
    void *block = heap_alloc(size);

    return likely(block != NULL) ? block : new_after_failure("_ZnamRKSt9nothrow_t", size, nothrow);
}

BW_API void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *nothrow);
BW_API void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *nothrow)
{
    void *block = heap_alloc_aligned(alignment, size);

    return likely(block != NULL) ? block
                                 : new_aligned_after_failure("_ZnwmSt11align_val_tRKSt9nothrow_t",
                                                             size, alignment, nothrow);
}

BW_API void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *nothrow);
BW_API void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *nothrow)
{
    void *block = heap_alloc_aligned(alignment, size);

    return likely(block != NULL) ? block
                                 : new_aligned_after_failure("_ZnamSt11align_val_tRKSt9nothrow_t",
                                                             size, alignment, nothrow);
}

BW_API void _ZdlPvRKSt9nothrow_t(void *block, const void *nothrow);
BW_API void _ZdlPvRKSt9nothrow_t(void *block, const void *nothrow)
{
    (void)nothrow;
    heap_free(block);
}

BW_API void _ZdaPvRKSt9nothrow_t(void *block, const void *nothrow);
BW_API void _ZdaPvRKSt9nothrow_t(void *block, const void *nothrow)
{
    (void)nothrow;
    heap_free(block);
}

BW_API void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment, const void *nothrow);
BW_API void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment, const void *nothrow)
{
    (void)alignment;
    (void)nothrow;
    heap_free(block);
}

BW_API void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment, const void *nothrow);
BW_API void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment, const void *nothrow)
{
    (void)alignment;
    (void)nothrow;
    heap_free(block);
}

/* NOLINTEND(bugprone-reserved-identifier) */
