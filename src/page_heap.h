/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* page_heap.h - runs of units: handed out, taken back, joined, purged. */
#ifndef BREAKWATER_PAGE_HEAP_H
#define BREAKWATER_PAGE_HEAP_H

#include "region.h"

struct run_request {
    size_t units;
    size_t align_units;    /* a power of two; 1 for none */
    enum span_state state; /* SPAN_SLAB, SPAN_LARGE or SPAN_META */
    bool grow;             /* may the break be moved, or a region be mapped? */
    bool zero;             /* must it read as zero? Then page_heap_zero() is yet to be called */
    size_t populate_bytes; /* of the first unit: faults in advance are welcome there */
};

/* A run for the caller, whose first span has the state asked for and slab NULL; or NULL.
 * Any thread; takes the lock of rank PAGE_HEAP. */
struct span *page_heap_alloc(const struct run_request *request);

/* Zero the first `bytes` of a run that was asked for so, or was kept, where they are not zero yet.
 * By its owner, with no lock. errno may change. */
void page_heap_zero(struct span *span, size_t bytes);

/* Take a run back and join it with its free neighbours. */
void page_heap_free(struct span *span);

/* The same for a run whose history says since when it is free. */
void page_heap_take_back(struct span *span);

/* Make a run longer or shorter where it lies. False, and nothing has changed, if what follows it is
 * not free and cannot be got. Shorter always works. */
bool page_heap_resize(struct span *span, size_t units);

/* Give the memory behind free runs back to the kernel, but for `pad_bytes` at the top of the
 * break; mapped regions that are wholly free go altogether. Returns the bytes that went back. */
size_t page_heap_purge(size_t pad_bytes);

/* The limits have been set: does the soft one press by now? */
void page_heap_notice_limits(void);

/* All that is free has gone back: what is left has to grow before the soft limit presses again. */
void page_heap_note_relief(void);

/* Give up address space whose memory has gone back, at the top of the break and in mapped regions;
 * but for what the heap would next grow by. */
void page_heap_give_up_clean(void);

/* Give the memory behind units back that have been free for `ticks`, up to `most_bytes`. Returns
 * how much of that was used up: by what went back, or by looks at many runs, which count as if as
 * much had gone as may in the same time. */
size_t page_heap_decay(unsigned ticks, size_t most_bytes);

/* The same for whole huge pages, which count as such, however little of one was used. */
size_t page_heap_decay_huge(unsigned ticks, size_t most_bytes);

/* How often a thread has had to wait for another one here. No lock. */
uint64_t page_heap_waits(void);

/* The bytes that the heap has grown by since the last call. */
size_t page_heap_take_growth(void);

/* A tag table for a new arena, or NULL (region.h). Makes sure that the break exists. */
_Atomic uint16_t *page_heap_tags_create(void);

struct page_heap_stats {
    size_t total_units; /* got from the break and mapped regions */
    size_t free_units;
    size_t free_runs;
    size_t free_used_units; /* free units whose memory has not been given back */
    size_t held_units;      /* handed out, or free and not given back: what limits count */
    size_t top_free_units;  /* in the free run that ends at the top of the break */
    uint64_t allocs;
    uint64_t frees;
    uint64_t resizes;
    uint64_t refused; /* for the hard limit */
    uint64_t purged_bytes;
    uint64_t lock_acquisitions;
    uint64_t lock_waits; /* of those, how many had to wait for another thread */
};

struct page_heap_stats page_heap_stats(void);

/* Panics unless every free run is whole, joined with its neighbours and accounted for. At rest. */
void page_heap_check(void);

#endif
