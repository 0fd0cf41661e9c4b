/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* emergency.h - memory while the gate is closed for a fork: no lock, no shared state but its own.
 */
#ifndef BREAKWATER_EMERGENCY_H
#define BREAKWATER_EMERGENCY_H

#include "util.h"

/* A block of at least `size` bytes aligned to `alignment`, a power of two; NULL without memory.
 * Lock-free. The block is zeroed only if its memory is fresh: callers clear it. */
void *emergency_alloc(size_t size, size_t alignment);

/* The same, past the hard limit. */
void *emergency_alloc_unlimited(size_t size, size_t alignment);

/* Is `address` in emergency memory? Lock-free. */
bool emergency_owns(uintptr_t address);

/* The usable size of the block at `address`, 0 if no live block starts there. Lock-free. */
size_t emergency_usable_size(uintptr_t address);

/* Free a block of emergency memory, at any time. Lock-free. */
void emergency_free(uintptr_t address);

/* Give memory back to the kernel that became free, up to about `most_bytes`; the bytes that went.
 * Lock-free. */
size_t emergency_purge(size_t most_bytes);

/* In a forked child: pools with blocks in them serve no more, since the last changes of the
 * parent's other threads may be seen in part. Blocks in them are freed as ever. */
void emergency_reset_in_child(void);

struct emergency_stats {
    uint64_t allocs;
    size_t mapped_bytes; /* that the hard limit counts: in a child not what its parent left */
    size_t block_bytes;  /* of all pools, without their tables */
    size_t used_bytes;   /* of these, in blocks */
};

struct emergency_stats emergency_stats(void);

/* Panics unless every granule in use is of one block, and has memory. At rest. */
void emergency_check(void);

#endif
