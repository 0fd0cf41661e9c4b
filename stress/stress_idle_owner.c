/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stress_idle_owner.c - risk: memory freed to the arena of a thread that sleeps stays there.
 *
 * Owners allocate, hand everything over and sleep. Helpers, of other arenas, free all of it and
 * then allocate as much again in blocks of other sizes. Asserts: the helpers' memory comes out of
 * what the owners no longer use, so that the heap does not grow to both; allocated = freed + live
 * while the owners sleep; nothing in use at the end.
 */
#include "harness.h"

#include <semaphore.h>

#include "heap.h"
#include "page_heap.h"

enum {
    PAIRS_MOST = 16,
    SET_BYTES = 16 * 1024 * 1024,
    SIZE_LEAST_SHIFT = 10,
    SIZE_SHIFTS = 4,
    SET_BLOCKS_MOST = SET_BYTES >> SIZE_LEAST_SHIFT,
    REFILLS = 2,
    /* Units a pair may need beyond a set: a depot of a MiB for each class that was freed, partial
     * slabs, stacks; and a step of growth. */
    SLACK_UNITS = 64,
    GROWTH_SHARE = 8,
};

/* What one owner, an even thread, hands to one helper, the odd thread after it. */
struct set {
    sem_t handed_over;
    sem_t owner_may_end;
    unsigned size_shift;
    void *blocks[SET_BLOCKS_MOST];
};

static struct set sets[PAIRS_MOST];

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0) {
        /* Interrupted by a signal: the only way for it to fail. */
    }
}

/* In sizes other than the last time. */
static void allocate_set(struct stress_thread *self, struct set *set)
{
    set->size_shift =
        (set->size_shift + 1 + (unsigned)stress_below(self, SIZE_SHIFTS - 1)) % SIZE_SHIFTS;
    size_t size = (size_t)1 << (SIZE_LEAST_SHIFT + set->size_shift);

    for (size_t i = 0; i < SET_BYTES / size; i++) {
        set->blocks[i] = block_alloc(&self->accounts, size);
    }
}

static void free_set(struct stress_thread *self, struct set *set)
{
    for (size_t i = 0; i < SET_BLOCKS_MOST && set->blocks[i] != NULL; i++) {
        block_free(&self->accounts, set->blocks[i]);
        set->blocks[i] = NULL;
    }
}

static void *own(void *argument)
{
    struct stress_thread *self = (struct stress_thread *)argument;
    struct set *set = &sets[self->index / 2];

    allocate_set(self, set);
    stress_note_cached(self);
    (void)sem_post(&set->handed_over);
    wait_for(&set->owner_may_end);
    return NULL;
}

static void *help(void *argument)
{
    struct stress_thread *self = (struct stress_thread *)argument;
    struct set *set = &sets[self->index / 2];

    for (unsigned i = 0; i < REFILLS; i++) {
        free_set(self, set);
        allocate_set(self, set);
    }
    free_set(self, set);
    return NULL;
}

static void spawn_every_other(unsigned long *ids, unsigned first, void *(*run)(void *))
{
    for (unsigned index = first; index < stress_options.threads; index += 2) {
        stress_spawn(&ids[index], run, stress_thread_by_index(index));
    }
}

static void join_every_other(const unsigned long *ids, unsigned first)
{
    for (unsigned index = first; index < stress_options.threads; index += 2) {
        stress_join(ids[index]);
    }
}

static void check_heap_did_not_double(size_t pairs)
{
    size_t set_units = SET_BYTES / UNIT_BYTES;
    size_t allowed = pairs * (set_units + set_units / GROWTH_SHARE + SLACK_UNITS);
    size_t units = page_heap_stats().total_units;

    if (units > allowed) {
        stress_fail("the heap has %zu units for what fits in %zu", units, allowed);
    }
}

static void run_round(void)
{
    unsigned long ids[2 * PAIRS_MOST] = {0};
    unsigned pairs = stress_options.threads / 2;

    for (unsigned pair = 0; pair < pairs; pair++) {
        (void)sem_init(&sets[pair].handed_over, 0, 0);
        (void)sem_init(&sets[pair].owner_may_end, 0, 0);
    }
    spawn_every_other(ids, 0, own);
    for (unsigned pair = 0; pair < pairs; pair++) {
        wait_for(&sets[pair].handed_over);
    }
    spawn_every_other(ids, 1, help);
    join_every_other(ids, 1);
    heap_check();
    stress_check_conservation();
    check_heap_did_not_double(pairs);
    for (unsigned pair = 0; pair < pairs; pair++) {
        (void)sem_post(&sets[pair].owner_may_end);
    }
    join_every_other(ids, 0);
}

int main(int argc, char **argv)
{
    static const struct stress_program program = {
        .name = "stress_idle_owner",
        .threads = 6,
        .threads_least = 2,
        .threads_most = 2 * PAIRS_MOST,
        .arenas = 2 * PAIRS_MOST + 1, /* one a thread */
    };

    stress_start(argc, argv, &program);
    stress_options.threads -= stress_options.threads % 2;
    while (stress_has_time()) {
        stress_prepare_threads();
        run_round();
        stress_round_over();
        stress_check_empty();
    }
    return stress_finish();
}
