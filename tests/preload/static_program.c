/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* static_program.c - shows that malloc of a static program is Breakwater's: the standard and the
 * prefixed names accept each other's blocks and agree on their usable size, Breakwater's own
 * accounts move with malloc, and threads and a forked child work. The program has names of its own
 * that Breakwater's layers have too: neither links to, or changes, what is the other's. */
#include <breakwater/breakwater.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, BLOCKS = 2000, LARGE_BYTES = 8 * 1024 * 1024 };

static void require(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "FAILED: %s\n", what);
        exit(1);
    }
}

int limit = 7;
int conf = 8;
unsigned char tick_current = 9;

void fatal(const char *message);
void fatal(const char *message)
{
    fprintf(stderr, "FAILED: our fatal() is called: %s\n", message);
    exit(1);
}

unsigned cpus_usable(void);
unsigned cpus_usable(void)
{
    fatal("by way of cpus_usable()");
    return 1;
}

static void names_are_our_own(void)
{
    require(limit == 7 && conf == 8 && tick_current == 9, "our variables are written");
}

static void the_two_families_share_a_heap(void)
{
    for (size_t size = 1; size < 100000; size = size * 5 / 4 + 1) {
        char *standard = malloc(size);
        char *prefixed = bw_malloc(size);

        require(standard && prefixed, "allocation");
        require(malloc_usable_size(standard) == bw_malloc_usable_size(standard), "usable size");
        require(malloc_usable_size(prefixed) == bw_malloc_usable_size(prefixed), "usable size");
        memset(standard, 1, malloc_usable_size(standard));
        memset(prefixed, 2, bw_malloc_usable_size(prefixed));
        bw_free(standard);
        free(prefixed);
    }
}

static void malloc_moves_breakwaters_accounts(void)
{
    size_t before = bw_mallinfo2().uordblks;
    char *block = malloc(LARGE_BYTES);

    require(block != NULL, "a large block");
    memset(block, 3, LARGE_BYTES);
    require(bw_mallinfo2().uordblks >= before + LARGE_BYTES, "malloc is not Breakwater's");
    free(block);
    require(bw_mallinfo2().uordblks < before + LARGE_BYTES, "free is not Breakwater's");
}

static void *churn(void *argument)
{
    static _Thread_local char *blocks[BLOCKS];
    unsigned char fill = *(unsigned char *)argument;

    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = calloc(1, i + 1);
        require(blocks[i] != NULL && blocks[i][i] == 0, "zeroed memory");
        memset(blocks[i], fill, i + 1);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        require((unsigned char)blocks[i][i] == fill, "a block of its own");
        free(blocks[i]);
    }
    return NULL;
}

static void threads_and_a_child_work(void)
{
    pthread_t threads[THREADS];
    unsigned char fills[THREADS];
    int status;

    for (int i = 0; i < THREADS; i++) {
        fills[i] = (unsigned char)(i + 1);
        require(pthread_create(&threads[i], NULL, churn, &fills[i]) == 0, "a thread");
    }
    pid_t child = fork();
    if (child == 0) {
        churn(&fills[0]);
        _exit(0);
    }
    require(waitpid(child, &status, 0) == child && status == 0, "the child");
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

int main(void)
{
    the_two_families_share_a_heap();
    malloc_moves_breakwaters_accounts();
    threads_and_a_child_work();
    names_are_our_own();
    return 0;
}
