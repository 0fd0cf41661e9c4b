/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cpus.c - affinity mask and cgroup quota.
 *
 * Owns         nothing.
 * Concurrency  any thread. No stdio, no allocation.
 * Called by    life.c, when a second thread starts, or one changes its arena.
 */
#include "cpus.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "cgroup.h"

enum { MASK_WORDS = 128 };

static uint32_t cpus_of_affinity(void)
{
    uint64_t mask[MASK_WORDS] = {0};
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);
    uint32_t cpus = 0;

    for (long word = 0; word < bytes / (long)sizeof(mask[0]); word++) {
        cpus += bit_count(mask[word]);
    }
    return cpus > 0 ? cpus : 1;
}

static uint32_t cpus_of_quota(uint64_t quota, uint64_t period)
{
    if (quota == 0 || period == 0 || quota / period >= UINT32_MAX) {
        return UINT32_MAX;
    }
    return (uint32_t)((quota + period - 1) / period);
}

/* "QUOTA PERIOD" or "max PERIOD". */
static uint64_t parse_cpu_max(const char *text)
{
    uint64_t quota;
    uint64_t period;
    const char *rest = cgroup_parse_number(text, &quota);

    (void)cgroup_parse_number(rest + (*rest == ' '), &period);
    return cpus_of_quota(quota, period);
}

/* Every group from the process's own up to the root may have a quota; the least counts. */
static uint32_t cpus_of_cgroup_v2(void)
{
    uint64_t least = cgroup_least("cpu.max", parse_cpu_max);

    return least < UINT32_MAX ? (uint32_t)least : UINT32_MAX;
}

static uint32_t cpus_of_cgroup_v1(void)
{
    char text[CGROUP_FILE_BYTES];
    uint64_t quota;
    uint64_t period;

    if (!cgroup_read_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", text)) {
        return UINT32_MAX;
    }
    (void)cgroup_parse_number(text, &quota);
    if (!cgroup_read_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", text)) {
        return UINT32_MAX;
    }
    (void)cgroup_parse_number(text, &period);
    return cpus_of_quota(quota, period);
}

uint32_t cpus_usable(void)
{
    uint32_t cpus = cpus_of_affinity();
    uint32_t v2 = cpus_of_cgroup_v2();
    uint32_t v1 = cpus_of_cgroup_v1();

    cpus = v2 < cpus ? v2 : cpus;
    return v1 < cpus ? v1 : cpus;
}
