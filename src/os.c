/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* os.c - the kernel calls of os.h and the seam that makes them fail.
 *
 * Owns         the counters of the seam; whether purges work, and several ranges' at once; how
 *              many in a row were refused.
 * Concurrency  any thread; os_sbrk under the break lock.
 * Called by    every layer.
 */
#include "os.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "pace.h"
#include "vdso.h"

/* Linux 5.14; not in every C library that may be older than the kernel. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Linux 5.18: the same as MADV_DONTNEED, of locked memory too. */
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* Linux 5.10, the same number on all architectures but alpha. */
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

/* Linux 6.15: the calling process, where a call asks for a descriptor of one. */
#ifndef PIDFD_SELF
#define PIDFD_SELF (-10000)
#endif

#define POPULATE_BYTES ((size_t)256 * 1024)

enum {
    NS_PER_SECOND = 1000000000,
    REFUSALS_MANY = 64, /* purges in a row; then only each so many-th is asked for */
};

static _Atomic uint64_t calls;
static _Atomic uint64_t fail_first;
static _Atomic uint64_t fail_count;

/* Relaxed throughout the seam: a test sets it while the other threads are at rest. */
static bool call_fails(void)
{
    if (!CHECKS_ENABLED) {
        return false;
    }
    uint64_t call = atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed) + 1;
    uint64_t first = atomic_load_explicit(&fail_first, memory_order_relaxed);

    return first != 0 && call >= first &&
           call - first < atomic_load_explicit(&fail_count, memory_order_relaxed);
}

void os_fail_calls(uint64_t first, uint64_t count)
{
    atomic_store_explicit(&calls, 0, memory_order_relaxed);
    atomic_store_explicit(&fail_count, count, memory_order_relaxed);
    atomic_store_explicit(&fail_first, first, memory_order_relaxed);
}

uint64_t os_call_count(void)
{
    return atomic_load_explicit(&calls, memory_order_relaxed);
}

void *os_sbrk(intptr_t bytes)
{
    if (bytes > 0 && call_fails()) {
        return NULL;
    }
    void *old = sbrk(bytes);

    return (intptr_t)old == -1 || os_break() == 0 ? NULL : old;
}

/* sbrk() reports failure as (void *)-1; and where a filter answers brk() with an error, it takes
 * that for the new break. */
uintptr_t os_break(void)
{
    void *current = sbrk(0);

    return (intptr_t)current < 0 ? 0 : (uintptr_t)current;
}

static void *map(size_t bytes, int protection, int flags)
{
    if (call_fails()) {
        return NULL;
    }
    void *start = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

    return start == MAP_FAILED ? NULL : start;
}

/* Not MAP_NORESERVE: the kernel is to refuse here what the machine can never hold, rather than to
 * kill the process when it is written. */
void *os_map(size_t bytes)
{
    return map(bytes, PROT_READ | PROT_WRITE, 0);
}

/* A debugger's core file (gcore) would be as long as what is reserved. */
void *os_reserve(size_t bytes)
{
    void *start = map(bytes, PROT_NONE, MAP_NORESERVE);

    if (start != NULL) {
        (void)madvise(start, bytes, MADV_DONTDUMP);
    }
    return start;
}

bool os_commit(void *start, size_t bytes)
{
    if (call_fails() || mprotect(start, bytes, PROT_READ | PROT_WRITE) != 0) {
        return false;
    }
    (void)madvise(start, bytes, MADV_DODUMP);
    return true;
}

size_t os_page_bytes(void)
{
    /* Not sysconf(), here and below: its tables would be pages more of every process. */
    return (size_t)getpagesize();
}

