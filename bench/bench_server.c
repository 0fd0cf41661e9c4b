/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_server.c - an allocation workload shaped like a multithreaded server.
 *
 * Purpose      Each thread keeps a live set of blocks and replaces random ones. Sizes are skewed:
 *              mostly small, up to 64 KiB. A share of the blocks dropped goes through a mailbox
 *              to another thread, which frees it; some blocks are resized in place of replaced.
 * Allocator    Only malloc, realloc and free of the C library's names, so the allocator under
 *              test is whichever is preloaded. The loop itself needs no memory of its own.
 * Verified     A block carries its identity in its first 16 bytes, in its last byte and on each
 *              page. It is checked before it is resized, handed over or freed. At the end as many
 *              blocks have been freed as were allocated.
 * Output       One line of JSON on standard output.
 * Concurrency  A thread owns its struct worker; only `mailbox` and `pending` are shared.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    THREADS_DEFAULT = 4,
    THREADS_MAX = 1024,
    SECONDS_DEFAULT = 5,
    SECONDS_MAX = 86400,
    LIVE_BLOCKS = 4096,   /* a thread's live set */
    MAILBOX_LIMIT = 1024, /* blocks waiting in a mailbox; over it the sender frees them itself */
    DRAIN_INTERVAL = 64,  /* operations between two looks into the own mailbox and at the clock */
    PAGE_BYTES = 4096,
    CACHE_LINE_BYTES = 64,
    REALLOC_ONE_IN = 16,
    HANDOVER_ONE_IN = 8,
    SMOKE_MILLISECONDS = 300,
    SMOKE_THREADS = 4,
};

#define OPS_MAX     UINT64_C(1000000000000)
#define NANOSECONDS UINT64_C(1000000000)
#define CHECK_SALT  UINT64_C(0x9e3779b97f4a7c15)

/* Sizes: `percent` of the blocks lie in [from, to), evenly. The percentages add up to 100. */
static const struct size_range {
    uint32_t percent, from, to;
} size_ranges[] = {
    {60, 16, 128},
    {26, 128, 1024},
    {11, 1024, 8192},
    {3, 8192, 65537},
};

/* What every block starts with. While the block is live, `word` holds a check value derived from
 * its address, size and serial; while it is in a mailbox, the address of the next one. */
struct block {
    uint64_t word;
    uint32_t size;
    uint32_t serial;
};

struct slot {
    struct block *block;
    uint32_t serial; /* a block handed out twice gets another serial, and is found out */
};

struct worker {
    /* Last in, first out; pushed by any thread, emptied as a whole by the owner. */
    _Alignas(CACHE_LINE_BYTES) _Atomic(struct block *) mailbox;
    atomic_uint pending;
    _Alignas(CACHE_LINE_BYTES) struct slot slots[LIVE_BLOCKS];
    struct run *run;
    pthread_t thread;
    unsigned index;
    uint32_t serial;
    uint64_t random;
    uint64_t ops, ops_limit; /* a limit of 0: until run->stop */
    uint64_t allocated, freed, handed_over;
};

struct run {
    unsigned threads;
    uint64_t duration_ns; /* used when ops is 0 */
    uint64_t ops;
    uint64_t seed;
    atomic_bool stop;
    pthread_barrier_t filled, started, finished;
    struct worker *workers;
};

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list arguments;

    fputs("bench_server: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NANOSECONDS + (uint64_t)now.tv_nsec;
}

/* splitmix64: any seed will do, and the stream of a seed is the same on every machine. */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += CHECK_SALT;

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint32_t random_below(uint64_t *state, uint32_t limit)
{
    return (uint32_t)(((random_next(state) >> 32) * limit) >> 32);
}

static uint32_t random_size(uint64_t *state)
{
    uint32_t percent = random_below(state, 100);
    const struct size_range *range = size_ranges;

    while (percent >= range->percent) {
        percent -= range->percent;
        range++;
    }
    return range->from + random_below(state, range->to - range->from);
}

static uint64_t block_check_word(const struct block *block)
{
    return ((uint64_t)(uintptr_t)block ^ ((uint64_t)block->serial << 32 | block->size)) *
           CHECK_SALT;
}

