/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mutant_relaxed.c - remote.c as it is, but for its memory orders: all relaxed.
 *
 * Linked in front of the core, for ThreadSanitizer to find: nothing then orders the program's last
 * writes to a block before the block is handed out again, except where the slab was queued.
 */
#include <stdatomic.h>

#include "remote.h"

#define memory_order_acq_rel memory_order_relaxed

#include "remote.c" /* NOLINT(bugprone-suspicious-include) */
