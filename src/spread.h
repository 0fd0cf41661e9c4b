/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* spread.h - how threads are spread over arenas.
 *
 * The caller of a function named *_locked holds the life lock.
 */
#ifndef BREAKWATER_SPREAD_H
#define BREAKWATER_SPREAD_H

#include "arena.h"

/* Find out how many processors the process may use, unless somebody has: reads files, and so is to
 * be called with no lock held. Until then one is taken for granted. */
void spread_find_cpus(void);

/* At most so many arenas for threads that are bound from now on; 0: by the processors. */
void spread_limit_locked(uint32_t arenas);

/* Make the first arena; false without memory. */
bool spread_start_locked(void);

/* Arenas that exist. */
uint32_t spread_arenas_locked(void);

/* The arena for a new thread: the one with the fewest, lowest index first. One that does not exist
 * yet has none, and is made, where there is memory. The thread counts from spread_bind_locked() on.
 */
struct arena *spread_choose_locked(void);

/* An arena where a thread of this one would wait less, perhaps made for it; or NULL. */
struct arena *spread_choose_other_locked(const struct arena *crowded);

/* One thread more is bound to the arena; one less. */
void spread_bind_locked(struct arena *arena);
void spread_unbind_locked(struct arena *arena);

/* Nobody is bound to any arena but `own`, one thread; NULL: to none. In a child, whose only thread
 * asks: no lock is needed. */
void spread_keep_only(struct arena *own);

/* Threads bound to arenas. */
uint32_t spread_threads_locked(void);

#endif
