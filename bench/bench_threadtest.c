/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_threadtest.c - every thread allocates many blocks of one size, then frees them all, again
 * and again: no sharing, so it should scale with the processors. After "threadtest" of E. Berger,
 * K. McKinley, R. Blumofe, P. Wilson, "Hoard" (ASPLOS 2000). */
#include "bench_common.h"

#include <stdlib.h>

enum { BLOCKS = 10000 };

static void setup(struct bench_thread *self)
{
    self->state = bench_memory(BLOCKS * sizeof(void *));
}

static uint64_t step(struct bench_thread *self)
{
    void **blocks = (void **)self->state;
    size_t size = bench_options.variant->value;

    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = bench_not_null(malloc(size), size);
        bench_tag(blocks[i], size, i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        bench_untag(blocks[i], size, i);
        free(blocks[i]);
    }
    return BLOCKS;
}

const struct bench_workload bench_workload = {
    .name = "threadtest",
    .about = "Allocates and frees blocks of one size in every thread",
    .variants =
        (const struct bench_variant[]){{"8", 60000000, 8}, {"64", 60000000, 64}, {NULL, 0, 0}},
    .threads = 4,
    .threads_least = 1,
    .setup = setup,
    .step = step,
};
