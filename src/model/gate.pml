/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* gate.pml - the gate of src/gate.c, as a model for spin.
 *
 * Two threads come anew: each enters without a slot, registers one while inside, works, enters with
 * the slot from then on, and at its end without it again. Two others close the gate, walk the list
 * of slots from the head that they read once, wait for the count of those without a slot, fork and
 * open the gate again. Who is refused goes on without: that is deferred.pml and emergency.pml.
 *
 * A d_step is one atomic machine instruction on shared memory with the local work around it, or a
 * check that the real code does not have. README.md beside this file says what is left out.
 *
 * Claims: the first word of a violated assertion names the one that failed.
 *   nobody_inside_at_fork  at the fork nobody is in the middle of an update
 *   slots_not_lost         at rest each slot that was registered is in the list, once
 *   gate_is_left           at rest the gate is open and nobody inside
 * and from spin itself: no deadlock ("invalid end state"), no endless run ("non-progress cycle").
 *
 * Mutants: -DMUTANT_<name> breaks the protocol, and spin must report the claim given.
 * tests/model reads this table.
 *   mutant look_before_set: nobody_inside_at_fork
 *   mutant count_after_look: nobody_inside_at_fork
 *   mutant count_without_look: nobody_inside_at_fork
 *   mutant closed_as_flag: nobody_inside_at_fork
 *   mutant list_before_close: nobody_inside_at_fork
 *   mutant slots_not_walked: nobody_inside_at_fork
 *   mutant count_not_waited_for: nobody_inside_at_fork
 *   mutant slot_before_register: nobody_inside_at_fork
 *   mutant next_after_push: nobody_inside_at_fork
 *   mutant register_stores: slots_not_lost
 *   mutant refused_keeps_flag: invalid end state
 *   mutant refused_keeps_count: invalid end state
 *   mutant leave_keeps_count: gate_is_left
 *   mutant never_opened: gate_is_left
 */

#define NEWCOMERS 2
#define FORKERS 2
#ifdef CYCLES                  /* the search for cycles needs more memory a state */
#define ROUNDS 2
#else
#define ROUNDS 3
#endif

#define NONE 0                 /* the end of the list; slot s is in it as s + 1 */

#define CLAIM(name, holds) assert(name || (holds))
hidden byte nobody_inside_at_fork, slots_not_lost, gate_is_left;

/* The gate. */
byte closed;
byte anonymous_inside;
bit inside[NEWCOMERS];         /* a slot's flag */
byte slots;                    /* the head of the list */
byte next[NEWCOMERS];

/* What the real code does not have, for the claims. */
byte updating;                 /* threads in the middle of an update */
byte registered;               /* slots of threads that have ended */
byte finished;

/* enter_slot(): inside, or `passed` is 0. */
inline enter_slot()
{
#ifdef MUTANT_look_before_set
    passed = (closed == 0);
    if
    :: passed -> inside[self] = 1
    :: else
    fi
#else
    inside[self] = 1;
    passed = (closed == 0);
    if
    :: passed
    :: else ->
#ifndef MUTANT_refused_keeps_flag
        inside[self] = 0
#else
        skip
#endif
    fi
#endif
}

inline leave_slot()
{
    d_step { inside[self] = 0; passed = 0 }
}

/* enter_anonymously(): the look ahead, the count, the look that decides. */
inline enter_anonymously()
{
    passed = (closed == 0);
    if
    :: passed ->
        d_step { anonymous_inside++ }
#if !defined MUTANT_count_after_look && !defined MUTANT_count_without_look
        passed = (closed == 0);
        if
        :: passed
        :: else ->
#ifndef MUTANT_refused_keeps_count
            d_step { anonymous_inside-- }
#else
            skip
#endif
        fi
#endif
    :: else
#ifdef MUTANT_count_without_look
        -> d_step { anonymous_inside++; passed = 1 }
#endif
    fi
}

/* gate_leave(NULL) */
inline leave_anonymously()
{
#ifdef MUTANT_leave_keeps_count
    passed = 0
#else
    d_step { anonymous_inside--; passed = 0 }
#endif
}

/* Whatever takes a lock. */
inline update()
{
    d_step { updating++ }
    d_step { updating-- }
}

/* gate_register(): a compare-and-exchange of the head, repeated. */
inline register()
{
    first = slots;
    do
    :: true ->
#ifndef MUTANT_next_after_push
        next[self] = first;
#endif
        d_step {
            if
#ifdef MUTANT_register_stores
            :: true -> slots = self + 1; pushed = 1
#else
            :: slots == first -> slots = self + 1; pushed = 1
            :: else -> first = slots
#endif
            fi
        }
        if
        :: pushed -> break
        :: else
        fi
    od;
#ifdef MUTANT_next_after_push
    next[self] = first;
#endif
    first = NONE;
    pushed = 0
}

/* A thread's first call (attach_locked() in life.c): the slot is registered inside, by the count. */
inline begin()
{
#ifdef MUTANT_slot_before_register
    enter_slot();
    if
    :: passed -> update(); register(); leave_slot(); has_slot = 1
    :: else
    fi
#else
    enter_anonymously();
    if
    :: passed -> update(); register(); leave_anonymously(); has_slot = 1
    :: else
    fi
#endif
}

proctype newcomer(byte self)
{
    bit passed, pushed, has_slot;
    byte first, round;

    do
    :: round == ROUNDS -> break
    :: else ->
        round++;
        if
        :: !has_slot -> begin()
        :: has_slot ->
            enter_slot();
            if
            :: passed -> update(); leave_slot()
            :: else
            fi
        fi
    od;
    /* Its end: the cache, and the slot, are another's from here on. */
    enter_anonymously();
    if
    :: passed -> update(); leave_anonymously()
    :: else
    fi;
    d_step { registered = registered + has_slot; finished++ }
}

/* gate_close() */
inline close()
{
#ifdef MUTANT_list_before_close
    slot = slots;
#endif
#ifdef MUTANT_closed_as_flag
    closed = 1;
#else
    d_step { closed++ }
#endif
#ifndef MUTANT_list_before_close
    slot = slots;
#endif
#ifdef MUTANT_slots_not_walked
    slot = NONE;
#endif
    do
    :: slot == NONE -> break
    :: else -> inside[slot - 1] == 0; slot = next[slot - 1]
    od;
#ifndef MUTANT_count_not_waited_for
    anonymous_inside == 0
#else
    skip
#endif
}

/* gate_open() */
inline open()
{
#if defined MUTANT_closed_as_flag
    closed = 0
#elif defined MUTANT_never_opened
    skip
#else
    d_step { closed-- }
#endif
}

proctype forker()
{
    byte slot;

    close();
    d_step { CLAIM(nobody_inside_at_fork, updating == 0) }
    open();
    finished++
}

#define IN_LIST (slots == NONE -> 0 : (next[slots - 1] == NONE -> 1 : 2))

init
{
    atomic {
        run newcomer(0);
        run newcomer(1);
        run forker();
        run forker()
    }
    finished == NEWCOMERS + FORKERS;
    d_step {
        CLAIM(slots_not_lost, registered == IN_LIST);
        CLAIM(gate_is_left, closed == 0 && anonymous_inside == 0 && !inside[0] && !inside[1])
    }
}
