/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stress_oom.c - risk: an allocation that fails under load loses or corrupts something, or memory
 * does not come back for some thread.
 *
 * Thread 0 lets the kernel's calls for memory fail, all of them or a few, while the others
 * allocate, resize, free and trim. Each round runs in a process of its own, since a heap that has
 * mapped its way out of a failure asks the kernel for little afterwards. Asserts: a failure is NULL
 * with ENOMEM and leaves the old block as it was; no block changes while live; afterwards every
 * thread can allocate again; allocated = freed + live at every rest, nothing in use at the end.
 */
#include "breakwater/breakwater.h"
#include "harness.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os.h"

enum { LARGEST_BYTES = 400 * 1024, BURST = 4, FEW_CALLS = 8, ALL_CALLS = 1 << 30, HELD = 32 };

/* What all children counted together: shared with them. */
static struct totals {
    _Atomic uint64_t blocks;
    _Atomic uint64_t failures;
} * totals;

static void add_to_totals(void)
{
    for (unsigned index = 0; index < stress_options.threads; index++) {
        const struct block_accounts *accounts = &stress_thread_by_index(index)->accounts;

        atomic_fetch_add(&totals->blocks, accounts->allocated_blocks);
        atomic_fetch_add(&totals->failures, accounts->failures);
    }
}

static void let_calls_fail(struct stress_thread *self)
{
    switch (stress_below(self, 4)) {
    case 0:
        os_fail_calls(0, 0);
        break;
    case 1:
        os_fail_calls(1 + stress_below(self, FEW_CALLS), 1 + stress_below(self, FEW_CALLS));
        break;
    default:
        os_fail_calls(1 + stress_below(self, FEW_CALLS), ALL_CALLS);
    }
    for (uint64_t i = stress_below(self, 64); i > 0; i--) {
        (void)sched_yield();
    }
}

static void resize_one(struct stress_thread *self)
{
    void **slot = &self->held[stress_below(self, HELD)];
    void *resized = NULL;

    if (*slot != NULL) {
        resized = block_resize(&self->accounts, *slot,
                               1 + block_random_size(&self->accounts, LARGEST_BYTES));
    }
    if (resized != NULL) {
        *slot = resized;
    }
}

static void step(struct stress_thread *self)
{
    if (self->index == 0) {
        let_calls_fail(self);
        return;
    }
    self->accounts.may_fail = true;
    for (int i = 0; i < BURST; i++) {
        void *block =
            block_alloc_any(&self->accounts, block_random_size(&self->accounts, LARGEST_BYTES));

        if (block == NULL ||
            !stress_give(self, (unsigned)stress_below(self, stress_options.threads), block)) {
            stress_hold(self, HELD, block);
        }
        block_free(&self->accounts, stress_take(self, self));
        block_free(&self->accounts, stress_take(self, stress_thread_by_index(0)));
    }
    resize_one(self);
    if (stress_below(self, 32) == 0) {
        (void)bw_malloc_trim(0);
    }
}

/* With memory there again, every thread gets some, of every kind. */
static void recover(struct stress_thread *self)
{
    os_fail_calls(0, 0);
    self->accounts.may_fail = false;
    for (size_t size = 1; size < 2 * (size_t)LARGEST_BYTES; size += size / 4 + 1) {
        stress_hold(self, HELD, block_alloc_any(&self->accounts, size));
    }
}

/* The main thread, which is the only one then, waits for a child that runs a round. */
static void run_round_in_child(uint64_t round)
{
    pid_t child = fork();
    int status = 0;

    if (child < 0) {
        stress_fail("fork");
    }
    if (child == 0) {
        stress_options.seed += round;
        stress_round();
        add_to_totals();
        _exit(EXIT_SUCCESS);
    }
    if (waitpid(child, &status, 0) != child || status != 0) {
        stress_fail("round %llu ended with status %#x", (unsigned long long)round,
                    (unsigned)status);
    }
}

int main(int argc, char **argv)
{
    static const struct stress_program program = {
        .name = "stress_oom",
        .threads = 12,
        .threads_least = 2,
        .arenas = 4,
        .step = step,
        .phase_ends = recover,
    };
    uint64_t round = 0;

    stress_start(argc, argv, &program);
    totals = (struct totals *)mmap(NULL, sizeof(*totals), PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (totals == MAP_FAILED) {
        stress_fail("mmap");
    }
    while (stress_has_time()) {
        run_round_in_child(round++);
        stress_prepare_threads();
        stress_round_over();
    }
    printf("%llu blocks, %llu allocations failed\n", (unsigned long long)totals->blocks,
           (unsigned long long)totals->failures);
    return stress_finish();
}
