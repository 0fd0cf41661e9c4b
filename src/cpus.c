/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cpus.c - affinity mask and cgroup quota.
 *
 * Owns         nothing.
 * Concurrency  any thread. No stdio, no allocation: files are read into the stack.
 * Called by    life.c, when a second thread starts.
 */
#include "cpus.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MASK_WORDS = 128, FILE_BYTES = 512, DECIMAL = 10 };

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

/* The calls themselves, not the C library's functions: those are cancellation points. */
static bool read_file(const char *path, char text[FILE_BYTES])
{
    long file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);

    if (file < 0) {
        return false;
    }
    long length = syscall(SYS_read, file, text, FILE_BYTES - 1);

    (void)syscall(SYS_close, file);
    text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

static const char *parse_number(const char *text, uint64_t *number)
{
    *number = 0;
    while (*text >= '0' && *text <= '9') {
        *number = *number * DECIMAL + (uint64_t)(*text++ - '0');
    }
    return text;
}

static uint32_t cpus_of_quota(uint64_t quota, uint64_t period)
{
    if (quota == 0 || period == 0 || quota / period >= UINT32_MAX) {
        return UINT32_MAX;
    }
    return (uint32_t)((quota + period - 1) / period);
}

/* "QUOTA PERIOD" or "max PERIOD": cgroup v2. */
static uint32_t cpus_of_cpu_max(const char *path)
{
    char text[FILE_BYTES];
    uint64_t quota;
    uint64_t period;

    if (!read_file(path, text)) {
        return UINT32_MAX;
    }
    const char *rest = parse_number(text, &quota);

    (void)parse_number(rest + (*rest == ' '), &period);
    return cpus_of_quota(quota, period);
}

/* Every group from the process's own up to the root may have a quota; the least counts. */
static uint32_t cpus_of_cgroup_v2(void)
{
    char groups[FILE_BYTES];
    char path[2 * FILE_BYTES];
    uint32_t least = UINT32_MAX;

    if (!read_file("/proc/self/cgroup", groups) || strncmp(groups, "0::/", 4) != 0) {
        return UINT32_MAX;
    }
    groups[strcspn(groups, "\n")] = '\0';
    for (char *end = groups + strlen(groups); end > groups + 3; end = strrchr(groups, '/')) {
        *end = '\0';
        (void)stpcpy(stpcpy(stpcpy(path, "/sys/fs/cgroup"), groups + 3), "/cpu.max");
        uint32_t cpus = cpus_of_cpu_max(path);

        least = cpus < least ? cpus : least;
    }
    return least;
}

static uint32_t cpus_of_cgroup_v1(void)
{
    char text[FILE_BYTES];
    uint64_t quota;
    uint64_t period;

    if (!read_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", text)) {
        return UINT32_MAX;
    }
    (void)parse_number(text, &quota);
    if (!read_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", text)) {
        return UINT32_MAX;
    }
    (void)parse_number(text, &period);
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