/* Marks the header, the last byte and one byte of each page in between, as a server that fills
 * its buffers touches every page of them. */
static void block_stamp(struct block *block, uint32_t size, uint32_t serial)
{
    unsigned char *bytes = (unsigned char *)block;

    block->size = size;
    block->serial = serial;
    block->word = block_check_word(block);
    for (uint32_t at = PAGE_BYTES; at < size; at += PAGE_BYTES) {
        bytes[at] = (unsigned char)serial;
    }
    if (size > sizeof(*block)) {
        bytes[size - 1] = (unsigned char)serial;
    }
}

static void block_verify_bytes(const struct block *block, uint32_t size)
{
    const unsigned char *bytes = (const unsigned char *)block;
    unsigned char expected = (unsigned char)block->serial;
    bool whole = size <= sizeof(*block) || size < block->size || bytes[size - 1] == expected;

    for (uint32_t at = PAGE_BYTES; at < size; at += PAGE_BYTES) {
        whole = whole && bytes[at] == expected;
    }
    if (!whole) {
        fail("the block at %p (%" PRIu32 " bytes) was overwritten", (const void *)block, size);
    }
}

static void block_verify(const struct slot *slot)
{
    const struct block *block = slot->block;

    if (block->serial != slot->serial || block->word != block_check_word(block)) {
        fail("the header of the block at %p was overwritten", (const void *)block);
    }
    block_verify_bytes(block, block->size);
}

static void worker_allocate(struct worker *worker, struct slot *slot)
{
    uint32_t size = random_size(&worker->random);
    struct block *block = malloc(size);

    if (!block) {
        fail("malloc of %" PRIu32 " bytes failed", size);
    }
    slot->block = block;
    slot->serial = worker->serial++;
    block_stamp(block, size, slot->serial);
    worker->allocated++;
}

static void worker_free(struct worker *worker, struct block *block)
{
    free(block);
    worker->freed++;
}

static void worker_resize(struct worker *worker, struct slot *slot)
{
    uint32_t size = random_size(&worker->random);
    uint32_t old_size = slot->block->size;
    uint64_t word = slot->block->word;
    struct block *block = realloc(slot->block, size);

    if (!block) {
        fail("realloc to %" PRIu32 " bytes failed", size);
    }
    if (block->word != word || block->size != old_size || block->serial != slot->serial) {
        fail("realloc to %" PRIu32 " bytes lost the start of the block", size);
    }
    block_verify_bytes(block, size < old_size ? size : old_size);
    slot->block = block;
    block_stamp(block, size, slot->serial);
}

/* Passes the block to `to`, which frees it. False if its mailbox is full. */
static bool mailbox_push(struct worker *to, struct block *block)
{
    struct block *head;

    /* Relaxed: a bound on memory, not a claim; a few blocks over it do no harm. */
    if (atomic_load_explicit(&to->pending, memory_order_relaxed) >= MAILBOX_LIMIT) {
        return false;
    }
    atomic_fetch_add_explicit(&to->pending, 1, memory_order_relaxed);
    head = atomic_load_explicit(&to->mailbox, memory_order_relaxed);
    do {
        block->word = (uint64_t)(uintptr_t)head;
        /* Release: pairs with the acquire of mailbox_drain, which reads the block. */
    } while (!atomic_compare_exchange_weak_explicit(&to->mailbox, &head, block,
                                                    memory_order_release, memory_order_relaxed));
    return true;
}

static void mailbox_drain(struct worker *worker)
{
    unsigned taken = 0;
    struct block *block;

    /* Relaxed: only spares the exchange while the mailbox is empty. */
    if (!atomic_load_explicit(&worker->mailbox, memory_order_relaxed)) {
        return;
    }
    /* Acquire: pairs with the release of mailbox_push. */
    block = atomic_exchange_explicit(&worker->mailbox, NULL, memory_order_acquire);
    while (block) {
        struct block *next = (struct block *)(uintptr_t)block->word;

        block_verify_bytes(block, block->size);
        worker_free(worker, block);
        block = next;
        taken++;
    }
    atomic_fetch_sub_explicit(&worker->pending, taken, memory_order_relaxed);
}

