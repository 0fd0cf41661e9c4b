/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* magazine.c - magazines live in the descriptors' memory.
 *
 * Concurrency  none of its own; meta.c locks.
 * Called by    depot.c, bin.c, stacks.c and remote_buffer.c.
 */
#include "magazine.h"

#include "meta.h"

static size_t magazine_bytes(uint32_t capacity)
{
    return sizeof(struct magazine) + capacity * sizeof(void *);
}

struct magazine *magazine_create(uint32_t capacity)
{
    struct magazine *magazine = (struct magazine *)meta_alloc(magazine_bytes(capacity));

    if (magazine != NULL) {
        magazine->capacity = capacity;
    }
    return magazine;
}

void magazine_destroy(struct magazine *magazine)
{
    if (magazine != NULL) {
        meta_free(magazine, magazine_bytes(magazine->capacity));
    }
}
