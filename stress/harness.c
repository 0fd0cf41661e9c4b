/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* harness.c - options, threads in rounds, accounts at rest. See harness.h.
 *
 * Concurrency  the main thread touches a thread's struct only while that thread waits at the
 * barrier, or is gone; the mailboxes are lock-free.
 */
#include "harness.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arena.h"
#include "break.h"
#include "breakwater/breakwater.h"
#include "cache.h"
#include "heap.h"
#include "life.h"
#include "meta.h"
#include "page_heap.h"
#include "region.h"
#include "stats.h"

enum {
    THREADS_MAX = 512,
    SECONDS_MOST = 86400,
    SECONDS_DEFAULT = 2,
    STACK_BYTES = 256 * 1024,
    PHASES = 2, /* of a round: each ends at rest with blocks live */
    PHASE_MILLISECONDS = 300,
    EXIT_USAGE = 2,
};

struct stress_options stress_options;

static const struct stress_program *program;
static struct stress_thread *threads;
static struct timespec started;
static pthread_barrier_t barrier;
static _Atomic bool phase_over;
static unsigned rounds_done;
static uint64_t blocks_allocated;

/* Failure */

_Noreturn void stress_fail(const char *format, ...)
{
    va_list arguments;
    char fault[256];

    va_start(arguments, format);
    (void)vsnprintf(fault, sizeof(fault), format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "%s: FAILED: %s (--seed %" PRIu64 ")\n", program->name, fault,
                  stress_options.seed);
    abort();
}

/* Options */

_Noreturn static void usage(const char *about, const char *value)
{
    (void)fprintf(stderr,
                  "%s: %s '%s'; known: --seed N --threads N --arenas N --seconds N --ops N%s\n",
                  program->name, about, value, program->modes != NULL ? " --mode NAME" : "");
    exit(EXIT_USAGE);
}

static uint64_t parse_number(const char *option, const char *text, uint64_t least, uint64_t most)
{
    char *end = NULL;
    uint64_t number = 0;

    if (text == NULL) {
        usage("no value for", option);
    }
    number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || number < least || number > most) {
        usage("bad value for", option);
    }
    return number;
}

static unsigned parse_mode(const char *text)
{
    if (text == NULL) {
        usage("no value for", "--mode");
    }
    for (unsigned mode = 0; program->modes[mode] != NULL; mode++) {
        if (strcmp(program->modes[mode], text) == 0) {
            return mode;
        }
    }
    usage("unknown mode", text);
}

static unsigned threads_most(void)
{
    return program->threads_most != 0 ? program->threads_most : (unsigned)THREADS_MAX;
}

static void parse_option(const char *option, const char *value)
{
    if (strcmp(option, "--seed") == 0) {
        stress_options.seed = parse_number(option, value, 0, UINT64_MAX);
    } else if (strcmp(option, "--threads") == 0) {
        stress_options.threads =
            (unsigned)parse_number(option, value, program->threads_least, threads_most());
    } else if (strcmp(option, "--arenas") == 0) {
        stress_options.arenas = (unsigned)parse_number(option, value, 0, ARENAS_MAX);
    } else if (strcmp(option, "--seconds") == 0) {
        stress_options.seconds = (unsigned)parse_number(option, value, 1, SECONDS_MOST);
    } else if (strcmp(option, "--ops") == 0) {
        stress_options.ops = parse_number(option, value, 1, UINT64_MAX);
    } else if (strcmp(option, "--mode") == 0 && program->modes != NULL) {
        stress_options.mode = parse_mode(value);
    } else {
        usage("unknown option", option);
    }
}

static uint64_t seed_of_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return ((uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec) ^
           ((uint64_t)getpid() << 40);
}

