/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* singles.h - the first blocks of a class in a thread, which come and go without a stack. */
#ifndef BREAKWATER_SINGLES_H
#define BREAKWATER_SINGLES_H

#include "stacks.h"

/* A block from the arena for a class that the thread has hardly used: it gets no stack yet. NULL if
 * the class has one, or should, or if the arena has no block at hand. A miss. Inside the gate. */
void *singles_take(struct cache *cache, unsigned class);

/* The same way back: false if the block belongs on a stack. Inside the gate. */
bool singles_give(struct cache *cache, unsigned class, void *block);

#endif
