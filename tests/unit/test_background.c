/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_background.c - an idle process gives memory back by itself, and so do its children. */
#include "support.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arena.h"
#include "background.h"
#include "breakwater/breakwater.h"
#include "cache.h"
#include "conf.h"
#include "fatal.h"
#include "heap.h"
#include "life.h"
#include "page_heap.h"

enum {
    RUN_BYTES = 8 * MIB,
    DECAY_MS = 40,
    NS_PER_MS = 1000000,
    POLL_MS = 10,
    POLLS = 3000,
    PATIENCE_S = 60
};

static void sleep_a_little(void)
{
    const struct timespec time = {.tv_nsec = POLL_MS * NS_PER_MS};

    (void)nanosleep(&time, NULL);
}

/* Uses memory and frees it; nothing calls the allocator until it has gone back. */
static void free_memory_goes_back_while_we_sleep(void)
{
    char *block = (char *)bw_malloc(RUN_BYTES);

    assert_non_null(block);
    memset(block, 1, RUN_BYTES);
    void *behind = bw_malloc(SMALL_MAX_BYTES + 1);

    bw_free(block);
    for (unsigned i = 0; i < POLLS && resident_pages(block, RUN_BYTES) != 0; i++) {
        sleep_a_little();
    }
    assert_int_equal(resident_pages(block, RUN_BYTES), 0);
    bw_free(behind);
}

static void an_idle_process_gives_memory_back(void **state)
{
    (void)state;
    conf.decay_ms = DECAY_MS;
    bw_free(bw_malloc(1));
    assert_true(bw_background_thread(true));
    assert_true(bw_background_thread(true));
    free_memory_goes_back_while_we_sleep();
    assert_false(bw_background_thread(false));
    assert_false(bw_background_thread(false));
}

/* Long before it would for its age. */
static void a_soft_limit_is_kept_while_we_sleep(void **state)
{
    char *block = (char *)bw_malloc(RUN_BYTES);
    void *behind = bw_malloc(SMALL_MAX_BYTES + 1);

    (void)state;
    conf.decay_ms = 1000 * 1000;
    assert_true(bw_background_thread(true));
    memset(block, 1, RUN_BYTES);
    bw_free(block);
    assert_true(bw_set_limits(RUN_BYTES / 2, 0));
    for (unsigned i = 0; i < POLLS && resident_pages(block, RUN_BYTES) != 0; i++) {
        sleep_a_little();
    }
    assert_int_equal(resident_pages(block, RUN_BYTES), 0);
    bw_free(behind);
    background_stop();
}

static void it_can_be_ended_and_started_again(void **state)
{
    (void)state;
    conf.decay_ms = DECAY_MS;
    for (unsigned i = 0; i < 20; i++) {
        assert_true(bw_background_thread(true));
        bw_free(bw_malloc(i * 1000));
        assert_false(bw_background_thread(false));
    }
    assert_true(bw_background_thread(true));
    free_memory_goes_back_while_we_sleep();
    background_stop();
}

static void a_child_has_one_too(void **state)
{
    (void)state;
    conf.decay_ms = DECAY_MS;
    assert_true(bw_background_thread(true));
    /* AddressSanitizer's locks do not survive a fork while a thread starts: wait for its work. */
    free_memory_goes_back_while_we_sleep();
    pid_t child = fork();

    if (child == 0) {
        free_memory_goes_back_while_we_sleep();
        pid_t grandchild = fork();

        free_memory_goes_back_while_we_sleep();
        if (grandchild != 0) {
            assert_child_succeeds(grandchild);
        }
        background_stop();
        _exit(0);
    }
    assert_child_succeeds(child);
    free_memory_goes_back_while_we_sleep();
    background_stop();
}

static int count_threads(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    int count = 0;

    assert_non_null(status);
    while (count == 0 && fgets(line, sizeof(line), status) != NULL) {
        (void)sscanf(line, "Threads: %d", &count);
    }
    assert_int_equal(fclose(status), 0);
    assert_true(count > 0);
    return count;
}

static int threads_of_a_child(void)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        _exit(count_threads());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void *do_nothing(void *unused)
{
    return unused;
}

static void without_it_children_have_none(void **state)
{
    (void)state;
    /* With the first thread ThreadSanitizer starts one of its own. */
    run_threads(1, do_nothing, NULL);
    int before = threads_of_a_child();

    assert_true(bw_background_thread(true));
    background_stop();
    assert_int_equal(threads_of_a_child(), before);
}

/* The handler of forks cannot be taken back. */
static void however_often_it_was_started_a_child_has_one(void **state)
{
    int threads[2];

    (void)state;
    conf.decay_ms = DECAY_MS;
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
        assert_true(bw_background_thread(true));
        /* As above: fork when it has started. */
        free_memory_goes_back_while_we_sleep();
        threads[i] = threads_of_a_child();
        assert_false(bw_background_thread(false));
    }
    assert_int_equal(threads[1], threads[0]);
}

/* Nor is there anything to wait for at the end of one that no handler knows of. */
static void a_child_of_a_bare_fork_has_none(void **state)
{
    (void)state;
    assert_true(bw_background_thread(true));
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

    if (child == 0) {
        (void)alarm(PATIENCE_S);
        background_stop();
        _exit(bw_background_thread(false) ? EXIT_FAILURE : EXIT_SUCCESS);
    }
    assert_child_succeeds(child);
    background_stop();
}

static void signals_are_left_to_the_program(void **state)
{
    sigset_t user;
    sigset_t pending;

    (void)state;
    assert_int_equal(sigemptyset(&user), 0);
    assert_int_equal(sigaddset(&user, SIGUSR1), 0);
    conf.decay_ms = 0;
    assert_true(bw_background_thread(true));
    /* Nobody is left to take it. */
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &user, NULL), 0);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    background_stop();
    assert_int_equal(sigpending(&pending), 0);
    assert_int_equal(sigismember(&pending, SIGUSR1), 1);
}

static void exit_in_handler(int unused)
{
    (void)unused;
    background_stop();
    _exit(EXIT_SUCCESS);
}

/* The caller holds the lock of a bin, as one does who finds a double free. */
static _Noreturn void stop_while_it_waits(struct bin *bin)
{
    enum { HELD_WITH_WAITERS = 2 };

    (void)alarm(PATIENCE_S);
    lock_acquire(&bin->lock);
    while (atomic_load(&bin->lock.state) != HELD_WITH_WAITERS) {
        sleep_a_little();
    }
    (void)signal(SIGABRT, exit_in_handler);
    fatal("a fault, for a test");
}

static void nobody_waits_for_it_after_a_fault(void **state)
{
    enum { SIZE = 48 };

    (void)state;
    conf.decay_ms = DECAY_MS;
    bw_free(bw_malloc(SIZE));
    pid_t child = fork();

    if (child == 0) {
        assert_true(bw_background_thread(true));
        stop_while_it_waits(arena_bin(cache_self->arena, size_class_of(SIZE)));
    }
    assert_child_succeeds(child);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(an_idle_process_gives_memory_back),
        ISOLATED(a_soft_limit_is_kept_while_we_sleep),
        ISOLATED(it_can_be_ended_and_started_again),
        ISOLATED(a_child_has_one_too),
        ISOLATED(without_it_children_have_none),
        ISOLATED(however_often_it_was_started_a_child_has_one),
        ISOLATED(a_child_of_a_bare_fork_has_none),
        ISOLATED(signals_are_left_to_the_program),
        ISOLATED(nobody_waits_for_it_after_a_fault),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