static void print_options(void)
{
    printf("%s --seed %" PRIu64 " --threads %u --arenas %u", program->name, stress_options.seed,
           stress_options.threads, stress_options.arenas);
    if (program->modes != NULL) {
        printf(" --mode %s", program->modes[stress_options.mode]);
    }
    if (stress_options.ops > 0) {
        printf(" --ops %" PRIu64 "\n", stress_options.ops);
    } else {
        printf(" --seconds %u\n", stress_options.seconds);
    }
    (void)fflush(stdout);
}

/* What meta.c counts for an object of `bytes`. */
static size_t meta_footprint(size_t bytes)
{
    size_t before = meta_stats().used_bytes;
    void *object = meta_alloc(bytes);
    size_t footprint = meta_stats().used_bytes - before;

    if (object == NULL) {
        stress_fail("no memory for a descriptor");
    }
    meta_free(object, bytes);
    return footprint;
}

/* The descriptors there must be when no slab, no stack and no block is left. */
static size_t metadata_expected(void)
{
    struct life_stats life = life_stats();
    size_t bytes = life.arenas * meta_footprint(sizeof(struct arena)) +
                   arena_totals().bins * meta_footprint(sizeof(struct bin)) +
                   life.caches_created * meta_footprint(sizeof(struct cache)) +
                   (life.idle_groups + stacks_count_groups(cache_self)) *
                       meta_footprint(GROUP_CLASSES * sizeof(struct cache_class)) +
                   (life.idle_stacks + cache_self->spare_count) *
                       meta_footprint(sizeof(struct magazine) + MAGAZINE_SMALLEST * sizeof(void *));

    for (struct region *region = region_next(&region_primary); region != NULL;
         region = region_next(region)) {
        size_t units = region_units(region);

        bytes += meta_footprint(sizeof(*region));
        if (units != 0) {
            bytes += meta_footprint(units * sizeof(struct span)) + meta_footprint(units);
        }
    }
    return bytes;
}

void stress_check_empty(void)
{
    (void)bw_malloc_trim(0);
    heap_check();
    struct stats_memory memory = stats_memory();
    struct page_heap_stats page_heap = page_heap_stats();
    size_t metadata = metadata_expected();

    if (memory.used_bytes != 0 || memory.cached_blocks != 0) {
        stress_fail("all is freed, but %zu bytes are in use and %zu blocks cached",
                    memory.used_bytes, memory.cached_blocks);
    }
    size_t free_units = page_heap.free_units + meta_stats().donated_bytes / UNIT_BYTES;

    if (free_units != page_heap.total_units) {
        stress_fail("all is freed, but %zu of %zu units are neither free nor meta.c's",
                    page_heap.total_units - free_units, page_heap.total_units);
    }
    if (memory.metadata_bytes != metadata) {
        stress_fail("all is freed, but there are %zu bytes of descriptors, not %zu",
                    memory.metadata_bytes, metadata);
    }
}

struct live {
    uint64_t blocks;
    uint64_t bytes;
};

static void live_add(struct live *live, const void *block)
{
    if (block != NULL) {
        block_verify(block);
        live->blocks++;
        live->bytes += block_usable_bytes(block);
    }
}

static struct live count_live(void)
{
    struct live live = {0, 0};

    for (unsigned index = 0; index < stress_options.threads; index++) {
        for (unsigned slot = 0; slot < HELD_MAX; slot++) {
            live_add(&live, threads[index].held[slot]);
        }
        for (unsigned slot = 0; slot < MAIL_SLOTS; slot++) {
            live_add(&live, atomic_load_explicit(&threads[index].mail[slot], memory_order_acquire));
        }
    }
    return live;
}

static void drain_all(void)
{
    for (unsigned index = 0; arena_by_index(index) != NULL; index++) {
        (void)arena_drain(arena_by_index(index));
    }
}

