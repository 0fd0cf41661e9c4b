/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* operators.h - what the two files of C++ operators share. */
#ifndef BREAKWATER_OPERATORS_H
#define BREAKWATER_OPERATORS_H

#include "breakwater/breakwater.h"

typedef void (*operator_new_handler)(void);

/* std::get_new_handler(), where a C++ library is present. */
operator_new_handler _ZSt15get_new_handlerv(void) __attribute__((weak)); /* NOLINT */

#endif
