/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* break.h - the program break as a source of whole units. */
#ifndef BREAKWATER_BREAK_H
#define BREAKWATER_BREAK_H

#include "util.h"

struct break_extent {
    uintptr_t start;
    size_t bytes;
};

/* Raise the break by `bytes`, whole units. Returns an extent of as many, unit aligned, or one of 0.
 * It follows on the last one unless somebody else moved the break in between: then a gap stays that
 * is never handed out. */
struct break_extent break_grow(size_t bytes);

/* Lower the break to `new_top`, unit aligned and within the last extents. False, and nothing has
 * changed, if the top of the break is not ours. */
bool break_lower(uintptr_t new_top);

/* The end of the memory that is still ours: below break_top() after somebody lowered the break.
 * Needs the lock under which the caller calls break_grow(). */
uintptr_t break_intact_end(void);

/* The end of what break_grow() has handed out so far; 0 before the first. Any thread, no lock. */
uintptr_t break_top(void);

struct break_stats {
    uint64_t grown;         /* times the break was raised */
    uint64_t lowered;       /* times it was lowered */
    uint64_t failed;        /* times it could not be raised */
    uint64_t foreign_moves; /* times somebody else was found to have moved it */
    size_t bytes;           /* handed out and not lowered again */
    size_t gap_bytes;       /* lost to gaps */
    uint64_t lock_acquisitions;
};

struct break_stats break_stats(void);

/* Panics unless base and top are whole units, in order. At rest only. */
void break_check(void);

#endif
