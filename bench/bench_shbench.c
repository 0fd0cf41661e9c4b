/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_shbench.c - blocks of a skewed distribution of sizes, up to 1,000 bytes, of which the
 * younger half is freed soon and the rest later, in another order than allocated. After the
 * description of MicroQuill's SmartHeap benchmark "sh6bench/sh8bench" (MicroQuill, 1997), as given
 * with mimalloc-bench (D. Leijen, 2019). An operation is one malloc and its free. */
#include "bench_common.h"

#include <stdlib.h>

enum { BLOCKS = 2000, MOST_BYTES = 1000, YOUNG_SHARE = 2 };

struct slot {
    void *block;
    size_t size;
};

static void setup(struct bench_thread *self)
{
    self->state = bench_memory(BLOCKS * sizeof(struct slot));
}

static void drop(struct slot *slots, size_t at)
{
    if (slots[at].block != NULL) {
        bench_untag(slots[at].block, slots[at].size, at);
        free(slots[at].block);
        slots[at].block = NULL;
    }
}

static uint64_t step(struct bench_thread *self)
{
    struct slot *slots = (struct slot *)self->state;
    size_t start = bench_below(&self->random, BLOCKS);
    size_t count = 1 + bench_below(&self->random, BLOCKS / 4);

    for (size_t i = 0; i < count; i++) {
        size_t at = (start + i) % BLOCKS;

        drop(slots, at);
        slots[at].size = bench_skewed_size(&self->random, MOST_BYTES);
        slots[at].block = bench_not_null(malloc(slots[at].size), slots[at].size);
        bench_tag(slots[at].block, slots[at].size, at);
    }
    for (size_t i = count; i > count / YOUNG_SHARE; i--) {
        drop(slots, (start + i - 1) % BLOCKS);
    }
    return count;
}

static void teardown(struct bench_thread *self)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        drop((struct slot *)self->state, i);
    }
}

const struct bench_workload bench_workload = {
    .name = "shbench",
    .about = "Allocates skewed sizes, frees the young first",
    .variants = (const struct bench_variant[]){{"mixed", 20000000, 0}, {NULL, 0, 0}},
    .threads = 4,
    .threads_least = 1,
    .setup = setup,
    .step = step,
    .teardown = teardown,
};
