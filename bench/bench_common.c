/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_common.c - see bench_common.h. */
#include "bench_common.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { EXTRAS_MAX = 16, LATENCIES_MAX = 4, SMOKE_SHARE = 1000 };

#define GOLDEN        UINT64_C(0x9e3779b97f4a7c15)
#define SECONDS_MAX   86400.0
#define SMOKE_SECONDS 0.2

struct bench_options bench_options;

static struct bench_thread *threads;
static pthread_barrier_t ready;
static atomic_bool time_is_up;
static _Atomic uint64_t counted;
static double began, ended;
static struct rusage usage_began, usage_ended;
static struct {
    const char *name;
    double value;
} extras[EXTRAS_MAX];
static unsigned extras_count;
static struct bench_latency latencies[LATENCIES_MAX];
static unsigned latencies_count;
static uint64_t live_peak;

void bench_fail(const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "bench_%s: ", bench_workload.name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(2);
}

/* splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014). */
uint64_t bench_random(uint64_t *state)
{
    uint64_t z = *state += GOLDEN;

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

size_t bench_skewed_size(uint64_t *state, size_t most)
{
    size_t limit = 64;

    while (limit < most && (bench_random(state) & 1) != 0) {
        limit *= 2;
    }
    limit = limit < most ? limit : most;
    return 16 + bench_below(state, limit - 15);
}

void *bench_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED) {
        bench_fail("no memory for %zu bytes of its own", bytes);
    }
    return memory;
}

void *bench_not_null(void *block, size_t size)
{
    if (block == NULL) {
        bench_fail("no memory for a block of %zu bytes", size);
    }
    return block;
}

/* The tag at the front takes 8 bytes where there are so many, the one at the end a byte. */
void bench_tag(void *block, size_t size, uint64_t tag)
{
    unsigned char *bytes = (unsigned char *)block;

    if (size >= sizeof(tag)) {
        memcpy(bytes, &tag, sizeof(tag));
    }
    if (size > 0) {
        bytes[size - 1] = (unsigned char)tag;
    }
}

void bench_untag(const void *block, size_t size, uint64_t tag)
{
    const unsigned char *bytes = (const unsigned char *)block;
    uint64_t found = tag;

    if (size > sizeof(tag)) {
        memcpy(&found, bytes, sizeof(found));
    }
    if (found != tag || (size > 0 && bytes[size - 1] != (unsigned char)tag)) {
        bench_fail("the block of %zu bytes at %p was overwritten", size, block);
    }
}

bool bench_running(void)
{
    /* Relaxed: nothing is read on the strength of it. */
    return !atomic_load_explicit(&time_is_up, memory_order_relaxed);
}

void bench_count(uint64_t ops)
{
    atomic_fetch_add_explicit(&counted, ops, memory_order_relaxed);
}

double bench_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void bench_begin(void)
{
    getrusage(RUSAGE_SELF, &usage_began);
    began = bench_now();
}

void bench_end(void)
{
    ended = bench_now();
    getrusage(RUSAGE_SELF, &usage_ended);
}

void bench_extra(const char *name, double value)
{
    if (extras_count == EXTRAS_MAX) {
        bench_fail("too many extra numbers");
    }
    extras[extras_count].name = name;
    extras[extras_count++].value = value;
}

void bench_latency(const struct bench_latency *latency)
{
    if (latencies_count == LATENCIES_MAX) {
        bench_fail("too many latencies");
    }
    latencies[latencies_count++] = *latency;
}

void bench_live_peak(uint64_t bytes)
{
    live_peak = bytes;
}

static uint64_t status_kib(const char *key)
{
    char line[256];
    size_t length = strlen(key);
    uint64_t kib = 0;
    FILE *status = fopen("/proc/self/status", "re");

    while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
        if (strncmp(line, key, length) == 0) {
            kib = strtoull(line + length, NULL, 10);
        }
    }
    if (status != NULL) {
        (void)fclose(status);
    }
    return kib;
}

size_t bench_resident_bytes(void)
{
    return (size_t)status_kib("VmRSS:") * KIB;
}

/* Threads */

