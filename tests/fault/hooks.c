/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hooks.c - a library that stands before the C library's functions, as libfaketime's does, and
 * allocates in them: it is preloaded with the allocator. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

pid_t getpid(void)
{
    void *volatile block = malloc(1000);

    free(block);
    return (pid_t)syscall(SYS_getpid);
}
