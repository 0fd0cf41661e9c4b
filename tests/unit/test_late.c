/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_late.c - calls of threads that have ended: key destructors, in every round.
 *
 * A program of its own, since ThreadSanitizer gives up its own state of a thread before the last
 * round of destructors.
 */
#include "support.h"

#include <limits.h>
#include <pthread.h>

#include "breakwater/breakwater.h"
#include "heap.h"
#include "life.h"
#include "meta.h"
#include "page_heap.h"
#include "stats.h"

enum { THREADS = 1000, BLOCKS = 50, LARGE = 200000 };

static void assert_nothing_is_used(void)
{
    (void)bw_malloc_trim(0);
    cache_check(cache_self);
    arena_check(arena_by_index(0));
    page_heap_check();
    meta_check();
    assert_int_equal(stats_memory().used_bytes, 0);
}

struct late {
    pthread_key_t key;
    int rounds;
    void *block;
};

static pthread_key_t late_keys[2];

/* Frees what the last round left, and leaves something for the next. */
static void come_late(void *argument)
{
    struct late *late = (struct late *)argument;

    bw_free(late->block);
    late->block = NULL;
    if (++late->rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
        late->block = bw_malloc(100 + (size_t)late->rounds);
        bw_free(bw_malloc(LARGE));
        late->block = bw_realloc(late->block, 3000);
        (void)pthread_setspecific(late->key, late);
    }
}

static void *leave_work_for_later(void *argument)
{
    struct late *lates = (struct late *)argument;

    for (size_t i = 0; i < ARRAY_SIZE(late_keys); i++) {
        lates[i] = (struct late){.key = late_keys[i], .rounds = 0, .block = bw_malloc(64)};
        (void)pthread_setspecific(late_keys[i], &lates[i]);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        bw_free(bw_malloc(i * 100));
    }
    return NULL;
}

static void late_calls_work_in_every_round_and_leave_nothing_behind(void **state)
{
    static struct late lates[2];
    size_t metadata = 0;

    (void)state;
    /* One key older than the allocator's, one younger: destructors run in the order of keys. */
    assert_int_equal(pthread_key_create(&late_keys[0], come_late), 0);
    bw_free(bw_malloc(1));
    assert_int_equal(pthread_key_create(&late_keys[1], come_late), 0);
    for (int i = 0; i < THREADS; i++) {
        run_threads(1, leave_work_for_later, lates);
        metadata = i == 10 ? meta_stats().mapped_bytes : metadata;
        assert_int_equal(lates[0].rounds, PTHREAD_DESTRUCTOR_ITERATIONS);
        assert_int_equal(lates[1].rounds, PTHREAD_DESTRUCTOR_ITERATIONS);
    }
    assert_int_equal(life_stats().caches_created, 2);
    assert_int_equal(life_stats().threads, 1);
    assert_int_equal(meta_stats().mapped_bytes, metadata);
    assert_nothing_is_used();
}

/* Its allocator's first call comes in a destructor. */
static void *only_come_late(void *late)
{
    (void)pthread_setspecific(late_keys[0], late);
    return NULL;
}

static void a_thread_may_call_first_when_it_ends(void **state)
{
    static struct late late;

    (void)state;
    assert_int_equal(pthread_key_create(&late_keys[0], come_late), 0);
    for (int i = 0; i < THREADS; i++) {
        late = (struct late){.key = late_keys[0]};
        run_threads(1, only_come_late, &late);
        assert_int_equal(late.rounds, PTHREAD_DESTRUCTOR_ITERATIONS);
    }
    assert_true(life_stats().caches_created <= 2);
    assert_nothing_is_used();
}

/* The allocator's first call comes in the last round: no destructor follows it. */
static void come_last(void *argument)
{
    struct late *late = (struct late *)argument;

    if (++late->rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
        (void)pthread_setspecific(late->key, late);
        return;
    }
    bw_free(bw_malloc(100));
    bw_free(bw_malloc(LARGE));
}

static void *only_come_last(void *argument)
{
    struct late *late = (struct late *)argument;

    late->rounds = 0;
    (void)pthread_setspecific(late->key, late);
    return NULL;
}

static void threads_that_call_in_the_last_round_only_leave_few_caches(void **state)
{
    enum { FEW = 6 };
    static struct late late;

    (void)state;
    bw_free(bw_malloc(1));
    assert_int_equal(pthread_key_create(&late.key, come_last), 0);
    for (int i = 0; i < THREADS; i++) {
        run_threads(1, only_come_last, &late);
        assert_int_equal(late.rounds, PTHREAD_DESTRUCTOR_ITERATIONS);
    }
    assert_in_range(life_stats().caches_created, 2, FEW);
    assert_in_range(life_stats().threads, 1, FEW);
    (void)bw_malloc_trim(0);
    page_heap_check();
    meta_check();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(late_calls_work_in_every_round_and_leave_nothing_behind),
        ISOLATED(a_thread_may_call_first_when_it_ends),
        ISOLATED(threads_that_call_in_the_last_round_only_leave_few_caches),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
