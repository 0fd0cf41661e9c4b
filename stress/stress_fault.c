/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stress_fault.c - risk: the checks of the other programs pass whatever happens.
 *
 * A program with one fault, chosen by --mode, that its step makes with everything else in order:
 * the harness, or the allocator, must end it with the message that the test expects.
 */
#include "breakwater/breakwater.h"
#include "harness.h"

#include <string.h>

#include "arena.h"

enum mode { BODY, HEADER, TWICE, TWICE_REMOTE, LIVE, UNCOUNTED, DROPPED, ACCOUNTS, NOMEMORY };

static const char *const modes[] = {
    [BODY] = "body",                 /* a byte of a live block changes */
    [HEADER] = "header",             /* a byte of the size it starts with does */
    [TWICE] = "twice",               /* a block is freed twice by its thread */
    [TWICE_REMOTE] = "twice-remote", /* by two threads of other arenas */
    [LIVE] = "live",                 /* a block is handed out while the program still has it */
    [UNCOUNTED] = "uncounted",       /* a block that no account knows stays allocated */
    [DROPPED] = "dropped",           /* one that the accounts know is forgotten */
    [ACCOUNTS] = "accounts",         /* a bin's count is off */
    [NOMEMORY] = "no-memory",        /* an allocation fails where none may */
    NULL,
};

enum { SIZE = 100, FAULTY = 3, MANY = 1000 };

static void free_twice(struct stress_thread *self)
{
    void *block = bw_malloc(SIZE);

    bw_free(block);
    bw_free(block);
    for (int i = 0; i < MANY; i++) {
        stress_hold(self, HELD_MAX, block_alloc(&self->accounts, SIZE));
    }
}

/* One block through two mailboxes: both takers free it, past the pattern's own check. Its neighbour
 * keeps the slab: a block whose slab is gone is not known to have been one. */
static void free_twice_remotely(struct stress_thread *self)
{
    static _Atomic(void *) shared;
    static _Thread_local bool freed;
    void *block = atomic_load(&shared);

    if (self->index == 0 && block == NULL) {
        void *first = bw_malloc(SIZE);

        stress_hold(self, HELD_MAX, block_alloc(&self->accounts, SIZE));
        atomic_store(&shared, first);
    } else if (self->index != 0 && block != NULL && !freed) {
        freed = true;
        bw_free(block);
        (void)bw_malloc_trim(0);
    }
}

static void hand_out_live(struct stress_thread *self)
{
    bw_free(block_alloc(&self->accounts, SIZE));
    for (int i = 0; i < MANY; i++) {
        (void)block_alloc(&self->accounts, SIZE);
    }
}

static struct bin *bin_of_block(const void *block)
{
    unsigned index;
    const struct slab *slab = slab_of_block((uintptr_t)block, &index);

    return arena_bin(arena_by_index(slab->arena), slab->class);
}

static void make_fault(struct stress_thread *self)
{
    char *block = (char *)self->held[0];

    switch ((enum mode)stress_options.mode) {
    case BODY:
        block[SIZE / 2] ^= 1;
        break;
    case HEADER:
        block[sizeof(uint64_t) - 1] ^= 1;
        break;
    case TWICE:
        free_twice(self);
        break;
    case LIVE:
        hand_out_live(self);
        break;
    case UNCOUNTED:
        (void)!bw_malloc(SIZE);
        break;
    case DROPPED:
        (void)block_alloc(&self->accounts, SIZE);
        break;
    case ACCOUNTS:
        bin_of_block(block)->free_blocks++;
        break;
    case NOMEMORY:
        (void)block_alloc(&self->accounts, PTRDIFF_MAX);
        break;
    case TWICE_REMOTE:
    default:
        break;
    }
}

static void step(struct stress_thread *self)
{
    if (stress_options.mode == TWICE_REMOTE) {
        free_twice_remotely(self);
        return;
    }
    if (self->held[0] == NULL) {
        self->held[0] = block_alloc(&self->accounts, SIZE);
        if (self->index == FAULTY) {
            make_fault(self);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct stress_program program = {
        .name = "stress_fault",
        .threads = FAULTY + 1,
        .threads_least = FAULTY + 1,
        .arenas = FAULTY + 2,
        .modes = modes,
        .step = step,
    };

    stress_start(argc, argv, &program);
    return stress_rounds();
}
