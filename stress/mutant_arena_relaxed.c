/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mutant_arena_relaxed.c - arena.c as it is, but for its memory orders: all relaxed.
 *
 * Linked in front of the core, for ThreadSanitizer to find: nothing then orders what an arena, or a
 * bin, was made with before who finds it without a lock.
 */
#include <stdatomic.h>

#include "arena.h"

#define memory_order_acquire memory_order_relaxed
#define memory_order_release memory_order_relaxed

#include "arena.c" /* NOLINT(bugprone-suspicious-include) */
