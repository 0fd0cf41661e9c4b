/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* emergency.h - memory while the gate is closed for a fork: no lock, no shared state but its own.
 */
#ifndef BREAKWATER_EMERGENCY_H
#define BREAKWATER_EMERGENCY_H

#include "util.h"

/* A block of at least `size` bytes aligned to `alignment`, a power of two; NULL without memory.
 * Lock-free. The block is zeroed only if its memory is fresh: callers clear it. */
void *emergency_alloc(size_t size, size_t alignment);

/* Is `address` in emergency memory? Lock-free. */
bool emergency_owns(uintptr_t address);

/* The usable size of the block at `address`, 0 if no live block starts there. Lock-free. */
size_t emergency_usable_size(uintptr_t address);

/* Free a block of emergency memory, at any time. Lock-free. */
void emergency_free(uintptr_t address);

/* Remember a block of the heap that could not be freed while the gate is closed. False without
 * memory for it. Lock-free. */
bool emergency_defer(void *block);

/* Around a fork, in the thread that forks: what it defers in between, its child has too. At the end
 * it is put with what others deferred; in the child after emergency_reset_in_child(). Lock-free. */
void emergency_fork_begins(void);
void emergency_fork_ends(void);

/* The gate is open again: free what was deferred through `release`, a block at a time, and let go
 * of the memory that became free meanwhile. Outside the gate. */
void emergency_release_deferred(void (*release)(void *block));

/* In a forked child: what other threads deferred is lost with them, and runs with blocks in them
 * serve no more, since the last changes of those threads may be seen in part. Blocks in them are
 * freed as ever. */
void emergency_reset_in_child(void);

struct emergency_stats {
    uint64_t allocs;
    uint64_t deferred;
    uint64_t lost; /* blocks that could be neither freed nor deferred */
    size_t mapped_bytes;
};

struct emergency_stats emergency_stats(void);

/* Panics unless every granule in use is of one block, and has memory. At rest. */
void emergency_check(void);

#endif
