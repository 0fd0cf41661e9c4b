/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* threads.c - faults of threads' lives.
 *
 *   churn     10,000 threads come and go, some of which only free: the heap does not grow by a byte
 *             over what as many threads needed that all held their blocks at the same time
 *   many      10,000 threads at once, with small stacks, each with blocks of its own
 *   pool      500 threads, two at a time, allocate and free large blocks, and sleep: they keep no
 *             more than twice the `cache_limit`, of which the first had large shares
 *   narrow    the first call of a thread on the smallest stack there is, a third of it used
 *   late      blocks allocated and freed in all rounds of key destructors, after the cache is gone
 *   exit      threads run and free while atexit handlers and destructors do
 *   last      main() ends by pthread_exit(): the process ends with the last thread
 *   cancel    a cancellation is pending around malloc and free: it never acts inside
 */
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"

enum { THREADS = 10000, AT_ONCE = 4, BLOCKS = 60, STACK_BYTES = 64 * 1024 };

/* The heap's own accounts must not change by a byte. Resident memory also counts pages of the heap
 * and of cached thread stacks that happen to be used for the first time: 100 bytes a thread. */
#define RESIDENT_SLACK MIB

/* Of one of many threads: a page or two of its stack, its blocks and its cache (docs/memory.md). */
#define THREAD_BYTES_MOST (5 * (size_t)4096)

static size_t size_of(size_t index)
{
    return 8 + index * index * 13 % 20000;
}

struct blocks {
    void *start[BLOCKS];
};

static void take(struct blocks *blocks)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks->start[i] = fault_block(size_of(i));
    }
}

static void give(struct blocks *blocks)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        fault_free(blocks->start[i], size_of(i));
    }
}

static void start_on(size_t stack_bytes, pthread_t *thread, void *(*body)(void *argument),
                     void *argument)
{
    pthread_attr_t attributes;

    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, stack_bytes) == 0);
    CHECK(pthread_create(thread, &attributes, body, argument) == 0);
    (void)pthread_attr_destroy(&attributes);
}

static void start(pthread_t *thread, void *(*body)(void *argument), void *argument)
{
    start_on(STACK_BYTES + (size_t)PTHREAD_STACK_MIN, thread, body, argument);
}

/* Churn */

/* The threads that run at once, but for the one that only frees. */
static pthread_barrier_t all_hold;

/* Waits for the others at the barrier, unless it is NULL, while it holds its blocks. */
static void *allocate_and_free(void *barrier)
{
    struct blocks blocks;

    take(&blocks);
    if (barrier != NULL) {
        (void)pthread_barrier_wait((pthread_barrier_t *)barrier);
    }
    give(&blocks);
    return NULL;
}

static void *only_free(void *argument)
{
    give((struct blocks *)argument);
    return NULL;
}

static void churn_some(unsigned threads, pthread_barrier_t *barrier)
{
    for (unsigned done = 0; done < threads; done += AT_ONCE) {
        pthread_t ids[AT_ONCE];
        struct blocks handed_over;

        take(&handed_over);
        start(&ids[0], only_free, &handed_over);
        for (unsigned i = 1; i < AT_ONCE; i++) {
            start(&ids[i], allocate_and_free, barrier);
        }
        for (unsigned i = 0; i < AT_ONCE; i++) {
            CHECK(pthread_join(ids[i], NULL) == 0);
        }
    }
}

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.arena + info.hblkhd;
}

static void churn(void)
{
    CHECK(pthread_barrier_init(&all_hold, NULL, AT_ONCE - 1) == 0);
    churn_some(THREADS, &all_hold);
    size_t heap = heap_bytes();
    size_t resident = fault_resident_bytes();

    churn_some(THREADS, NULL);
    printf("heap %zu -> %zu bytes, resident %zu -> %zu\n", heap, heap_bytes(), resident,
           fault_resident_bytes());
    CHECK(heap_bytes() == heap);
    CHECK(fault_resident_bytes() <= resident + RESIDENT_SLACK);
}

/* Many at once */

static atomic_uint waiting;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *hold_blocks(void *argument)
{
    void *blocks[8];

    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = fault_block(40 * (i + 1));
    }
    atomic_fetch_add(&waiting, 1);
    CHECK(pthread_mutex_lock(&gate) == 0);
    CHECK(pthread_mutex_unlock(&gate) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        fault_free(blocks[i], 40 * (i + 1));
    }
    return argument;
}

