/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* group.pml - the mappings that pools lie in (src/group.c), as a model for spin.
 *
 * There is an open group of two places, one or both taken. Two threads take a place for a pool of
 * the usual size, there or in a new group of one or two places, a third one for a longer pool, which
 * has a group to itself. Each looks up the place that it has got, and one that another thread has
 * handed on, as who frees a block does.
 *
 * A d_step is one atomic machine instruction on shared memory with the local work around it, or a
 * check that the real code does not have.
 *
 * Claims: the first word of a violated assertion names the one that failed.
 *   place_taken_once   no place is taken that somebody has taken before
 *   place_is_mapped    no place is taken that lies behind its group's end
 *   place_is_found     whoever has a place finds its group
 *   group_seen_whole   nobody finds a group in the list that is not filled in
 *   group_not_lost     at rest each group is in the list, once
 * and from spin itself: no deadlock ("invalid end state"), no endless run ("non-progress cycle").
 *
 * Mutants: -DMUTANT_<name> breaks the protocol, and spin must report the claim given.
 * tests/model reads this table.
 *   mutant take_stores: place_taken_once
 *   mutant first_not_taken: place_taken_once
 *   mutant open_before_filled: place_taken_once
 *   mutant end_not_looked_at: place_is_mapped
 *   mutant open_before_push: place_is_found
 *   mutant next_after_push: place_is_found
 *   mutant push_before_filled: group_seen_whole
 *   mutant push_stores: group_not_lost
 */

#define GROUPS 4                /* one, and as many as the threads take places */
#define PLACES 2                /* in a group, at most */
#define THREADS 3

#define NONE 0                  /* no group, or the end of the list; group g is g + 1 */

#define CLAIM(name, holds) assert(name || (holds))
hidden byte place_taken_once, place_is_mapped, place_is_found, group_seen_whole, group_not_lost;

byte groups;                    /* the head of the list */
byte open_group;
byte next[GROUPS];
byte places[GROUPS];            /* with `start` and `place_bytes`: 0 until they are written */
byte taken[GROUPS];

/* What the real code does not have, for the claims. */
byte mapped;                    /* groups */
byte size[GROUPS];              /* places that there is memory for */
bit is_taken[GROUPS * PLACES];
byte handed_on;                 /* the group of a place that another thread may have got */
byte finished;

/* What the caller of group_memory() has got. */
inline own_place()
{
    d_step {
        CLAIM(place_is_mapped, place < size[group - 1]);
        CLAIM(place_taken_once, !is_taken[(group - 1) * PLACES + place]);
        is_taken[(group - 1) * PLACES + place] = 1
    }
}

inline fill()
{
    places[group - 1] = size[group - 1];
#ifndef MUTANT_first_not_taken
    taken[group - 1] = 1
#else
    skip
#endif
}

/* Onto the list: a compare-and-exchange of the head, repeated. */
inline push()
{
    first = groups;
    do
    :: true ->
#ifndef MUTANT_next_after_push
        next[group - 1] = first;
#endif
        d_step {
            if
#ifdef MUTANT_push_stores
            :: true -> groups = group; pushed = 1
#else
            :: groups == first -> groups = group; pushed = 1
            :: else -> first = groups
#endif
            fi
        }
        if
        :: pushed -> break
        :: else
        fi
    od;
#ifdef MUTANT_next_after_push
    next[group - 1] = first;
#endif
    first = NONE;
    pushed = 0
}

/* os_map() */
inline map(count)
{
    d_step { mapped++; group = mapped; size[group - 1] = count; place = 0 }
}

/* group_create() */
inline create()
{
#ifdef MUTANT_push_before_filled
    push();
    fill()
#else
    fill();
    push()
#endif
}

/* group_open(), of which group_create() may be refused the two places that it wishes for. */
inline open()
{
    if
    :: map(2)
    :: map(1)
    fi;
#if defined MUTANT_open_before_filled || defined MUTANT_open_before_push
#ifdef MUTANT_open_before_push
    fill();
#endif
    open_group = group;
#ifndef MUTANT_open_before_push
    fill();
#endif
    push()
#else
    create();
    open_group = group
#endif
}

/* A place in the open group, or `group` is NONE. */
inline take()
{
    group = open_group;
    if
    :: group != NONE ->
#ifdef MUTANT_take_stores
        place = taken[group - 1];
        d_step { taken[group - 1] = place + 1 }
#else
        d_step { place = taken[group - 1]; taken[group - 1] = place + 1 }
#endif
#ifndef MUTANT_end_not_looked_at
        if
        :: place >= places[group - 1] -> group = NONE
        :: else
        fi
#endif
    :: else
    fi
}

/* group_find(), of an address in `wanted`. */
inline find(wanted)
{
    found = groups;
    do
    :: found == NONE -> break
    :: else ->
        d_step { CLAIM(group_seen_whole, places[found - 1] == size[found - 1]) }
        if
        :: found == wanted -> break
        :: else -> found = next[found - 1]
        fi
    od;
    CLAIM(place_is_found, found == wanted);
    found = NONE
}

/* A block of the pool goes to another thread, and one of another's comes. */
inline exchange()
{
    d_step { found = handed_on; handed_on = group; group = found; found = NONE }
    if
    :: group != NONE -> find(group)
    :: else
    fi;
    d_step { group = NONE; place = 0 }
}

proctype usual()
{
    byte group, place, first, found;
    bit pushed;

    take();
    if
    :: group == NONE -> open()
    :: else
    fi;
    own_place();
    find(group);
    exchange();
    finished++
}

proctype longer()
{
    byte group, place, first, found;
    bit pushed;

    map(1);
    create();
    own_place();
    find(group);
    exchange();
    finished++
}

init
{
    byte group, place, count;

    atomic {
        map(2);
        places[0] = 2;
        is_taken[0] = 1;
        if
        :: taken[0] = 1
        :: taken[0] = 2; is_taken[1] = 1
        fi;
        groups = group;
        open_group = group;
        group = NONE;
        run usual();
        run usual();
        run longer()
    }
    finished == THREADS;
    d_step {
        group = groups;
        do
        :: group == NONE || count > mapped -> break
        :: else -> count++; group = next[group - 1]
        od;
        CLAIM(group_not_lost, count == mapped)
    }
}