static void *thread_main(void *argument)
{
    struct bench_thread *self = (struct bench_thread *)argument;

    if (bench_workload.setup != NULL) {
        bench_workload.setup(self);
    }
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&ready);
    while (self->ops < self->ops_end && bench_running()) {
        self->ops += bench_workload.step(self);
    }
    pthread_barrier_wait(&ready);
    if (bench_workload.teardown != NULL) {
        bench_workload.teardown(self);
    }
    bench_count(self->ops);
    return NULL;
}

static void sleep_until_time_is_up(void)
{
    if (bench_options.ops == 0) {
        const struct timespec pause = {
            .tv_sec = (time_t)bench_options.seconds,
            .tv_nsec =
                (long)((bench_options.seconds - (double)(time_t)bench_options.seconds) * 1e9),
        };

        (void)nanosleep(&pause, NULL);
        atomic_store_explicit(&time_is_up, true, memory_order_relaxed);
    }
}

static void run_threads(void)
{
    static pthread_t ids[BENCH_THREADS_MAX];
    unsigned count = bench_options.threads;

    threads = (struct bench_thread *)bench_memory(count * sizeof(*threads));
    pthread_barrier_init(&ready, NULL, count + 1);
    for (unsigned i = 0; i < count; i++) {
        threads[i].index = i;
        threads[i].random = bench_options.seed + i * UINT64_C(0xd1342543de82ef95);
        threads[i].ops_end =
            bench_options.ops != 0 ? (bench_options.ops + count - 1) / count : UINT64_MAX;
        if (pthread_create(&ids[i], NULL, thread_main, &threads[i]) != 0) {
            bench_fail("cannot start thread %u", i + 1);
        }
    }
    pthread_barrier_wait(&ready);
    bench_begin();
    pthread_barrier_wait(&ready);
    sleep_until_time_is_up();
    pthread_barrier_wait(&ready);
    bench_end();
    for (unsigned i = 0; i < count; i++) {
        pthread_join(ids[i], NULL);
    }
    if (bench_workload.conclude != NULL) {
        bench_workload.conclude();
    }
}

/* Report */

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

static void report_latencies(void)
{
    if (latencies_count > 0) {
        printf(", \"latency_ns\": {");
    }
    for (unsigned i = 0; i < latencies_count; i++) {
        const struct bench_latency *of = &latencies[i];

        printf("%s\"%s\": {\"p50\": %.0f, \"p90\": %.0f, \"p99\": %.0f, \"p999\": %.0f, "
               "\"p9999\": %.0f, \"max\": %.0f}",
               i > 0 ? ", " : "", of->call, of->p50, of->p90, of->p99, of->p999, of->p9999,
               of->max);
    }
    if (latencies_count > 0) {
        printf("}");
    }
}

static void report(uint64_t peak, uint64_t end)
{
    uint64_t ops = atomic_load(&counted);
    double seconds = ended - began;

    printf("{\"workload\": \"%s\", \"variant\": \"%s\", \"threads\": %u, \"seed\": %" PRIu64
           ", \"ops\": %" PRIu64 ", \"seconds\": %.6f, \"ops_per_second\": %.3f"
           ", \"peak_rss_bytes\": %" PRIu64 ", \"end_rss_bytes\": %" PRIu64
           ", \"minor_faults\": %ld, \"user_seconds\": %.6f, \"system_seconds\": %.6f",
           bench_workload.name, bench_options.variant->name, bench_options.threads,
           bench_options.seed, ops, seconds, (double)ops / seconds, peak, end,
           usage_ended.ru_minflt - usage_began.ru_minflt,
           seconds_of(usage_ended.ru_utime) - seconds_of(usage_began.ru_utime),
           seconds_of(usage_ended.ru_stime) - seconds_of(usage_began.ru_stime));
    if (live_peak != 0) {
        printf(", \"live_peak_bytes\": %" PRIu64, live_peak);
    }
    report_latencies();
    for (unsigned i = 0; i < extras_count; i++) {
        printf("%s\"%s\": %.6g", i == 0 ? ", \"extra\": {" : ", ", extras[i].name, extras[i].value);
    }
    printf("%s}\n", extras_count > 0 ? "}" : "");
}

/* Options */

