/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* balance.h - which arena a thread belongs to, as it turns out. */
#ifndef BREAKWATER_BALANCE_H
#define BREAKWATER_BALANCE_H

#include "cache.h"

/* Misses between two looks. */
#define BALANCE_MISSES 256

/* After a miss of `cache`, a real one: at some of them, see whether the thread had better be in
 * another arena, and if so give back what the cache holds and bind it there. Inside the gate, no
 * lock held. */
void balance_cache(struct cache *cache);

#endif
