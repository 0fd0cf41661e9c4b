/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_lock.c - one holder at a time, every waiter gets its turn, ranks only ascend. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "lock.h"

enum { THREADS = 4, ROUNDS = 20000 };

struct counted {
    struct lock lock;
    uint64_t counter; /* deliberately not atomic */
    _Atomic uint32_t inside;
    _Atomic uint32_t overlaps;
};

static void *count_under_lock(void *argument)
{
    struct counted *counted = (struct counted *)argument;

    for (int round = 0; round < ROUNDS; round++) {
        lock_acquire(&counted->lock);
        if (atomic_fetch_add(&counted->inside, 1) != 0) {
            atomic_fetch_add(&counted->overlaps, 1);
        }
        counted->counter++;
        /* Now and then lose the processor inside, so that others have to sleep. */
        if (round % 1000 == 0) {
            (void)sched_yield();
        }
        atomic_fetch_sub(&counted->inside, 1);
        lock_release(&counted->lock);
    }
    return NULL;
}

static void no_two_threads_hold_a_lock_at_once(void **state)
{
    static struct counted counted = {.lock = LOCK_INITIALIZER(LOCK_RANK_BIN)};

    (void)state;
    run_threads(THREADS, count_under_lock, &counted);
    assert_int_equal(counted.overlaps, 0);
    assert_int_equal(counted.counter, THREADS * ROUNDS);
    assert_int_equal(counted.lock.acquisitions, THREADS * ROUNDS);
    assert_false(lock_is_held(&counted.lock));
}

static void *take_and_release(void *argument)
{
    struct lock *lock = (struct lock *)argument;

    assert_int_equal(lock_count, 0);
    lock_acquire(lock);
    assert_int_equal(lock_count, 1);
    lock_release(lock);
    assert_int_equal(lock_count, 0);
    return NULL;
}

/* Only who is about to sleep sets the state to 2. */
static void sleep_until_waited_for(struct lock *lock)
{
    while (atomic_load(&lock->state) != 2) {
        (void)sched_yield();
    }
}

static void all_that_sleep_on_a_lock_are_woken(void **state)
{
    static struct lock lock = LOCK_INITIALIZER(LOCK_RANK_LIFE);
    pthread_t sleepers[THREADS];

    (void)state;
    lock_acquire(&lock);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&sleepers[i], NULL, take_and_release, &lock), 0);
    }
    sleep_until_waited_for(&lock);
    lock_release(&lock);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(sleepers[i], NULL), 0);
    }
    assert_int_equal(lock.acquisitions, THREADS + 1);
}

static _Atomic unsigned interruptions;

static void note_interruption(int number)
{
    (void)number;
    atomic_fetch_add(&interruptions, 1);
}

static void *errno_after_waiting(void *argument)
{
    struct lock *lock = (struct lock *)argument;

    errno = EXDEV;
    lock_acquire(lock);
    int after = errno;

    lock_release(lock);
    return after == EXDEV ? lock : NULL;
}

/* The kernel says EINTR to who sleeps. */
static void who_waits_for_a_lock_keeps_errno(void **state)
{
    enum { SIGNALS = 100 };
    static struct lock lock = LOCK_INITIALIZER(LOCK_RANK_LIFE);
    /* No SA_RESTART, as signal() has it: then the kernel says nothing, and goes on. */
    const struct sigaction action = {.sa_handler = note_interruption};
    pthread_t sleeper;
    void *kept = NULL;

    (void)state;
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    lock_acquire(&lock);
    assert_int_equal(pthread_create(&sleeper, NULL, errno_after_waiting, &lock), 0);
    sleep_until_waited_for(&lock);
    for (unsigned i = 0; i < SIGNALS; i++) {
        assert_int_equal(pthread_kill(sleeper, SIGUSR1), 0);
        (void)sched_yield();
    }
    lock_release(&lock);
    assert_int_equal(pthread_join(sleeper, &kept), 0);
    /* ThreadSanitizer puts a handler off until the thread is awake. */
    assert_true(atomic_load(&interruptions) > 0);
    assert_ptr_equal(kept, &lock);
}

