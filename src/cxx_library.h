/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cxx_library.h - what operator new needs of the program's C++ library when there is no memory.
 *
 * cxx_linked.c finds it in libbreakwater.a, cxx_loaded.c in libbreakwater.so. These are parts of
 * the Itanium C++ ABI, which libstdc++ and libc++ share; std::__throw_bad_alloc() is none.
 */
#ifndef BREAKWATER_CXX_LIBRARY_H
#define BREAKWATER_CXX_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

typedef void (*operator_new_handler)(void);

struct cxx_library {
    operator_new_handler (*get_new_handler)(void);
    void *(*allocate_exception)(size_t size);
    __attribute__((noreturn)) void (*throw_exception)(void *exception, void *type,
                                                      void (*destroy)(void *));
    /* Of std::bad_alloc. */
    void *type;
    void **vtable;
    void (*destroy)(void *exception);
};

operator_new_handler _ZSt15get_new_handlerv(void);
void *__cxa_allocate_exception(size_t size);
__attribute__((noreturn)) void __cxa_throw(void *exception, void *type, void (*destroy)(void *));
extern char _ZTISt9bad_alloc[];
extern void *_ZTVSt9bad_alloc[];
void _ZNSt9bad_allocD1Ev(void *exception);

/* The C++ library of the code at `caller`, which operator new is to return to. What is not found is
 * NULL. */
struct cxx_library cxx_library_of(const void *caller);

/* The function of this name that the C++ library has itself, behind ours of the same name, or NULL.
 * In the shared library only. */
void *cxx_library_own(const struct cxx_library *library, const char *name);

static inline bool cxx_library_throws(const struct cxx_library *library)
{
    return library->allocate_exception != NULL && library->throw_exception != NULL &&
           library->type != NULL && library->vtable != NULL && library->destroy != NULL;
}

#endif
