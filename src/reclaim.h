/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* reclaim.h - what all arenas give up. Any thread; inside the gate. */
#ifndef BREAKWATER_RECLAIM_H
#define BREAKWATER_RECLAIM_H

#include <stdbool.h>
#include <stddef.h>

/* Before the break grows: take in every queue, and give up what depots have held idly since the
 * last call, empty slabs, and kept runs. What the heap grew by before is made up for by free pages
 * in slabs of bins that nobody asked since, but with thp:always. */
void reclaim_before_growth(void);

/* The heap has grown for a large block of `bytes`: as much of the free runs, which were all too
 * short for it and have rested for a tick, goes back to the kernel, but with thp:always. */
void reclaim_after_growth(size_t bytes);

/* As time goes by, once a tick: take in every queue, and give up idle stacks, some of each depot at
 * a time, empty slabs, and kept runs that nobody took; how many are kept follows the load. */
void reclaim_aged(void);

/* Give free pages of slabs that nothing was freed to for `ticks` back to the kernel. Returns the
 * bytes that went back. Each byte, and the time that it takes to look through slabs, is taken off
 * *budget, also in bytes; where nothing of it is left, there may be more to give back. The last
 * slab may go past the budget. */
size_t reclaim_idle_pages(unsigned ticks, size_t *budget);

/* Take in every queue, empty every depot, release every empty slab and every kept run to the page
 * heap. */
void reclaim_all(void);

#endif
