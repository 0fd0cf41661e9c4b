/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* idle.c - fault: memory is freed by threads that never allocate, for owners that sleep.
 *
 * 16 producers take turns; each makes a part of the live set, then sleeps for ever. One thread only
 * frees. Without a way home for those blocks each producer's arena grows to the whole live set.
 * Asserts that resident memory never passes 1.3 times the most that was live.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"

enum { PRODUCERS = 16, ROUNDS = 64, BATCH = 100000, MOST_BYTES = 1000 };

static sem_t turn[PRODUCERS];
static sem_t produced;
static sem_t freed;
static void *batch[2][BATCH];
static size_t resident_peak;
static size_t live_peak;
static size_t live;

static size_t size_of(size_t index)
{
    return 16 + index * 7919 % (MOST_BYTES - 16);
}

static void *produce(void *argument)
{
    size_t self = *(const size_t *)argument;

    for (size_t round = self;; round += PRODUCERS) {
        CHECK(sem_wait(&turn[self]) == 0);
        if (round >= ROUNDS) {
            return NULL;
        }
        for (size_t i = 0; i < BATCH; i++) {
            batch[round % 2][i] = fault_block(size_of(i));
            live += size_of(i);
        }
        live_peak = live > live_peak ? live : live_peak;
        CHECK(sem_post(&produced) == 0);
    }
}

/* Frees all but the batch just made, so that two are live at most. */
static void *only_free(void *argument)
{
    for (size_t round = 0; round < ROUNDS; round++) {
        CHECK(sem_wait(&produced) == 0);
        size_t resident = fault_resident_bytes();

        resident_peak = resident > resident_peak ? resident : resident_peak;
        for (size_t i = 0; round > 0 && i < BATCH; i++) {
            fault_free(batch[(round - 1) % 2][i], size_of(i));
            live -= size_of(i);
        }
        CHECK(sem_post(&freed) == 0);
    }
    return argument;
}

int main(void)
{
    static size_t numbers[PRODUCERS];
    pthread_t producers[PRODUCERS];
    pthread_t consumer;

    fault_start();
    memset(batch, 1, sizeof(batch));
    size_t before = fault_resident_bytes();

    CHECK(sem_init(&produced, 0, 0) == 0 && sem_init(&freed, 0, 0) == 0);
    for (size_t i = 0; i < PRODUCERS; i++) {
        numbers[i] = i;
        CHECK(sem_init(&turn[i], 0, 0) == 0);
        CHECK(pthread_create(&producers[i], NULL, produce, &numbers[i]) == 0);
    }
    CHECK(pthread_create(&consumer, NULL, only_free, NULL) == 0);
    for (size_t round = 0; round < ROUNDS; round++) {
        CHECK(sem_post(&turn[round % PRODUCERS]) == 0);
        CHECK(sem_wait(&freed) == 0);
    }
    for (size_t i = 0; i < PRODUCERS; i++) {
        CHECK(sem_post(&turn[i]) == 0);
        CHECK(pthread_join(producers[i], NULL) == 0);
    }
    CHECK(pthread_join(consumer, NULL) == 0);
    printf("live at most %zu bytes, resident at most %zu: %.3f times\n", live_peak,
           resident_peak - before, (double)(resident_peak - before) / (double)live_peak);
    CHECK(resident_peak - before <= live_peak / 10 * 13);
    return EXIT_SUCCESS;
}
