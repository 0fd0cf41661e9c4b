/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_idle.c - 2,000 threads allocate a block of each of 40 sizes, free half of them and sleep:
 * what a thread that did a little of everything costs while it does nothing. Reports resident bytes
 * a thread beyond what the same threads cost without allocating. */
#include "bench_common.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

enum { THREADS = 2000, SMOKE_THREADS = 100, SIZES = 40, STACK_BYTES = 64 * 1024 };

static pthread_barrier_t started, allocated, ended;

static void *live(void *argument)
{
    const bool *allocates = (const bool *)argument;
    void *blocks[SIZES];

    pthread_barrier_wait(&started);
    for (size_t i = 0; *allocates && i < SIZES; i++) {
        size_t size = 16 * (i + 1);

        blocks[i] = bench_not_null(malloc(size), size);
        bench_tag(blocks[i], size, i);
    }
    for (size_t i = 0; *allocates && i < SIZES; i += 2) {
        free(blocks[i]);
    }
    pthread_barrier_wait(&allocated);
    pthread_barrier_wait(&ended);
    for (size_t i = 1; *allocates && i < SIZES; i += 2) {
        bench_untag(blocks[i], 16 * (i + 1), i);
        free(blocks[i]);
    }
    return NULL;
}

/* Resident bytes that `count` threads add. */
static size_t resident_with(unsigned count, bool allocates)
{
    pthread_t *ids = (pthread_t *)bench_memory(count * sizeof(*ids));
    pthread_attr_t attributes;
    size_t before = bench_resident_bytes();

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES + (size_t)PTHREAD_STACK_MIN);
    pthread_barrier_init(&started, NULL, count + 1);
    pthread_barrier_init(&allocated, NULL, count + 1);
    pthread_barrier_init(&ended, NULL, count + 1);
    for (unsigned i = 0; i < count; i++) {
        if (pthread_create(&ids[i], &attributes, live, &allocates) != 0) {
            bench_fail("cannot start thread %u", i + 1);
        }
    }
    pthread_barrier_wait(&started);
    pthread_barrier_wait(&allocated);
    size_t resident = bench_resident_bytes();

    pthread_barrier_wait(&ended);
    for (unsigned i = 0; i < count; i++) {
        pthread_join(ids[i], NULL);
    }
    return resident > before ? resident - before : 0;
}

static void run(void)
{
    unsigned count = bench_options.smoke ? SMOKE_THREADS : THREADS;

    bench_begin();
    size_t without = resident_with(count, false);
    size_t with = resident_with(count, true);

    bench_end();
    bench_count((uint64_t)count * SIZES);
    bench_extra("resident_bytes_per_thread", ((double)with - (double)without) / count);
}

const struct bench_workload bench_workload = {
    .name = "idle",
    .about = "Measures what sleeping threads cost",
    .variants = (const struct bench_variant[]){{"40-sizes", 1, 0}, {NULL, 0, 0}},
    .threads = 1,
    .threads_least = 1,
    .run = run,
};
