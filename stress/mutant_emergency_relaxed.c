/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mutant_emergency_relaxed.c - emergency.c, pool.c and group.c as they are, but for their memory
 * orders: all relaxed.
 *
 * Linked in front of the core, for ThreadSanitizer to find: nothing then orders what the last owner
 * of granules wrote to them before the next one takes them.
 */
#include <stdatomic.h>

#include "emergency.h"
#include "gate.h"
#include "group.h"
#include "limit.h"
#include "os.h"
#include "pool.h"

#define memory_order_acquire memory_order_relaxed
#define memory_order_release memory_order_relaxed
#define memory_order_seq_cst memory_order_relaxed

#include "emergency.c" /* NOLINT(bugprone-suspicious-include) */
#include "group.c"     /* NOLINT(bugprone-suspicious-include) */
#include "pool.c"      /* NOLINT(bugprone-suspicious-include) */
