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

/* The same when so many bytes are allocated or freed at once, of which as many may go back: else
 * those who have large blocks, and few calls, would hold for long what others give back soon. */
void upkeep_poll_for(struct cache *cache, size_t bytes);

/* After a miss of `cache`, a real one; never where its count of misses stands still,
 * or each call would find it divisible. Inside the gate. */
void upkeep_after_miss(struct cache *cache);

/* Give back to the kernel all that can go, but for `pad_bytes` at the top of the break, and ask the
 * other threads to give up their caches. Returns the bytes that went. Inside the gate. */
size_t upkeep_give_all_back(struct cache *cache, size_t pad_bytes);

/* Call the program's callback, which may allocate: outside the gate, when limit_has_notice(). While
 * the gate is closed it waits for another time. errno is not kept. */
void upkeep_tell_of_limits(void);

#endif
