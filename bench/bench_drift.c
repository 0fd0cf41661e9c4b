/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_drift.c - caches of 32 MiB a thread, of entries with a value each, whose sizes drift: up to
 * 250 bytes at first, up to 2 KB by and by, and back again. queue: the oldest entry makes room for
 * the next, as in an LRU cache that is written more than read. random: any entry does. What was
 * freed of one size has to serve for others, though neighbours of it live on: after the changes of
 * sizes in S. Rumble, A. Kejriwal, J. Ousterhout, "Log-structured Memory for DRAM-based Storage"
 * (FAST 2014). An operation is one entry more. */
#include "bench_common.h"

#include <stdlib.h>

enum { QUEUE, RANDOM, ENTRIES_MOST = 512 * 1024, NODE_BYTES = 64, INSERTS = 500 };

static const size_t budget = 32 * MIB;
static const size_t turns = 20; /* budgets from one time of small values to the next */

struct entry {
    void *node;
    void *value;
    size_t size;
};

struct state {
    struct entry entries[ENTRIES_MOST]; /* a ring */
    size_t first;
    size_t count;
    size_t bytes;
    size_t inserted_bytes;
};

static void setup(struct bench_thread *self)
{
    self->state = bench_memory(sizeof(struct state));
}

static size_t next_size(struct bench_thread *self)
{
    const struct state *state = (struct state *)self->state;
    size_t half = turns * budget / 2;
    size_t phase = state->inserted_bytes % (2 * half);
    size_t up = phase < half ? phase : 2 * half - phase;

    return 50 + bench_below(&self->random, 200 + 1800 * up / half);
}

static struct entry *entry_at(struct state *state, size_t index)
{
    return &state->entries[(state->first + index) % ENTRIES_MOST];
}

static void drop(struct entry *entry)
{
    bench_untag(entry->node, NODE_BYTES, entry->size);
    bench_untag(entry->value, entry->size, entry->size);
    free(entry->value);
    free(entry->node);
}

static void make_room(struct bench_thread *self, struct state *state)
{
    while (state->bytes > budget || state->count == ENTRIES_MOST) {
        struct entry *oldest = entry_at(state, 0);

        if (bench_options.variant->value == RANDOM) {
            struct entry *other = entry_at(state, bench_below(&self->random, state->count));
            struct entry chosen = *other;

            *other = *oldest;
            *oldest = chosen;
        }
        drop(oldest);
        state->bytes -= oldest->size + NODE_BYTES;
        state->first = (state->first + 1) % ENTRIES_MOST;
        state->count--;
    }
}

static uint64_t step(struct bench_thread *self)
{
    struct state *state = (struct state *)self->state;

    for (unsigned i = 0; i < INSERTS; i++) {
        size_t size = next_size(self);

        state->bytes += size + NODE_BYTES;
        state->inserted_bytes += size + NODE_BYTES;
        make_room(self, state);
        struct entry *entry = entry_at(state, state->count++);

        entry->size = size;
        entry->node = bench_not_null(malloc(NODE_BYTES), NODE_BYTES);
        entry->value = bench_not_null(malloc(size), size);
        bench_tag(entry->node, NODE_BYTES, size);
        bench_tag(entry->value, size, size);
    }
    return INSERTS;
}

static void teardown(struct bench_thread *self)
{
    struct state *state = (struct state *)self->state;

    for (size_t i = 0; i < state->count; i++) {
        drop(entry_at(state, i));
    }
}

const struct bench_workload bench_workload = {
    .name = "drift",
    .about = "Caches of entries whose sizes drift",
    .variants = (const struct bench_variant[]){{"queue", 4000000, QUEUE},
                                               {"random", 4000000, RANDOM},
                                               {NULL, 0, 0}},
    .threads = 2,
    .threads_least = 1,
    .setup = setup,
    .step = step,
    .teardown = teardown,
};
