/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mutant_runs_relaxed.c - run_cache.c as it is, but for its memory orders: all relaxed.
 *
 * Linked in front of the core, for ThreadSanitizer to find: nothing then orders what the last owner
 * of a run wrote to its span before the next one takes it.
 */
#include <stdatomic.h>

#include "run_cache.h"

#define memory_order_acquire memory_order_relaxed
#define memory_order_release memory_order_relaxed
#define memory_order_seq_cst memory_order_relaxed

#include "run_cache.c" /* NOLINT(bugprone-suspicious-include) */
