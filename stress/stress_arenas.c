/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stress_arenas.c - risk: bins, depots and slab lists go wrong when many threads share an arena, or
 * an allocation fails only because others were faster, or a thread that changes its arena takes
 * blocks along.
 *
 * Each round spreads the threads over another number of arenas, mostly few. Bursts of one class
 * fill and empty the stacks, so that refills, flushes and depot exchanges meet. Asserts: memory
 * never runs out, no block changes while live, allocated = freed + live at every rest, nothing in
 * use at the end.
 */
#include "breakwater/breakwater.h"
#include "harness.h"
#include "life.h"

enum mode { SMALL, UNITS, CHANGE };

static const char *const modes[] = {
    [SMALL] = "small",   /* classes of up to a KiB */
    [UNITS] = "units",   /* the largest classes: one to three blocks a slab */
    [CHANGE] = "change", /* as small, while threads go to arenas with fewer threads */
    NULL,
};

enum {
    BURST_MAX = 300,
    BURST_UNITS = 6,
    SMALL_BYTES = 1024,
    UNITS_LEAST = 20000,
    UNITS_MOST = 65536
};

static void change_arena(void)
{
    struct cache *cache = life_cache();

    life_limit_arenas(ARENAS_MAX);
    if (cache_is_real(cache) && gate_enter(&cache->gate)) {
        (void)life_change_arena(cache);
        gate_leave(&cache->gate);
    }
}

static void step(struct stress_thread *self)
{
    void *burst[BURST_MAX];
    bool units = stress_options.mode == UNITS;
    size_t count = 1 + stress_below(self, units ? BURST_UNITS : BURST_MAX);
    size_t size = units ? UNITS_LEAST + stress_below(self, UNITS_MOST - UNITS_LEAST + 1)
                        : stress_below(self, SMALL_BYTES) >> stress_below(self, 6);

    for (size_t i = 0; i < count; i++) {
        burst[i] = block_alloc(&self->accounts, size);
    }
    stress_hold(self, units ? 4 : HELD_MAX, burst[0]);
    for (size_t i = 1; i < count; i++) {
        if (stress_below(self, 64) != 0 ||
            !stress_give(self, (unsigned)stress_below(self, stress_options.threads), burst[i])) {
            block_free(&self->accounts, burst[i]);
        }
    }
    for (int i = 0; i < 8; i++) {
        block_free(&self->accounts, stress_take(self, self));
    }
    if (stress_below(self, 256) == 0) {
        (void)bw_malloc_trim(0);
    }
    if (stress_options.mode == CHANGE && stress_below(self, 16) == 0) {
        change_arena();
    }
}

/* Threads with more arenas than before use new ones, with fewer leave old ones idle. */
static void round_begins(void)
{
    static const unsigned limits[] = {1, 2, 1, 3, 32, 2, 64};
    static unsigned round;

    if (stress_options.mode == CHANGE) {
        life_limit_arenas(1);
        return;
    }
    if (stress_options.arenas == 0) {
        life_limit_arenas(limits[round % (sizeof(limits) / sizeof(limits[0]))]);
        round++;
    }
}

int main(int argc, char **argv)
{
    static const struct stress_program program = {
        .name = "stress_arenas",
        .threads = 32,
        .threads_least = 1,
        .modes = modes,
        .step = step,
        .round_begins = round_begins,
    };

    stress_start(argc, argv, &program);
    int status = stress_rounds();

    if (stress_options.mode == CHANGE && life_stats().changes == 0) {
        stress_fail("no thread has changed its arena");
    }
    return status;
}
