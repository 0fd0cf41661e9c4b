/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stress_large.c - risk: the page heap or the break loses or overlaps runs when all threads want
 * large blocks at once.
 *
 * Every thread allocates, aligns, resizes, gives away and frees blocks of many units; some trim, so
 * that the break goes down as well as up. Asserts: no block overlaps another, resized ones keep
 * their contents, allocated = freed + live at every rest, all units free at the end.
 */
#include "breakwater/breakwater.h"
#include "harness.h"

enum { HELD = 6, LEAST_BYTES = 65537, SPREAD_SHIFT_MOST = 21, ALIGNMENT_SHIFT_MOST = 20 };

static size_t large_size(struct stress_thread *self)
{
    size_t spread = (size_t)1 << (12 + stress_below(self, SPREAD_SHIFT_MOST - 12));

    return LEAST_BYTES + stress_below(self, spread);
}

static void *large_alloc(struct stress_thread *self)
{
    if (stress_below(self, 8) == 0) {
        return block_alloc_aligned(&self->accounts,
                                   (size_t)1 << (4 + stress_below(self, ALIGNMENT_SHIFT_MOST - 4)),
                                   large_size(self));
    }
    return block_alloc_any(&self->accounts, large_size(self));
}

static void resize_one(struct stress_thread *self)
{
    void **slot = &self->held[stress_below(self, HELD)];

    if (*slot != NULL) {
        *slot = block_resize(&self->accounts, *slot, large_size(self));
    }
}

static void step(struct stress_thread *self)
{
    void *block = large_alloc(self);

    if (stress_below(self, 4) != 0 ||
        !stress_give(self, (unsigned)stress_below(self, stress_options.threads), block)) {
        stress_hold(self, HELD, block);
    }
    resize_one(self);
    for (int i = 0; i < 8; i++) {
        block_free(&self->accounts, stress_take(self, self));
    }
    if (stress_below(self, 32) == 0) {
        (void)bw_malloc_trim(stress_below(self, 4) * LEAST_BYTES);
    }
}

int main(int argc, char **argv)
{
    static const struct stress_program program = {
        .name = "stress_large",
        .threads = 16,
        .threads_least = 1,
        .arenas = 4,
        .step = step,
    };

    stress_start(argc, argv, &program);
    return stress_rounds();
}
