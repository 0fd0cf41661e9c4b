/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* region.pml - mapped regions, looked up without a lock (src/region.c), as a model for spin.
 *
 * Three units of address space, in which two threads map regions of one unit or two, under the page
 * heap's lock, look up without it what they have been handed out, and unmap a region when nothing
 * in it is in use. A third thread looks up an address, of memory that it has from the kernel, in a
 * place that may have been a region's, or of whoever.
 *
 * A d_step or atomic is one atomic machine instruction on shared memory, one call of the kernel, or
 * steps under the page heap's lock that nobody can see without it, with the local work around them,
 * or a check that the real code does not have. README.md beside this file says what is left out.
 *
 * Claims: the first word of a violated assertion names the one that failed.
 *   live_block_is_found   whoever has a block finds its region, with its rows
 *   foreign_is_not_found  no region is found at an address that the program has from the kernel
 *   region_seen_whole     a word that says where a region lies is that of one which is there, with
 *                         its rows
 * and from spin itself: no deadlock ("invalid end state"), no endless run ("non-progress cycle").
 *
 * Mutants: -DMUTANT_<name> breaks the protocol, and spin must report the claim given.
 * tests/model reads this table.
 *   mutant last_not_raised: live_block_is_found
 *   mutant last_assigned: live_block_is_found
 *   mutant index_in_use_taken: live_block_is_found
 *   mutant map_unlocked: live_block_is_found
 *   mutant word_not_cleared: foreign_is_not_found
 *   mutant word_cleared_late: foreign_is_not_found
 *   mutant word_in_two_stores: foreign_is_not_found
 *   mutant word_before_region: region_seen_whole
 *   mutant rows_freed_first: region_seen_whole
 */

#define UNITS 3                /* of address space */
#define INDICES 2              /* of regions; index i is noted as i + 1 */
#define THREADS 3

#define NONE 0

#define CLAIM(name, holds) assert(name || (holds))
hidden byte live_block_is_found, foreign_is_not_found, region_seen_whole;

/* Who has a unit of address space. */
mtype = { NOBODY, HEAP, PROGRAM };
mtype place[UNITS];

/* What is read without a lock. */
byte extents[INDICES];         /* a region's first unit, and from bit 3 on how many it has */
byte index_last;
byte base[INDICES];
bit rows[INDICES];             /* the tables have memory */

/* Under the page heap's lock. */
bit heap_lock;
byte units[INDICES];
bit in_use[UNITS];

byte finished;

#define WORD(first, count) ((first) | (count) << 3)
#define FIRST(word) ((word) & 7)
#define COUNT(word) ((word) >> 3)
#define CONTAINS(word, unit) \
    (FIRST(word) <= (unit) && (unit) < FIRST(word) + COUNT(word))

/* mapped_of(): the index of the region that has the unit, or NONE. */
inline look_up(unit)
{
    found = index_last;
    do
    :: found == NONE -> break
    :: else ->
        d_step {
            word = extents[found - 1];
            CLAIM(region_seen_whole,
                  COUNT(word) == 0 || (rows[found - 1] && base[found - 1] == FIRST(word)))
        }
        if
        :: CONTAINS(word, unit) -> break
        :: else -> found--
        fi
    od;
    word = 0
}

inline lock_heap()
{
#ifndef MUTANT_map_unlocked
    atomic { !heap_lock -> heap_lock = 1 }
#else
    skip
#endif
}

inline unlock_heap()
{
#ifndef MUTANT_map_unlocked
    heap_lock = 0
#else
    skip
#endif
}

/* free_index(), as `index`. */
inline find_index()
{
#ifdef MUTANT_index_in_use_taken
    index = 1
#else
    if
    :: units[0] == 0 -> index = 1
    :: else -> index = 2
    fi
#endif
}

/* A free unit of a region, as `unit`; or, for want of one, NONE and the place of a new one. */
#define IS_FREE(unit) (place[unit] == HEAP && !in_use[unit])

