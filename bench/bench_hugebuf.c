/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_hugebuf.c - one buffer grows to 1 GiB by realloc, 32 MiB at a time, as a reader of a stream
 * of unknown length does; every page is written, and all of them are verified at the end. small
 * blocks are allocated in between (variant mixed), so that the buffer cannot simply be the last
 * thing in the heap. An operation is one realloc. */
#include "bench_common.h"

#include <stdlib.h>
#include <string.h>

enum { ALONE, MIXED, PAGE_BYTES = 4096, SMALL_BLOCKS = 16, SMALL_BYTES = 1000 };

#define STEP_BYTES (32 * MIB)

static void run(void)
{
    char *buffer = NULL;
    uint64_t steps = bench_options.ops;
    void **small = (void **)bench_memory(steps * SMALL_BLOCKS * sizeof(void *));

    if (steps == 0) {
        bench_fail("--seconds: this workload is run by --ops");
    }
    bench_begin();
    for (uint64_t i = 0; i < steps; i++) {
        buffer =
            (char *)bench_not_null(realloc(buffer, (i + 1) * STEP_BYTES), (i + 1) * STEP_BYTES);
        for (size_t at = i * STEP_BYTES; at < (i + 1) * STEP_BYTES; at += PAGE_BYTES) {
            memcpy(buffer + at, &at, sizeof(at));
        }
        for (unsigned b = 0; bench_options.variant->value == MIXED && b < SMALL_BLOCKS; b++) {
            small[i * SMALL_BLOCKS + b] = bench_not_null(malloc(SMALL_BYTES), SMALL_BYTES);
        }
    }
    bench_end();
    bench_count(steps);
    for (size_t at = 0; at < steps * STEP_BYTES; at += PAGE_BYTES) {
        if (memcmp(buffer + at, &at, sizeof(at)) != 0) {
            bench_fail("realloc lost the page at %zu", at);
        }
    }
    for (uint64_t i = 0; i < steps * SMALL_BLOCKS; i++) {
        free(small[i]);
    }
    free(buffer);
}

const struct bench_workload bench_workload = {
    .name = "hugebuf",
    .about = "Grows one buffer to 1 GiB",
    .variants =
        (const struct bench_variant[]){{"alone", 32, ALONE}, {"mixed", 32, MIXED}, {NULL, 0, 0}},
    .threads = 1,
    .threads_least = 1,
    .run = run,
};
