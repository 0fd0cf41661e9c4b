/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mutant_life_relaxed.c - life.c as it is, but for its memory orders: all relaxed.
 *
 * Linked in front of the core, for ThreadSanitizer to find: nothing then orders what the first call
 * fills in before who sees without a lock that the allocator has started.
 */
#include <stdatomic.h>

#include "life.h"

#define memory_order_acquire memory_order_relaxed
#define memory_order_release memory_order_relaxed

#include "life.c" /* NOLINT(bugprone-suspicious-include) */
