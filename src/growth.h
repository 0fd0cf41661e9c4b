/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* growth.h - where the heap's memory comes from: the break, and mapped regions where it cannot
 * grow.
 *
 * The caller of a function named *_locked holds page_heap_lock.
 */
#ifndef BREAKWATER_GROWTH_H
#define BREAKWATER_GROWTH_H

#include "runs.h"

/* Make a free run of at least `units` somewhere. False without memory. */
bool growth_get_locked(size_t units);

/* Raise the break by at least `units`: a free run, joined with the one before it. False if it
 * cannot be raised, or gives no memory that there are rows for. */
bool growth_raise_break_locked(size_t units);

/* Lower the break by the free run at its top, but for `pad_units`. */
void growth_lower_break_locked(size_t pad_units);

/* The same of what has no memory behind it any more, but for what the heap would next grow by; and
 * unmap mapped regions of which none has. */
void growth_give_up_clean_locked(void);

/* Unmap the mapped regions that are wholly free. Returns whether there were any. */
bool growth_unmap_free_locked(void);

/* The units of the break below its top; 0 before the first. */
size_t growth_top_unit(void);

/* The free run that ends at the top of the break, or NULL. */
struct span *growth_top_run_locked(void);

/* Forget free runs that others have cut off by lowering the break; blocks in use among them are a
 * fault. To be called before a free run is handed out. */
void growth_notice_moves_locked(void);

/* The bytes got from the break and mapped regions, as of a moment ago. No lock. */
size_t growth_heap_bytes(void);

/* What they have grown by since the last call. */
size_t growth_take_locked(void);

/* Panics unless its counts agree with run_totals. */
void growth_check_locked(void);

#endif
