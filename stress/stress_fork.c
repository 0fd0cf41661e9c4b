/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stress_fork.c - risk: a child forked while other threads allocate finds the heap half changed, or
 * hangs; the parent loses blocks that were allocated or freed meanwhile.
 *
 * Some threads fork again and again while all allocate and free each other's blocks. The child
 * checks every module, verifies and frees what its thread held, allocates, and starts no thread.
 * Asserts: every child ends well, no block changes while live, allocated = freed + live in the
 * parent at every rest, nothing in use at the end.
 */
#include "breakwater/breakwater.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deferred.h"
#include "emergency.h"
#include "heap.h"

enum {
    LARGEST_BYTES = 100 * 1024,
    BURST = 8,
    WORKERS_A_FORKER = 4,
    STEPS_A_FORK = 8,
    CHILD_SECONDS = 60, /* then it hangs */
    CHILD_BLOCKS = 200,
    HELD = 64,
};

_Noreturn static void live_as_child(struct stress_thread *self)
{
    (void)alarm(CHILD_SECONDS);
    heap_check();
    for (int i = 0; i < CHILD_BLOCKS; i++) {
        void *block =
            block_alloc_any(&self->accounts, block_random_size(&self->accounts, LARGEST_BYTES));

        stress_hold(self, HELD, block);
        block_free(&self->accounts, stress_take(self, self));
    }
    stress_drop_all(self);
    (void)bw_malloc_trim(0);
    heap_check();
    _exit(EXIT_SUCCESS);
}

static void fork_and_wait(struct stress_thread *self)
{
    pid_t child = fork();
    int status = 0;

    if (child < 0) {
        stress_fail("fork");
    }
    if (child == 0) {
        live_as_child(self);
    }
    if (waitpid(child, &status, 0) != child || status != 0) {
        stress_fail("a child ended with status %#x", (unsigned)status);
    }
}

static void step(struct stress_thread *self)
{
    for (int i = 0; i < BURST; i++) {
        void *block =
            block_alloc_any(&self->accounts, block_random_size(&self->accounts, LARGEST_BYTES));

        if (!stress_give(self, (unsigned)stress_below(self, stress_options.threads), block)) {
            stress_hold(self, HELD, block);
        }
        block_free(&self->accounts, stress_take(self, self));
    }
    if (self->index % WORKERS_A_FORKER == 0 && stress_below(self, STEPS_A_FORK) == 0) {
        fork_and_wait(self);
    }
}

int main(int argc, char **argv)
{
    static const struct stress_program program = {
        .name = "stress_fork",
        .threads = 16,
        .threads_least = 1,
        .arenas = 4,
        .step = step,
    };
    int status;

    stress_start(argc, argv, &program);
    status = stress_rounds();
    printf("%llu blocks served and %llu frees deferred during forks\n",
           (unsigned long long)emergency_stats().allocs, (unsigned long long)deferred_count());
    return status;
}