static uint64_t parse_number(const char *option, const char *text, uint64_t least, uint64_t most)
{
    char *end;

    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);

    /* strtoull also takes "-1" and " 1"; neither starts with a digit. */
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < least ||
        value > most) {
        bench_fail("--%s: \"%s\" is not a number from %" PRIu64 " to %" PRIu64, option, text, least,
                   most);
    }
    return value;
}

static double parse_seconds(const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || !(value > 0 && value <= SECONDS_MAX)) {
        bench_fail("--seconds: \"%s\" is not a time above 0, of at most a day", text);
    }
    return value;
}

static const struct bench_variant *find_variant(const char *name)
{
    for (const struct bench_variant *variant = bench_workload.variants; variant->name; variant++) {
        if (strcmp(variant->name, name) == 0) {
            return variant;
        }
    }
    bench_fail("--variant: there is no \"%s\"; see --list-variants", name);
}

_Noreturn static void list_variants(void)
{
    for (const struct bench_variant *variant = bench_workload.variants; variant->name; variant++) {
        puts(variant->name);
    }
    exit(EXIT_SUCCESS);
}

_Noreturn static void print_help(void)
{
    printf("Usage: bench_%s [OPTION]...\n%s. Prints one line of JSON.\n\n"
           "  --variant NAME    one of those that --list-variants prints\n"
           "  --threads N       from %u to %d (default %u)\n"
           "  --ops N           do N operations in all (the default, with the variant's own N)\n"
           "  --seconds S       or run for S seconds\n"
           "  --seed N          start of the random numbers (default 1)\n"
           "  --smoke           a short run that shows that the program works\n"
           "  --list-variants, --help\n",
           bench_workload.name, bench_workload.about, bench_workload.threads_least,
           BENCH_THREADS_MAX, bench_workload.threads);
    exit(EXIT_SUCCESS);
}

static void take_option(int option)
{
    switch (option) {
    case 'v':
        bench_options.variant = find_variant(optarg);
        break;
    case 't':
        bench_options.threads = (unsigned)parse_number(
            "threads", optarg, bench_workload.threads_least, BENCH_THREADS_MAX);
        break;
    case 's':
        bench_options.seconds = parse_seconds(optarg);
        break;
    case 'o':
        bench_options.ops = parse_number("ops", optarg, 1, UINT64_MAX / 2);
        break;
    case 'r':
        bench_options.seed = parse_number("seed", optarg, 0, UINT64_MAX);
        break;
    case 'q':
        bench_options.smoke = true;
        break;
    case 'l':
        list_variants();
    case 'h':
        print_help();
    default:
        exit(2); /* getopt_long has named the fault */
    }
}

static void parse_arguments(int count, char **arguments)
{
    static const struct option options[] = {
        {"variant", required_argument, NULL, 'v'},
        {"threads", required_argument, NULL, 't'},
        {"seconds", required_argument, NULL, 's'},
        {"ops", required_argument, NULL, 'o'},
        {"seed", required_argument, NULL, 'r'},
        {"smoke", no_argument, NULL, 'q'},
        {"list-variants", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
        take_option(option);
    }
    if (optind < count) {
        bench_fail("unexpected argument \"%s\"", arguments[optind]);
    }
    if (bench_options.ops != 0 && bench_options.seconds > 0) {
        bench_fail("--ops and --seconds exclude each other");
    }
    if (bench_options.smoke && bench_options.ops == 0) {
        bench_options.ops = bench_options.variant->ops / SMOKE_SHARE + 1;
    }
    if (bench_options.ops == 0 && !(bench_options.seconds > 0)) {
        bench_options.ops = bench_options.variant->ops;
    }
}

int main(int count, char **arguments)
{
    bench_options = (struct bench_options){
        .variant = bench_workload.variants,
        .threads = bench_workload.threads,
        .seed = 1,
    };
    parse_arguments(count, arguments);
    if (bench_workload.prepare != NULL) {
        bench_workload.prepare();
    }
    if (bench_workload.run != NULL) {
        bench_workload.run();
    } else {
        run_threads();
    }
    report(status_kib("VmHWM:") * KIB, status_kib("VmRSS:") * KIB);
    return EXIT_SUCCESS;
}
