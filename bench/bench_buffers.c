/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_buffers.c - I/O buffers of many connections: each thread has 50, of which the oldest, or
 * any one, gives way to a new one. fixed: 128 KiB, in turns; mixed: 64 to 256 KiB, at random. Only
 * the ends of a buffer are written, as of a short message. After the random replacement of
 * bench_replace.c, with the sizes that P. Larson and M. Krishnan ("Memory Allocation for
 * Long-Running Server Applications", 1998) leave out. */
#include "bench_common.h"

#include <stdlib.h>

enum { FIXED, MIXED, BUFFERS = 50, REPLACEMENTS = 100 };

struct buffers {
    struct buffer {
        void *block;
        size_t size;
    } slots[BUFFERS];
    size_t oldest;
};

static void setup(struct bench_thread *self)
{
    self->state = bench_memory(sizeof(struct buffers));
}

static void replace(struct buffer *buffer, size_t size, size_t tag)
{
    if (buffer->block != NULL) {
        bench_untag(buffer->block, buffer->size, tag);
        free(buffer->block);
    }
    buffer->block = bench_not_null(malloc(size), size);
    buffer->size = size;
    bench_tag(buffer->block, size, tag);
}

static uint64_t step(struct bench_thread *self)
{
    struct buffers *buffers = (struct buffers *)self->state;

    for (unsigned i = 0; i < REPLACEMENTS; i++) {
        size_t at = buffers->oldest;
        size_t size = 128 * KIB;

        if (bench_options.variant->value == MIXED) {
            at = bench_below(&self->random, BUFFERS);
            size = 64 * KIB + bench_below(&self->random, 192 * KIB);
        } else {
            buffers->oldest = (at + 1) % BUFFERS;
        }
        replace(&buffers->slots[at], size, at);
    }
    return REPLACEMENTS;
}

static void teardown(struct bench_thread *self)
{
    for (size_t i = 0; i < BUFFERS; i++) {
        free(((struct buffers *)self->state)->slots[i].block);
    }
}

const struct bench_workload bench_workload = {
    .name = "buffers",
    .about = "Replaces buffers of 64 to 256 KiB",
    .variants = (const struct bench_variant[]){{"fixed", 6000000, FIXED},
                                               {"mixed", 6000000, MIXED},
                                               {NULL, 0, 0}},
    .threads = 4,
    .threads_least = 1,
    .setup = setup,
    .step = step,
    .teardown = teardown,
};
