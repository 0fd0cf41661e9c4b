/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* tags.pml - the tags that free() reads without a lock (src/arena.c), as a model for spin.
 *
 * One unit, two arenas, each with a table of its own in which the unit has a tag. Two threads of
 * the one and one of the other get blocks of the unit: of a slab of their arena, which they make of
 * the unit if that is free, or all of it, as a large block. Who has a block frees it, or leaves it
 * for a thread of either arena to free. Whoever frees looks at the tag in the table of its own
 * arena: that says whether the block goes on the thread's stack, as one of the arena's, or takes
 * the slow path, which looks at the span. A slab whose blocks are all back is given up.
 *
 * A d_step or atomic is one atomic machine instruction on shared memory, or what happens under one
 * lock, with the local work around it, or a check that the real code does not have. README.md
 * beside this file says what is left out.
 *
 * Claims: the first word of a violated assertion names the one that failed.
 *   own_block_is_tagged   who frees a block of a slab of its arena finds the tag
 *   other_is_not_tagged   who frees any other block finds none
 *   tags_are_cleared      at rest, with no block left to be freed, the unit has no tag
 * and from spin itself: no deadlock ("invalid end state"), no endless run ("non-progress cycle").
 *
 * Mutants: -DMUTANT_<name> breaks the protocol, and spin must report the claim given.
 * tests/model reads this table.
 *   mutant tag_after_add: own_block_is_tagged
 *   mutant tag_cleared_early: own_block_is_tagged
 *   mutant tag_cleared_late: other_is_not_tagged
 *   mutant tag_not_cleared: tags_are_cleared
 */

#define ARENAS 2
#define THREADS 3
#define BLOCKS 2               /* of a slab */
#define ROUNDS 2

#define NOBODY 2               /* whose slab the unit is: an arena's, or nobody's */

#define CLAIM(name, holds) assert(name || (holds))
hidden byte own_block_is_tagged, other_is_not_tagged, tags_are_cleared;

/* A word each, relaxed. */
bit tags[ARENAS];

/* Under the page heap's lock, or the owner's: the unit's span. */
bit unit_in_use;
byte slab_of = NOBODY;

/* Under a bin's lock: free blocks of the slab that the bin has. */
bit in_bin[ARENAS];
byte free_blocks[ARENAS];

/* Blocks that are left for a thread of the arena to free: what orders that is the program's. */
byte left_blocks[ARENAS];

byte finished;

/* arena_take_one() and the like: `has_block`, or not. */
inline take_from_bin()
{
    d_step {
        if
        :: in_bin[self] && free_blocks[self] > 0 -> free_blocks[self]--; has_block = 1
        :: else
        fi
    }
}

/* page_heap_alloc(): `has_unit`, or not. */
inline get_unit()
{
    d_step { has_unit = !unit_in_use; unit_in_use = 1 }
}

/* slab_add() */
inline add_slab()
{
    slab_of = self;                              /* slab_create() */
#ifndef MUTANT_tag_after_add
    tags[self] = 1;                              /* arena_tag_slab() */
#endif
    d_step { in_bin[self] = 1; free_blocks[self] = BLOCKS; has_unit = 0 }
#ifdef MUTANT_tag_after_add
    tags[self] = 1
#endif
}

/* free(): what the tag says, and what the block is. */
inline look_at_tag()
{
    d_step {
        CLAIM(own_block_is_tagged, slab_of != self || tags[self]);
        CLAIM(other_is_not_tagged, slab_of == self || !tags[self])
    }
}

/* arena_release_slabs(): the bin of arena a does not have the slab any more. */
inline release_slab(a)
{
#if !defined MUTANT_tag_cleared_late && !defined MUTANT_tag_cleared_early && \
    !defined MUTANT_tag_not_cleared
    tags[a] = 0;
#endif
    slab_of = NOBODY;                            /* slab_destroy() */
    unit_in_use = 0;                             /* page_heap_free() */
#ifdef MUTANT_tag_cleared_late
    tags[a] = 0
#endif
}

/* Into the slab that the block is of, by the stack or remotely: it comes to the same in the end. */
inline put(a)
{
#ifdef MUTANT_tag_cleared_early
    if
    :: free_blocks[a] == BLOCKS - 1 -> tags[a] = 0
    :: else
    fi;
#endif
    d_step {
        free_blocks[a]++;
        if
        :: free_blocks[a] == BLOCKS -> in_bin[a] = 0; free_blocks[a] = 0; released = 1
        :: else
        fi
    }
    if
    :: released -> released = 0; release_slab(a)
    :: else
    fi
}

/* A block that is the thread's to free. */
inline free_block()
{
    look_at_tag();
    if
    :: slab_of == 0 -> put(0)
    :: slab_of == 1 -> put(1)
    :: else -> unit_in_use = 0
    fi
}

proctype thread(byte self)
{
    bit has_block, has_unit, released;
    byte round;

    do
    :: round == ROUNDS && left_blocks[self] == 0 -> break
    :: atomic { left_blocks[self] > 0 -> left_blocks[self]-- } free_block()
    :: round < ROUNDS ->
        round++;
        take_from_bin();
        if
        :: has_block
        :: else ->
            get_unit();
            if
            :: has_unit -> add_slab(); take_from_bin()
            :: has_unit -> has_unit = 0; has_block = 1   /* a large block */
            :: else
            fi
        fi;
        if
        :: has_block -> has_block = 0; free_block()
        :: has_block -> has_block = 0; left_blocks[0]++
        :: has_block -> has_block = 0; left_blocks[1]++
        :: else
        fi
    od;
    finished++
}

init
{
    atomic {
        run thread(0);
        run thread(0);
        run thread(1)
    }
    finished == THREADS;
    CLAIM(tags_are_cleared, left_blocks[0] + left_blocks[1] > 0 || (!tags[0] && !tags[1]))
}
