/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* meta.c - descriptors, bitmaps, thread caches and magazines live here, never beside user blocks.
 *
 * Objects are multiples of a cache line, cut from mapped chunks and kept, once freed, on a list for
 * their size. Chunks are never unmapped: what one object leaves, the next of its size takes; a
 * smaller one only when there is nothing else.
 *
 * Owns         the chunks and the free lists.
 * Invariants   used + free lists + the rest of the newest chunk = mapped.
 * Concurrency  meta_lock, of rank META, the last: nothing but mmap happens under it.
 * Called by    region.c, slab.c, magazine.c, arena.c, refill.c, stacks.c, life.c and stats.c.
 */
#include "meta.h"

#include <string.h>

#include "lock.h"
#include "os.h"

enum {
    LINES_MAX = 256, /* larger objects are mapped one by one */
};

#define CHUNK_BYTES_FIRST ((size_t)64 * 1024)
#define CHUNK_BYTES_MAX   ((size_t)1024 * 1024)

struct free_object {
    struct free_object *next;
};

static struct lock meta_lock = LOCK_INITIALIZER(LOCK_RANK_META);
static struct free_object *free_lists[LINES_MAX + 1];
static char *chunk;
static size_t chunk_bytes_left;
static size_t chunk_bytes_next = CHUNK_BYTES_FIRST;
static size_t free_bytes;
static struct meta_stats stats;

static void list_locked(void *object, size_t bytes)
{
    ASSERT(lock_is_held(&meta_lock));
    struct free_object *freed = (struct free_object *)object;

    freed->next = free_lists[bytes / CACHE_LINE_BYTES];
    free_lists[bytes / CACHE_LINE_BYTES] = freed;
    free_bytes += bytes;
}

/* The rest of the old chunk is as good as freed objects. */
static void chunk_replace_locked(char *fresh, size_t bytes)
{
    ASSERT(lock_is_held(&meta_lock));
    while (chunk_bytes_left > 0) {
        size_t rest = size_min(chunk_bytes_left, (size_t)LINES_MAX * CACHE_LINE_BYTES);

        list_locked(chunk, rest);
        chunk += rest;
        chunk_bytes_left -= rest;
    }
    stats.mapped_bytes += bytes;
    chunk = fresh;
    chunk_bytes_left = bytes;
}

static bool chunk_refill_locked(size_t bytes)
{
    ASSERT(lock_is_held(&meta_lock));
    size_t wish = chunk_bytes_next;
    char *fresh = (char *)os_map(wish);

    if (fresh == NULL) {
        wish = align_up(bytes, os_page_bytes());
        fresh = (char *)os_map(wish);
    }
    if (fresh == NULL) {
        return false;
    }
    chunk_replace_locked(fresh, wish);
    chunk_bytes_next = size_min(chunk_bytes_next * 2, CHUNK_BYTES_MAX);
    return true;
}

static void *cut_locked(size_t bytes)
{
    ASSERT(lock_is_held(&meta_lock));
    if (chunk_bytes_left < bytes && !chunk_refill_locked(bytes)) {
        return NULL;
    }
    void *object = chunk;

    chunk += bytes;
    chunk_bytes_left -= bytes;
    return object;
}

static void *reuse_locked(size_t bytes)
{
    ASSERT(lock_is_held(&meta_lock));
    struct free_object **list = &free_lists[bytes / CACHE_LINE_BYTES];
    struct free_object *object = *list;

    if (object != NULL) {
        *list = object->next;
        free_bytes -= bytes;
    }
    return object;
}

/* What is left of a larger free object, without the `bytes` cut off its front, is one of its size.
 */
static void *split_locked(size_t bytes)
{
    ASSERT(lock_is_held(&meta_lock));
    size_t lines = bytes / CACHE_LINE_BYTES + 1;

    while (lines <= LINES_MAX && free_lists[lines] == NULL) {
        lines++;
    }
    if (lines > LINES_MAX) {
        return NULL;
    }
    char *object = (char *)reuse_locked(lines * CACHE_LINE_BYTES);

    list_locked(object + bytes, lines * CACHE_LINE_BYTES - bytes);
    return object;
}

static void *map_big(size_t bytes)
{
    void *object = os_map(align_up(bytes, os_page_bytes()));

    if (object != NULL) {
        lock_acquire(&meta_lock);
        stats.mapped_bytes += align_up(bytes, os_page_bytes());
        stats.used_bytes += align_up(bytes, os_page_bytes());
        lock_release(&meta_lock);
    }
    return object;
}

void *meta_alloc(size_t bytes)
{
    size_t rounded = align_up(bytes, CACHE_LINE_BYTES);

    if (rounded > (size_t)LINES_MAX * CACHE_LINE_BYTES) {
        return map_big(bytes);
    }
    lock_acquire(&meta_lock);
    void *object = reuse_locked(rounded);
    bool dirty = object != NULL;

    if (object == NULL) {
        object = cut_locked(rounded);
    }
    if (object == NULL) {
        object = split_locked(rounded);
        dirty = true;
    }
    if (object != NULL) {
        stats.used_bytes += rounded;
    }
    lock_release(&meta_lock);
    if (dirty && object != NULL) {
        memset(object, 0, rounded);
    }
    return object;
}

void meta_free(void *object, size_t bytes)
{
    size_t rounded = align_up(bytes, CACHE_LINE_BYTES);
    bool big = rounded > (size_t)LINES_MAX * CACHE_LINE_BYTES;

    if (object == NULL) {
        return;
    }
    if (big) {
        rounded = align_up(bytes, os_page_bytes());
        os_unmap(object, rounded);
    }
    lock_acquire(&meta_lock);
    stats.used_bytes -= rounded;
    if (big) {
        stats.mapped_bytes -= rounded;
    } else {
        list_locked(object, rounded);
    }
    lock_release(&meta_lock);
}

COLD void meta_donate(void *start, size_t bytes)
{
    lock_acquire(&meta_lock);
    chunk_replace_locked((char *)start, bytes);
    stats.donated_bytes += bytes;
    lock_release(&meta_lock);
}

COLD struct meta_stats meta_stats(void)
{
    lock_acquire(&meta_lock);
    struct meta_stats result = stats;

    lock_release(&meta_lock);
    return result;
}

void meta_check(void)
{
    size_t listed = 0;

    lock_acquire(&meta_lock);
    for (size_t lines = 1; lines <= LINES_MAX; lines++) {
        for (struct free_object *object = free_lists[lines]; object; object = object->next) {
            listed += lines * CACHE_LINE_BYTES;
        }
    }
    if (listed != free_bytes ||
        stats.used_bytes + free_bytes + chunk_bytes_left != stats.mapped_bytes) {
        fatal("meta: accounts do not add up");
    }
    lock_release(&meta_lock);
}
