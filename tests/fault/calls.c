/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* calls.c - fault: the kernel gives no memory, at any single call, or from any call on.
 *
 * The workload goes through every layer: blocks of all sizes, resizing, alignment, zeroing, frees
 * by a thread of another arena, threads that end, a fork, statistics and trims. It is run once to
 * count the kernel's calls, then for each call once with that one failing, and once with it and all
 * later ones failing, each time in a process whose heap is new. Asserts: what fails is NULL with
 * ENOMEM and changes nothing; what succeeds can be used; afterwards everything can be freed, the
 * accounts add up to nothing in use, and every kind of block can be had again, in every thread.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "breakwater/breakwater.h"
#include "fault.h"
#include "heap.h"
#include "os.h"

enum { BLOCKS = 160, ALL_CALLS = 1 << 30, STEP_DEFAULT = 1, MARKS = 16 };

struct held {
    unsigned char *start;
    size_t size;
    unsigned char fill;
};

static struct held held[BLOCKS];
static unsigned failures;

static size_t size_of(unsigned index)
{
    static const size_t sizes[] = {1,    24,    100,   256,   300,   1000,   2000,    5000,
                                   9000, 16392, 30000, 65536, 70000, 200000, 1048576, 3000000};

    return sizes[index % ARRAY_SIZE(sizes)];
}

static void note_failure(void)
{
    CHECK(errno == ENOMEM);
    failures++;
}

/* Some bytes all over the block, which another's in its place would write over; to touch each page
 * of 160 blocks some hundred times takes minutes under ThreadSanitizer. */
static size_t distance(const struct held *block)
{
    return block->size / MARKS + 1;
}

static void fill(struct held *block)
{
    for (size_t i = 0; i < block->size; i += distance(block)) {
        block->start[i] = block->fill;
    }
    block->start[block->size - 1] = block->fill;
}

/* What was filled, as far as `size`. */
static void verify(const struct held *block, size_t size)
{
    for (size_t i = 0; i < size; i += distance(block)) {
        CHECK(block->start[i] == block->fill);
    }
    CHECK(size < block->size || block->start[size - 1] == block->fill);
}

static unsigned char *take(unsigned index, size_t size)
{
    void *block = NULL;

    errno = 0;
    switch (index % 4) {
    case 0:
        block = bw_calloc(1, size);
        CHECK(block == NULL || *(unsigned char *)block == 0);
        CHECK(block == NULL || ((unsigned char *)block)[size - 1] == 0);
        return (unsigned char *)block;
    case 1:
        block = bw_aligned_alloc((size_t)64 << (index % 11), size);
        CHECK((uintptr_t)block % ((size_t)64 << (index % 11)) == 0);
        return (unsigned char *)block;
    default:
        return (unsigned char *)bw_malloc(size);
    }
}

static void take_all(void)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (held[i].start == NULL) {
            held[i] = (struct held){take(i, size_of(i)), size_of(i), (unsigned char)(i + 1)};
            if (held[i].start != NULL) {
                fill(&held[i]);
            } else {
                note_failure();
            }
        }
    }
}

static void resize_all(void)
{
    for (unsigned i = 0; i < BLOCKS; i += 2) {
        size_t size = i % 4 == 0 ? held[i].size * 3 + 1 : held[i].size / 3 + 1;

        if (held[i].start == NULL) {
            continue;
        }
        errno = 0;
        unsigned char *resized = (unsigned char *)bw_realloc(held[i].start, size);

        if (resized == NULL) {
            note_failure();
            verify(&held[i], held[i].size);
            continue;
        }
        held[i].start = resized;
        verify(&held[i], held[i].size < size ? held[i].size : size);
        held[i].size = size;
        fill(&held[i]);
    }
}

static void free_some(unsigned first, unsigned step)
{
    for (unsigned i = first; i < BLOCKS; i += step) {
        if (held[i].start != NULL) {
            verify(&held[i], held[i].size);
            bw_free(held[i].start);
            held[i].start = NULL;
        }
    }
}

/* Another arena's thread: frees what the first allocated, and the reverse when it has ended. */
static void *other_thread(void *argument)
{
    (void)argument;
    free_some(1, 3);
    take_all();
    resize_all();
    return NULL;
}

static void run_other_thread(void)
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void run_forked(void)
{
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        free_some(0, 2);
        take_all();
        free_some(0, 1);
        _exit(EXIT_SUCCESS);
    }
    fault_wait(child);
}

static void workload(void)
{
    take_all();
    resize_all();
    run_other_thread();
    free_some(2, 3);
    (void)bw_malloc_trim(0);
    (void)bw_mallinfo2();
    take_all();
    run_forked();
    resize_all();
}

static void everything_works_again(void)
{
    unsigned before = failures;

    free_some(0, 1);
    take_all();
    resize_all();
    run_other_thread();
    CHECK(failures == before);
    free_some(0, 1);
    (void)bw_malloc_trim(0);
    heap_check();
    CHECK(bw_mallinfo2().uordblks == 0);
}

/* In a process of its own: the workload with `count` calls failing from the `first`-th on. The
 * calls that it made go to `calls`; the allocations that failed to `failed`. */
static void run_failing(uint64_t first, uint64_t count, uint64_t *calls, unsigned *failed)
{
    struct report {
        uint64_t calls;
        unsigned failures;
    } report = {0, 0};
    int ends[2];

    CHECK(pipe(ends) == 0);
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        os_fail_calls(first, count);
        workload();
        report.calls = os_call_count();
        os_fail_calls(0, 0);
        report.failures = failures;
        everything_works_again();
        CHECK(write(ends[1], &report, sizeof(report)) == sizeof(report));
        _exit(EXIT_SUCCESS);
    }
    (void)close(ends[1]);
    ssize_t got = read(ends[0], &report, sizeof(report));

    (void)close(ends[0]);
    fault_wait(child);
    CHECK(got == sizeof(report));
    *calls = report.calls;
    *failed += report.failures;
}

int main(int count, char **arguments)
{
    unsigned long step = fault_option(count, arguments, "--step", STEP_DEFAULT);
    unsigned failed_once = 0;
    unsigned failed_all = 0;
    uint64_t calls = 0;
    uint64_t ignored;

    CHECK(setenv("BREAKWATER_CONF", "arenas:2", 1) == 0);
    run_failing(0, 0, &calls, &failed_once);
    CHECK(calls > 20);
    CHECK(failed_once == 0);
    for (uint64_t call = 1; call <= calls; call += step) {
        run_failing(call, 1, &ignored, &failed_once);
        run_failing(call, ALL_CALLS, &ignored, &failed_all);
    }
    /* Else the seam did nothing, or the workload noticed nothing. */
    CHECK(failed_all > calls / step);
    printf("%lu kernel calls; allocations that failed: %u with one call failing, %u with all later "
           "ones\n",
           (unsigned long)calls, failed_once, failed_all);
    return EXIT_SUCCESS;
}
