/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* operators.h - C++'s operators new and delete by their mangled names (Itanium C++ ABI, 5.1), of
 * which another object may have its own, and what ours of the basic forms do.
 */
#ifndef BREAKWATER_OPERATORS_H
#define BREAKWATER_OPERATORS_H

#include <stddef.h>

#include "breakwater/breakwater.h"

/* Weak also so that no compiler takes a call by such a name for one of ours. */
#define OPERATOR BW_API __attribute__((weak))

OPERATOR void *_Znwm(size_t size);
OPERATOR void *_Znam(size_t size);
OPERATOR void *_ZnwmSt11align_val_t(size_t size, size_t alignment);
OPERATOR void *_ZnamSt11align_val_t(size_t size, size_t alignment);
OPERATOR void _ZdlPv(void *block);
OPERATOR void _ZdaPv(void *block);
OPERATOR void _ZdlPvm(void *block, size_t size);
OPERATOR void _ZdaPvm(void *block, size_t size);
OPERATOR void _ZdlPvSt11align_val_t(void *block, size_t alignment);
OPERATOR void _ZdaPvSt11align_val_t(void *block, size_t alignment);
OPERATOR void _ZdlPvmSt11align_val_t(void *block, size_t size, size_t alignment);
OPERATOR void _ZdaPvmSt11align_val_t(void *block, size_t size, size_t alignment);
OPERATOR void *_ZnwmRKSt9nothrow_t(size_t size, const void *nothrow);
OPERATOR void *_ZnamRKSt9nothrow_t(size_t size, const void *nothrow);
OPERATOR void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment,
                                                  const void *nothrow);
OPERATOR void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment,
                                                  const void *nothrow);
OPERATOR void _ZdlPvRKSt9nothrow_t(void *block, const void *nothrow);
OPERATOR void _ZdaPvRKSt9nothrow_t(void *block, const void *nothrow);
OPERATOR void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment,
                                                  const void *nothrow);
OPERATOR void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment,
                                                  const void *nothrow);

/* What _Znwm(), _Znam() and their aligned forms are, unless another object has its own. */
void *operators_new(size_t size);
void *operators_new_array(size_t size);
void *operators_new_aligned(size_t size, size_t alignment);
void *operators_new_array_aligned(size_t size, size_t alignment);

#endif
