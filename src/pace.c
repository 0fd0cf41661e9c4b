/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pace.c - see pace.h.
 *
 * A page takes the kernel a tenth of a microsecond on one machine, and three on another, which is a
 * virtual one or has other threads' processors to interrupt. What it took lately is what it will.
 *
 * Owns         the mean of what a page takes.
 * Concurrency  any thread, no lock; of two calls at once one may be lost.
 * Called by    os.c; page_heap.c and reclaim.c.
 */
#include "pace.h"

#include <stdatomic.h>

enum {
    PAGE_BYTES = 4096,
    PAGES_OF_MEAN = 1024, /* roughly */
    NS_FIRST = 1000,      /* a page is taken to need, before the first; */
    NS_LEAST = 40,        /* in less there was none, */
    NS_MOST = 16000,      /* in more somebody else had the processor */
    NS_PER_US = 1000,
    PARTS = 1024, /* of a nanosecond: single pages move the mean too */
};

static _Atomic uint32_t page_parts = NS_FIRST * PARTS;

void pace_note(size_t bytes, uint64_t ns)
{
    size_t pages = bytes / PAGE_BYTES;

    if (pages == 0 || ns / pages < NS_LEAST) {
        return;
    }
    /* Relaxed, here and below: a hint. */
    int64_t mean = atomic_load_explicit(&page_parts, memory_order_relaxed);
    int64_t now = (int64_t)size_min(ns / pages, NS_MOST) * PARTS;

    mean += (now - mean) * (int64_t)size_min(pages, PAGES_OF_MEAN) / PAGES_OF_MEAN;
    atomic_store_explicit(&page_parts, (uint32_t)mean, memory_order_relaxed);
}

size_t pace_bytes(unsigned microseconds)
{
    size_t mean = atomic_load_explicit(&page_parts, memory_order_relaxed) / PARTS;
    size_t pages = (size_t)microseconds * NS_PER_US / mean;
    size_t bytes = align_down(pages * PAGE_BYTES, PACE_BYTES_LEAST);

    return size_max(PACE_BYTES_LEAST, size_min(bytes, PACE_BYTES_MOST));
}