static void many(void)
{
    static pthread_t ids[THREADS];
    size_t resident = fault_resident_bytes();

    CHECK(pthread_mutex_lock(&gate) == 0);
    for (size_t i = 0; i < THREADS; i++) {
        start(&ids[i], hold_blocks, NULL);
    }
    while (atomic_load(&waiting) < THREADS) {
        (void)usleep(1000);
    }
    size_t bytes = (fault_resident_bytes() - resident) / THREADS;

    printf("%zu resident bytes a thread, its stack included\n", bytes);
    CHECK(bytes <= THREAD_BYTES_MOST);
    CHECK(pthread_mutex_unlock(&gate) == 0);
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(ids[i], NULL) == 0);
    }
}

/* A pool */

enum { POOL_THREADS = 500, POOL_AT_WORK = 2, POOL_ROUNDS = 10 };

#define CACHE_LIMIT (16 * MIB) /* by default */

static sem_t may_work;
static pthread_barrier_t pool_rests;

static void *work_and_rest(void *argument)
{
    static const size_t sizes[] = {262000, 200000, 170000, 140000, 110000, 90000};
    void *blocks[ARRAY_SIZE(sizes)];

    for (int round = 0; round < POOL_ROUNDS; round++) {
        CHECK(sem_wait(&may_work) == 0);
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
            blocks[i] = fault_block(sizes[i]);
        }
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
            fault_free(blocks[i], sizes[i]);
        }
        CHECK(sem_post(&may_work) == 0);
    }
    (void)pthread_barrier_wait(&pool_rests);
    (void)pthread_barrier_wait(&pool_rests);
    return argument;
}

static void pool(void)
{
    static pthread_t ids[POOL_THREADS];
    size_t resident = fault_resident_bytes();

    CHECK(sem_init(&may_work, 0, POOL_AT_WORK) == 0);
    CHECK(pthread_barrier_init(&pool_rests, NULL, POOL_THREADS + 1) == 0);
    for (size_t i = 0; i < POOL_THREADS; i++) {
        start(&ids[i], work_and_rest, NULL);
    }
    (void)pthread_barrier_wait(&pool_rests);
    size_t bytes = fault_resident_bytes() - resident;

    printf("%zu resident bytes, nothing live\n", bytes);
    CHECK(bytes <= 2 * CACHE_LIMIT);
    (void)pthread_barrier_wait(&pool_rests);
    for (size_t i = 0; i < POOL_THREADS; i++) {
        CHECK(pthread_join(ids[i], NULL) == 0);
    }
}

/* Late frees */

static pthread_key_t keys[3];
static atomic_uint rounds_run;

/* Runs in every round that there is: sets its key again each time. */
static void destroy(void *block)
{
    atomic_fetch_add(&rounds_run, 1);
    free(block);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        void *next = fault_block(1000);

        free(pthread_getspecific(keys[i]));
        CHECK(pthread_setspecific(keys[i], next) == 0);
    }
}

/* The last round's blocks would be lost with the thread, whatever the allocator: so the last one
 * frees them. */
static void destroy_in_the_end(void *block)
{
    static _Thread_local unsigned round;

    free(block);
    if (++round < PTHREAD_DESTRUCTOR_ITERATIONS) {
        CHECK(pthread_setspecific(keys[0], fault_block(3000)) == 0);
    }
    atomic_fetch_add(&rounds_run, 1);
}

static void *die_late(void *argument)
{
    CHECK(pthread_setspecific(keys[0], fault_block(500)) == 0);
    free(fault_block(70000));
    return argument;
}

static void run_and_join(void *(*body)(void *argument))
{
    pthread_t id;

    start(&id, body, NULL);
    CHECK(pthread_join(id, NULL) == 0);
}

static void late(void)
{
    CHECK(pthread_key_create(&keys[0], destroy_in_the_end) == 0);
    for (int i = 0; i < THREADS / 20; i++) {
        run_and_join(die_late);
    }
    CHECK(atomic_load(&rounds_run) == THREADS / 20 * PTHREAD_DESTRUCTOR_ITERATIONS);
    size_t heap = heap_bytes();
    size_t used = mallinfo2().uordblks;

    for (int i = 0; i < THREADS / 2; i++) {
        run_and_join(die_late);
    }
    CHECK(heap_bytes() == heap);
    CHECK(mallinfo2().uordblks == used);
    CHECK(pthread_key_delete(keys[0]) == 0);
    /* And with keys that never come to rest. */
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        CHECK(pthread_key_create(&keys[i], destroy) == 0);
    }
    for (int i = 0; i < 10; i++) {
        run_and_join(die_late);
    }
}

