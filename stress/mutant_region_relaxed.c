/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mutant_region_relaxed.c - region.c as it is, but for its memory orders: all relaxed.
 *
 * Linked in front of the core, for ThreadSanitizer to find: nothing then orders what the region and
 * its rows say before who finds them without a lock.
 */
#include <stdatomic.h>

#include "region.h"

#define memory_order_acquire memory_order_relaxed
#define memory_order_release memory_order_relaxed

#include "region.c" /* NOLINT(bugprone-suspicious-include) */
