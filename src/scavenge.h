/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* scavenge.h - what a thread cache gives back by itself. */
#ifndef BREAKWATER_SCAVENGE_H
#define BREAKWATER_SCAVENGE_H

#include "cache.h"

/* Let the caches of so many threads share cache_limit (conf.h), 8 MiB at most each. One that holds
 * more than its share gives half of a stack back, and of the next, from the largest blocks on, at
 * every 16th miss. Any thread. */
void scavenge_share_among(uint32_t threads);

/* A free stack may have come to the end of its step, though it could hold more. Open the next one;
 * false if the stack is full, or so much has been freed that what the cache holds should be looked
 * at. No gate needed. */
bool scavenge_open_step(struct cache *cache, unsigned class);

/* The same, once what is more than the cache's share has been given back; false if the stack is
 * full. Inside the gate. */
bool scavenge_make_room(struct cache *cache, unsigned class);

/* A thread has the cache now: what was asked for before does not concern it. */
void scavenge_bind(struct cache *cache);

/* After every miss: give everything back if that was asked for; now and then, what is more than the
 * cache's share, and the blocks of classes that have not been used since the last look. Inside the
 * gate. */
void scavenge_cache(struct cache *cache);

/* The same, but for the share, where the thread comes by without a miss: it may have none for long,
 * as one that wants only large blocks by now. `cache` may be no real one. Inside the gate. */
void scavenge_without_miss(struct cache *cache);

/* Every thread gives its cache back at its next miss, or when it is in the page heap or takes a
 * step of decay. Any thread. */
void scavenge_ask_all(void);

#endif
