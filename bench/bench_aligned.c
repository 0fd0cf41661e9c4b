/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_aligned.c - aligned blocks, as for vector units, pages and direct input and output: random
 * replacement in a small live set, as in bench_replace.c. */
#include "bench_common.h"

#include <stdlib.h>

enum { BLOCKS = 500, REPLACEMENTS = 200 };

struct slot {
    void *block;
    size_t size;
};

static void setup(struct bench_thread *self)
{
    self->state = bench_memory(BLOCKS * sizeof(struct slot));
}

static uint64_t step(struct bench_thread *self)
{
    for (unsigned i = 0; i < REPLACEMENTS; i++) {
        size_t at = bench_below(&self->random, BLOCKS);
        struct slot *slot = (struct slot *)self->state + at;
        size_t alignment = (size_t)64 << bench_below(&self->random, 11);
        size_t size = bench_skewed_size(&self->random, 64 * KIB);

        if (slot->block != NULL) {
            bench_untag(slot->block, slot->size, at);
            free(slot->block);
        }
        if (posix_memalign(&slot->block, alignment, size) != 0) {
            bench_fail("no memory for a block of %zu bytes", size);
        }
        slot->size = size;
        if ((uintptr_t)slot->block % alignment != 0) {
            bench_fail("the block at %p is not aligned to %zu", slot->block, alignment);
        }
        bench_tag(slot->block, size, at);
    }
    return REPLACEMENTS;
}

static void teardown(struct bench_thread *self)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        free(((struct slot *)self->state)[i].block);
    }
}

const struct bench_workload bench_workload = {
    .name = "aligned",
    .about = "Replaces blocks of alignments from 64 bytes to 64 KiB",
    .variants = (const struct bench_variant[]){{"mixed", 5000000, 0}, {NULL, 0, 0}},
    .threads = 1,
    .threads_least = 1,
    .setup = setup,
    .step = step,
    .teardown = teardown,
};
