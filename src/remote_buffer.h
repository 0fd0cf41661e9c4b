/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* remote_buffer.h - a thread's frees of blocks of other arenas, on their way. */
#ifndef BREAKWATER_REMOTE_BUFFER_H
#define BREAKWATER_REMOTE_BUFFER_H

#include "stacks.h"

/* The most bytes of blocks that are kept. */
#define REMOTE_BYTES_MAX ((size_t)32 * 1024)

/* Keep a block of another arena for publishing; false if there is no room. Blocks of some sizes are
 * never kept. No gate needed. Inline: it is for every block that another arena's thread frees. */
static inline bool remote_buffer_keep(struct cache *cache, void *block, uint32_t size)
{
    struct magazine *remote = cache->remote;

    if (remote == NULL || remote->count == remote->capacity ||
        cache->remote_bytes + size > REMOTE_BYTES_MAX) {
        return false;
    }
    remote->slots[remote->count++] = block;
    cache->remote_bytes += size;
    return true;
}

/* Publish what was kept. Inside the gate. */
void remote_buffer_publish(struct cache *cache);

/* Where there is no room: publish what was kept, and keep it, or publish it too. A miss. Inside the
 * gate. */
void remote_buffer_free(struct cache *cache, void *block, uint32_t size);

/* Publish what was kept, and give the buffer's memory back. Inside the gate. */
void remote_buffer_drop(struct cache *cache);

/* Panics on a block that is there twice or is none of a slab, or if the bytes do not add up. By the
 * cache's own thread. */
void remote_buffer_check(const struct cache *cache);

#endif
