/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fault.c - see fault.h. */
#include "fault.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DECIMAL = 10, FAILURE_BYTES = 512 };

_Noreturn void fault_fail(const char *condition, const char *file, int line)
{
    char text[FAILURE_BYTES];
    int length = snprintf(text, sizeof text, "%s:%d: FAILED: %s\n", file, line, condition);

    /* Not dprintf(): it takes a lock of stdio's, and the fault may be that somebody keeps it. */
    (void)!write(STDERR_FILENO, text, (size_t)length < sizeof text ? (size_t)length : sizeof text);
    abort();
}

void fault_start(void)
{
    const void *ours = dlsym(RTLD_DEFAULT, "bw_malloc");
    Dl_info of_malloc;
    Dl_info of_ours;

    CHECK(ours != NULL);
    /* What a program prints before a check ends it must not be lost. */
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    CHECK(dladdr(dlsym(RTLD_DEFAULT, "malloc"), &of_malloc) != 0);
    CHECK(dladdr(ours, &of_ours) != 0);
    CHECK(of_malloc.dli_fbase == of_ours.dli_fbase);
}

static unsigned char filling(const void *block, size_t size)
{
    return (unsigned char)(((uintptr_t)block >> 4) + size);
}

void *fault_block(size_t size)
{
    void *block = malloc(size);

    if (block == NULL) {
        (void)dprintf(STDERR_FILENO, "no block of %zu bytes\n", size);
    }
    CHECK(block != NULL);
    return memset(block, filling(block, size), size);
}

void fault_verify(const void *block, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)block;
    unsigned char expected = filling(block, size);

    CHECK(size == 0 || (bytes[0] == expected && memcmp(bytes, bytes + 1, size - 1) == 0));
}

void fault_free(void *block, size_t size)
{
    fault_verify(block, size);
    free(block);
}

size_t fault_resident_bytes(void)
{
    char text[128] = {0};
    char *rest = text;
    FILE *file = fopen("/proc/self/statm", "re");

    CHECK(file != NULL);
    CHECK(fgets(text, sizeof(text), file) != NULL);
    (void)fclose(file);
    (void)strtoul(text, &rest, DECIMAL);
    return strtoul(rest, NULL, DECIMAL) * (size_t)sysconf(_SC_PAGESIZE);
}

void fault_wait(int child)
{
    int status = -1;

    CHECK(child > 0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

unsigned long fault_option(int count, char **arguments, const char *option, unsigned long otherwise)
{
    for (int i = 1; i + 1 < count; i++) {
        if (strcmp(arguments[i], option) == 0) {
            return strtoul(arguments[i + 1], NULL, DECIMAL);
        }
    }
    return otherwise;
}
