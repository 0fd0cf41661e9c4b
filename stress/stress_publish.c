/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stress_publish.c - risk: what is made once, and read without a lock from then on, is seen before
 * it is whole.
 *
 * One thread makes one thing after the other; others look each up as the allocator does without a
 * lock, again and again until it is there, and read what it says. They are told of an address by a
 * relaxed store, which orders nothing, and nothing else orders them after the thread that makes:
 * under ThreadSanitizer any access that the publication does not order is a race. Asserts: what is
 * found is what was made. Modes:
 *   regions   mapped regions; every other one is unmapped, for the next one of its index
 *   break     the break, with a gap before each unit
 *   arenas    arenas, each with a bin
 *   start     the first call, in the first step
 *   callback  what is to be told of limits, in the first step
 *
 * mutant_region_relaxed.c, mutant_arena_relaxed.c, mutant_life_relaxed.c and mutant_limit_relaxed.c
 * are the modules without their memory orders.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "conf.h"
#include "life.h"
#include "limit.h"
#include "region.h"
#include "size_class.h"

enum { READERS = 3, STEPS = ARENAS_MAX, CLASS = 7, SIZE = 100 };

/* Its memory is not touched: any address does. */
#define BREAK_BASE ((uintptr_t)0x10000000)

struct step {
    _Atomic uintptr_t address; /* of a region */
    _Atomic unsigned readers_done;
};

static struct step steps[STEPS];

_Noreturn static void fail(const char *what, unsigned number)
{
    (void)fprintf(stderr, "stress_publish: %s (step %u)\n", what, number);
    exit(EXIT_FAILURE);
}

static void require(bool holds, const char *what, unsigned number)
{
    if (!holds) {
        fail(what, number);
    }
}

/* Regions */

static void read_region(unsigned number)
{
    uintptr_t address;
    struct region *region;

    while ((address = atomic_load_explicit(&steps[number].address, memory_order_relaxed)) == 0 ||
           (region = region_of(address)) == NULL) {
        (void)sched_yield();
    }
    require(region->base == address, "another region", number);
    require(span_of(address) == region->spans, "no row of the region's", number);
}

static void *made_region;

static void make_region(unsigned number)
{
    struct region *region = region_map(1 + number % 2);

    require(region != NULL, "no region", number);
    made_region = region;
    atomic_store_explicit(&steps[number].address, region->base, memory_order_relaxed);
}

static void unmake_region(unsigned number)
{
    if (number % 2 == 0) {
        region_unmap((struct region *)made_region);
    }
}

/* The break */

static uintptr_t break_unit(unsigned number)
{
    return BREAK_BASE + 2 * (uintptr_t)number * UNIT_BYTES;
}

static void read_break(unsigned number)
{
    while (region_of(break_unit(number)) == NULL) {
        (void)sched_yield();
    }
    require(span_of(break_unit(number))->state == SPAN_NONE, "no fresh row", number);
    require(number == 0 || span_of(break_unit(number) - 1)->state == SPAN_GAP, "no gap", number);
}

static void make_break(unsigned number)
{
    require(region_add_break(break_unit(number), UNIT_BYTES), "no rows for the break", number);
}

/* Arenas */

static void read_arena(unsigned number)
{
    struct arena *arena;
    const struct bin *bin;

    while ((arena = arena_by_index(number)) == NULL) {
        (void)sched_yield();
    }
    require(arena->index == number && arena->tags != NULL, "another arena", number);
    while ((bin = arena_bin(arena, CLASS)) == NULL) {
        (void)sched_yield();
    }
    require(bin->class == CLASS, "another bin", number);
}

static void make_arena(unsigned number)
{
    struct arena *arena = arena_create(number);

    require(arena != NULL, "no arena", number);
    require(arena_bin_make(arena, CLASS) != NULL, "no bin", number);
}

/* The start */

static void read_start(unsigned number)
{
    while (!life_started()) {
        (void)sched_yield();
    }
    require(size_classes[size_class_of(SIZE)].size >= SIZE, "no size classes", number);
    require(conf.arenas <= ARENAS_MAX, "no options", number);
}

static void make_start(unsigned number)
{
    require(life_start_patiently(), "no start", number);
}

/* The callback */

static unsigned told_steps;
static _Thread_local bool is_told;

static void tell(enum bw_limit which, size_t held_bytes, void *context)
{
    (void)held_bytes;
    require(which == BW_LIMIT_HARD && *(const unsigned *)context == STEPS, "no context", 0);
    is_told = true;
}

static void read_callback(unsigned number)
{
    (void)number;
    while (!is_told) {
        limit_notice(BW_LIMIT_HARD);
        limit_deliver(0);
        (void)sched_yield();
    }
}

static void make_callback(unsigned number)
{
    if (number == 0) {
        told_steps = STEPS;
        limit_on(tell, &told_steps);
    }
}

static void keep(unsigned number)
{
    (void)number;
}

struct mode {
    const char *name;
    void (*make)(unsigned number);
    void (*read)(unsigned number);
    void (*unmake)(unsigned number);
};

static const struct mode modes[] = {
    {"regions", make_region, read_region, unmake_region},
    {"break", make_break, read_break, keep},
    {"arenas", make_arena, read_arena, keep},
    {"start", make_start, read_start, keep},
    {"callback", make_callback, read_callback, keep},
};

enum { MODES = sizeof(modes) / sizeof(modes[0]) };

static const struct mode *mode;

static void *read_all(void *unused)
{
    for (unsigned number = 0; number < STEPS; number++) {
        mode->read(number);
        /* Release: pairs with the acquire in make_all(), which may unmake it. */
        atomic_fetch_add_explicit(&steps[number].readers_done, 1, memory_order_release);
    }
    return unused;
}

static void make_all(void)
{
    for (unsigned number = 0; number < STEPS; number++) {
        mode->make(number);
        while (atomic_load_explicit(&steps[number].readers_done, memory_order_acquire) < READERS) {
            (void)sched_yield();
        }
        mode->unmake(number);
    }
}

static const struct mode *mode_of(const char *name)
{
    for (size_t i = 0; i < MODES; i++) {
        if (name != NULL && strcmp(modes[i].name, name) == 0) {
            return &modes[i];
        }
    }
    (void)fprintf(stderr,
                  "stress_publish: which mode? regions, break, arenas, start or callback\n");
    exit(2);
}

int main(int argc, char **argv)
{
    pthread_t readers[READERS] = {0};

    mode = mode_of(argc == 2 ? argv[1] : NULL);
    for (size_t i = 0; i < READERS; i++) {
        if (pthread_create(&readers[i], NULL, read_all, NULL) != 0) {
            return EXIT_FAILURE;
        }
    }
    make_all();
    for (size_t i = 0; i < READERS; i++) {
        (void)pthread_join(readers[i], NULL);
    }
    printf("stress_publish: %s, %u steps\n", mode->name, (unsigned)STEPS);
    return EXIT_SUCCESS;
}
