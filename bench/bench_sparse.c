/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_sparse.c - two threads fill 1 GiB with blocks of 16 to 4,096 bytes, then free a random 90%
 * of them. Reports resident bytes over the bytes of those pages that still hold a part of a live
 * block, which is the least for blocks that cannot move: 2 seconds later (variant decay), or after
 * malloc_trim(0) (variant trim). An operation is one malloc or free. */
#include "bench_common.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DECAY, TRIM, THREADS = 2, PAGE_BYTES = 4096, MOST_BYTES = 4096, FREED_PERCENT = 90 };

struct part {
    pthread_t id;
    uint64_t random;
    void **blocks;
    uint16_t *sizes;
    size_t count;
};

static size_t bytes_of_a_part;
static pthread_barrier_t filled;

static void *fill_and_thin(void *argument)
{
    struct part *part = (struct part *)argument;

    for (size_t bytes = 0; bytes < bytes_of_a_part; part->count++) {
        size_t size = 16 + bench_below(&part->random, MOST_BYTES - 15);

        part->sizes[part->count] = (uint16_t)size;
        part->blocks[part->count] = bench_not_null(malloc(size), size);
        memset(part->blocks[part->count], 1, size);
        bytes += size;
    }
    pthread_barrier_wait(&filled);
    for (size_t i = 0; i < part->count; i++) {
        if (bench_below(&part->random, 100) < FREED_PERCENT) {
            free(part->blocks[i]);
            part->blocks[i] = NULL;
        }
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

/* Pages that hold a part of a live block. */
static size_t count_pages(const struct part *parts)
{
    size_t count = 0;
    size_t different = 0;
    uint64_t *pages =
        (uint64_t *)bench_memory((parts[0].count + parts[1].count) * 2 * sizeof(*pages));

    for (unsigned p = 0; p < THREADS; p++) {
        for (size_t i = 0; i < parts[p].count; i++) {
            uint64_t start = (uint64_t)(uintptr_t)parts[p].blocks[i];

            if (start != 0) {
                pages[count++] = start / PAGE_BYTES;
                pages[count++] = (start + parts[p].sizes[i] - 1) / PAGE_BYTES;
            }
        }
    }
    qsort(pages, count, sizeof(*pages), compare);
    for (size_t i = 0; i < count; i++) {
        different += i == 0 || pages[i] != pages[i - 1];
    }
    return different;
}

static void run(void)
{
    const struct timespec two_seconds = {.tv_sec = 2};
    static struct part parts[THREADS];

    bytes_of_a_part = (bench_options.smoke ? 8 * MIB : 1024 * MIB) / THREADS;
    size_t most = bytes_of_a_part / 1500;

    pthread_barrier_init(&filled, NULL, THREADS);
    for (unsigned p = 0; p < THREADS; p++) {
        parts[p].random = bench_options.seed + p;
        parts[p].blocks = (void **)bench_memory(most * sizeof(void *));
        parts[p].sizes = (uint16_t *)bench_memory(most * sizeof(uint16_t));
    }
    size_t before = bench_resident_bytes();

    bench_begin();
    for (unsigned p = 0; p < THREADS; p++) {
        if (pthread_create(&parts[p].id, NULL, fill_and_thin, &parts[p]) != 0) {
            bench_fail("cannot start a thread");
        }
    }
    for (unsigned p = 0; p < THREADS; p++) {
        pthread_join(parts[p].id, NULL);
    }
    bench_end();
    bench_count((parts[0].count + parts[1].count) * (100 + FREED_PERCENT) / 100);
    if (bench_options.variant->value == DECAY) {
        (void)nanosleep(&two_seconds, NULL);
    } else {
        (void)malloc_trim(0);
    }
    size_t resident = bench_resident_bytes() - before;
    size_t pages = count_pages(parts);

    bench_extra("resident_over_live_pages", (double)resident / (double)(pages * PAGE_BYTES));
    bench_extra("live_pages", (double)pages);
    for (unsigned p = 0; p < THREADS; p++) {
        for (size_t i = 0; i < parts[p].count; i++) {
            free(parts[p].blocks[i]);
        }
    }
}

const struct bench_workload bench_workload = {
    .name = "sparse",
    .about = "Frees a random 90% of 1 GiB and measures what stays resident",
    .variants =
        (const struct bench_variant[]){{"decay", 1, DECAY}, {"trim", 1, TRIM}, {NULL, 0, 0}},
    .threads = 2,
    .threads_least = 2,
    .run = run,
};
