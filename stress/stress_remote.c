/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stress_remote.c - risk: a block freed by a thread of another arena is lost, handed out twice, or
 * handed out before its last user is done with it.
 *
 * Threads allocate and give blocks away in the pattern of --mode; the takers verify and free them,
 * without a word to the givers. Asserts: no block changes while it is live, none is handed out
 * twice, allocated = freed + live at every rest, nothing in use at the end.
 */
#include "harness.h"

#include <sched.h>

enum mode { PAIRS, RING, ALL, PRODUCER, CONSUMER, WORDS };

static const char *const modes[] = {
    [PAIRS] = "pairs",       /* threads 2k and 2k + 1 free each other's blocks */
    [RING] = "ring",         /* each thread frees what the one before it allocates */
    [ALL] = "all",           /* every thread gives to every other */
    [PRODUCER] = "producer", /* thread 0 allocates, all others free */
    [CONSUMER] = "consumer", /* thread 0 frees, and never allocates, what all others allocate */
    [WORDS] = "words", /* as producer, in one class: most frees find their bitmap word in use */
    NULL,
};

enum { LARGEST_BYTES = 80 * 1024, BURST = 8, HELD_SHARE = 8, WORDS_BYTES = 32 };

static unsigned partner_of(struct stress_thread *self)
{
    unsigned count = stress_options.threads;

    switch ((enum mode)stress_options.mode) {
    case PAIRS:
        return (self->index ^ 1U) < count ? self->index ^ 1U : self->index;
    case RING:
        return (self->index + 1) % count;
    case PRODUCER:
    case WORDS:
        return 1 + (unsigned)stress_below(self, count - 1);
    case CONSUMER:
        return 0;
    case ALL:
    default:
        return (unsigned)stress_below(self, count);
    }
}

static bool only_frees(const struct stress_thread *self)
{
    return self->index == 0 ? stress_options.mode == CONSUMER
                            : stress_options.mode == PRODUCER || stress_options.mode == WORDS;
}

static bool only_allocates(const struct stress_thread *self)
{
    return stress_options.mode >= PRODUCER && !only_frees(self);
}

/* A block for the partner; where its mailbox is full, the giver waits or frees the block. */
static void produce(struct stress_thread *self)
{
    unsigned partner = partner_of(self);
    void *block =
        stress_options.mode == WORDS
            ? block_alloc(&self->accounts, WORDS_BYTES)
            : block_alloc_any(&self->accounts, block_random_size(&self->accounts, LARGEST_BYTES));

    if (stress_below(self, HELD_SHARE) == 0) {
        stress_hold(self, HELD_MAX, block);
    } else if (!stress_give(self, partner, block)) {
        (void)sched_yield();
        if (!stress_give(self, partner, block)) {
            block_free(&self->accounts, block);
        }
    }
}

static void consume(struct stress_thread *self)
{
    void *block = stress_take(self, self);

    if (block == NULL && only_frees(self)) {
        (void)sched_yield();
    }
    block_free(&self->accounts, block);
}

static void step(struct stress_thread *self)
{
    for (int i = 0; i < BURST && !only_frees(self); i++) {
        produce(self);
    }
    for (int i = 0; i < 2 * BURST && !only_allocates(self); i++) {
        consume(self);
    }
}

int main(int argc, char **argv)
{
    static const struct stress_program program = {
        .name = "stress_remote",
        .threads = 64,
        .threads_least = 2,
        .arenas = 8,
        .modes = modes,
        .step = step,
    };

    stress_start(argc, argv, &program);
    return stress_rounds();
}
