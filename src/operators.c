/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* operators.c - C++'s operator new and delete, under their mangled names (Itanium C++ ABI, 5.1).
 *
 * In C, so that C programs that preload the library need no C++ library: where there is no memory,
 * the new-handler and std::bad_alloc are those of the caller's (cxx_library.h). Exceptions pass
 * through these frames, so the file is compiled with -fexceptions.
 *
 * A program may replace some of the forms and leave the others, which go by those they are derived
 * from then (C++17, 21.6.2). So only the basic ones allocate and free; all others call them by
 * their names, in whichever object these are. All are weak: in libbreakwater.a the program's own,
 * if it has one, is no second definition.
 *
 * The nothrow forms are in operators_nothrow.c, of the shared library only: a program linked to
 * libbreakwater.a has them from its C++ library, where they call the forms defined here.
 *
 * Owns         nothing.
 * Concurrency  any thread.
 * Called by    operators_nothrow.c; the program.
 */
#include "operators.h"
#include "breakwater/breakwater.h"
#include "cxx_library.h"
#include "heap.h"

/* Entries of a vtable before those of functions, which an object points to. */
enum { VTABLE_HEAD = 2 };

/* What `throw std::bad_alloc()` does. The object is a pointer to its vtable, and nothing else. */
static _Noreturn void throw_bad_alloc(const struct cxx_library *library)
{
    void **exception;

    if (!cxx_library_throws(library)) {
        fatal("out of memory in operator new, and no C++ library to throw");
    }
    exception = library->allocate_exception(sizeof(void *));
    *exception = library->vtable + VTABLE_HEAD;
    library->throw_exception(exception, library->type, library->destroy);
}

/* C++17, 21.6.2.1: call the new-handler and try again until there is none; then throw. Not inlined:
 * what it saves would be saved on the fast path. */
static __attribute__((noinline)) void *new_after_failure(size_t alignment, size_t size,
                                                         const void *caller)
{
    struct cxx_library library = cxx_library_of(caller);
    void *block = NULL;

    while (block == NULL) {
        operator_new_handler handler =
            library.get_new_handler != NULL ? library.get_new_handler() : NULL;

        if (handler != NULL) {
            handler();
        } else {
            throw_bad_alloc(&library);
        }
        block = heap_alloc_aligned(alignment, size);
    }
    return block;
}

void *operators_new(size_t size)
{
    void *block = heap_alloc(size);

    return likely(block != NULL)
               ? block
               : new_after_failure(BLOCK_ALIGN, size, __builtin_return_address(0));
}

void *operators_new_aligned(size_t size, size_t alignment)
{
    const void *caller = __builtin_return_address(0);

    /* No handler can help. */
    if (unlikely(!is_power_of_two(alignment))) {
        struct cxx_library library = cxx_library_of(caller);

        throw_bad_alloc(&library);
    }
    void *block = heap_alloc_aligned(alignment, size);

    return likely(block != NULL) ? block : new_after_failure(alignment, size, caller);
}

void *operators_new_array(size_t size)
{
    return _Znwm(size);
}

void *operators_new_array_aligned(size_t size, size_t alignment)
{
    return _ZnwmSt11align_val_t(size, alignment);
}

/* The basic forms. */

OPERATOR void *_Znwm(size_t size) __attribute__((alias("operators_new")));

OPERATOR void *_ZnwmSt11align_val_t(size_t size, size_t alignment)
    __attribute__((alias("operators_new_aligned")));

OPERATOR void _ZdlPv(void *block)
{
    heap_free(block);
}

OPERATOR void _ZdlPvSt11align_val_t(void *block, size_t alignment)
{
    (void)alignment;
    heap_free(block);
}

/* Arrays. */

OPERATOR void *_Znam(size_t size) __attribute__((alias("operators_new_array")));

OPERATOR void *_ZnamSt11align_val_t(size_t size, size_t alignment)
    __attribute__((alias("operators_new_array_aligned")));

OPERATOR void _ZdaPv(void *block)
{
    _ZdlPv(block);
}

OPERATOR void _ZdaPvSt11align_val_t(void *block, size_t alignment)
{
    _ZdlPvSt11align_val_t(block, alignment);
}

/* Of a size that is known. */

OPERATOR void _ZdlPvm(void *block, size_t size)
{
    (void)size;
    _ZdlPv(block);
}

OPERATOR void _ZdaPvm(void *block, size_t size)
{
    (void)size;
    _ZdaPv(block);
}

OPERATOR void _ZdlPvmSt11align_val_t(void *block, size_t size, size_t alignment)
{
    (void)size;
    _ZdlPvSt11align_val_t(block, alignment);
}

OPERATOR void _ZdaPvmSt11align_val_t(void *block, size_t size, size_t alignment)
{
    (void)size;
    _ZdaPvSt11align_val_t(block, alignment);
}
