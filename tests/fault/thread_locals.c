/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* thread_locals.c - fault: more thread-local variables than fit on a small stack, where libc puts
 * them. Asserts: the background thread runs.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "fault.h"

enum { LINKS_OF_TWO_THREADS = 4 };

static _Thread_local char many[512 * 1024];

int main(void)
{
    struct stat threads;

    fault_start();
    many[0] = 1;
    CHECK(stat("/proc/self/task", &threads) == 0);
    CHECK(threads.st_nlink == LINKS_OF_TWO_THREADS);
    return many[0] == 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
