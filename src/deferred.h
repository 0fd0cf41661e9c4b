/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* deferred.h - blocks of the heap that wait for the gate to open.
 */
#ifndef BREAKWATER_DEFERRED_H
#define BREAKWATER_DEFERRED_H

#include "util.h"

/* Remember a block of the heap that could not be freed while the gate is closed: one that nobody
 * uses any more, aligned as every block. Lock-free. */
void deferred_push(void *block);

/* Is there anything to release? A hint. */
bool deferred_waits(void);

/* The gate is open again: free what was deferred through `release`, a block at a time. Outside the
 * gate. */
void deferred_release(void (*release)(void *block));

/* Around a fork, in the thread that forks: what it defers in between, its child has too. At the end
 * it is put with what others deferred; in the child after deferred_reset_in_child(). Lock-free. */
void deferred_fork_begins(void);
void deferred_fork_ends(void);

/* In a forked child: what other threads deferred is lost with them. */
void deferred_reset_in_child(void);

/* How many there have been. */
uint64_t deferred_count(void);

#endif
