/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fork_storm.c - fault: fork() while other threads hold stdio locks and wait in malloc.
 *
 * 4 threads fork, 8 read lines of 50,000 bytes with getline into buffers that grow, 1 calls
 * fflush(NULL), for --seconds. Children allocate, free, use stdio, and every tenth has threads of
 * its own. Handlers of pthread_atfork() allocate on every side. An allocator that keeps a lock
 * across fork() hangs here within a second.
 *
 * The stdio locks are not fair: fork() and fflush(NULL) can wait for them as long as the readers
 * take them, whatever the allocator. So when one kind of thread has not moved for a while, the
 * others rest: a thread that starves goes on then, one that waits for the allocator, or for a
 * thread that does, does not, and the program ends itself.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"

enum { FORKERS = 4, READERS = 8, LINE_BYTES = 50000, THREADS_IN = 10 };
enum { STARVING_SECONDS = 2, STUCK_SECONDS = 30, REST_US = 1000 };
enum kind { FORKS, LINES, FLUSHES, KINDS };

static atomic_bool stop;
static atomic_ulong done[KINDS];
static atomic_int favoured = KINDS; /* the only kind that may go on; KINDS: all may */

/* To be called between two rounds: true if there is to be another. */
static bool go_on(enum kind kind)
{
    int alone;

    while (!atomic_load(&stop) && (alone = atomic_load(&favoured)) != KINDS && alone != (int)kind) {
        (void)usleep(REST_US);
    }
    return !atomic_load(&stop);
}

static void allocate_a_little(void)
{
    void *blocks[20];

    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = fault_block(10 + i * i * 300);
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        fault_free(blocks[i], 10 + i * i * 300);
    }
}

static void *thread_of_child(void *argument)
{
    allocate_a_little();
    return argument;
}

static void live_as_child(bool with_threads)
{
    pthread_t threads[3];

    (void)alarm(STUCK_SECONDS);
    allocate_a_little();
    for (size_t i = 0; with_threads && i < ARRAY_SIZE(threads); i++) {
        CHECK(pthread_create(&threads[i], NULL, thread_of_child, NULL) == 0);
    }
    for (size_t i = 0; with_threads && i < ARRAY_SIZE(threads); i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    FILE *file = fopen("/dev/null", "we");

    CHECK(file != NULL);
    CHECK(fprintf(file, "%d", 1) == 1);
    (void)fclose(file);
    _exit(EXIT_SUCCESS);
}

static void *fork_all_the_time(void *argument)
{
    while (go_on(FORKS)) {
        bool with_threads = atomic_load(&done[FORKS]) % THREADS_IN == 0;
        pid_t child = fork();

        CHECK(child >= 0);
        if (child == 0) {
            live_as_child(with_threads);
        }
        fault_wait(child);
        atomic_fetch_add(&done[FORKS], 1);
    }
    return argument;
}

static void *read_lines(void *argument)
{
    char name[] = "/tmp/breakwater-fork-storm.XXXXXX";
    int descriptor = mkstemp(name);

    CHECK(descriptor >= 0);
    (void)unlink(name);
    FILE *file = fdopen(descriptor, "w+");

    CHECK(file != NULL);
    for (int i = 0; i < LINE_BYTES - 1; i++) {
        CHECK(fputc('a' + i % 26, file) != EOF);
    }
    CHECK(fputc('\n', file) != EOF);
    while (go_on(LINES)) {
        char *line = NULL;
        size_t room = 0;

        rewind(file);
        CHECK(getline(&line, &room, file) == LINE_BYTES);
        CHECK(line[1] == 'b' && line[LINE_BYTES - 1] == '\n');
        free(line);
        atomic_fetch_add(&done[LINES], 1);
    }
    (void)fclose(file);
    return argument;
}

static void *flush_all(void *argument)
{
    while (go_on(FLUSHES)) {
        CHECK(fflush(NULL) == 0);
        atomic_fetch_add(&done[FLUSHES], 1);
    }
    return argument;
}

/* Lets a kind of thread that starves go on alone until it has moved, and ends the process if it
 * does not move even then. Returns how often one starved. */
static unsigned watch(unsigned long seconds)
{
    unsigned long seen[KINDS] = {0};
    unsigned idle[KINDS] = {0};
    unsigned starved = 0;

    for (unsigned long second = 0; second < seconds; second++) {
        int starving = KINDS;

        (void)sleep(1);
        for (int kind = 0; kind < KINDS; kind++) {
            unsigned long now = atomic_load(&done[kind]);

            /* Those that rest for another one are not idle. */
            bool may_move = atomic_load(&favoured) == KINDS || atomic_load(&favoured) == kind;

            idle[kind] = now != seen[kind] || !may_move ? 0 : idle[kind] + 1;
            seen[kind] = now;
            CHECK(idle[kind] < STUCK_SECONDS);
            starving = idle[kind] >= STARVING_SECONDS ? kind : starving;
        }
        starved += starving != KINDS && atomic_load(&favoured) == KINDS;
        atomic_store(&favoured, starving);
    }
    atomic_store(&favoured, KINDS);
    return starved;
}

int main(int count, char **arguments)
{
    unsigned long seconds = fault_option(count, arguments, "--seconds", 3);
    pthread_t threads[FORKERS + READERS + 1];
    size_t started = 0;

    fault_start();
    (void)alarm((unsigned)seconds + STUCK_SECONDS);
    CHECK(pthread_atfork(allocate_a_little, allocate_a_little, allocate_a_little) == 0);
    while (started < FORKERS) {
        CHECK(pthread_create(&threads[started++], NULL, fork_all_the_time, NULL) == 0);
    }
    while (started < FORKERS + READERS) {
        CHECK(pthread_create(&threads[started++], NULL, read_lines, NULL) == 0);
    }
    CHECK(pthread_create(&threads[started++], NULL, flush_all, NULL) == 0);
    unsigned starved = watch(seconds);

    atomic_store(&stop, true);
    while (started > 0) {
        CHECK(pthread_join(threads[--started], NULL) == 0);
    }
    printf("%lu forks, %lu lines, %lu flushes in %lu seconds; starved %u times\n",
           atomic_load(&done[FORKS]), atomic_load(&done[LINES]), atomic_load(&done[FLUSHES]),
           seconds, starved);
    for (int kind = 0; kind < KINDS; kind++) {
        CHECK(atomic_load(&done[kind]) > 0);
    }
    return EXIT_SUCCESS;
}
