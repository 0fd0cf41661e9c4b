/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hooks.c - a library that stands before the C library's functions, as libfaketime's does, and
 * allocates in them, in one with a lock held: it is preloaded with the allocator. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

pid_t getpid(void)
{
    void *volatile block = malloc(1000);

    free(block);
    return (pid_t)syscall(SYS_getpid);
}

/* Enough blocks for the allocator's slow paths, where it reads the clock. */
int clock_gettime(clockid_t which, struct timespec *now)
{
    enum { BLOCKS = 1000 };
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    void *volatile blocks[BLOCKS];

    (void)pthread_mutex_lock(&lock);
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(1000);
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
    (void)pthread_mutex_unlock(&lock);
    return (int)syscall(SYS_clock_gettime, which, now);
}