inline find_free()
{
    d_step {
        have = 1;
        if
        :: IS_FREE(0) -> unit = 0
        :: IS_FREE(1) -> unit = 1
        :: IS_FREE(2) -> unit = 2
        :: else -> have = 0
        fi
    }
}

/* What the kernel gives: one unit, or two. There is always a place. */
inline find_place()
{
    if
    :: place[0] == NOBODY -> unit = 0; count = 1
    :: place[1] == NOBODY -> unit = 1; count = 1
    :: place[0] == NOBODY && place[1] == NOBODY -> unit = 0; count = 2
    :: place[2] == NOBODY -> unit = 2; count = 1
    fi
}

/* extents[] in region_publish() */
inline publish_word()
{
#ifdef MUTANT_word_in_two_stores
    extents[index - 1] = WORD(FIRST(extents[index - 1]), count);
#endif
    extents[index - 1] = WORD(unit, count)
}

/* region_map(): os_map(), the tables, region_publish(). */
inline map()
{
    atomic {
        find_place();
        find_index();
        place[unit] = HEAP;
        place[unit + count - 1] = HEAP;
        in_use[unit] = 1
    }
#ifdef MUTANT_word_before_region
    publish_word();
#endif
    rows[index - 1] = 1;
    base[index - 1] = unit;
    units[index - 1] = count;
#ifndef MUTANT_word_before_region
    publish_word();
#endif
#if defined MUTANT_last_assigned
    index_last = index;
#elif !defined MUTANT_last_not_raised
    if
    :: index > index_last -> index_last = index
    :: else
    fi;
#endif
    d_step { index = NONE; count = 0 }
}

/* region_unmap() */
inline unmap(i)
{
#ifdef MUTANT_rows_freed_first
    rows[i] = 0;
#endif
#if defined MUTANT_word_in_two_stores
    extents[i] = WORD(FIRST(extents[i]), 0);
#elif !defined MUTANT_word_not_cleared && !defined MUTANT_word_cleared_late
    extents[i] = 0;
#endif
    d_step {
        place[base[i]] = NOBODY;
        place[base[i] + units[i] - 1] = NOBODY;
        units[i] = 0
    }
#ifdef MUTANT_word_cleared_late
    extents[i] = 0;
#endif
    rows[i] = 0
}

/* The region is that of `unit`, and nothing in it is in use. */
#define HAS(i) (units[i] != 0 && base[i] <= unit && unit < base[i] + units[i])
#define IS_IDLE(i) (HAS(i) && !in_use[base[i]] && !in_use[base[i] + units[i] - 1])

proctype owner(byte rounds)
{
    byte unit, count, index, found, word;
    bit have;

    do
    :: rounds == 0 -> break
    :: else ->
        rounds--;
        lock_heap();
        find_free();
        if
        :: have -> in_use[unit] = 1
        :: else -> map()
        fi;
        unlock_heap();
        look_up(unit);
        d_step {
            CLAIM(live_block_is_found, found != NONE && rows[found - 1] && HAS(found - 1));
            found = NONE
        }
        lock_heap();
        in_use[unit] = 0;
        if
        :: IS_IDLE(0) -> unmap(0)
        :: IS_IDLE(1) -> unmap(1)
        :: else
        fi;
        unlock_heap();
        d_step { have = 0; unit = 0 }
    od;
    finished++
}

proctype stranger()
{
    byte unit, found, word;
    bit have;

    if
    :: unit = 0
    :: unit = 1
    fi;
    if
    :: atomic { place[unit] == NOBODY -> place[unit] = PROGRAM; have = 1 }
    :: true                                      /* an address of whoever */
    fi;
    look_up(unit);
    d_step {
        CLAIM(foreign_is_not_found, !have || found == NONE);
        found = NONE
    }
    if
    :: have -> d_step { place[unit] = NOBODY; have = 0 }
    :: else
    fi;
    finished++
}

init
{
    byte i;

    d_step {
        do
        :: i == UNITS -> break
        :: else -> place[i] = NOBODY; i++
        od
    }
    atomic {
        run owner(2);
        run owner(1);
        run stranger()
    }
    finished == THREADS
}
