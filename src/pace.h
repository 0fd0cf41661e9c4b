/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pace.h - how fast the kernel takes memory back, so that nobody waits long for it. */
#ifndef BREAKWATER_PACE_H
#define BREAKWATER_PACE_H

#include "util.h"

/* What is given back in a row at least, even where that takes longer, and at most, even where it
 * does not: less would not be worth a call of the kernel. */
#define PACE_BYTES_LEAST ((size_t)256 * 1024)
#define PACE_BYTES_MOST  ((size_t)4 * 1024 * 1024)

/* As long as a lock is held that others may want, and as long as a thread waits that has something
 * else to do. */
#define PACE_LOCK_US 100U
#define PACE_STEP_US 400U

/* The kernel took so long for so much. */
void pace_note(size_t bytes, uint64_t ns);

/* What it will take in so long, in whole PACE_BYTES_LEAST. */
size_t pace_bytes(unsigned microseconds);

#endif
