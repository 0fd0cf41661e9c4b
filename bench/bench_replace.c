/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_replace.c - a live set, of which a random block is replaced by one of a random size, again
 * and again: after the "random replacement" of R. Lim's and M. Larson's benchmarks (P. Larson, M.
 * Krishnan, "Memory Allocation for Long-Running Server Applications", 1998) without the threads
 * that end. small: 16 to 256 bytes. mixed: skewed, up to 4 KiB. mid: 4 to 64 KiB, evenly. */
#include "bench_common.h"

#include <stdlib.h>

enum { SMALL, MIXED, MID, REPLACEMENTS = 500 };

struct slot {
    void *block;
    size_t size;
};

static const size_t slot_counts[] = {[SMALL] = 20000, [MIXED] = 10000, [MID] = 400};

static size_t next_size(uint64_t *random)
{
    switch (bench_options.variant->value) {
    case SMALL:
        return 16 + bench_below(random, 241);
    case MIXED:
        return bench_skewed_size(random, 4 * KIB);
    default:
        return 4 * KIB + bench_below(random, 60 * KIB + 1);
    }
}

static void setup(struct bench_thread *self)
{
    self->state = bench_memory(slot_counts[bench_options.variant->value] * sizeof(struct slot));
}

static uint64_t step(struct bench_thread *self)
{
    struct slot *slots = (struct slot *)self->state;
    size_t count = slot_counts[bench_options.variant->value];

    for (unsigned i = 0; i < REPLACEMENTS; i++) {
        size_t at = bench_below(&self->random, count);
        struct slot *slot = &slots[at];

        if (slot->block != NULL) {
            bench_untag(slot->block, slot->size, at);
            free(slot->block);
        }
        slot->size = next_size(&self->random);
        slot->block = bench_not_null(malloc(slot->size), slot->size);
        bench_tag(slot->block, slot->size, at);
    }
    return REPLACEMENTS;
}

static void teardown(struct bench_thread *self)
{
    struct slot *slots = (struct slot *)self->state;

    for (size_t i = 0; i < slot_counts[bench_options.variant->value]; i++) {
        free(slots[i].block);
    }
}

const struct bench_workload bench_workload = {
    .name = "replace",
    .about = "Replaces random blocks of a live set",
    .variants = (const struct bench_variant[]){{"small", 20000000, SMALL},
                                               {"mixed", 15000000, MIXED},
                                               {"mid", 5000000, MID},
                                               {NULL, 0, 0}},
    .threads = 1,
    .threads_least = 1,
    .setup = setup,
    .step = step,
    .teardown = teardown,
};
