/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* meta.h - memory for the allocator's own descriptors. */
#ifndef BREAKWATER_META_H
#define BREAKWATER_META_H

#include "util.h"

/* `bytes` of zeroed memory aligned to a cache line, or NULL. It belongs to the caller until
 * meta_free() with the same size. Any thread; takes the lock of rank META. */
void *meta_alloc(size_t bytes);
void meta_free(void *object, size_t bytes);

/* Zeroed memory for descriptors, for want of a mapping. It never comes back. */
void meta_donate(void *start, size_t bytes);

struct meta_stats {
    size_t mapped_bytes;  /* got from the kernel, or donated */
    size_t donated_bytes; /* donated */
    size_t used_bytes;    /* in objects */
};

struct meta_stats meta_stats(void);

/* Panics unless used + free + never used = mapped. At rest only. */
void meta_check(void);

#endif
