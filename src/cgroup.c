/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cgroup.c - files of control groups, v2 and v1, read without stdio, without allocation,
 * and with little of the stack, which may be a small thread's.
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

#include "os.h"

enum { DECIMAL = 10, GROUPS_BYTES = 7680, ROOT_BYTES = 64 };

/* The calls themselves, not the C library's functions: those are cancellation points. */
static int open_at(int directory, const char *path, int flags)
{
    return (int)syscall(SYS_openat, directory, path, flags | O_CLOEXEC);
}

static bool read_at(int directory, const char *name, char *text, size_t bytes)
{
    int file = open_at(directory, name, O_RDONLY);

    if (file < 0) {
        return false;
    }
    long length = syscall(SYS_read, file, text, bytes - 1);

    (void)syscall(SYS_close, file);
    text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

bool cgroup_read_file(int directory, const char *name, char text[CGROUP_FILE_BYTES])
{
    return read_at(directory, name, text, CGROUP_FILE_BYTES);
}

const char *cgroup_parse_number(const char *text, uint64_t *number)
{
    *number = 0;
    while (*text >= '0' && *text <= '9') {
        uint64_t digit = (uint64_t)(*text++ - '0');

        if (__builtin_mul_overflow(*number, DECIMAL, number) ||
            __builtin_add_overflow(*number, digit, number)) {
            *number = UINT64_MAX;
        }
    }
    return text;
}

uint64_t cgroup_read_number(int directory, const char *name)
{
    char text[CGROUP_FILE_BYTES];
    uint64_t number;

    return cgroup_read_file(directory, name, text) && cgroup_parse_number(text, &number) != text
               ? number
               : UINT64_MAX;
}

/* Is `name` one of the list, whose elements end with commas, and it with a colon? */
static bool lists(const char *list, const char *name)
{
    size_t length = strlen(name);

    while (strncmp(list, name, length) != 0 || (list[length] != ',' && list[length] != ':')) {
        /* Not strcspn(): the kernel maps 64 KiB of libc around the first call of each function that
         * is far from all others in use, and this runs in every process. */
        while (*list != ',' && *list != ':') {
            list++;
        }
        if (*list == ':') {
            return false;
        }
        list++;
    }
    return true;
}

bool cgroup_path(const char *groups, const char *controller, char path[CGROUP_PATH_BYTES])
{
    const char *line = groups;

    while (*line != '\0') {
        const char *list = strchr(line, ':');
        const char *group = list != NULL ? strchr(list + 1, ':') : NULL;
        const char *end = group != NULL ? strchr(group, '\n') : NULL;

        if (end == NULL) {
            return false;
        }
        size_t length = (size_t)(end - (group + 1));

        if (lists(list + 1, controller) && length < CGROUP_PATH_BYTES) {
            memcpy(path, group + 1, length);
            path[length] = '\0';
            return true;
        }
        line = end + 1;
    }
    return false;
}

static uint64_t limit_of_directory(const char *path, uint64_t (*limit_of)(int directory))
{
    int directory = open_at(AT_FDCWD, path, O_PATH | O_DIRECTORY);

    if (directory < 0) {
        return UINT64_MAX;
    }
    uint64_t limit = limit_of(directory);

    (void)syscall(SYS_close, directory);
    return limit;
}

uint64_t cgroup_least_under(const char *root, const char *group,
                            uint64_t (*limit_of)(int directory))
{
    char path[ROOT_BYTES + CGROUP_PATH_BYTES];
    uint64_t least = UINT64_MAX;

    if (strlen(root) >= ROOT_BYTES || strlen(group) >= CGROUP_PATH_BYTES) {
        return least;
    }
    char *top = stpcpy(path, root);

    for (char *end = stpcpy(top, group); end != NULL; end = strrchr(top, '/')) {
        *end = '\0';
        uint64_t limit = limit_of_directory(path, limit_of);

        least = limit < least ? limit : least;
    }
    return least;
}

/* What is read of /proc/self/cgroup. */
struct groups {
    char text[GROUPS_BYTES];
    char path[CGROUP_PATH_BYTES];
};

static uint64_t least_of(struct groups *groups, const char *controller,
                         uint64_t (*limit_of)(int directory))
{
    char root[ROOT_BYTES];
    uint64_t least = UINT64_MAX;

    if (!read_at(AT_FDCWD, "/proc/self/cgroup", groups->text, GROUPS_BYTES)) {
        return least;
    }
    if (cgroup_path(groups->text, "", groups->path)) {
        uint64_t alone = cgroup_least_under("/sys/fs/cgroup", groups->path, limit_of);
        uint64_t beside_v1 = cgroup_least_under("/sys/fs/cgroup/unified", groups->path, limit_of);

        least = alone < beside_v1 ? alone : beside_v1;
    }
    if (cgroup_path(groups->text, controller, groups->path)) {
        (void)stpcpy(stpcpy(root, "/sys/fs/cgroup/"), controller);
        uint64_t v1 = cgroup_least_under(root, groups->path, limit_of);

        least = v1 < least ? v1 : least;
    }
    return least;
}

uint64_t cgroup_least(const char *controller, uint64_t (*limit_of)(int directory))
{
    struct groups *groups = (struct groups *)os_map(sizeof(*groups));

    if (groups == NULL) {
        return UINT64_MAX;
    }
    uint64_t least = least_of(groups, controller, limit_of);

    os_unmap(groups, sizeof(*groups));
    return least;
}

/* A group is one of v2 or one of v1. In the file of v2 there may be "max". */
COLD uint64_t cgroup_memory_of_one(int directory)
{
    uint64_t v2 = cgroup_read_number(directory, "memory.max");

    return v2 != UINT64_MAX ? v2 : cgroup_read_number(directory, "memory.limit_in_bytes");
}

uint64_t cgroup_memory_bytes(void)
{
    return cgroup_least("memory", cgroup_memory_of_one);
}