static void *try_acquire(void *argument)
{
    struct lock *lock = (struct lock *)argument;

    bool is_taken = lock_try_acquire(lock);

    assert_int_equal(lock_count, is_taken);
    return is_taken ? lock : NULL;
}

static void a_held_lock_cannot_be_taken_by_trying(void **state)
{
    struct lock lock = {.state = 0};
    pthread_t thread;
    void *taken = &lock;

    (void)state;
    lock_init(&lock, LOCK_RANK_META);
    assert_false(lock_is_held(&lock));
    lock_acquire(&lock);
    assert_true(lock_is_held(&lock));
    assert_int_equal(pthread_create(&thread, NULL, try_acquire, &lock), 0);
    assert_int_equal(pthread_join(thread, &taken), 0);
    assert_null(taken);
    assert_int_equal(lock.acquisitions, 1);
    assert_int_equal(lock_count, 1);
    lock_release(&lock);
    assert_true(lock_try_acquire(&lock));
    lock_release(&lock);
    assert_int_equal(lock_count, 0);
}

/* Handlers of signals that come while a lock is waited for, and fork */

/* As when the one that was woken is in a handler, which waits for the others. */
static void a_sleeper_that_nobody_wakes_finds_a_free_lock(void **state)
{
    static struct lock lock = LOCK_INITIALIZER(LOCK_RANK_LIFE);
    pthread_t sleeper;

    (void)state;
    lock_acquire(&lock);
    assert_int_equal(pthread_create(&sleeper, NULL, take_and_release, &lock), 0);
    sleep_until_waited_for(&lock);
    (void)usleep(1000);
    atomic_store_explicit(&lock.state, 0, memory_order_release);
    assert_int_equal(pthread_join(sleeper, NULL), 0);
}

/* ThreadSanitizer puts them off until the thread's next atomic operation. */
#if defined(__has_feature)
#define HANDLERS_COME_AT_ONCE (!__has_feature(thread_sanitizer))
#else
#define HANDLERS_COME_AT_ONCE true
#endif

static _Atomic uint32_t count_in_handler = UINT32_MAX;

static void note_count(int number)
{
    (void)number;
    atomic_store(&count_in_handler, lock_count);
}

/* Nobody waits for a thread that sleeps without a lock: it may wait for all others. */
static void a_lock_that_is_slept_for_is_not_counted(void **state)
{
    static struct lock lock = LOCK_INITIALIZER(LOCK_RANK_LIFE);
    const struct sigaction action = {.sa_handler = note_count, .sa_flags = SA_RESTART};
    pthread_t sleeper;

    (void)state;
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    lock_acquire(&lock);
    assert_int_equal(pthread_create(&sleeper, NULL, take_and_release, &lock), 0);
    sleep_until_waited_for(&lock);
    /* Sooner or later one comes while it sleeps. */
    do {
        assert_int_equal(pthread_kill(sleeper, SIGUSR1), 0);
        (void)usleep(10 * 1000);
    } while (atomic_load(&count_in_handler) != 0 && HANDLERS_COME_AT_ONCE);
    lock_release(&lock);
    assert_int_equal(pthread_join(sleeper, NULL), 0);
}

static void note_orphans(int number)
{
    (void)number;
    lock_note_orphans();
}

static void wait_for_an_orphan(void *unused)
{
    static struct lock lock = {.state = 1, .rank = LOCK_RANK_BIN};
    const struct sigaction action = {.sa_handler = note_orphans, .sa_flags = SA_RESTART};
    const struct itimerval soon = {.it_value = {.tv_usec = 30 * 1000}};

    (void)unused;
    (void)sigaction(SIGALRM, &action, NULL);
    (void)setitimer(ITIMER_REAL, &soon, NULL);
    lock_wait(&lock);
}

