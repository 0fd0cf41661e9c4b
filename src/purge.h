/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* purge.h - when free memory goes back to the kernel: after a decay time, a little at a time. */
#ifndef BREAKWATER_PURGE_H
#define BREAKWATER_PURGE_H

#include <stdatomic.h>

#include "pace.h"

/* What a thread gives back at a time that has nothing else to do, or as much to allocate or free.
 */
#define PURGE_STEP_BYTES PACE_BYTES_MOST

/* Now and then on slow paths: if a step is due, take it, a short one (pace.h). True if there is
 * more to do: after a rest, by whoever polls next. Inside the gate, no lock held. */
bool purge_poll(void);

/* After that: a step of PURGE_STEP_BYTES at once, for a thread that need not rest. As above. */
bool purge_go_on(void);

/* The soft limit presses: what is free by now goes back in the steps to come, caches' and depots'
 * too. */
void purge_begin_relief(void);

/* Such a step, for a thread that allocates or frees so many bytes. True if there is more to do.
 * Both inside the gate, no lock held. */
bool purge_relieve(size_t bytes);

/* Has the last step left something for the next? Then who seldom comes by should poll each time. */
extern _Atomic bool purge_left;

static inline bool purge_is_behind(void)
{
    /* Relaxed: a hint. */
    return atomic_load_explicit(&purge_left, memory_order_relaxed);
}

/* Is a step due? To be asked before the gate is entered only to take it. */
bool purge_is_due(void);

/* How long until a step is due. For a thread that has nothing else to do than to poll. */
uint64_t purge_interval_ms(void);

/* Give back all that can be: free runs, but for `pad_bytes` at the top of the break, and the free
 * pages of slabs. The bytes that went. Inside the gate, no lock held. */
size_t purge_all(size_t pad_bytes);

#endif
