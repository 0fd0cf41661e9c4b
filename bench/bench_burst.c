/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_burst.c - N blocks of 16 to 256 bytes are allocated, then all freed: last in first out,
 * first in first out, or shuffled. After the "linear, reverse, random" frees of the "glibc-simple"
 * family in A. Leijen, B. Zorn, L. de Moura, "Mimalloc: Free List Sharding in Action" (2019), with
 * N from what a stack of a thread cache holds to far beyond. An operation is one malloc and its
 * free. */
#include "bench_common.h"

#include <stdlib.h>

/* Variant values: the order in the top bits. */
#define ORDER_SHIFT 32
#define COUNT_MASK  UINT64_C(0xffffffff)

enum order { LIFO, FIFO, SHUFFLED };

struct burst {
    void **blocks;
    uint32_t *order;
    uint16_t *sizes;
};

static size_t count_of_variant(void)
{
    return bench_options.variant->value & COUNT_MASK;
}

static void setup(struct bench_thread *self)
{
    size_t count = count_of_variant();
    enum order order = (enum order)(bench_options.variant->value >> ORDER_SHIFT);
    struct burst *burst = (struct burst *)bench_memory(sizeof(*burst));

    burst->blocks = (void **)bench_memory(count * sizeof(void *));
    burst->order = (uint32_t *)bench_memory(count * sizeof(uint32_t));
    burst->sizes = (uint16_t *)bench_memory(count * sizeof(uint16_t));
    for (size_t i = 0; i < count; i++) {
        burst->sizes[i] = (uint16_t)(16 + bench_below(&self->random, 241));
        burst->order[i] = (uint32_t)(order == LIFO ? count - 1 - i : i);
    }
    for (size_t i = count - 1; order == SHUFFLED && i > 0; i--) {
        size_t other = bench_below(&self->random, i + 1);
        uint32_t swapped = burst->order[i];

        burst->order[i] = burst->order[other];
        burst->order[other] = swapped;
    }
    self->state = burst;
}

static uint64_t step(struct bench_thread *self)
{
    const struct burst *burst = (const struct burst *)self->state;
    size_t count = count_of_variant();

    for (size_t i = 0; i < count; i++) {
        burst->blocks[i] = bench_not_null(malloc(burst->sizes[i]), burst->sizes[i]);
        bench_tag(burst->blocks[i], burst->sizes[i], i);
    }
    for (size_t i = 0; i < count; i++) {
        size_t freed = burst->order[i];

        bench_untag(burst->blocks[freed], burst->sizes[freed], freed);
        free(burst->blocks[freed]);
    }
    return count;
}

#define VARIANT(name, order, count, ops)                                                           \
    {                                                                                              \
        name, ops, (uint64_t)(order) << ORDER_SHIFT | (count)                                      \
    }

const struct bench_workload bench_workload = {
    .name = "burst",
    .about = "Allocates N blocks, then frees them all",
    .variants =
        (const struct bench_variant[]){VARIANT("lifo-64", LIFO, 64, 50000000),
                                       VARIANT("fifo-64", FIFO, 64, 50000000),
                                       VARIANT("shuffled-64", SHUFFLED, 64, 50000000),
                                       VARIANT("lifo-1000", LIFO, 1000, 30000000),
                                       VARIANT("fifo-1000", FIFO, 1000, 30000000),
                                       VARIANT("shuffled-1000", SHUFFLED, 1000, 30000000),
                                       VARIANT("lifo-100000", LIFO, 100000, 20000000),
                                       VARIANT("fifo-100000", FIFO, 100000, 20000000),
                                       VARIANT("shuffled-100000", SHUFFLED, 100000, 10000000),
                                       VARIANT("lifo-1000000", LIFO, 1000000, 12000000),
                                       VARIANT("fifo-1000000", FIFO, 1000000, 12000000),
                                       VARIANT("shuffled-1000000", SHUFFLED, 1000000, 6000000),
                                       {NULL, 0, 0}},
    .threads = 1,
    .threads_least = 1,
    .setup = setup,
    .step = step,
};
