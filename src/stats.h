/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stats.h - what the layers counted, gathered and printed. */
#ifndef BREAKWATER_STATS_H
#define BREAKWATER_STATS_H

#include <stdio.h>

#include "util.h"

/* Bytes unless said otherwise; breakwater.h gives the meaning in the terms of mallinfo2. */
struct stats_memory {
    size_t break_bytes;
    size_t mapped_regions; /* a count */
    size_t mapped_bytes;
    size_t fork_bytes; /* mapped for blocks during forks */
    size_t used_bytes; /* with the program, or cached by other threads */
    size_t free_bytes;
    size_t free_runs;     /* a count */
    size_t cached_blocks; /* a count; this thread's */
    size_t cached_bytes;
    size_t top_free_bytes;
    size_t metadata_bytes; /* in descriptors, bitmaps, caches, tables of mapped regions */
};

/* A snapshot; threads that run meanwhile may be counted in part. */
struct stats_memory stats_memory(void);

/* Text for people; XML for malloc_info(). */
void stats_print_text(FILE *stream);
void stats_print_xml(FILE *stream);

#endif
