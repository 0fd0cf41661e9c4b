/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_pair.c - a block is allocated, written and freed at once, again and again: the fast path
 * and nothing else. The oldest allocator benchmark there is; described as "malloc+free pair" in D.
 * Grunwald, B. Zorn, R. Henderson, "Improving the cache locality of memory allocation" (1993). */
#include "bench_common.h"

#include <stdlib.h>

enum { PAIRS = 1000 };

static uint64_t step(struct bench_thread *self)
{
    size_t size = bench_options.variant->value;

    for (uint64_t i = 0; i < PAIRS; i++) {
        void *block = bench_not_null(malloc(size), size);

        bench_tag(block, size, self->ops + i);
        bench_untag(block, size, self->ops + i);
        free(block);
    }
    return PAIRS;
}

const struct bench_workload bench_workload = {
    .name = "pair",
    .about = "Allocates and frees one block at a time",
    .variants = (const struct bench_variant[]){{"16", 80000000, 16},
                                               {"64", 80000000, 64},
                                               {"256", 80000000, 256},
                                               {"1024", 80000000, 1024},
                                               {NULL, 0, 0}},
    .threads = 1,
    .threads_least = 1,
    .step = step,
};
