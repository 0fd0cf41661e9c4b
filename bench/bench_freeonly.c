/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_freeonly.c - 16 threads take turns to allocate, one thread frees everything: memory has to
 * find its way from a thread that only frees to others that allocate. Reports the peak of resident
 * memory over the peak of live bytes: the "blowup" of E. Berger, K. McKinley, R. Blumofe, P.
 * Wilson, "Hoard" (ASPLOS 2000). An operation is one block. */
#include "bench_common.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

enum { PRODUCERS = 16, ROUNDS = 64, BLOCKS = 100000, MOST_BYTES = 1000 };

static sem_t turns[PRODUCERS], produced, freed;
static void **blocks[2];
static uint16_t *sizes[2];
static size_t count, live, live_most, resident_most;

static void *produce(void *argument)
{
    size_t self = (size_t)(uintptr_t)argument;
    uint64_t random = bench_options.seed + self;

    for (size_t round = self; round < ROUNDS; round += PRODUCERS) {
        sem_wait(&turns[self]);
        for (size_t i = 0; i < count; i++) {
            size_t size = 16 + bench_below(&random, MOST_BYTES - 15);

            sizes[round % 2][i] = (uint16_t)size;
            blocks[round % 2][i] = bench_not_null(malloc(size), size);
            bench_tag(blocks[round % 2][i], size, i);
            live += size;
        }
        live_most = live > live_most ? live : live_most;
        sem_post(&produced);
    }
    return NULL;
}

static void free_round(size_t round)
{
    for (size_t i = 0; i < count; i++) {
        bench_untag(blocks[round % 2][i], sizes[round % 2][i], i);
        free(blocks[round % 2][i]);
        live -= sizes[round % 2][i];
    }
}

static void *only_free(void *argument)
{
    for (size_t round = 0; round < ROUNDS; round++) {
        sem_wait(&produced);
        size_t resident = bench_resident_bytes();

        resident_most = resident > resident_most ? resident : resident_most;
        if (round > 0) {
            free_round(round - 1);
        }
        sem_post(&freed);
    }
    free_round(ROUNDS - 1);
    return argument;
}

static void run(void)
{
    pthread_t producers[PRODUCERS];
    pthread_t consumer;

    count = bench_options.smoke ? BLOCKS / 50 : BLOCKS;
    for (unsigned i = 0; i < 2; i++) {
        blocks[i] = (void **)bench_memory(count * sizeof(void *));
        sizes[i] = (uint16_t *)bench_memory(count * sizeof(uint16_t));
    }
    size_t before = bench_resident_bytes();

    sem_init(&produced, 0, 0);
    sem_init(&freed, 0, 0);
    bench_begin();
    for (size_t i = 0; i < PRODUCERS; i++) {
        sem_init(&turns[i], 0, 0);
        if (pthread_create(&producers[i], NULL, produce, (void *)(uintptr_t)i) != 0) {
            bench_fail("cannot start a thread");
        }
    }
    if (pthread_create(&consumer, NULL, only_free, NULL) != 0) {
        bench_fail("cannot start a thread");
    }
    for (size_t round = 0; round < ROUNDS; round++) {
        sem_post(&turns[round % PRODUCERS]);
        sem_wait(&freed);
    }
    for (size_t i = 0; i < PRODUCERS; i++) {
        pthread_join(producers[i], NULL);
    }
    pthread_join(consumer, NULL);
    bench_end();
    bench_count(ROUNDS * count);
    bench_live_peak(live_most);
    bench_extra("resident_over_live_peak", (double)(resident_most - before) / (double)live_most);
}

const struct bench_workload bench_workload = {
    .name = "freeonly",
    .about = "Allocates in 16 threads and frees in one",
    .variants = (const struct bench_variant[]){{"turns", 1, 0}, {NULL, 0, 0}},
    .threads = 17,
    .threads_least = 17,
    .run = run,
};
