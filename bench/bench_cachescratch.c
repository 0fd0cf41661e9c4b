/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_cachescratch.c - passive false sharing: each thread frees a small block that another thread
 * allocated next to its siblings, then writes its own blocks many times. An allocator that gives
 * threads parts of one cache line makes them slow. After "cache-scratch" of E. Berger, K. McKinley,
 * R. Blumofe, P. Wilson, "Hoard" (ASPLOS 2000). An operation is one block and its writes. */
#include "bench_common.h"

#include <stdlib.h>

enum { BYTES = 8, WRITES = 100, BLOCKS = 100 };

static void *handed_over[BENCH_THREADS_MAX];

/* All from one thread, next to each other. */
static void prepare(void)
{
    for (unsigned i = 0; i < bench_options.threads; i++) {
        handed_over[i] = bench_not_null(malloc(BYTES), BYTES);
    }
}

static void setup(struct bench_thread *self)
{
    free(handed_over[self->index]);
}

static uint64_t step(struct bench_thread *self)
{
    for (uint64_t i = 0; i < BLOCKS; i++) {
        volatile uint64_t *block = (volatile uint64_t *)bench_not_null(malloc(BYTES), BYTES);

        *block = self->index;
        for (uint64_t write = 0; write < WRITES; write++) {
            *block = *block + 1;
        }
        if (*block != self->index + WRITES) {
            bench_fail("a block was written by another thread");
        }
        free((void *)block);
    }
    return BLOCKS;
}

const struct bench_workload bench_workload = {
    .name = "cachescratch",
    .about = "Writes small blocks that may share cache lines",
    .variants = (const struct bench_variant[]){{"8", 6000000, 0}, {NULL, 0, 0}},
    .threads = 4,
    .threads_least = 1,
    .prepare = prepare,
    .setup = setup,
    .step = step,
};