/* Allocated = freed + live, by the program's accounts and by the allocator's. */
void stress_check_conservation(void)
{
    struct live live = count_live();
    uint64_t blocks = 0;
    uint64_t bytes = 0;
    /* What the main thread will still publish. */
    uint64_t cached = cache_self->remote_bytes;

    for (unsigned index = 0; index < stress_options.threads; index++) {
        const struct block_accounts *accounts = &threads[index].accounts;

        blocks += accounts->allocated_blocks - accounts->freed_blocks;
        bytes += accounts->allocated_bytes - accounts->freed_bytes;
        cached += threads[index].cached_bytes;
    }
    if (blocks != live.blocks || bytes != live.bytes) {
        stress_fail("allocated less freed is %" PRIu64 " blocks of %" PRIu64
                    " bytes, live are %" PRIu64 " of %" PRIu64,
                    blocks, bytes, live.blocks, live.bytes);
    }
    drain_all();
    size_t used = stats_memory().used_bytes;

    if (used != live.bytes + cached) {
        stress_fail("%zu bytes in use, but %" PRIu64 " live and %" PRIu64 " cached", used,
                    live.bytes, cached);
    }
}

/* Threads */

static void barrier_wait(void)
{
    int status = pthread_barrier_wait(&barrier);

    if (status != 0 && status != PTHREAD_BARRIER_SERIAL_THREAD) {
        stress_fail("pthread_barrier_wait: %s", strerror(status));
    }
}

bool stress_goes_on(const struct stress_thread *self)
{
    (void)self;
    /* Relaxed: it must order nothing, see harness.h. */
    return !atomic_load_explicit(&phase_over, memory_order_relaxed);
}

static void run_phase(struct stress_thread *self)
{
    while (stress_goes_on(self) && (stress_options.ops == 0 || self->ops_left > 0)) {
        program->step(self);
        self->ops_left--;
    }
}

void stress_note_cached(struct stress_thread *self)
{
    size_t blocks;
    size_t bytes;

    cache_check(cache_self);
    cache_count(cache_self, &blocks, &bytes);
    self->cached_bytes = bytes + cache_self->remote_bytes;
}

static void come_to_rest(struct stress_thread *self)
{
    barrier_wait();
    if (program->phase_ends != NULL) {
        program->phase_ends(self);
    }
    if (stress_below(self, 8) == 0) {
        (void)bw_malloc_trim(0);
    }
    stress_note_cached(self);
    barrier_wait();
    /* The main thread checks. */
    barrier_wait();
}

static void *thread_runs(void *argument)
{
    struct stress_thread *self = (struct stress_thread *)argument;

    barrier_wait();
    for (int phase = 0; phase < PHASES; phase++) {
        self->ops_left = stress_options.ops / PHASES + 1;
        run_phase(self);
        come_to_rest(self);
    }
    stress_drop_all(self);
    return NULL;
}

void stress_spawn(unsigned long *thread, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;

    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int error = pthread_create(thread, &attributes, run, argument);

    (void)pthread_attr_destroy(&attributes);
    if (error != 0) {
        stress_fail("pthread_create: %s", strerror(error));
    }
}

void stress_join(unsigned long thread)
{
    int error = pthread_join(thread, NULL);

    if (error != 0) {
        stress_fail("pthread_join: %s", strerror(error));
    }
}

struct stress_thread *stress_thread_by_index(unsigned index)
{
    return &threads[index];
}

/* Mail */

bool stress_give(struct stress_thread *self, unsigned to, void *block)
{
    void *empty = NULL;

    /* Release: pairs with the acquire in stress_take(), so that the taker may verify. Relaxed on
     * failure, and no acquire on success: a giver learns nothing of what the taker did. */
    return atomic_compare_exchange_strong_explicit(
        &threads[to].mail[stress_below(self, MAIL_SLOTS)], &empty, block, memory_order_release,
        memory_order_relaxed);
}

void *stress_take(struct stress_thread *self, struct stress_thread *from)
{
    return atomic_exchange_explicit(&from->mail[stress_below(self, MAIL_SLOTS)], NULL,
                                    memory_order_acquire);
}

void stress_hold(struct stress_thread *self, unsigned places, void *block)
{
    void **slot = &self->held[stress_below(self, places)];

    block_free(&self->accounts, *slot);
    *slot = block;
}

