/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_prodcons.c - some threads only allocate, others only free, batches of 100 go through
 * bounded queues: 1to1, Nto1, 1toN. After the producer/consumer experiments of E. Berger, K.
 * McKinley, R. Blumofe, P. Wilson, "Hoard: A Scalable Memory Allocator for Multithreaded
 * Applications" (ASPLOS 2000). An operation is one block allocated and freed. */
#include "bench_common.h"

#include <pthread.h>
#include <stdlib.h>

enum { BATCH = 100, QUEUE_BATCHES = 32, ONE_TO_ONE, N_TO_ONE, ONE_TO_N };

struct batch {
    void *blocks[BATCH];
    uint16_t sizes[BATCH];
};

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned head, count;
    unsigned producers; /* that still run */
    struct batch batches[QUEUE_BATCHES];
};

struct role {
    pthread_t id;
    unsigned index;
    uint64_t random;
    uint64_t batches;
};

static struct queue *queues;
static unsigned producers, consumers;
static pthread_barrier_t ready;

static void push(struct queue *queue, const struct batch *batch)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->count == QUEUE_BATCHES) {
        pthread_cond_wait(&queue->changed, &queue->lock);
    }
    queue->batches[(queue->head + queue->count++) % QUEUE_BATCHES] = *batch;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

static bool pop(struct queue *queue, struct batch *batch)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->count == 0 && queue->producers > 0) {
        pthread_cond_wait(&queue->changed, &queue->lock);
    }
    bool found = queue->count > 0;

    if (found) {
        *batch = queue->batches[queue->head];
        queue->head = (queue->head + 1) % QUEUE_BATCHES;
        queue->count--;
        pthread_cond_broadcast(&queue->changed);
    }
    pthread_mutex_unlock(&queue->lock);
    return found;
}

static void leave(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->producers--;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

static void *produce(void *argument)
{
    struct role *role = (struct role *)argument;
    struct batch batch;

    pthread_barrier_wait(&ready);
    for (uint64_t i = 0; i < role->batches; i++) {
        for (unsigned b = 0; b < BATCH; b++) {
            batch.sizes[b] = (uint16_t)(16 + bench_below(&role->random, 241));
            batch.blocks[b] = bench_not_null(malloc(batch.sizes[b]), batch.sizes[b]);
            bench_tag(batch.blocks[b], batch.sizes[b], b);
        }
        push(&queues[producers == 1 ? i % consumers : role->index % consumers], &batch);
    }
    for (unsigned i = 0; i < consumers; i++) {
        if (producers == 1 || i == role->index % consumers) {
            leave(&queues[i]);
        }
    }
    return NULL;
}

static void *consume(void *argument)
{
    const struct role *role = (const struct role *)argument;
    struct batch batch;

    pthread_barrier_wait(&ready);
    while (pop(&queues[role->index], &batch)) {
        for (unsigned b = 0; b < BATCH; b++) {
            bench_untag(batch.blocks[b], batch.sizes[b], b);
            free(batch.blocks[b]);
        }
        bench_count(BATCH);
    }
    return NULL;
}

static void choose_roles(void)
{
    unsigned threads = bench_options.threads;

    switch (bench_options.variant->value) {
    case ONE_TO_ONE:
        producers = consumers = threads / 2;
        break;
    case N_TO_ONE:
        consumers = 1;
        producers = threads - 1;
        break;
    default:
        producers = 1;
        consumers = threads - 1;
    }
}

static void start(struct role *role, unsigned index, void *(*body)(void *argument))
{
    role->index = index;
    role->random = bench_options.seed + index;
    role->batches = bench_options.ops / BATCH / producers + 1;
    if (pthread_create(&role->id, NULL, body, role) != 0) {
        bench_fail("cannot start a thread");
    }
}

static void run(void)
{
    if (bench_options.ops == 0) {
        bench_fail("--seconds: this workload is run by --ops");
    }
    choose_roles();
    struct role *roles =
        (struct role *)bench_memory((size_t)(producers + consumers) * sizeof(*roles));

    queues = (struct queue *)bench_memory(consumers * sizeof(*queues));
    pthread_barrier_init(&ready, NULL, producers + consumers + 1);
    for (unsigned i = 0; i < consumers; i++) {
        pthread_mutex_init(&queues[i].lock, NULL);
        pthread_cond_init(&queues[i].changed, NULL);
        queues[i].producers = producers == consumers ? 1 : producers;
        start(&roles[i], i, consume);
    }
    for (unsigned i = 0; i < producers; i++) {
        start(&roles[consumers + i], i, produce);
    }
    bench_begin();
    pthread_barrier_wait(&ready);
    for (unsigned i = 0; i < producers + consumers; i++) {
        pthread_join(roles[i].id, NULL);
    }
    bench_end();
}

const struct bench_workload bench_workload = {
    .name = "prodcons",
    .about = "Allocates in some threads and frees in others",
    .variants = (const struct bench_variant[]){{"1to1", 10000000, ONE_TO_ONE},
                                               {"Nto1", 6000000, N_TO_ONE},
                                               {"1toN", 6000000, ONE_TO_N},
                                               {NULL, 0, 0}},
    .threads = 4,
    .threads_least = 2,
    .run = run,
};
