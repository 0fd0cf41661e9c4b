/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mutant_limit_relaxed.c - limit.c as it is, but for its memory orders: all relaxed.
 *
 * Linked in front of the core, for ThreadSanitizer to find: nothing then orders what the program
 * wrote to the callback's context before the thread that calls it.
 */
#include <stdatomic.h>

#include "limit.h"

#define memory_order_acquire memory_order_relaxed
#define memory_order_release memory_order_relaxed

#include "limit.c" /* NOLINT(bugprone-suspicious-include) */
