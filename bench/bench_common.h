/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_common.h - what the workloads share: options, threads, the measured part, the report.
 *
 * A workload is a file bench_<name>.c that defines `bench_workload` and is linked with
 * bench_common.c, which has main(). Each thread runs setup(), then, from the moment all threads are
 * ready, step() again and again until its share of the operations is done or the time is up, then
 * teardown(). Only the steps are timed. Or a workload has run() in place of all that.
 *
 * A workload calls malloc and its kin by their standard names: what is preloaded is measured.
 * Memory of its own comes from bench_memory(), which no allocator sees; it is touched before the
 * start.
 *
 * Every block carries a tag at both ends (bench_tag, bench_untag), so that an allocator that hands
 * out a block twice, or too short, ends the run with an error.
 */
#ifndef BREAKWATER_BENCH_COMMON_H
#define BREAKWATER_BENCH_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_THREADS_MAX = 1024 };

#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)

struct bench_thread {
    _Alignas(64) unsigned index;
    uint64_t random;  /* state of bench_random() */
    uint64_t ops;     /* done so far */
    uint64_t ops_end; /* this thread's share; UINT64_MAX: until the time is up */
    void *state;      /* the workload's own */
};

struct bench_variant {
    const char *name;
    uint64_t ops;   /* in all threads together, unless told otherwise; about a second with glibc */
    uint64_t value; /* a parameter the workload understands */
};

struct bench_workload {
    const char *name;
    const char *about;
    const struct bench_variant *variants; /* ends with a NULL name; the first is the default */
    unsigned threads;                     /* unless told otherwise */
    unsigned threads_least;
    void (*prepare)(void); /* once, before the threads start; may be NULL */
    void (*setup)(struct bench_thread *self);
    uint64_t (*step)(struct bench_thread *self); /* the operations done, at least 1 */
    void (*teardown)(struct bench_thread *self);
    void (*conclude)(void); /* once, after the threads have ended; may be NULL */
    void (*run)(void);      /* in place of all of the above; counts with bench_count() */
};

extern const struct bench_workload bench_workload;

/* What the command line says. */
struct bench_options {
    const struct bench_variant *variant;
    unsigned threads;
    uint64_t ops; /* 0: by time */
    double seconds;
    uint64_t seed;
    bool smoke;
};
extern struct bench_options bench_options;

/* Stop the program with one line. */
_Noreturn __attribute__((format(printf, 1, 2))) void bench_fail(const char *format, ...);

__extension__ typedef unsigned __int128 bench_wide;

uint64_t bench_random(uint64_t *state);

/* A number below `limit`. */
static inline uint64_t bench_below(uint64_t *state, uint64_t limit)
{
    return (uint64_t)(((bench_wide)bench_random(state) * limit) >> 64);
}

/* Sizes as servers have them: half up to 64 bytes, few long ones, none over `most`. */
size_t bench_skewed_size(uint64_t *state, size_t most);

/* Zeroed and touched memory that does not come from malloc. */
void *bench_memory(size_t bytes);

void *bench_not_null(void *block, size_t size);
void bench_tag(void *block, size_t size, uint64_t tag);
void bench_untag(const void *block, size_t size, uint64_t tag);

/* For steps with loops of their own: false once the time is up. */
bool bench_running(void);

/* For run(): operations of any thread; and the part that is timed. */
void bench_count(uint64_t ops);
void bench_begin(void);
void bench_end(void);

double bench_now(void);
size_t bench_resident_bytes(void);

/* A number to report beside the others; `name` must live on. */
void bench_extra(const char *name, double value);

/* The most bytes that were live at once, if the workload knows. */
void bench_live_peak(uint64_t bytes);

/* Nanoseconds at given parts of all calls, for one kind of call. */
struct bench_latency {
    const char *call;
    double p50, p90, p99, p999, p9999, max;
};
void bench_latency(const struct bench_latency *latency);

#endif
