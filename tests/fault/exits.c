/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* exits.c - fault: a handler of a signal, which may have interrupted malloc or free, calls exit().
 *
 * Nobody may call exit() there, and many do. Asserts: the process ends.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "fault.h"

enum { CHILDREN = 100, BLOCKS = 4000, FIRST_US = 2000, SPREAD_US = 15000, PATIENCE_S = 20 };

static void end_process(int signal)
{
    (void)signal;
    /* Another signal ends what hangs. */
    (void)alarm(PATIENCE_S);
    exit(0);
}

static _Noreturn void replace_until_the_end(unsigned seed)
{
    static void *blocks[BLOCKS];
    const struct itimerval time = {.it_value = {0, FIRST_US + seed * 997 % SPREAD_US}};
    const struct sigaction action = {.sa_handler = end_process};

    CHECK(sigaction(SIGVTALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_VIRTUAL, &time, NULL) == 0);
    for (;;) {
        size_t at = (size_t)rand_r(&seed) % BLOCKS;
        size_t size = 1 + (size_t)rand_r(&seed) % (rand_r(&seed) % 8 == 0 ? MIB : 64 * KIB);

        free(blocks[at]);
        blocks[at] = malloc(size);
        CHECK(blocks[at] != NULL);
        memset(blocks[at], 1, size < 4 * KIB ? size : 4 * KIB);
    }
}

int main(void)
{
    fault_start();
    for (unsigned i = 0; i < CHILDREN; i++) {
        pid_t child = fork();

        CHECK(child >= 0);
        if (child == 0) {
            replace_until_the_end(i);
        }
        fault_wait(child);
    }
    return 0;
}
