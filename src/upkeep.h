/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* upkeep.h - what slow paths do for the heap as a whole.
 *
 * `cache` is cache_self, which may be no real one but where that is said. No lock is held by a
 * caller.
 */
#ifndef BREAKWATER_UPKEEP_H
#define BREAKWATER_UPKEEP_H

#include "cache.h"

/* What has to be done now and then: decay, and the soft limit. Inside the gate. */
void upkeep_poll(struct cache *cache);

/* The same after `bytes` were allocated or freed at once: as many may go back, beyond one step.
 * Otherwise a thread that makes few calls, for large blocks, would take long to give them back. */
void upkeep_poll_for(struct cache *cache, size_t bytes);

/* For a thread with a cache that need not enter the gate otherwise: upkeep_poll() if the decay is
 * due. Outside the gate; errno is kept. */
void upkeep_poll_outside(struct cache *cache);

/* After a miss of `cache`, a real one. Only where cache->misses has been raised: what is due every
 * so many misses would otherwise be done at each call. Inside the gate. */
void upkeep_after_miss(struct cache *cache);

/* Give back to the kernel all that can go, but for `pad_bytes` at the top of the break, and ask the
 * other threads to give up their caches. Returns the bytes that went. Inside the gate. */
size_t upkeep_give_all_back(struct cache *cache, size_t pad_bytes);

/* The limits have been set: what that calls for is left to the next slow path. Outside the gate. */
void upkeep_notice_limits(void);

/* Call the program's callback, which may allocate: outside the gate, when limit_has_notice(). While
 * the gate is closed it waits for another time. errno is not kept. */
void upkeep_tell_of_limits(void);

#endif
