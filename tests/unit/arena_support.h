/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* arena_support.h - what the tests of arenas share: the first arena of the process, and one class.
 */
#ifndef BREAKWATER_TESTS_UNIT_ARENA_SUPPORT_H
#define BREAKWATER_TESTS_UNIT_ARENA_SUPPORT_H

#include "support.h"

#include "arena.h"

enum { SIZE = 64, SLABS = 90 };

/* That of SIZE, unless a test sets another. */
extern unsigned class_of_blocks;

/* The first arena of the process, with the class of SIZE to test. */
struct arena *first_arena(void);

struct bin *bin_of(struct arena *arena);
unsigned blocks_per_slab(void);

/* A stack of the class's full capacity. */
struct magazine *new_stack(void);

/* A stack with `want` blocks of the arena, or what it gives at once. */
struct magazine *stack_of(struct arena *arena, uint32_t want);

/* As full as a thread's frees make it. */
struct magazine *full_stack_of(struct arena *arena);

/* Blocks out of the arena, one by one, and back. */
void take_blocks(struct arena *arena, void **blocks, size_t count);
void give_back(struct arena *arena, void **blocks, size_t count);

/* The page heap has nothing left that is free. */
void use_up_free_runs(void);

void assert_nothing_is_held(struct arena *arena);

#endif