uint64_t os_clock_ns(void)
{
    struct timespec now = {0, 0};

    vdso_clock(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static bool purge(void *start, size_t bytes)
{
    return madvise(start, bytes, MADV_DONTNEED) == 0 ||
           madvise(start, bytes, MADV_DONTNEED_LOCKED) == 0;
}

void os_unmap(void *start, size_t bytes)
{
    /* It may lie in the middle of what the kernel has made one mapping of, with no room for two. */
    if (munmap(start, bytes) != 0) {
        (void)purge(start, bytes);
    }
}

/* What became of the first page that was purged, one with something in it. */
static _Atomic uint8_t purged_page;

enum { PURGE_UNKNOWN, PURGE_ZEROES, PURGE_KEEPS };

/* There are emulators (older qemu-user) and filters that say yes and do nothing: what calloc()
 * takes for zero would be what was there before. Without memory for a page the kernel is believed,
 * and asked by the next purge. */
static bool purge_zeroes(void)
{
    /* Relaxed, here and below: whoever does not see the answer finds the same. */
    uint8_t answer = atomic_load_explicit(&purged_page, memory_order_relaxed);

    if (likely(answer != PURGE_UNKNOWN)) {
        return answer == PURGE_ZEROES;
    }
    size_t bytes = os_page_bytes();
    void *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED) {
        return true;
    }
    volatile char *content = (volatile char *)page;

    *content = 1;
    answer = purge(page, bytes) && *content != 0 ? PURGE_KEEPS : PURGE_ZEROES;
    atomic_store_explicit(&purged_page, answer, memory_order_relaxed);
    os_unmap(page, bytes);
    return answer == PURGE_ZEROES;
}

/* Purges in a row that the kernel has refused, or was not asked for. Relaxed throughout: one asked
 * for more or less does no harm. */
static _Atomic uint32_t refusals;

/* Where all memory is locked, as by mlockall() before Linux 5.18, it would be asked for all that is
 * free in each pass, for ever. */
static bool refuses_all(void)
{
    return atomic_load_explicit(&refusals, memory_order_relaxed) >= REFUSALS_MANY;
}

/* After many refusals it is asked now and then, until it grants one. */
static bool is_to_be_asked(void)
{
    return !refuses_all() ||
           atomic_fetch_add_explicit(&refusals, 1, memory_order_relaxed) % REFUSALS_MANY == 0;
}

static void note_granted(void)
{
    atomic_store_explicit(&refusals, 0, memory_order_relaxed);
}

bool os_purge(void *start, size_t bytes)
{
    if (!purge_zeroes() || !is_to_be_asked()) {
        return false;
    }
    uint64_t begin = os_clock_ns();
    bool done = purge(start, bytes);

    if (done) {
        pace_note(bytes, os_clock_ns() - begin);
        note_granted();
    } else {
        atomic_fetch_add_explicit(&refusals, 1, memory_order_relaxed);
    }
    return done;
}

static _Atomic bool purges_at_once;

static long process_madvise_self(const struct iovec *ranges, size_t count)
{
    return syscall(SYS_process_madvise, PIDFD_SELF, ranges, count, MADV_DONTNEED, 0);
}

COLD void os_use_process_madvise(void)
{
    /* Relaxed, here and below: a hint. */
    atomic_store_explicit(&purges_at_once, process_madvise_self(NULL, 0) == 0,
                          memory_order_relaxed);
}

/* How many of the ranges, from the first on, went back in one call. */
static size_t purge_at_once(const struct iovec *ranges, size_t count)
{
    size_t done = 0;

    if (count < 2 || refuses_all() ||
        !atomic_load_explicit(&purges_at_once, memory_order_relaxed)) {
        return 0;
    }
    uint64_t begin = os_clock_ns();
    long bytes = process_madvise_self(ranges, count);

    if (bytes > 0) {
        pace_note((size_t)bytes, os_clock_ns() - begin);
        note_granted();
    }
    /* It is the call that is refused, and not the first range. */
    if (bytes < 0 && errno != EINVAL && errno != ENOMEM) {
        atomic_store_explicit(&purges_at_once, false, memory_order_relaxed);
    }
    for (; bytes > 0 && bytes >= (long)ranges[done].iov_len; done++) {
        bytes -= (long)ranges[done].iov_len;
    }
    return done;
}

void os_purge_ranges(struct iovec *ranges, size_t count)
{
    size_t done = 0;

    while ((done += purge_at_once(ranges + done, count - done)) < count) {
        if (!os_purge(ranges[done].iov_base, ranges[done].iov_len)) {
            ranges[done].iov_len = 0;
        }
        done++;
    }
}

/* Piece by piece: meanwhile the kernel lets no other thread map memory or move the break. */
void os_populate(void *start, size_t bytes)
{
    char *piece = (char *)start;
    char *end = piece + bytes;

    while (piece < end && madvise(piece, size_min(POPULATE_BYTES, (size_t)(end - piece)),
                                  MADV_POPULATE_WRITE) == 0) {
        piece += POPULATE_BYTES;
    }
}

void os_advise_huge_pages(void *start, size_t bytes, bool wanted)
{
    (void)madvise(start, bytes, wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

/* The system call itself: getpid() may be another library's (libfaketime's is), which allocates. */
static pid_t process_id(void)
{
    return (pid_t)syscall(SYS_getpid);
}

struct os_thread os_thread_self(void)
{
    return (struct os_thread){.process = process_id(), .thread = (int)syscall(SYS_gettid)};
}

bool os_thread_has_ended(struct os_thread thread)
{
    return thread.process == process_id() &&
           syscall(SYS_tgkill, thread.process, thread.thread, 0) != 0 && errno == ESRCH;
}

COLD size_t os_thread_count(void)
{
    enum { OTHER_LINKS = 2 }; /* "." and that of "..", as in every directory of directories */
    struct stat threads;

    return stat("/proc/self/task", &threads) == 0 && threads.st_nlink > OTHER_LINKS
               ? (size_t)threads.st_nlink - OTHER_LINKS
               : 0;
}

COLD void os_sleep_us(unsigned microseconds)
{
    const struct timespec time = {.tv_nsec = (long)microseconds * 1000};

    /* Not nanosleep(), which is a cancellation point. */
    (void)syscall(SYS_nanosleep, &time, NULL);
}

size_t os_memory_bytes(void)
{
    struct sysinfo machine;

    return sysinfo(&machine) == 0 ? (size_t)machine.totalram * machine.mem_unit : SIZE_MAX;
}

static size_t limit_bytes(__rlimit_resource_t resource)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return SIZE_MAX;
    }
    return (size_t)limit.rlim_cur;
}

size_t os_address_space_bytes(void)
{
    enum { SPARSENESS = 4 };
    size_t memory = os_memory_bytes();
    size_t sparse = memory < SIZE_MAX / SPARSENESS ? memory * SPARSENESS : SIZE_MAX;

    return size_min(sparse, size_min(limit_bytes(RLIMIT_AS), limit_bytes(RLIMIT_DATA)));
}