static struct worker *worker_pick_other(struct worker *worker)
{
    unsigned threads = worker->run->threads;
    unsigned step = 1 + random_below(&worker->random, threads - 1);

    return &worker->run->workers[(worker->index + step) % threads];
}

static void worker_drop(struct worker *worker, struct block *block)
{
    bool hand_over =
        worker->run->threads > 1 && random_below(&worker->random, HANDOVER_ONE_IN) == 0;

    if (hand_over && mailbox_push(worker_pick_other(worker), block)) {
        worker->handed_over++;
        return;
    }
    worker_free(worker, block);
}

static void worker_step(struct worker *worker)
{
    struct slot *slot = &worker->slots[random_below(&worker->random, LIVE_BLOCKS)];

    block_verify(slot);
    if (random_below(&worker->random, REALLOC_ONE_IN) == 0) {
        worker_resize(worker, slot);
    } else {
        worker_drop(worker, slot->block);
        worker_allocate(worker, slot);
    }
}

static bool worker_is_done(const struct worker *worker)
{
    if (worker->ops_limit) {
        return worker->ops >= worker->ops_limit;
    }
    /* Relaxed: nothing is read on the strength of it. */
    return atomic_load_explicit(&worker->run->stop, memory_order_relaxed);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;

    for (unsigned i = 0; i < LIVE_BLOCKS; i++) {
        worker_allocate(worker, &worker->slots[i]);
    }
    pthread_barrier_wait(&worker->run->filled);
    pthread_barrier_wait(&worker->run->started);
    while (!worker_is_done(worker)) {
        for (unsigned i = 0; i < DRAIN_INTERVAL; i++) {
            worker_step(worker);
        }
        worker->ops += DRAIN_INTERVAL;
        mailbox_drain(worker);
    }
    pthread_barrier_wait(&worker->run->finished);

    mailbox_drain(worker); /* nobody pushes any more */
    for (unsigned i = 0; i < LIVE_BLOCKS; i++) {
        block_verify(&worker->slots[i]);
        worker_free(worker, worker->slots[i].block);
    }
    return NULL;
}

static void run_start_workers(struct run *run)
{
    run->workers = aligned_alloc(CACHE_LINE_BYTES, run->threads * sizeof(*run->workers));
    if (!run->workers) {
        fail("no memory for %u threads", run->threads);
    }
    memset(run->workers, 0, run->threads * sizeof(*run->workers));
    for (unsigned i = 0; i < run->threads; i++) {
        struct worker *worker = &run->workers[i];

        worker->run = run;
        worker->index = i;
        worker->random = run->seed + i * UINT64_C(0xd1342543de82ef95);
        worker->serial = i << 20;
        worker->ops_limit = (run->ops + run->threads - 1) / run->threads;
        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
            fail("cannot start thread %u", i + 1);
        }
    }
}

/* Returns the seconds between the moment all threads had filled their live sets and the moment
 * the last of them had done its operations. */
static double run_measure(struct run *run)
{
    uint64_t begin, end;

    pthread_barrier_wait(&run->filled);
    begin = now_ns();
    pthread_barrier_wait(&run->started);
    if (run->ops == 0) {
        struct timespec pause = {.tv_sec = (time_t)(run->duration_ns / NANOSECONDS),
                                 .tv_nsec = (long)(run->duration_ns % NANOSECONDS)};

        nanosleep(&pause, NULL);
        atomic_store_explicit(&run->stop, true, memory_order_relaxed);
    }
    pthread_barrier_wait(&run->finished);
    end = now_ns();
    return (double)(end - begin) / (double)NANOSECONDS;
}

static uint64_t peak_rss_bytes(void)
{
    char line[256];
    uint64_t kibibytes = 0;
    FILE *status = fopen("/proc/self/status", "re");

    while (status && fgets(line, sizeof(line), status)) {
        if (sscanf(line, "VmHWM: %" SCNu64, &kibibytes) == 1) {
            break;
        }
    }
    if (status) {
        fclose(status);
    }
    return kibibytes * 1024;
}

