/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mutants.c - an allocator with a fault put in, for the stress programs to find.
 *
 * Linked with --wrap, these take the places of functions of the core; STRESS_MUTANT in the
 * environment chooses the fault:
 *
 *   lost       a block freed remotely is dropped for good, once
 *   late       a block freed remotely is taken in twice, once
 *   twice      a refill hands one block out twice, once
 *   leak       a descriptor is allocated for nothing
 *   overflow   the allocator writes into blocks of the program's, again and again
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "meta.h"
#include "slab.h"

enum { HEALTHY_CALLS = 20 };

/* The names that the linker's --wrap gives. */
uint64_t __real_remote_take_word(struct slab *slab, unsigned word);
uint64_t __wrap_remote_take_word(struct slab *slab, unsigned word);
size_t __real_slab_take_locked(struct slab *slab, void **out, size_t want);
size_t __wrap_slab_take_locked(struct slab *slab, void **out, size_t want);

static _Atomic unsigned calls;

/* How often this fault could have struck before, or 0 where another is chosen. */
static unsigned chances(const char *fault)
{
    const char *chosen = getenv("STRESS_MUTANT");

    return chosen != NULL && strcmp(chosen, fault) == 0 ? atomic_fetch_add(&calls, 1) : 0;
}

/* Once, a little into the run: is it this fault's turn? */
static bool strikes(const char *fault)
{
    return chances(fault) == HEALTHY_CALLS;
}

/* From then on, every time: a fault that nobody sees where it happens to strike a free block. */
static bool strikes_again(const char *fault)
{
    return chances(fault) >= HEALTHY_CALLS;
}

uint64_t __wrap_remote_take_word(struct slab *slab, unsigned word)
{
    uint64_t blocks = __real_remote_take_word(slab, word);

    if (blocks != 0 && strikes("lost")) {
        blocks &= blocks - 1;
    }
    if (blocks != 0 && strikes("late")) {
        slab->free[word] |= blocks & -blocks;
    }
    return blocks;
}

size_t __wrap_slab_take_locked(struct slab *slab, void **out, size_t want)
{
    size_t taken = __real_slab_take_locked(slab, out, want);

    if (taken > 1 && strikes("twice")) {
        out[want - taken] = out[want - 1];
    }
    if (taken > 0 && strikes("leak")) {
        (void)meta_alloc(1);
    }
    /* The end of the block before, which may be with the program. */
    if (taken > 0 && (uintptr_t)out[want - 1] != slab->start && strikes_again("overflow")) {
        ((volatile char *)out[want - 1])[-1] ^= 1;
    }
    return taken;
}
