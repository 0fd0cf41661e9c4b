/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mutant_lock_relaxed.c - meta.c as it is, but for the memory orders of its lock: all relaxed.
 *
 * Linked in front of the core, for ThreadSanitizer to find: nothing then orders what one holder of
 * the lock wrote before what the next one reads. The lock's code is inlined where it is used: this
 * is the module that uses it alone.
 */
#include <stdatomic.h>

#include "util.h"

#define memory_order_acquire memory_order_relaxed
#define memory_order_release memory_order_relaxed

#include "meta.c" /* NOLINT(bugprone-suspicious-include) */