/* Exit while threads run */

static void *never_rest(void *argument)
{
    for (;;) {
        struct blocks blocks;

        take(&blocks);
        give(&blocks);
    }
    return argument;
}

static void allocate_at_exit(void)
{
    for (int i = 0; i < 100; i++) {
        (void)allocate_and_free(NULL);
    }
}

static void exit_meanwhile(void)
{
    pthread_t ids[AT_ONCE];

    CHECK(atexit(allocate_at_exit) == 0);
    for (size_t i = 0; i < AT_ONCE; i++) {
        start(&ids[i], never_rest, NULL);
    }
    (void)usleep(20000);
    exit(EXIT_SUCCESS);
}

/* Narrow stacks */

/* Under the library little more than under glibc, whose threads survive 8,000 bytes. */
static void *allocate_deep_down(void *argument)
{
    volatile unsigned char used[6000];

    for (size_t i = 0; i < sizeof(used); i++) {
        used[i] = 1;
    }
    void *block = malloc(100);

    CHECK(block != NULL && used[0] == 1);
    free(block);
    return argument;
}

/* Only the first of them looks for processors. */
static void narrow(void)
{
    for (int i = 0; i < 3; i++) {
        pthread_t id;

        start_on((size_t)PTHREAD_STACK_MIN, &id, allocate_deep_down, NULL);
        CHECK(pthread_join(id, NULL) == 0);
    }
}

/* Cancellation */

static atomic_bool cancelled;

static FILE *nowhere;

/* Written out in there, line by line. */
static void print_statistics(void)
{
    CHECK(malloc_info(0, nowhere) == 0);
}

static void *allocate_until_cancelled(void *argument)
{
    struct blocks blocks;

    /* Pending from the first malloc on; acts at pthread_testcancel() and nowhere before. */
    while (!atomic_load(&cancelled)) {
    }
    take(&blocks);
    *(char *)argument = 1;
    give(&blocks);
    free(calloc(1, 300000));
    free(realloc(malloc(10), 100000));
    (void)malloc_trim(0);
    print_statistics();
    *(char *)argument = 2;
    pthread_testcancel();
    *(char *)argument = 3;
    return NULL;
}

static void cancel(void)
{
    nowhere = fopen("/dev/null", "w");
    CHECK(nowhere != NULL && setvbuf(nowhere, NULL, _IONBF, 0) == 0);
    for (int i = 0; i < 200; i++) {
        pthread_t id;
        char progress = 0;
        void *result = NULL;

        atomic_store(&cancelled, false);
        start(&id, allocate_until_cancelled, &progress);
        CHECK(pthread_cancel(id) == 0);
        atomic_store(&cancelled, true);
        CHECK(pthread_join(id, &result) == 0);
        CHECK(result == PTHREAD_CANCELED);
        CHECK(progress == 2);
    }
    CHECK(fclose(nowhere) == 0);
}

/* The last thread */

static pthread_t first_thread;

static void *outlive_first(void *argument)
{
    CHECK(pthread_join(first_thread, NULL) == 0);
    fault_free(fault_block(100), 100);
    return argument;
}

static void end_before_others(void)
{
    pthread_t id;

    fault_free(fault_block(100), 100);
    first_thread = pthread_self();
    start(&id, outlive_first, NULL);
    CHECK(pthread_detach(id) == 0);
    pthread_exit(NULL);
}

int main(int count, char **arguments)
{
    static const struct mode {
        const char *name;
        void (*run)(void);
    } modes[] = {{"churn", churn},
                 {"many", many},
                 {"pool", pool},
                 {"narrow", narrow},
                 {"late", late},
                 {"exit", exit_meanwhile},
                 {"last", end_before_others},
                 {"cancel", cancel}};

    fault_start();
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        if (count == 2 && strcmp(arguments[1], modes[i].name) == 0) {
            modes[i].run();
            return EXIT_SUCCESS;
        }
    }
    return EXIT_FAILURE;
}
