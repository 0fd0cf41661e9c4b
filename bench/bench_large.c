/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_large.c - blocks of 1 to 64 MiB, four live at a time. touch: the first and last page are
 * written; fill: every byte. After the "large" and "mleak"-like tests of mimalloc-bench (D. Leijen,
 * 2019). */
#include "bench_common.h"

#include <stdlib.h>
#include <string.h>

enum { TOUCH, FILL, LIVE = 4 };

struct slot {
    void *block;
    size_t size;
};

static void setup(struct bench_thread *self)
{
    self->state = bench_memory(LIVE * sizeof(struct slot));
}

static uint64_t step(struct bench_thread *self)
{
    size_t at = bench_below(&self->random, LIVE);
    struct slot *slot = (struct slot *)self->state + at;

    if (slot->block != NULL) {
        bench_untag(slot->block, slot->size, at);
        free(slot->block);
    }
    /* As many between 1 and 2 MiB as between 32 and 64. */
    size_t least = MIB << bench_below(&self->random, 6);

    slot->size = least + bench_below(&self->random, least);
    slot->block = bench_not_null(malloc(slot->size), slot->size);
    if (bench_options.variant->value == FILL) {
        memset(slot->block, (int)at, slot->size);
    }
    bench_tag(slot->block, slot->size, at);
    return 1;
}

static void teardown(struct bench_thread *self)
{
    for (size_t i = 0; i < LIVE; i++) {
        free(((struct slot *)self->state)[i].block);
    }
}

const struct bench_workload bench_workload = {
    .name = "large",
    .about = "Replaces blocks of 1 to 64 MiB",
    .variants =
        (const struct bench_variant[]){{"touch", 100000, TOUCH}, {"fill", 200, FILL}, {NULL, 0, 0}},
    .threads = 1,
    .threads_least = 1,
    .setup = setup,
    .step = step,
    .teardown = teardown,
};
