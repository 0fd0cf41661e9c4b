/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* remote_buffer.c - a thread's frees of blocks of other arenas, on their way.
 *
 * To publish a block takes an atomic operation or two; of blocks that lie next to each other, one
 * for all of them. So a thread collects some.
 *
 * Invariants   a block in a buffer is neither with the program nor in its slab's bitmaps, and none
 *              is there twice; there are no more than REMOTE_BYTES_MAX of them.
 * Concurrency  none: a cache's own thread.
 * Called by    cache.c, heap_free.c and stats.c.
 */
#include "remote_buffer.h"

#include "verify.h"

static void publish(struct cache *cache, void **blocks, size_t count, size_t bytes)
{
    unsigned index;

    cache->balance.remote_bytes += bytes;
    cache->balance.remote_frees += (uint32_t)count;
    /* Mostly they are of one. */
    cache->balance.remote_arena = slab_of_own_block((uintptr_t)blocks[0], &index)->arena;
    arena_free_remote(blocks, count);
}

void remote_buffer_publish(struct cache *cache)
{
    struct magazine *remote = cache->remote;

    if (remote != NULL && remote->count > 0) {
        publish(cache, remote->slots, remote->count, cache->remote_bytes);
        remote->count = 0;
        cache->remote_bytes = 0;
    }
}

void remote_buffer_free(struct cache *cache, void *block, uint32_t size)
{
    cache->misses++;
    if (size <= REMOTE_BYTES_MAX) {
        remote_buffer_publish(cache);
        cache->remote = cache->remote != NULL ? cache->remote : magazine_create(MAGAZINE_LARGEST);
    }
    if (!remote_buffer_keep(cache, block, size)) {
        publish(cache, &block, 1, size);
    }
}

void remote_buffer_drop(struct cache *cache)
{
    /* cache_none is all threads', and never written. */
    if (cache->remote == NULL) {
        return;
    }
    remote_buffer_publish(cache);
    magazine_destroy(cache->remote);
    cache->remote = NULL;
}

void remote_buffer_check(const struct cache *cache)
{
    const struct magazine *remote = cache->remote;
    size_t bytes = 0;
    unsigned index;

    for (size_t i = 0; remote != NULL && i < remote->count; i++) {
        bytes += slab_class(slab_of_own_block((uintptr_t)remote->slots[i], &index))->size;
        verify_not_among(remote->slots, i, remote->slots[i]);
    }
    if (bytes != cache->remote_bytes) {
        fatal("remote buffer: bytes do not add up");
    }
}
