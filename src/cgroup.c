/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cgroup.c - files of control groups, v2 and v1, read without stdio and without allocation.
 *
 * Owns         nothing.
 * Concurrency  any thread.
 * Called by    cpus.c and conf.c.
 */
#include "cgroup.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DECIMAL = 10 };

/* The calls themselves, not the C library's functions: those are cancellation points. */
bool cgroup_read_file(const char *path, char text[CGROUP_FILE_BYTES])
{
    long file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);

    if (file < 0) {
        return false;
    }
    long length = syscall(SYS_read, file, text, CGROUP_FILE_BYTES - 1);

    (void)syscall(SYS_close, file);
    text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

const char *cgroup_parse_number(const char *text, uint64_t *number)
{
    *number = 0;
    while (*text >= '0' && *text <= '9') {
        *number = *number * DECIMAL + (uint64_t)(*text++ - '0');
    }
    return text;
}

uint64_t cgroup_least_under(const char *root, char *group, const char *name,
                            uint64_t (*parse)(const char *text))
{
    char path[2 * CGROUP_FILE_BYTES];
    char text[CGROUP_FILE_BYTES];
    uint64_t least = UINT64_MAX;

    for (char *end = group + strlen(group); end != NULL; end = strrchr(group, '/')) {
        *end = '\0';
        (void)stpcpy(stpcpy(stpcpy(stpcpy(path, root), group), "/"), name);
        uint64_t value = cgroup_read_file(path, text) ? parse(text) : UINT64_MAX;

        least = value < least ? value : least;
    }
    return least;
}

uint64_t cgroup_least(const char *name, uint64_t (*parse)(const char *text))
{
    char groups[CGROUP_FILE_BYTES];

    if (!cgroup_read_file("/proc/self/cgroup", groups) || strncmp(groups, "0::/", 4) != 0) {
        return UINT64_MAX;
    }
    groups[strcspn(groups, "\n")] = '\0';
    return cgroup_least_under("/sys/fs/cgroup", groups + strlen("0::"), name, parse);
}

/* "BYTES" or "max". */
static uint64_t parse_memory(const char *text)
{
    uint64_t bytes;

    return cgroup_parse_number(text, &bytes) != text ? bytes : UINT64_MAX;
}

uint64_t cgroup_memory_bytes(void)
{
    char text[CGROUP_FILE_BYTES];
    uint64_t v2 = cgroup_least("memory.max", parse_memory);

    if (v2 == UINT64_MAX && cgroup_read_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", text)) {
        return parse_memory(text);
    }
    return v2;
}
