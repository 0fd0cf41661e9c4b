/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* operators.c - C++'s operator new and delete, under their mangled names (Itanium C++ ABI, 5.1).
 *
 * In C, so that C programs that preload the library need no C++ library: the new-handler and the
 * throwing of std::bad_alloc are weak references to what the program's C++ library has. Exceptions
 * pass through these frames, so the file is compiled with -fexceptions.
 *
 * The nothrow forms are in operators_nothrow.c, of the shared library only: a program linked to
 * libbreakwater.a has them from its C++ library, where they call the forms defined here.
 *
 * Owns         nothing.
 * Concurrency  any thread.
 */
#include "operators.h"

#include "heap.h"

/* Mangled names are reserved identifiers by nature. */
/* NOLINTBEGIN(bugprone-reserved-identifier) */

/* std::__throw_bad_alloc() */
_Noreturn void _ZSt17__throw_bad_allocv(void) __attribute__((weak));

/* C++17, 21.6.2.1: call the new-handler and try again until there is none; then throw. */
static void *new_after_failure(size_t alignment, size_t size)
{
    void *block = NULL;

    while (block == NULL) {
        operator_new_handler handler =
            _ZSt15get_new_handlerv != NULL ? _ZSt15get_new_handlerv() : NULL;

        if (handler == NULL) {
            if (_ZSt17__throw_bad_allocv == NULL) {
                fatal("out of memory in operator new, and no C++ library to throw");
            }
            _ZSt17__throw_bad_allocv();
        }
        handler();
        block = heap_alloc_aligned(alignment, size);
    }
    return block;
}

static inline void *new_block(size_t size)
{
    void *block = heap_alloc(size);

    return likely(block != NULL) ? block : new_after_failure(BLOCK_ALIGN, size);
}

static inline void *new_aligned_block(size_t size, size_t alignment)
{
    void *block = heap_alloc_aligned(alignment, size);

    return likely(block != NULL) ? block : new_after_failure(alignment, size);
}

BW_API void *_Znwm(size_t size);
BW_API void *_Znwm(size_t size)
{
    return new_block(size);
}

BW_API void *_Znam(size_t size);
BW_API void *_Znam(size_t size)
{
    return new_block(size);
}

BW_API void *_ZnwmSt11align_val_t(size_t size, size_t alignment);
BW_API void *_ZnwmSt11align_val_t(size_t size, size_t alignment)
{
    return new_aligned_block(size, alignment);
}

BW_API void *_ZnamSt11align_val_t(size_t size, size_t alignment);
BW_API void *_ZnamSt11align_val_t(size_t size, size_t alignment)
{
    return new_aligned_block(size, alignment);
}

BW_API void _ZdlPv(void *block);
BW_API void _ZdlPv(void *block)
{
    heap_free(block);
}

BW_API void _ZdaPv(void *block);
BW_API void _ZdaPv(void *block)
{
    heap_free(block);
}

BW_API void _ZdlPvm(void *block, size_t size);
BW_API void _ZdlPvm(void *block, size_t size)
{
    (void)size;
    heap_free(block);
}

BW_API void _ZdaPvm(void *block, size_t size);
BW_API void _ZdaPvm(void *block, size_t size)
{
    (void)size;
    heap_free(block);
}

BW_API void _ZdlPvSt11align_val_t(void *block, size_t alignment);
BW_API void _ZdlPvSt11align_val_t(void *block, size_t alignment)
{
    (void)alignment;
    heap_free(block);
}

BW_API void _ZdaPvSt11align_val_t(void *block, size_t alignment);
BW_API void _ZdaPvSt11align_val_t(void *block, size_t alignment)
{
    (void)alignment;
    heap_free(block);
}

BW_API void _ZdlPvmSt11align_val_t(void *block, size_t size, size_t alignment);
BW_API void _ZdlPvmSt11align_val_t(void *block, size_t size, size_t alignment)
{
    (void)size;
    (void)alignment;
    heap_free(block);
}

BW_API void _ZdaPvmSt11align_val_t(void *block, size_t size, size_t alignment);
BW_API void _ZdaPvmSt11align_val_t(void *block, size_t size, size_t alignment)
{
    (void)size;
    (void)alignment;
    heap_free(block);
}

/* NOLINTEND(bugprone-reserved-identifier) */