void stress_drop_all(struct stress_thread *self)
{
    for (unsigned slot = 0; slot < HELD_MAX; slot++) {
        block_free(&self->accounts, self->held[slot]);
        self->held[slot] = NULL;
    }
    for (unsigned slot = 0; slot < MAIL_SLOTS; slot++) {
        block_free(&self->accounts,
                   atomic_exchange_explicit(&self->mail[slot], NULL, memory_order_acquire));
    }
}

/* Rounds */

static uint64_t milliseconds_since_start(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t seconds = now.tv_sec - started.tv_sec;

    return (uint64_t)(seconds * 1000 + (now.tv_nsec - started.tv_nsec) / 1000000);
}

bool stress_has_time(void)
{
    return stress_options.ops > 0 ? rounds_done == 0
                                  : milliseconds_since_start() < stress_options.seconds * 1000ULL;
}

void stress_prepare_threads(void)
{
    for (unsigned index = 0; index < stress_options.threads; index++) {
        struct stress_thread *thread = &threads[index];

        memset(thread, 0, sizeof(*thread));
        thread->index = index;
        thread->accounts.owner = index + 1;
        thread->accounts.random = stress_options.seed + ((uint64_t)rounds_done << 32) + index;
    }
    atomic_store_explicit(&phase_over, false, memory_order_relaxed);
}

void stress_round_over(void)
{
    for (unsigned index = 0; index < stress_options.threads; index++) {
        blocks_allocated += threads[index].accounts.allocated_blocks;
    }
    rounds_done++;
}

static void oversee_phase(void)
{
    struct timespec phase = {.tv_sec = 0, .tv_nsec = PHASE_MILLISECONDS * 1000000L};

    if (stress_options.ops == 0) {
        (void)nanosleep(&phase, NULL);
        atomic_store_explicit(&phase_over, true, memory_order_relaxed);
    }
    barrier_wait();
    barrier_wait();
    heap_check();
    stress_check_conservation();
    atomic_store_explicit(&phase_over, false, memory_order_relaxed);
    barrier_wait();
}

void stress_round(void)
{
    unsigned long ids[THREADS_MAX] = {0};

    stress_prepare_threads();
    if (program->round_begins != NULL) {
        program->round_begins();
    }
    (void)pthread_barrier_init(&barrier, NULL, stress_options.threads + 1);
    for (unsigned index = 0; index < stress_options.threads; index++) {
        stress_spawn(&ids[index], thread_runs, &threads[index]);
    }
    barrier_wait();
    for (int phase = 0; phase < PHASES; phase++) {
        oversee_phase();
    }
    for (unsigned index = 0; index < stress_options.threads; index++) {
        stress_join(ids[index]);
    }
    (void)pthread_barrier_destroy(&barrier);
    stress_round_over();
    stress_check_empty();
}

void stress_start(int argc, char **argv, const struct stress_program *started_program)
{
    program = started_program;
    stress_options = (struct stress_options){
        .seed = seed_of_now(),
        .threads = program->threads,
        .arenas = program->arenas,
        .seconds = SECONDS_DEFAULT,
    };
    for (int i = 1; i < argc; i += 2) {
        parse_option(argv[i], argv[i + 1]);
    }
    print_options();
    (void)clock_gettime(CLOCK_MONOTONIC, &started);
    threads = (struct stress_thread *)calloc(stress_options.threads, sizeof(*threads));
    bw_free(bw_malloc(1));
    life_limit_arenas(stress_options.arenas);
    stress_check_empty();
}

int stress_finish(void)
{
    stress_check_empty();
    free(threads);
    threads = NULL;
    printf("%s: ok, %u rounds, %" PRIu64 " blocks\n", program->name, rounds_done, blocks_allocated);
    return EXIT_SUCCESS;
}

int stress_rounds(void)
{
    while (stress_has_time()) {
        stress_round();
    }
    return stress_finish();
}
