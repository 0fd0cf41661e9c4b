/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* forks.c - fault: forks where a program least expects to be.
 *
 *   handler   a signal handler forks, whatever of the allocator it has interrupted
 *   abort     a handler of SIGABRT allocates and forks, as those do that print a backtrace or start
 *             a debugger, after a double free
 *   crowd     the same, while other threads wait for the locks that the aborting one holds
 *   trim      a thread trims, and asks for statistics, while it holds a lock of stdio's that
 *             another thread waits for with the lock in its hands that fork() needs
 *   prepare   a handler that runs before fork() waits for a thread to end
 *   release   a handler that runs before fork() frees memory: the child has it free too
 *   nested    a handler that runs before fork() forks, and its child goes on with that
 *   chain     each child is the parent of the next, and handlers that run before fork() allocate
 */
#include "fault.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "early.h"

/* What is freed twice is of a smaller size class: nobody gets the block in between. */
enum { TWICE_BYTES = 100, BLOCK_LEAST = 2 * TWICE_BYTES };
enum { FORKS = 300, TRIM_FORKS = 100, BLOCKS = 64, BLOCK_MOST = 300000, INTERVAL_US = 1000 };

static volatile sig_atomic_t forks_done;

/* handler */

/* The child may not call malloc here; it returns to what was interrupted, which goes on. */
static volatile sig_atomic_t is_child;

/* Once: a signal that came again while the handler runs would leave no time for anything else. */
static void set_alarm(void)
{
    const struct itimerval time = {.it_value = {0, INTERVAL_US}};

    CHECK(setitimer(ITIMER_REAL, &time, NULL) == 0);
}

static void fork_in_handler(int signal)
{
    pid_t child = fork();

    (void)signal;
    if (child == 0) {
        is_child = 1;
        return;
    }
    fault_wait(child);
    if (++forks_done < FORKS) {
        set_alarm();
    }
}

static void replace_blocks(unsigned seed)
{
    void *blocks[BLOCKS] = {NULL};
    size_t sizes[BLOCKS];

    while (forks_done < FORKS && !is_child) {
        size_t at = (size_t)rand_r(&seed) % BLOCKS;

        if (blocks[at] != NULL) {
            fault_free(blocks[at], sizes[at]);
        }
        sizes[at] =
            BLOCK_LEAST + (size_t)rand_r(&seed) % (rand_r(&seed) % 8 == 0 ? BLOCK_MOST : 500);
        blocks[at] = fault_block(sizes[at]);
    }
    for (size_t at = 0; at < BLOCKS; at++) {
        if (blocks[at] != NULL) {
            fault_free(blocks[at], sizes[at]);
        }
    }
}

static void run_handler(void)
{
    struct sigaction action = {.sa_handler = fork_in_handler};

    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    set_alarm();
    replace_blocks(1);
    if (is_child) {
        /* Forks of its own work too. */
        pid_t child = fork();

        if (child == 0) {
            fault_free(fault_block(BLOCK_MOST), BLOCK_MOST);
            _exit(0);
        }
        fault_wait(child);
        _exit(0);
    }
}

/* abort */

static const size_t sizes[] = {16, 100, 500, 2000, 40000, 100000, 2000000};

static volatile sig_atomic_t reports;

static void use_blocks(void)
{
    for (size_t i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
        size_t size = sizes[i % ARRAY_SIZE(sizes)];
        char *block = (char *)malloc(size);

        CHECK(block != NULL);
        memset(block, (int)i, size);
        char *longer = (char *)realloc(block, 2 * size);

        CHECK(longer != NULL && longer[0] == (char)i && longer[size - 1] == (char)i);
        free(longer);
    }
}

static void fork_a_reporter(int signal)
{
    (void)signal;
    if (++reports > 1) {
        _exit(1);
    }
    use_blocks();
    pid_t child = fork();

    use_blocks();
    if (child == 0) {
        _exit(0);
    }
    fault_wait(child);
    _exit(0);
}

static void *volatile twice[200];
static void (*volatile release)(void *block) = free;

static void free_twice(size_t count, size_t size)
{
    struct sigaction action = {.sa_handler = fork_a_reporter};

    CHECK(sigaction(SIGABRT, &action, NULL) == 0);
    for (size_t i = 0; i < count; i++) {
        twice[i] = malloc(size);
    }
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < count; i++) {
            free(twice[i]);
        }
    }
    /* They are found now at the latest. */
    for (size_t i = 0; i < 2 * count; i++) {
        twice[i % count] = malloc(size);
    }
    _exit(1);
}

static void run_abort(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        pid_t child = fork();

        if (child == 0) {
            free_twice(ARRAY_SIZE(twice), sizes[i]);
        }
        fault_wait(child);
    }
}

/* crowd */

static void *replace_for_ever(void *seed)
{
    replace_blocks(*(const unsigned *)seed);
    return NULL;
}

static void free_twice_in_a_crowd(void)
{
    enum { CROWD = 3 };
    static unsigned seeds[CROWD];
    struct sigaction action = {.sa_handler = fork_a_reporter};

    CHECK(sigaction(SIGABRT, &action, NULL) == 0);
    for (unsigned i = 0; i < CROWD; i++) {
        pthread_t thread;

        seeds[i] = i;
        CHECK(pthread_create(&thread, NULL, replace_for_ever, &seeds[i]) == 0);
    }
    (void)usleep(10 * INTERVAL_US);
    twice[0] = malloc(TWICE_BYTES);
    release(twice[0]);
    release(twice[0]);
    _exit(1);
}

static void run_crowd(void)
{
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();

        if (child == 0) {
            free_twice_in_a_crowd();
        }
        fault_wait(child);
    }
}

