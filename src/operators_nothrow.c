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
#include "breakwater/breakwater.h"
#include "cxx_library.h"
#include "heap.h"

/* The C++ library's own form, if there is a handler to call. Not inlined: what it saves would be
 * saved on the fast path. */
static __attribute__((noinline)) void *next_definition(const char *name, const void *caller)
{
    struct cxx_library library = cxx_library_of(caller);
    bool handler = library.get_new_handler != NULL && library.get_new_handler() != NULL;

    return handler ? cxx_library_own(&library, name) : NULL;
}

static void *new_after_failure(const char *name, size_t size, const void *nothrow,
                               const void *caller)
{
    void *(*next)(size_t, const void *);

    *(void **)&next = next_definition(name, caller);
    return next != NULL ? next(size, nothrow) : NULL;
}

static void *new_aligned_after_failure(const char *name, size_t size, size_t alignment,
                                       const void *nothrow, const void *caller)
{
    void *(*next)(size_t, size_t, const void *);

    *(void **)&next = next_definition(name, caller);
    return next != NULL ? next(size, alignment, nothrow) : NULL;
}

/* Mangled names are reserved identifiers by nature. */
/* NOLINTBEGIN(bugprone-reserved-identifier) */

BW_API void *_ZnwmRKSt9nothrow_t(size_t size, const void *nothrow);
BW_API void *_ZnwmRKSt9nothrow_t(size_t size, const void *nothrow)
{
    void *block = heap_alloc(size);

    return likely(block != NULL) ? block
                                 : new_after_failure("_ZnwmRKSt9nothrow_t", size, nothrow,
                                                     __builtin_return_address(0));
}

BW_API void *_ZnamRKSt9nothrow_t(size_t size, const void *nothrow);
BW_API void *_ZnamRKSt9nothrow_t(size_t size, const void *nothrow)
{
    void *block = heap_alloc(size);

    return likely(block != NULL) ? block
                                 : new_after_failure("_ZnamRKSt9nothrow_t", size, nothrow,
                                                     __builtin_return_address(0));
}

BW_API void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *nothrow);
BW_API void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *nothrow)
{
    void *block = heap_alloc_aligned(alignment, size);

    return likely(block != NULL)
               ? block
               : new_aligned_after_failure("_ZnwmSt11align_val_tRKSt9nothrow_t", size, alignment,
                                           nothrow, __builtin_return_address(0));
}

BW_API void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *nothrow);
BW_API void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *nothrow)
{
    void *block = heap_alloc_aligned(alignment, size);

    return likely(block != NULL)
               ? block
               : new_aligned_after_failure("_ZnamSt11align_val_tRKSt9nothrow_t", size, alignment,
                                           nothrow, __builtin_return_address(0));
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