/* The kernel lets it go on sleeping after the handler, in the child too. */
static void who_was_forked_asleep_does_not_wait_for_the_dead(void **state)
{
    (void)state;
    assert_dies(wait_for_an_orphan, NULL,
                "fork in a signal handler left a lock without the thread that holds it");
}

/* The witness */

static struct lock ranked[] = {
    LOCK_INITIALIZER(LOCK_RANK_LIFE),  LOCK_INITIALIZER(LOCK_RANK_DRAIN),
    LOCK_INITIALIZER(LOCK_RANK_BIN),   LOCK_INITIALIZER(LOCK_RANK_PAGE_HEAP),
    LOCK_INITIALIZER(LOCK_RANK_BREAK), LOCK_INITIALIZER(LOCK_RANK_META),
};

static void acquire(void *lock)
{
    lock_acquire((struct lock *)lock);
}

static void every_lock_may_be_taken_in_ascending_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ranked); i++) {
        lock_acquire(&ranked[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(ranked); i++) {
        lock_release(&ranked[i]);
    }
}

static void taking_a_lower_rank_dies(void **state)
{
    (void)state;
    for (size_t held = 1; held < ARRAY_SIZE(ranked); held++) {
        lock_acquire(&ranked[held]);
        for (size_t lower = 0; lower < held; lower++) {
            assert_dies(acquire, &ranked[lower], "lock taken out of rank order");
        }
        lock_release(&ranked[held]);
    }
}

static void taking_two_locks_of_one_rank_dies(void **state)
{
    struct lock first = LOCK_INITIALIZER(LOCK_RANK_BIN);
    struct lock second = LOCK_INITIALIZER(LOCK_RANK_BIN);

    (void)state;
    lock_acquire(&first);
    assert_dies(acquire, &second, "lock taken out of rank order");
    lock_release(&first);
}

static void release(void *lock)
{
    lock_release((struct lock *)lock);
}

static void releasing_what_is_not_held_dies(void **state)
{
    struct lock lock = LOCK_INITIALIZER(LOCK_RANK_BIN);

    (void)state;
    assert_dies(release, &lock, "lock released that is not held");
    lock_acquire(&lock);
    lock_release(&lock);
    assert_dies(release, &lock, "lock released that is not held");
}

static void a_rank_may_be_taken_again_after_its_release(void **state)
{
    (void)state;
    lock_acquire(&ranked[1]);
    lock_acquire(&ranked[3]);
    lock_release(&ranked[3]);
    lock_acquire(&ranked[2]);
    lock_release(&ranked[2]);
    lock_release(&ranked[1]);
    lock_acquire(&ranked[0]);
    lock_release(&ranked[0]);
}

static void what_another_thread_holds_does_not_count(void **state)
{
    (void)state;
    lock_acquire(&ranked[5]);
    run_threads(1, take_and_release, &ranked[0]);
    lock_release(&ranked[5]);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(no_two_threads_hold_a_lock_at_once),
        ISOLATED(all_that_sleep_on_a_lock_are_woken),
        ISOLATED(who_waits_for_a_lock_keeps_errno),
        ISOLATED(a_held_lock_cannot_be_taken_by_trying),
        ISOLATED(a_sleeper_that_nobody_wakes_finds_a_free_lock),
        ISOLATED(a_lock_that_is_slept_for_is_not_counted),
        ISOLATED(who_was_forked_asleep_does_not_wait_for_the_dead),
        ISOLATED(every_lock_may_be_taken_in_ascending_order),
        ISOLATED(taking_a_lower_rank_dies),
        ISOLATED(taking_two_locks_of_one_rank_dies),
        ISOLATED(releasing_what_is_not_held_dies),
        ISOLATED(a_rank_may_be_taken_again_after_its_release),
        ISOLATED(what_another_thread_holds_does_not_count),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
