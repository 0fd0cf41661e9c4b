/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mutant_gate_relaxed.c - gate.c as it is, but for its memory orders: all relaxed.
 *
 * Linked in front of the core, for ThreadSanitizer to find: nothing then orders what a thread did
 * inside before what whoever closes the gate looks at.
 */
#include <stdatomic.h>

#include "gate.h"

#define memory_order_acquire memory_order_relaxed
#define memory_order_release memory_order_relaxed
#define memory_order_seq_cst memory_order_relaxed

#include "gate.c" /* NOLINT(bugprone-suspicious-include) */
