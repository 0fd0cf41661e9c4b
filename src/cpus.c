/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cpus.c - affinity masks and cgroup quota.
 *
 * Owns         nothing.
 * Concurrency  any thread. No stdio, no allocation.
 * Called by    spread.c, when a second thread starts.
 */
#include "cpus.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "cgroup.h"
#include "os.h"

enum { MASK_WORDS = 128 };

/* Of the thread; nothing is added if it has none. */
static void add_affinity(long thread, uint64_t cpus[MASK_WORDS])
{
    uint64_t mask[MASK_WORDS] = {0};
    long bytes = syscall(SYS_sched_getaffinity, thread, sizeof(mask), mask);

    for (long word = 0; word < bytes / (long)sizeof(mask[0]); word++) {
        cpus[word] |= mask[word];
    }
}

/* The process has no mask of its own, and a server may pin each of its threads to a processor: its
 * first thread says what it was started with, unless that is pinned too. */
static uint32_t cpus_of_affinity(void)
{
    uint64_t cpus[MASK_WORDS] = {0};
    uint32_t count = 0;

    add_affinity(os_thread_self().process, cpus);
    add_affinity(0, cpus);
    for (unsigned word = 0; word < MASK_WORDS; word++) {
        count += bit_count(cpus[word]);
    }
    return count > 0 ? count : 1;
}

static uint64_t cpus_of_quota(uint64_t quota, uint64_t period)
{
    return quota == 0 || period == 0 ? UINT64_MAX : (quota - 1) / period + 1;
}

/* Of v2 "QUOTA PERIOD", or "max PERIOD"; of v1 in two files, without a number if there is none. */
static uint64_t cpus_of_group(int directory)
{
    char text[CGROUP_FILE_BYTES];
    uint64_t quota;
    uint64_t period;

    if (cgroup_read_file(directory, "cpu.max", text)) {
        const char *rest = cgroup_parse_number(text, &quota);

        (void)cgroup_parse_number(rest + (*rest == ' '), &period);
        return cpus_of_quota(quota, period);
    }
    quota = cgroup_read_number(directory, "cpu.cfs_quota_us");
    return quota != UINT64_MAX
               ? cpus_of_quota(quota, cgroup_read_number(directory, "cpu.cfs_period_us"))
               : UINT64_MAX;
}

uint32_t cpus_usable(void)
{
    uint32_t cpus = cpus_of_affinity();
    uint64_t groups = cgroup_least("cpu", cpus_of_group);

    return groups < cpus ? (uint32_t)groups : cpus;
}
