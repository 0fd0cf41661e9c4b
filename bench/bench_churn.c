/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_churn.c - threads start, allocate a little, free it and end. What a thread costs an
 * allocator: after the "thread churn" of the larson family (ISMM 1998) taken to its end. An
 * operation is a thread. */
#include "bench_common.h"

#include <pthread.h>
#include <stdlib.h>

enum { BLOCKS = 10 };

static void *live_shortly(void *argument)
{
    void *blocks[BLOCKS];

    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = bench_not_null(malloc((size_t)16 << i), (size_t)16 << i);
        bench_tag(blocks[i], (size_t)16 << i, i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        bench_untag(blocks[i], (size_t)16 << i, i);
        free(blocks[i]);
    }
    return argument;
}

static uint64_t step(struct bench_thread *self)
{
    pthread_t id;

    (void)self;
    if (pthread_create(&id, NULL, live_shortly, NULL) != 0) {
        bench_fail("cannot start a thread");
    }
    pthread_join(id, NULL);
    return 1;
}

const struct bench_workload bench_workload = {
    .name = "churn",
    .about = "Starts and ends threads that allocate a little",
    .variants = (const struct bench_variant[]){{"threads", 40000, 0}, {NULL, 0, 0}},
    .threads = 2,
    .threads_least = 1,
    .step = step,
};
