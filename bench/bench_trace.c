/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_trace.c - a day of a long-lived server, compressed: it grows, then lives through phases in
 * which blocks of other sizes replace those before, then shrinks to a tenth. Reports resident over
 * live bytes at the end: after malloc_trim(0), or after two seconds of little work. The phases
 * follow the causes of fragmentation in M. Johnstone, P. Wilson, "The Memory Fragmentation Problem:
 * Solved?" (ISMM 1998): death times that do not follow birth times, and changes of size between
 * phases. An operation is one malloc or free. */
#include "bench_common.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LEFT, TRIMMED, PHASES = 8, SLOTS = 120000, LAST_SHARE = 10 };

struct slot {
    void *block;
    size_t size;
};

static struct slot *slots;
static uint64_t live, live_most, ops;

static void drop(size_t at)
{
    if (slots[at].block != NULL) {
        bench_untag(slots[at].block, slots[at].size, at);
        free(slots[at].block);
        live -= slots[at].size;
        slots[at].block = NULL;
        ops++;
    }
}

static void put(size_t at, size_t size)
{
    drop(at);
    slots[at].size = size;
    slots[at].block = bench_not_null(malloc(size), size);
    memset(slots[at].block, (int)at, size);
    bench_tag(slots[at].block, size, at);
    live += size;
    live_most = live > live_most ? live : live_most;
    ops++;
}

/* Each phase has a scale of sizes of its own. */
static size_t size_in_phase(unsigned phase, uint64_t *random)
{
    static const size_t scales[PHASES] = {256, 1024, 64, 4096, 512, 96, 2048, 384};

    return 16 + bench_below(random, scales[phase]) +
           (bench_below(random, 100) == 0 ? bench_below(random, 20000) : 0);
}

/* What a server does at night: for two seconds, one request in a while. */
static void work_a_little(size_t count, uint64_t *random)
{
    const struct timespec pause = {.tv_nsec = 2000000};

    for (unsigned i = 0; i < 1000; i++) {
        size_t at = bench_below(random, count);

        if (slots[at].block != NULL) {
            put(at, size_in_phase(0, random));
        }
        (void)nanosleep(&pause, NULL);
    }
}

static void run(void)
{
    uint64_t random = bench_options.seed;
    size_t count = bench_options.smoke ? SLOTS / 50 : SLOTS;

    slots = (struct slot *)bench_memory(count * sizeof(*slots));
    size_t before = bench_resident_bytes();

    bench_begin();
    for (unsigned phase = 0; phase < PHASES; phase++) {
        for (size_t i = 0; i < count; i++) {
            put(bench_below(&random, count), size_in_phase(phase, &random));
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (bench_below(&random, LAST_SHARE) != 0) {
            drop(i);
        }
    }
    bench_end();
    if (bench_options.variant->value == TRIMMED) {
        (void)malloc_trim(0);
    } else if (!bench_options.smoke) {
        work_a_little(count, &random);
    }
    bench_count(ops);
    bench_live_peak(live_most);
    bench_extra("resident_over_live", (double)(bench_resident_bytes() - before) / (double)live);
    for (size_t i = 0; i < count; i++) {
        drop(i);
    }
}

const struct bench_workload bench_workload = {
    .name = "trace",
    .about = "Lives through phases of growth, change and shrinking",
    .variants =
        (const struct bench_variant[]){{"left", 1, LEFT}, {"trimmed", 1, TRIMMED}, {NULL, 0, 0}},
    .threads = 1,
    .threads_least = 1,
    .run = run,
};
