/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* group.h - pools lie side by side, so that the one an address is in is found among few mappings,
 * however many pools there are. */
#ifndef BREAKWATER_GROUP_H
#define BREAKWATER_GROUP_H

#include "util.h"

/* Memory for a pool of so many bytes, whole pages, all zero; NULL without. Pools of `usual_bytes`
 * or less share mappings, each a quarter of the `mapped` bytes there are. */
void *group_memory(size_t bytes, size_t usual_bytes, size_t mapped);

/* Where the memory begins that an address is in; NULL if it is of no group. */
void *group_find(uintptr_t address);

/* In a forked child, which may not see what was last taken: nothing more is taken from there. */
void group_reset_in_child(void);

/* How many there are. */
size_t group_count(void);

#endif
