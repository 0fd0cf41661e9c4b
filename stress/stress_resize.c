/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stress_resize.c - risk: a block that is resized by another thread than its owner loses contents,
 * or its old place is handed out while it is still copied from.
 *
 * Blocks of all sizes and alignments travel between the threads' mailboxes; each taker verifies,
 * resizes and passes on. Asserts: contents up to the smaller size survive every move, a failed
 * alignment never shows, allocated = freed + live at every rest, nothing in use at the end.
 */
#include "harness.h"

enum { LARGEST_BYTES = 300 * 1024, BURST = 4 };

static size_t any_size(struct stress_thread *self)
{
    size_t size = block_random_size(&self->accounts, LARGEST_BYTES);

    /* realloc(p, 0) frees. */
    return size != 0 ? size : 1;
}

static void pass_on(struct stress_thread *self, void *block)
{
    if (!stress_give(self, (unsigned)stress_below(self, stress_options.threads), block)) {
        stress_hold(self, HELD_MAX / 4, block);
    }
}

static void step(struct stress_thread *self)
{
    for (int i = 0; i < BURST; i++) {
        void *block = stress_take(self, self);

        if (block == NULL) {
            block = block_alloc_any(&self->accounts, any_size(self));
        } else {
            block = block_resize(&self->accounts, block, any_size(self));
        }
        pass_on(self, block);
    }
    void **slot = &self->held[stress_below(self, HELD_MAX / 4)];

    if (*slot != NULL) {
        *slot = block_resize(&self->accounts, *slot, any_size(self));
    }
}

int main(int argc, char **argv)
{
    static const struct stress_program program = {
        .name = "stress_resize",
        .threads = 16,
        .threads_least = 1,
        .arenas = 4,
        .step = step,
    };

    stress_start(argc, argv, &program);
    return stress_rounds();
}
