/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_larson.c - a server whose threads end: each replaces random blocks of its live set for a
 * while, then hands the set to a thread that it starts, and ends. Blocks are so freed by other
 * threads than allocated them. After P. Larson, M. Krishnan, "Memory Allocation for Long-Running
 * Server Applications" (ISMM 1998). An operation is one replacement. */
#include "bench_common.h"

#include <pthread.h>
#include <stdlib.h>

enum { BLOCKS = 1000, LIFETIME = 20000, LEAST_BYTES = 10, MOST_BYTES = 500 };

struct slot {
    void *block;
    size_t size;
};

struct set {
    uint64_t random;
    struct slot slots[BLOCKS];
};

static void *replace_and_end(void *argument)
{
    struct set *set = (struct set *)argument;

    for (unsigned i = 0; i < LIFETIME; i++) {
        size_t at = bench_below(&set->random, BLOCKS);
        struct slot *slot = &set->slots[at];

        if (slot->block != NULL) {
            bench_untag(slot->block, slot->size, at);
            free(slot->block);
        }
        slot->size = LEAST_BYTES + bench_below(&set->random, MOST_BYTES - LEAST_BYTES + 1);
        slot->block = bench_not_null(malloc(slot->size), slot->size);
        bench_tag(slot->block, slot->size, at);
    }
    return NULL;
}

static void setup(struct bench_thread *self)
{
    struct set *set = (struct set *)bench_memory(sizeof(*set));

    set->random = self->random;
    self->state = set;
    (void)replace_and_end(set);
}

static uint64_t step(struct bench_thread *self)
{
    pthread_t heir;

    if (pthread_create(&heir, NULL, replace_and_end, self->state) != 0) {
        bench_fail("cannot start a thread");
    }
    pthread_join(heir, NULL);
    return LIFETIME;
}

static void teardown(struct bench_thread *self)
{
    struct set *set = (struct set *)self->state;

    for (size_t i = 0; i < BLOCKS; i++) {
        free(set->slots[i].block);
    }
}

const struct bench_workload bench_workload = {
    .name = "larson",
    .about = "Hands live sets from threads that end to threads that start",
    .variants = (const struct bench_variant[]){{"server", 20000000, 0}, {NULL, 0, 0}},
    .threads = 4,
    .threads_least = 1,
    .setup = setup,
    .step = step,
    .teardown = teardown,
};
