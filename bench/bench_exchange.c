/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_exchange.c - threads put blocks of random sizes into random places that all of them share,
 * and free what was there: most blocks are freed by another thread than the one that got them, as
 * where requests go from thread to thread, or several keep one cache. small: 16 to 512 bytes. mid:
 * 16 bytes to 32 KiB, evenly. An operation is one block. */
#include "bench_common.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { SMALL, MID, PLACES = 20000, BLOCKS = 500 };

static const size_t most_bytes[] = {[SMALL] = 512, [MID] = 32 * KIB};

struct item {
    size_t size;
    uint64_t check;
};

static _Atomic(struct item *) places[PLACES];

static struct item *make(struct bench_thread *self)
{
    size_t most = most_bytes[bench_options.variant->value];
    size_t size = sizeof(struct item) + bench_below(&self->random, most - sizeof(struct item) + 1);
    struct item *item = (struct item *)bench_not_null(malloc(size), size);

    ((unsigned char *)item)[size - 1] = 1;
    item->size = size;
    item->check = ~(uint64_t)size;
    return item;
}

static void destroy(struct item *item)
{
    if (item != NULL && item->check != ~(uint64_t)item->size) {
        bench_fail("a block was overwritten");
    }
    free(item);
}

static void setup(struct bench_thread *self)
{
    (void)self;
}

static uint64_t step(struct bench_thread *self)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        struct item *item = make(self);
        size_t place = bench_below(&self->random, PLACES);

        /* Both ways: the block is seen filled, and the one taken out was. */
        destroy(atomic_exchange_explicit(&places[place], item, memory_order_acq_rel));
    }
    return BLOCKS;
}

static void teardown(struct bench_thread *self)
{
    for (size_t i = self->index; i < PLACES; i += bench_options.threads) {
        destroy(atomic_exchange_explicit(&places[i], NULL, memory_order_acquire));
    }
}

const struct bench_workload bench_workload = {
    .name = "exchange",
    .about = "Threads free what others got, at random",
    .variants = (const struct bench_variant[]){{"small", 6000000, SMALL},
                                               {"mid", 1000000, MID},
                                               {NULL, 0, 0}},
    .threads = 8,
    .threads_least = 1,
    .setup = setup,
    .step = step,
    .teardown = teardown,
};
