/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* edges.c - fault: a library of the program's starts threads and forks before a preloaded
 * allocator's constructor has run (first argument: constructor), or after its destructor has
 * (destructor).
 *
 * Asserts: no child waits for a lock that one of the threads held.
 */
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"

enum { FORKS = 100, THREADS = 2, BLOCKS = 200, STEP = 40, PATIENCE_S = 20 };

void edges_keep(void);

static _Atomic bool is_over;

static void use_blocks(unsigned first)
{
    void *blocks[BLOCKS];

    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = fault_block(first + i * STEP);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        fault_free(blocks[i], first + i * STEP);
    }
}

static void *use_until_told(void *unused)
{
    for (unsigned round = 0; !is_over; round++) {
        use_blocks(round % STEP);
    }
    return unused;
}

static void fork_amid_threads(void)
{
    pthread_t threads[THREADS];

    is_over = false;
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, use_until_told, NULL) == 0);
    }
    for (unsigned i = 0; i < FORKS; i++) {
        pid_t child = fork();

        CHECK(child >= 0);
        if (child == 0) {
            (void)alarm(PATIENCE_S);
            use_blocks(1);
            _exit(0);
        }
        fault_wait(child);
    }
    is_over = true;
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

static bool is_asked_for;

static __attribute__((constructor)) void construct(int count, char **arguments)
{
    is_asked_for = count == 2 && strcmp(arguments[1], "destructor") == 0;
    if (count == 2 && strcmp(arguments[1], "constructor") == 0) {
        fork_amid_threads();
    }
}

static __attribute__((destructor)) void destruct(void)
{
    if (is_asked_for) {
        fork_amid_threads();
    }
}

/* For the program to need the library. */
__attribute__((visibility("default"))) void edges_keep(void)
{
}
