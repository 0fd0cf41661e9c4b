/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fork_storm.c - fault: fork() while other threads hold stdio locks and wait in malloc.
 *
 * 4 threads fork, 8 read lines of 50,000 bytes with getline into buffers that grow, 1 calls
 * fflush(NULL), for --seconds. Children allocate, free, use stdio, and every tenth has threads of
 * its own. Handlers of pthread_atfork() allocate on every side. An allocator that keeps a lock
 * across fork() hangs here within a second; so the program ends itself when nothing moves.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"

enum { FORKERS = 4, READERS = 8, LINE_BYTES = 50000, STUCK_SECONDS = 30, THREADS_IN = 10 };

static atomic_bool stop;
static atomic_ulong forks;
static atomic_ulong lines;
static atomic_ulong flushes;

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
    while (!atomic_load(&stop)) {
        bool with_threads = atomic_fetch_add(&forks, 1) % THREADS_IN == 0;
        pid_t child = fork();

        CHECK(child >= 0);
        if (child == 0) {
            live_as_child(with_threads);
        }
        fault_wait(child);
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
    while (!atomic_load(&stop)) {
        char *line = NULL;
        size_t room = 0;

        rewind(file);
        CHECK(getline(&line, &room, file) == LINE_BYTES);
        CHECK(line[1] == 'b' && line[LINE_BYTES - 1] == '\n');
        free(line);
        atomic_fetch_add(&lines, 1);
    }
    (void)fclose(file);
    return argument;
}

static void *flush_all(void *argument)
{
    while (!atomic_load(&stop)) {
        CHECK(fflush(NULL) == 0);
        atomic_fetch_add(&flushes, 1);
    }
    return argument;
}

/* Ends the process if one kind of thread has not moved for STUCK_SECONDS. */
static void watch(unsigned long seconds)
{
    unsigned long seen[3] = {0};
    unsigned idle[3] = {0};

    for (unsigned long second = 0; second < seconds; second++) {
        const unsigned long now[3] = {atomic_load(&forks), atomic_load(&lines),
                                      atomic_load(&flushes)};
        const struct timespec one_second = {.tv_sec = 1};

        for (size_t i = 0; i < ARRAY_SIZE(now); i++) {
            idle[i] = now[i] == seen[i] ? idle[i] + 1 : 0;
            seen[i] = now[i];
            CHECK(idle[i] < STUCK_SECONDS);
        }
        (void)nanosleep(&one_second, NULL);
    }
}

int main(int count, char **arguments)
{
    unsigned long seconds = fault_option(count, arguments, "--seconds", 3);
    pthread_t threads[FORKERS + READERS + 1];
    size_t started = 0;

    fault_start();
    (void)alarm((unsigned)seconds + STUCK_SECONDS + STUCK_SECONDS);
    CHECK(pthread_atfork(allocate_a_little, allocate_a_little, allocate_a_little) == 0);
    while (started < FORKERS) {
        CHECK(pthread_create(&threads[started++], NULL, fork_all_the_time, NULL) == 0);
    }
    while (started < FORKERS + READERS) {
        CHECK(pthread_create(&threads[started++], NULL, read_lines, NULL) == 0);
    }
    CHECK(pthread_create(&threads[started++], NULL, flush_all, NULL) == 0);
    watch(seconds);
    atomic_store(&stop, true);
    while (started > 0) {
        CHECK(pthread_join(threads[--started], NULL) == 0);
    }
    printf("%lu forks, %lu lines, %lu flushes in %lu seconds\n", atomic_load(&forks),
           atomic_load(&lines), atomic_load(&flushes), seconds);
    CHECK(atomic_load(&forks) > 0 && atomic_load(&lines) > 0 && atomic_load(&flushes) > 0);
    return EXIT_SUCCESS;
}
