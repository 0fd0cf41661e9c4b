/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* limit.c - fault: a limit on address space or data is met, in four threads at once.
 *
 * Each thread takes blocks of one size until there are none: NULL with ENOMEM, every time, and no
 * other end. Then it frees its blocks, and all threads can allocate again, also blocks of the other
 * threads' sizes. A shell sets the limit; or, where there is an argument, the program sets itself
 * one of as many bytes of address space, after its first block.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "fault.h"

enum { THREADS = 4 };

/* Blocks hold their own list, so that nothing but blocks needs memory. */
struct block {
    struct block *next;
    size_t number;
};

static const size_t sizes[THREADS] = {48, 1000, 20000, 300000};
static pthread_barrier_t all_full;
static pthread_barrier_t all_free;

static void expect_out_of_memory(void *block)
{
    CHECK(block == NULL);
    CHECK(errno == ENOMEM);
}

static struct block *take_all(size_t size)
{
    struct block *blocks = NULL;
    struct block *block;

    errno = 0;
    while ((block = (struct block *)malloc(size)) != NULL) {
        *block = (struct block){.next = blocks, .number = blocks != NULL ? blocks->number + 1 : 0};
        blocks = block;
    }
    expect_out_of_memory(block);
    return blocks;
}

static void free_all(struct block *blocks)
{
    while (blocks != NULL) {
        struct block *next = blocks->next;

        CHECK(next == NULL ? blocks->number == 0 : next->number == blocks->number - 1);
        free(blocks);
        blocks = next;
    }
}

static void *fill_and_free(void *argument)
{
    size_t size = *(const size_t *)argument;

    for (int round = 0; round < 3; round++) {
        struct block *blocks = take_all(size);

        (void)pthread_barrier_wait(&all_full);
        free_all(blocks);
        (void)pthread_barrier_wait(&all_free);
        for (size_t i = 0; i < THREADS; i++) {
            fault_free(fault_block(sizes[i]), sizes[i]);
        }
        (void)pthread_barrier_wait(&all_free);
    }
    return NULL;
}

static void limit_itself(const char *bytes)
{
    enum { DECIMAL = 10 };
    const rlim_t limit = strtoul(bytes, NULL, DECIMAL);

    fault_free(fault_block(1), 1);
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit}) == 0);
}

int main(int count, char **arguments)
{
    volatile size_t too_many = (size_t)1 << 40;
    volatile size_t too_aligned = (size_t)1 << 45;
    pthread_t ids[THREADS];

    fault_start();
    if (count > 1) {
        limit_itself(arguments[1]);
    }
    CHECK(pthread_barrier_init(&all_full, NULL, THREADS) == 0);
    CHECK(pthread_barrier_init(&all_free, NULL, THREADS) == 0);
    errno = 0;
    expect_out_of_memory(malloc((size_t)1 << 40));
    expect_out_of_memory(malloc(PTRDIFF_MAX));
    expect_out_of_memory(calloc(too_many, too_many));
    expect_out_of_memory(aligned_alloc(too_aligned, 1));
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&ids[i], NULL, fill_and_free, (void *)&sizes[i]) == 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(ids[i], NULL) == 0);
    }
    puts("full and free again");
    return EXIT_SUCCESS;
}
