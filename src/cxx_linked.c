/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cxx_linked.c - the C++ library that a program is linked to together with libbreakwater.a.
 *
 * References that are not weak take out of libstdc++.a what a static program needs to throw. Only
 * programs that use operator new have this file, by way of operators.c.
 *
 * Owns         nothing.
 * Concurrency  any thread.
 * Called by    operators.c and operators_nothrow.c.
 */
#include "cxx_library.h"

struct cxx_library cxx_library_of(const void *caller)
{
    (void)caller;
    return (struct cxx_library){
        _ZSt15get_new_handlerv, __cxa_allocate_exception, __cxa_throw,
        _ZTISt9bad_alloc,       _ZTVSt9bad_alloc,         _ZNSt9bad_allocD1Ev,
    };
}
