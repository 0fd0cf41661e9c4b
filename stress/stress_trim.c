/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stress_trim.c - risk: trims, drains and statistics of one thread meet the allocations of others.
 *
 * A few threads do nothing but trim, set soft limits and read every statistic, so that slabs are
 * released, queues drained, depots emptied and reliefs begun at any moment; the others allocate and
 * free each other's blocks, and take the reliefs' steps.
 * Asserts: memory never runs out, no block changes while live, allocated = freed + live at every
 * rest, nothing in use at the end.
 */
#include "breakwater/breakwater.h"
#include "harness.h"

#include <stdio.h>

enum {
    LARGEST_BYTES = 256 * 1024,
    BURST = 8,
    WORKERS_A_TRIMMER = 8,
    PAD_MOST = 1 << 20,
    SOFT_MOST = 1 << 24
};

static void print_info(void)
{
    FILE *nowhere = fopen("/dev/null", "w");

    if (nowhere == NULL) {
        stress_fail("/dev/null does not open");
    }
    if (bw_malloc_info(0, nowhere) != 0) {
        stress_fail("malloc_info fails");
    }
    (void)fclose(nowhere);
}

static void trim_step(struct stress_thread *self)
{
    switch (stress_below(self, 8)) {
    case 0:
        print_info();
        break;
    case 1:
        (void)bw_mallinfo();
        break;
    case 2:
        if (bw_mallinfo2().hblks == 0 && bw_mallinfo2().hblkhd != 0) {
            stress_fail("bytes without a region");
        }
        break;
    case 3:
        block_free(&self->accounts, block_alloc_any(&self->accounts, LARGEST_BYTES));
        break;
    case 4:
        if (!bw_set_limits(stress_below(self, SOFT_MOST), 0)) {
            stress_fail("a soft limit is refused");
        }
        break;
    default:
        (void)bw_malloc_trim(stress_below(self, PAD_MOST));
    }
}

static void step(struct stress_thread *self)
{
    if (self->index % WORKERS_A_TRIMMER == 0) {
        trim_step(self);
        return;
    }
    for (int i = 0; i < BURST; i++) {
        void *block =
            block_alloc_any(&self->accounts, block_random_size(&self->accounts, LARGEST_BYTES));

        if (!stress_give(self, (unsigned)stress_below(self, stress_options.threads), block)) {
            stress_hold(self, HELD_MAX / 4, block);
        }
        block_free(&self->accounts, stress_take(self, self));
        block_free(&self->accounts, stress_take(self, stress_thread_by_index(0)));
    }
}

int main(int argc, char **argv)
{
    static const struct stress_program program = {
        .name = "stress_trim",
        .threads = 24,
        .threads_least = 2,
        .arenas = 4,
        .step = step,
    };

    stress_start(argc, argv, &program);
    return stress_rounds();
}
