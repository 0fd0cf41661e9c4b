/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bin_purge.h - free pages of a bin's slabs go back to the kernel.
 *
 * The caller holds the bin's lock (rank BIN), and gives it up between two calls: what is under way
 * is noted in the bin.
 */
#ifndef BREAKWATER_BIN_PURGE_H
#define BREAKWATER_BIN_PURGE_H

#include "bin.h"

/* Give free pages of slabs back to the kernel that have been free for `ticks`
 * (slab_begin_purge_locked()): from the first slab on, for 0 ticks; else from where the last purge
 * stopped, unless one came to its end in this tick. False if there is nothing to look for. */
bool bin_purge_begin_locked(struct bin *bin, unsigned ticks);

/* Go on with a few slabs, until `most_bytes` are reached, for whoever began: of several purges at
 * once each takes a part, and the one that was begun for 0 ticks decides. True if there may be
 * more; *bytes: what went back. */
bool bin_purge_locked(struct bin *bin, size_t most_bytes, size_t *bytes);

/* The purge that was begun with `ticks` stops here: what is left is to be purged later. */
void bin_purge_stop_locked(struct bin *bin, unsigned ticks);

#endif
