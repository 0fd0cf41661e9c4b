/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_latency.c - how long single calls take, under load: random replacement in a live set of
 * skewed sizes, every call of malloc and free timed by the processor's time stamp counter where
 * there is one. The histogram has 64 parts a doubling, after G. Tene's HdrHistogram (2012). The
 * cost of the clock itself, the least of many readings, is taken off. An operation is one malloc
 * and its free. */
#include "bench_common.h"

#include <stdlib.h>

enum { SLOTS = 5000, REPLACEMENTS = 100, PARTS = 64, BUCKETS = PARTS * 58 };

struct histogram {
    uint64_t counts[BUCKETS];
    uint64_t most;
};

struct slot {
    void *block;
    size_t size;
};

struct state {
    struct slot slots[SLOTS];
    struct histogram allocations, frees;
};

static struct state *states[BENCH_THREADS_MAX];
static uint64_t clock_cost;
static double ticks_per_ns;

static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return (uint64_t)(bench_now() * 1e9);
#endif
}

static void calibrate(void)
{
    double start = bench_now();
    uint64_t first = ticks();

    clock_cost = UINT64_MAX;
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t before = ticks();
        uint64_t cost = ticks() - before;

        clock_cost = cost < clock_cost ? cost : clock_cost;
    }
    while (bench_now() - start < 0.05) {
    }
    ticks_per_ns = (double)(ticks() - first) / ((bench_now() - start) * 1e9);
}

static size_t bucket_of(uint64_t value)
{
    if (value < PARTS) {
        return value;
    }
    unsigned power = 63U - (unsigned)__builtin_clzll(value);

    return (size_t)(power - 5) * PARTS + ((value >> (power - 6)) & (PARTS - 1));
}

/* The largest value of the bucket. */
static double value_of(size_t bucket)
{
    if (bucket < PARTS) {
        return (double)bucket;
    }
    return (double)((uint64_t)(PARTS + bucket % PARTS + 1) << (bucket / PARTS - 1)) - 1;
}

static void note(struct histogram *histogram, uint64_t before, uint64_t after)
{
    uint64_t taken = after - before;

    taken = taken > clock_cost ? taken - clock_cost : 0;
    histogram->counts[bucket_of(taken)]++;
    histogram->most = taken > histogram->most ? taken : histogram->most;
}

static void setup(struct bench_thread *self)
{
    self->state = states[self->index] = (struct state *)bench_memory(sizeof(struct state));
}

static uint64_t step(struct bench_thread *self)
{
    struct state *state = (struct state *)self->state;

    for (unsigned i = 0; i < REPLACEMENTS; i++) {
        size_t at = bench_below(&self->random, SLOTS);
        size_t size = bench_skewed_size(&self->random, 32 * KIB);
        struct slot *slot = &state->slots[at];
        uint64_t before;

        if (slot->block != NULL) {
            bench_untag(slot->block, slot->size, at);
            before = ticks();
            free(slot->block);
            note(&state->frees, before, ticks());
        }
        before = ticks();
        slot->block = malloc(size);
        note(&state->allocations, before, ticks());
        slot->size = size;
        bench_tag(bench_not_null(slot->block, size), size, at);
    }
    return REPLACEMENTS;
}

static double part_of(const struct histogram *histogram, double part)
{
    uint64_t all = 0, below = 0;

    for (size_t i = 0; i < BUCKETS; i++) {
        all += histogram->counts[i];
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        below += histogram->counts[i];
        if ((double)below >= part * (double)all) {
            return value_of(i) / ticks_per_ns;
        }
    }
    return 0;
}

static void report_one(const char *call, struct histogram *sum)
{
    const struct bench_latency latency = {
        .call = call,
        .p50 = part_of(sum, 0.5),
        .p90 = part_of(sum, 0.9),
        .p99 = part_of(sum, 0.99),
        .p999 = part_of(sum, 0.999),
        .p9999 = part_of(sum, 0.9999),
        .max = (double)sum->most / ticks_per_ns,
    };

    bench_latency(&latency);
}

static void add(struct histogram *sum, const struct histogram *other)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        sum->counts[i] += other->counts[i];
    }
    sum->most = other->most > sum->most ? other->most : sum->most;
}

static void teardown(struct bench_thread *self)
{
    struct state *state = (struct state *)self->state;

    for (size_t i = 0; i < SLOTS; i++) {
        free(state->slots[i].block);
    }
}

static void conclude(void)
{
    static struct histogram allocations, frees;

    for (unsigned i = 0; i < bench_options.threads; i++) {
        add(&allocations, &states[i]->allocations);
        add(&frees, &states[i]->frees);
    }
    report_one("malloc", &allocations);
    report_one("free", &frees);
    bench_extra("clock_cost_ns", (double)clock_cost / ticks_per_ns);
}

const struct bench_workload bench_workload = {
    .name = "latency",
    .about = "Times single calls of malloc and free",
    .variants = (const struct bench_variant[]){{"mixed", 8000000, 0}, {NULL, 0, 0}},
    .threads = 4,
    .threads_least = 1,
    .prepare = calibrate,
    .setup = setup,
    .step = step,
    .teardown = teardown,
    .conclude = conclude,
};
