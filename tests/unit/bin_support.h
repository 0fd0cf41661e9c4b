/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bin_support.h - what the tests of bins share: one bin by itself, blocks out of it and back.
 */
#ifndef BREAKWATER_TESTS_UNIT_BIN_SUPPORT_H
#define BREAKWATER_TESTS_UNIT_BIN_SUPPORT_H

#include "support.h"

#include "bin.h"
#include "remote.h"

enum { SIZE = 512, PATTERN = 0x5a };

extern struct bin bin;
extern struct remote_queue queue; /* of its slabs */
extern unsigned class_of_bin;

/* An empty bin, whose lock is held from now on: of a class, of that of a size, of that of SIZE. */
void new_bin_of_class(unsigned class);
void new_bin_of(size_t size);
void new_bin(void);

unsigned blocks_of_slab(void);
struct slab *add_slab(void);
void add_slabs(unsigned count);

/* Blocks that must be had, filled with PATTERN: one; all of a slab. */
void *take(void);
void take_slab(void **blocks);

/* Back into the bin, which gives no slab up for them. */
void put(void **blocks, size_t count);

#endif