/* trim */

static FILE *locked;

static void *trim_with_lock(void *unused)
{
    while (forks_done < TRIM_FORKS) {
        flockfile(locked);
        (void)malloc_trim(0);
        (void)mallinfo2();
        funlockfile(locked);
        /* The lock is not fair: others get it only if they are let. */
        (void)usleep(100);
    }
    return unused;
}

static void *flush_all(void *unused)
{
    while (forks_done < TRIM_FORKS) {
        (void)fflush(NULL);
    }
    return unused;
}

static void run_trim(void)
{
    pthread_t threads[2];

    locked = fopen("/dev/null", "w");
    CHECK(locked != NULL);
    CHECK(pthread_create(&threads[0], NULL, trim_with_lock, NULL) == 0);
    CHECK(pthread_create(&threads[1], NULL, flush_all, NULL) == 0);
    while (forks_done < TRIM_FORKS) {
        pid_t child = fork();

        if (child == 0) {
            fault_free(fault_block(BLOCK_MOST), BLOCK_MOST);
            _exit(0);
        }
        fault_wait(child);
        forks_done++;
    }
    CHECK(pthread_join(threads[0], NULL) == 0);
    CHECK(pthread_join(threads[1], NULL) == 0);
    CHECK(fclose(locked) == 0);
}

/* prepare */

static pthread_t worker;
static _Atomic bool worker_ends;
static _Atomic bool worker_runs;

static void *use_until_told(void *unused)
{
    fault_free(fault_block(100), 100);
    worker_runs = true;
    while (!worker_ends) {
        (void)usleep(100);
    }
    return unused;
}

static void stop_worker(void)
{
    worker_ends = true;
    CHECK(pthread_join(worker, NULL) == 0);
}

static void run_prepare(void)
{
    for (int i = 0; i < FORKS / 10; i++) {
        worker_ends = false;
        worker_runs = false;
        CHECK(pthread_create(&worker, NULL, use_until_told, NULL) == 0);
        while (!worker_runs) {
            (void)usleep(100);
        }
        early_set_prepare(stop_worker);
        pid_t child = fork();

        if (child == 0) {
            _exit(0);
        }
        early_set_prepare(NULL);
        fault_wait(child);
    }
}

/* release */

enum { RELEASED = 2000, RELEASED_BYTES = 3000 };

static char *held[RELEASED];

static void release_all(void)
{
    for (size_t i = 0; i < RELEASED; i++) {
        fault_free(held[i], RELEASED_BYTES);
    }
}

static bool is_released(size_t bytes_before)
{
    return mallinfo2().uordblks + (size_t)RELEASED * RELEASED_BYTES <= bytes_before + BLOCK_MOST;
}

static void run_release(void)
{
    for (size_t i = 0; i < RELEASED; i++) {
        held[i] = (char *)fault_block(RELEASED_BYTES);
    }
    size_t before = mallinfo2().uordblks;

    CHECK(before >= (size_t)RELEASED * RELEASED_BYTES);
    early_set_prepare(release_all);
    pid_t child = fork();

    CHECK(is_released(before));
    if (child == 0) {
        _exit(0);
    }
    fault_wait(child);
}

/* nested */

/* What is freed goes back: nothing is put off for ever. */
static void use_and_give_back(void)
{
    enum { COUNT = 2000, BYTES = 10000 };
    static char *blocks[COUNT];
    size_t before = fault_resident_bytes();

    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = (char *)fault_block(BYTES);
    }
    for (size_t i = 0; i < COUNT; i++) {
        fault_free(blocks[i], BYTES);
    }
    CHECK(malloc_trim(0) == 1);
    CHECK(fault_resident_bytes() < before + (size_t)COUNT * BYTES / 2);
}

static void fork_in_prepare(void)
{
    early_set_prepare(NULL);
    pid_t child = fork();

    CHECK(child >= 0);
    if (child != 0) {
        fault_wait(child);
    }
}

static void run_nested(void)
{
    early_set_prepare(fork_in_prepare);
    pid_t child = fork();

    CHECK(child >= 0);
    use_and_give_back();
    /* Twice in the inner child. */
    if (child == 0) {
        _exit(0);
    }
    fault_wait(child);
}

/* chain */

static void *kept;

static void allocate(void)
{
    fault_free(fault_block(BLOCK_MOST), BLOCK_MOST);
    free(kept);
    kept = fault_block(100);
}

static size_t mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    size_t lines = 0;

    CHECK(maps != NULL);
    for (int c; (c = fgetc(maps)) != EOF;) {
        lines += c == '\n';
    }
    CHECK(fclose(maps) == 0);
    return lines;
}

static void run_chain(void)
{
    enum { GENERATIONS = 100, FIRST = 5, MORE = 20 };
    size_t first = 0;

    early_set_prepare(allocate);
    for (int generation = 0; generation < GENERATIONS; generation++) {
        first = generation == FIRST ? mappings() : first;
        pid_t child = fork();

        CHECK(child >= 0);
        if (child != 0) {
            fault_wait(child);
            _exit(0);
        }
    }
    CHECK(mappings() < first + MORE);
}

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {{"handler", run_handler}, {"abort", run_abort},     {"crowd", run_crowd},
                 {"trim", run_trim},       {"prepare", run_prepare}, {"release", run_release},
                 {"nested", run_nested},   {"chain", run_chain}};

    fault_start();
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        if (count == 2 && strcmp(arguments[1], modes[i].name) == 0) {
            modes[i].run();
            return 0;
        }
    }
    (void)fprintf(stderr, "usage: forks handler|abort|crowd|trim|prepare|release|nested|chain\n");
    return 2;
}
