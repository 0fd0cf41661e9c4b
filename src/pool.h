/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pool.h - memory that is cut into blocks by bitmaps: no lock, no shared state but its own. */
#ifndef BREAKWATER_POOL_H
#define BREAKWATER_POOL_H

#include <stdatomic.h>

#include "util.h"

/* What is known of BITS_PER_WORD granules. */
struct granules {
    _Atomic uint64_t used;
    _Atomic uint64_t starts;
    _Atomic uint64_t ends;
    _Atomic uint64_t dirty;
};

struct pool {
    struct pool *next; /* emergency.c's */
    uintptr_t start;
    size_t granule_bytes;
    size_t count; /* granules: whole words */
    /* How often granules became free << 32 | a number that has since been looked for in vain, or
     * 0. It spares looking again. */
    _Atomic uint64_t refused;
    _Atomic bool to_purge; /* granules became free */
    struct granules words[];
};

struct pool_request {
    size_t granule_bytes;
    size_t count;
    size_t alignment;
};

/* For a block of at least `size` bytes aligned to `alignment`, a power of two. */
struct pool_request pool_request_for(size_t size, size_t alignment);

/* What a pool takes in which the request has room, its bitmaps included; more than can be mapped if
 * none could be so long. No pool takes more than pool_usual_bytes() but for one long block. */
size_t pool_bytes_for(const struct pool_request *request);
size_t pool_usual_bytes(void);

/* A new pool in so much memory, which is zero; nothing is in it. */
struct pool *pool_make(void *memory, const struct pool_request *request);

/* What a pool takes, and how much of it is in blocks. */
size_t pool_bytes(const struct pool *pool);
size_t pool_used_bytes(struct pool *pool);

static inline bool pool_contains(const struct pool *pool, uintptr_t address)
{
    return address - pool->start < pool->count * pool->granule_bytes;
}

/* A block of the pool, or NULL: it has no room, or is of the other kind. Fresh memory is zero. */
void *pool_alloc(struct pool *pool, const struct pool_request *request);

/* The usable size of the block at an address of the pool, 0 if no live block starts there. */
size_t pool_usable_size(struct pool *pool, uintptr_t address);

/* Free the block at an address of the pool; stops the process if none starts there. */
void pool_free(struct pool *pool, uintptr_t address);

/* Give back to the kernel what has become free since the last call, up to about `most_bytes`,
 * unless somebody forks; the bytes that went. */
size_t pool_purge(struct pool *pool, size_t most_bytes);

/* In a forked child: true if no block of the parent's lies in the pool, nor a thread of it was
 * about to put one there. Then it serves on. */
bool pool_take_over(struct pool *pool);

/* Panics unless every granule in use is of one block, and has memory. At rest. */
void pool_check(struct pool *pool);

#endif
