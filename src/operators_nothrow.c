/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* operators_nothrow.c - C++'s nothrow operator new and delete, in the shared library only.
 *
 * A nothrow form calls the throwing one, which the program may have replaced, and returns NULL
 * where that throws. Only C++ code can catch: where it is not ours, or an allocation has failed and
 * there is a new-handler to call, the C++ library's own form of the operator takes over.
 *
 * Owns         nothing.
 * Concurrency  any thread.
 * Called by    the program.
 */
#include <stdatomic.h>

#include "cxx_library.h"
#include "heap.h"
#include "operators.h"

typedef void *plain_new(size_t size);
typedef void *aligned_new(size_t size, size_t alignment);

/* Off the paths on which a block is at hand, and not inlined: what these save would be saved there.
 */
#define SLOW __attribute__((noinline))

/* A nothrow form, and what the C++ library has of that name once it has been looked for. */
struct form {
    const char *name;
    _Atomic(void *) own;
};

/* The C++ library's own form, or NULL. */
static SLOW void *own_definition(struct form *form, bool is_replaced, const void *caller)
{
    /* Relaxed: code, which was there before. */
    void *own = atomic_load_explicit(&form->own, memory_order_relaxed);

    if (own != NULL && is_replaced) {
        return own;
    }
    struct cxx_library library = cxx_library_of(caller);
    bool handler = library.get_new_handler != NULL && library.get_new_handler() != NULL;

    own = is_replaced || handler ? cxx_library_own(&library, form->name) : NULL;
    /* A handler may be a plugin's, and go with it. */
    if (is_replaced) {
        atomic_store_explicit(&form->own, own, memory_order_relaxed);
    }
    return own;
}

static SLOW void *new_by_library(struct form *form, plain_new *replaced, size_t size,
                                 const void *nothrow, const void *caller)
{
    void *(*own)(size_t, const void *);

    *(void **)&own = own_definition(form, replaced != NULL, caller);
    if (own != NULL) {
        return own(size, nothrow);
    }
    return replaced != NULL ? replaced(size) : NULL;
}

static SLOW void *new_aligned_by_library(struct form *form, aligned_new *replaced, size_t size,
                                         size_t alignment, const void *nothrow, const void *caller)
{
    void *(*own)(size_t, size_t, const void *);

    *(void **)&own = own_definition(form, replaced != NULL, caller);
    if (own != NULL) {
        return own(size, alignment, nothrow);
    }
    return replaced != NULL ? replaced(size, alignment) : NULL;
}

/* What the nothrow form has to call, where it is not ours alone; else NULL. */

static inline plain_new *replaced_new(void)
{
    return likely(_Znwm == operators_new) ? NULL : _Znwm;
}

static inline plain_new *replaced_new_array(void)
{
    return likely(_Znam == operators_new_array && _Znwm == operators_new) ? NULL : _Znam;
}

static inline aligned_new *replaced_new_aligned(void)
{
    return likely(_ZnwmSt11align_val_t == operators_new_aligned) ? NULL : _ZnwmSt11align_val_t;
}

static inline aligned_new *replaced_new_array_aligned(void)
{
    return likely(_ZnamSt11align_val_t == operators_new_array_aligned &&
                  _ZnwmSt11align_val_t == operators_new_aligned)
               ? NULL
               : _ZnamSt11align_val_t;
}

static inline void *new_plain(struct form *form, plain_new *replaced, size_t size,
                              const void *nothrow, const void *caller)
{
    void *block = likely(replaced == NULL) ? heap_alloc(size) : NULL;

    return likely(block != NULL) ? block : new_by_library(form, replaced, size, nothrow, caller);
}

static inline void *new_aligned(struct form *form, aligned_new *replaced, size_t size,
                                size_t alignment, const void *nothrow, const void *caller)
{
    void *block = NULL;

    if (likely(replaced == NULL)) {
        if (unlikely(!is_power_of_two(alignment))) {
            return NULL;
        }
        block = heap_alloc_aligned(alignment, size);
    }
    return likely(block != NULL)
               ? block
               : new_aligned_by_library(form, replaced, size, alignment, nothrow, caller);
}

OPERATOR void *_ZnwmRKSt9nothrow_t(size_t size, const void *nothrow)
{
    static struct form form = {.name = "_ZnwmRKSt9nothrow_t"};

    return new_plain(&form, replaced_new(), size, nothrow, __builtin_return_address(0));
}

OPERATOR void *_ZnamRKSt9nothrow_t(size_t size, const void *nothrow)
{
    static struct form form = {.name = "_ZnamRKSt9nothrow_t"};

    return new_plain(&form, replaced_new_array(), size, nothrow, __builtin_return_address(0));
}

OPERATOR void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment,
                                                  const void *nothrow)
{
    static struct form form = {.name = "_ZnwmSt11align_val_tRKSt9nothrow_t"};

    return new_aligned(&form, replaced_new_aligned(), size, alignment, nothrow,
                       __builtin_return_address(0));
}

OPERATOR void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment,
                                                  const void *nothrow)
{
    static struct form form = {.name = "_ZnamSt11align_val_tRKSt9nothrow_t"};

    return new_aligned(&form, replaced_new_array_aligned(), size, alignment, nothrow,
                       __builtin_return_address(0));
}

OPERATOR void _ZdlPvRKSt9nothrow_t(void *block, const void *nothrow)
{
    (void)nothrow;
    _ZdlPv(block);
}

OPERATOR void _ZdaPvRKSt9nothrow_t(void *block, const void *nothrow)
{
    (void)nothrow;
    _ZdaPv(block);
}

OPERATOR void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment,
                                                  const void *nothrow)
{
    (void)nothrow;
    _ZdlPvSt11align_val_t(block, alignment);
}

OPERATOR void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment,
                                                  const void *nothrow)
{
    (void)nothrow;
    _ZdaPvSt11align_val_t(block, alignment);
}
