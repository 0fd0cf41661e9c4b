/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stress_churn.c - risk: a thread that ends leaves blocks, stacks or descriptors behind.
 *
 * Thousands of short threads, some of them at a time, each with a handful of blocks that it frees
 * or leaves to its successors. Asserts: blocks survive their threads, allocated = freed + live
 * whenever no thread runs, no more caches than threads at a time, and at the end nothing in use,
 * descriptors included: 0 bytes a thread.
 */
#include "harness.h"

#include <pthread.h>

#include "heap.h"
#include "life.h"

enum mode { MIXED, FREE_ONLY, LATE };

static const char *const modes[] = {
    [MIXED] = "mixed",         /* every thread allocates and frees */
    [FREE_ONLY] = "free-only", /* every other thread only frees what the ones before it left */
    [LATE] = "late",           /* allocations and frees in destructors, after the cache is gone */
    NULL,
};

enum {
    THREADS = 8,
    LARGEST_BYTES = 70 * 1024,
    BLOCKS_MOST = 48,
    HELD = 32,
    GENERATIONS = 32, /* in a round */
    KEYS = 3,
    LATE_ROUNDS = 3, /* one less than there are: ThreadSanitizer ends the thread in the last one */
};

static pthread_key_t keys[KEYS];
static unsigned late_rounds_left[HELD_MAX];

static void allocate_some(struct stress_thread *self)
{
    for (uint64_t i = stress_below(self, BLOCKS_MOST); i > 0; i--) {
        void *block =
            block_alloc_any(&self->accounts, block_random_size(&self->accounts, LARGEST_BYTES));
        unsigned heir = (unsigned)stress_below(self, stress_options.threads);

        if (stress_below(self, 2) == 0 || !stress_give(self, heir, block)) {
            stress_hold(self, HELD, block);
        }
    }
}

static void free_some(struct stress_thread *self)
{
    for (int i = 0; i < BLOCKS_MOST; i++) {
        block_free(&self->accounts, stress_take(self, self));
    }
    stress_hold(self, HELD, NULL);
}

/* Sets a key again, so that there is another round of destructors. */
static void work_late(void *argument)
{
    struct stress_thread *self = (struct stress_thread *)argument;
    unsigned left = --late_rounds_left[self->index];

    allocate_some(self);
    free_some(self);
    if (left > 0 && pthread_setspecific(keys[left % KEYS], self) != 0) {
        stress_fail("pthread_setspecific");
    }
}

static void *live_shortly(void *argument)
{
    struct stress_thread *self = (struct stress_thread *)argument;

    if (stress_options.mode == LATE) {
        late_rounds_left[self->index] = LATE_ROUNDS;
        if (pthread_setspecific(keys[stress_below(self, KEYS)], self) != 0) {
            stress_fail("pthread_setspecific");
        }
    }
    if (stress_options.mode != FREE_ONLY || self->index % 2 == 0) {
        allocate_some(self);
    }
    free_some(self);
    return NULL;
}

static void check_at_rest(void)
{
    heap_check();
    stress_check_conservation();
    if (life_stats().caches_created > stress_options.threads + 1) {
        stress_fail("%u caches for %u threads at a time", life_stats().caches_created,
                    stress_options.threads + 1);
    }
}

/* Each place is taken by one thread after the other, while those of the other places run. */
static void run_generations(void)
{
    unsigned long ids[HELD_MAX] = {0};

    for (unsigned generation = 0; generation <= GENERATIONS; generation++) {
        for (unsigned index = 0; index < stress_options.threads; index++) {
            if (generation > 0) {
                stress_join(ids[index]);
            }
            if (generation < GENERATIONS) {
                stress_spawn(&ids[index], live_shortly, stress_thread_by_index(index));
            }
        }
    }
}

static void create_key(pthread_key_t *key)
{
    if (pthread_key_create(key, work_late) != 0) {
        stress_fail("pthread_key_create");
    }
}

int main(int argc, char **argv)
{
    static const struct stress_program program = {
        .name = "stress_churn",
        .threads = THREADS,
        .threads_least = 1,
        .threads_most = HELD_MAX,
        .arenas = 4,
        .modes = modes,
    };

    /* Destructors run in the order of the keys: one key is older than the allocator's. */
    create_key(&keys[0]);
    stress_start(argc, argv, &program);
    create_key(&keys[1]);
    create_key(&keys[2]);
    while (stress_has_time()) {
        stress_prepare_threads();
        run_generations();
        check_at_rest();
        for (unsigned index = 0; index < stress_options.threads; index++) {
            stress_drop_all(stress_thread_by_index(index));
        }
        stress_round_over();
        stress_check_empty();
    }
    return stress_finish();
}