static void run_report(const struct run *run, double seconds)
{
    uint64_t ops = 0, allocated = 0, freed = 0, handed_over = 0;

    for (unsigned i = 0; i < run->threads; i++) {
        ops += run->workers[i].ops;
        allocated += run->workers[i].allocated;
        freed += run->workers[i].freed;
        handed_over += run->workers[i].handed_over;
    }
    if (allocated != freed) {
        fail("%" PRIu64 " blocks allocated but %" PRIu64 " freed", allocated, freed);
    }
    printf("{\"workload\": \"server\", \"threads\": %u, \"seed\": %" PRIu64 ", \"ops\": %" PRIu64
           ", \"remote_frees\": %" PRIu64 ", \"seconds\": %.6f, \"ops_per_second\": %.3f"
           ", \"peak_rss_bytes\": %" PRIu64 "}\n",
           run->threads, run->seed, ops, handed_over, seconds, (double)ops / seconds,
           peak_rss_bytes());
}

static uint64_t parse_number(const char *option, const char *text, uint64_t least, uint64_t most)
{
    char *end;
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 10);
    /* strtoull also takes "-1" and " 1"; neither starts with a digit. */
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno || value < least || value > most) {
        fail("--%s: \"%s\" is not a number from %" PRIu64 " to %" PRIu64, option, text, least,
             most);
    }
    return value;
}

static void print_help(void)
{
    printf("Usage: bench_server [OPTION]...\n"
           "Allocates and frees as a multithreaded server would; prints one line of JSON.\n\n"
           "  --threads N   worker threads (default %d)\n"
           "  --seconds N   run for N seconds (default %d)\n"
           "  --ops N       run N operations in all, in place of a time\n"
           "  --seed N      start of the random numbers (default 1)\n"
           "  --smoke       a short run that shows that the program works\n"
           "  --help        this text\n",
           THREADS_DEFAULT, SECONDS_DEFAULT);
}

static void parse_arguments(struct run *run, int argc, char **argv)
{
    static const struct option options[] = {
        {"threads", required_argument, NULL, 't'},
        {"seconds", required_argument, NULL, 's'},
        {"ops", required_argument, NULL, 'o'},
        {"seed", required_argument, NULL, 'r'},
        {"smoke", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 't':
            run->threads = (unsigned)parse_number("threads", optarg, 1, THREADS_MAX);
            break;
        case 's':
            run->duration_ns = parse_number("seconds", optarg, 1, SECONDS_MAX) * NANOSECONDS;
            break;
        case 'o':
            run->ops = parse_number("ops", optarg, 1, OPS_MAX);
            break;
        case 'r':
            run->seed = parse_number("seed", optarg, 0, UINT64_MAX);
            break;
        case 'q':
            run->threads = SMOKE_THREADS;
            run->duration_ns = SMOKE_MILLISECONDS * (NANOSECONDS / 1000);
            break;
        case 'h':
            print_help();
            exit(EXIT_SUCCESS);
        default:
            exit(EXIT_FAILURE); /* getopt_long has named the fault */
        }
    }
    if (optind < argc) {
        fail("unexpected argument \"%s\"", argv[optind]);
    }
}

int main(int argc, char **argv)
{
    struct run run = {
        .threads = THREADS_DEFAULT,
        .duration_ns = SECONDS_DEFAULT * NANOSECONDS,
        .seed = 1,
    };
    double seconds;

    parse_arguments(&run, argc, argv);
    pthread_barrier_init(&run.filled, NULL, run.threads + 1);
    pthread_barrier_init(&run.started, NULL, run.threads + 1);
    pthread_barrier_init(&run.finished, NULL, run.threads + 1);
    run_start_workers(&run);
    seconds = run_measure(&run);
    for (unsigned i = 0; i < run.threads; i++) {
        pthread_join(run.workers[i].thread, NULL);
    }
    run_report(&run, seconds);
    free(run.workers);
    return EXIT_SUCCESS;
}
