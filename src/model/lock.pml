/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* lock.pml - the sleeping lock of src/lock.c and lock.h, as a model for spin.
 *
 * Two locks, of ascending rank. Three threads enter the gate, take one of the locks or both, and
 * leave. One of them is interrupted once, anywhere in the lock's code or while it holds a lock, by
 * a handler of a signal that forks: it closes the gate and waits for the others to leave. If they
 * may be waiting for it, it goes on without them after a while, and its child is one with orphans.
 *
 * That a thread wakes by itself after a while is in the model only where it is needed, while the
 * handler runs: otherwise whoever sleeps has to be woken, or spin finds a deadlock. To wake and
 * find 2 again changes nothing, and is left out.
 *
 * A d_step or atomic is one atomic machine instruction on shared memory, or one call of the kernel,
 * with the local work around it and the handler that may come after it, or a check that the real
 * code does not have. README.md beside this file says what is left out.
 *
 * Claims: the first word of a violated assertion names the one that failed.
 *   one_holder               nobody gets a lock that somebody holds
 *   no_lock_held_at_fork     who forks after all others have left is the only one to hold a lock
 *   child_waits_for_nobody   a lock that its thread does not hold is free in the child, or who
 *                            waits for it stops the process
 *   sleeper_keeps_patience   who sleeps for a lock, and holds none, waits for all others
 * and from spin itself: no deadlock ("invalid end state"), no endless run ("non-progress cycle").
 *
 * Mutants: -DMUTANT_<name> breaks the protocol, and spin must report the claim given.
 * tests/model reads this table.
 *   mutant try_stores: one_holder
 *   mutant release_stores: invalid end state
 *   mutant release_wakes_nobody: invalid end state
 *   mutant sleep_unmarked: invalid end state
 *   mutant sleep_whatever: invalid end state
 *   mutant woken_takes_as_one: invalid end state
 *   mutant ranks_ignored: invalid end state
 *   mutant no_nap: invalid end state
 *   mutant counted_late: invalid end state
 *   mutant uncounted_early: invalid end state
 *   mutant sleep_counted: sleeper_keeps_patience
 *   mutant no_patience: no_lock_held_at_fork
 *   mutant orphans_not_noted: child_waits_for_nobody
 */

#define LOCKS 2
#define THREADS 3
#define FORKER 3               /* the thread that is interrupted */

#ifdef CYCLES                  /* the search for cycles needs more memory a state */
#define MAY_TAKE_ONE (self == FORKER)
#else
#define MAY_TAKE_ONE true
#endif

#define NOBODY 0
#define NO_LOCK 0              /* what a thread is asleep on: lock l is l + 1 */

#define CLAIM(name, holds) assert(name || (holds))
hidden byte one_holder, no_lock_held_at_fork, child_waits_for_nobody, sleeper_keeps_patience;

byte state[LOCKS];             /* 0: free; 1: held; 2: held, and somebody may sleep */
byte asleep_on[THREADS + 1];   /* the kernel's */

/* The gate: that it works is gate.pml. */
bit closed;
byte in_gate;

/* Of the thread that is interrupted. */
byte lock_count;
bit in_handler;

/* What the real code does not have, for the claims. */
byte owner[LOCKS];
bit sleeps;                    /* the thread that is interrupted, or is about to */
byte finished;

#define OTHERS_HOLD(l) (owner[l] != NOBODY && owner[l] != FORKER)
#define HOLDS(l)       (owner[l] == FORKER)

inline count(change)
{
    lock_count = lock_count + (self == FORKER -> change : 0)
}

/* After an instruction: the thread goes on when the handler is through. */
inline interruption()
{
    if
    :: may_be_interrupted -> may_be_interrupted = 0; in_handler = 1; !in_handler
    :: true
    fi
}

inline own(l)
{
    CLAIM(one_holder, owner[l] == NOBODY);
    owner[l] = self;
    taken = 1
}

/* lock_try_acquire(): `taken`, or not. */
inline try(l)
{
#ifndef MUTANT_counted_late
    atomic { count(1); interruption() }
#endif
#ifdef MUTANT_try_stores
    seen = state[l];
    atomic {
        if
        :: seen == 0 -> state[l] = 1; own(l)
#else
    atomic {
        if
        :: state[l] == 0 -> state[l] = 1; own(l)
#endif
        :: else
        fi;
        interruption();
#ifdef MUTANT_counted_late
        count(taken)
#else
        count(taken - 1)
#endif
    }
}

/* The attempt of lock_wait(): an exchange, which may take the lock. */
inline exchange(l)
{
    atomic {
        seen = state[l];
        state[l] = 2;
#ifdef MUTANT_sleep_unmarked
        state[l] = (seen == 2 -> 2 : 1);
#endif
        if
        :: seen == 0 ->
#ifdef MUTANT_woken_takes_as_one
            state[l] = (was_woken -> 1 : 2);
#endif
            own(l)
        :: else
        fi;
        seen = 0;
        interruption()
    }
}

/* FUTEX_WAIT: the kernel compares and puts to sleep in one step. A handler takes the thread off the
 * kernel's list; afterwards the kernel compares again, as the next attempt does. */
inline sleep(l)
{
#if defined MUTANT_sleep_whatever
    asleep_on[self] = l + 1;
#elif defined MUTANT_sleep_unmarked
    asleep_on[self] = (state[l] != 0 -> l + 1 : NO_LOCK);
#else
    asleep_on[self] = (state[l] == 2 -> l + 1 : NO_LOCK);
#endif
    if
    :: asleep_on[self] == NO_LOCK
#ifndef MUTANT_no_nap
    :: in_handler && asleep_on[self] != NO_LOCK && state[l] != 2 -> asleep_on[self] = NO_LOCK
#endif
    :: atomic {
        may_be_interrupted ->
            asleep_on[self] = NO_LOCK;
            may_be_interrupted = 0;
            in_handler = 1;
            !in_handler
    }
    fi
}

/* Around the sleep the lock is not counted. */
inline begin_sleep()
{
    atomic {
        sleeps = sleeps || self == FORKER;
#if !defined MUTANT_sleep_counted && !defined MUTANT_counted_late
        count(-1)
#endif
    }
}

inline end_sleep()
{
    atomic {
        sleeps = sleeps && self != FORKER;
#if !defined MUTANT_sleep_counted && !defined MUTANT_counted_late
        count(1);
#endif
        interruption()
    }
}

/* lock_wait(). To spin before is to try a few more times. */
inline wait(l)
{
#ifndef MUTANT_counted_late
    atomic { count(1); interruption() }
#endif
    do
    :: true ->
        exchange(l);
        if
        :: taken -> break
        :: else ->
            begin_sleep();
            sleep(l);
            end_sleep();
#ifdef MUTANT_woken_takes_as_one
            was_woken = 1
#endif
        fi
    od
#ifdef MUTANT_counted_late
    ;
    count(1)
#endif
}

/* lock_acquire() */
inline acquire(l)
{
    try(l);
    if
    :: taken
    :: else -> wait(l)
    fi;
    taken = 0;
    seen = 0
}

/* FUTEX_WAKE of one. */
inline wake(l)
{
    atomic {
        if
        :: asleep_on[1] == l + 1 -> asleep_on[1] = NO_LOCK
        :: asleep_on[2] == l + 1 -> asleep_on[2] = NO_LOCK
        :: asleep_on[3] == l + 1 -> asleep_on[3] = NO_LOCK
        :: else
        fi
    }
}

/* lock_release() */
inline release(l)
{
#ifdef MUTANT_uncounted_early
    atomic { count(-1); interruption() }
#endif
#ifdef MUTANT_release_stores
    seen = state[l];
#endif
    atomic {
#ifndef MUTANT_release_stores
        seen = state[l];
#endif
        state[l] = 0;
        owner[l] = NOBODY;
        interruption()
    }
#ifndef MUTANT_uncounted_early
    atomic { count(-1); interruption() }
#endif
    if
#ifdef MUTANT_release_wakes_nobody
    :: true
#else
    :: seen == 2 -> wake(l)
    :: else
#endif
    fi;
    seen = 0
}

/* The handler: gate_close(), fork(), gate_open(). */
proctype handler()
{
    bit lost_patience, orphans;

end:
    in_handler;
    closed = 1;
    if
    :: in_gate == 1
#if defined MUTANT_no_patience
    :: true
#else
    :: lock_count > 0 ->                         /* may_be_waited_for() */
        d_step {
            lost_patience = 1;
            CLAIM(sleeper_keeps_patience, !sleeps || HOLDS(0) || HOLDS(1))
        }
#endif
    fi;
    /* The child; lock_note_orphans(). */
    d_step {
        CLAIM(no_lock_held_at_fork, lost_patience || !(OTHERS_HOLD(0) || OTHERS_HOLD(1)));
#ifndef MUTANT_orphans_not_noted
        orphans = lost_patience;
#endif
        CLAIM(child_waits_for_nobody,
              orphans || ((HOLDS(0) || state[0] == 0) && (HOLDS(1) || state[1] == 0)))
    }
    d_step { closed = 0; in_handler = 0 }
}

#ifdef MUTANT_ranks_ignored
#define LOCK_AT(n) (self == 1 -> LOCKS - 1 - (n) : (n))
#else
#define LOCK_AT(n) (n)
#endif

proctype thread(byte self)
{
    byte seen;
    bit taken;
#ifdef MUTANT_woken_takes_as_one
    bit was_woken;
#endif
    bit may_be_interrupted = (self == FORKER);
    byte first, end, at;

    /* Which locks it takes. */
    atomic {
        if
        :: MAY_TAKE_ONE -> end = 1
        :: MAY_TAKE_ONE -> first = 1; end = 2
        :: end = 2
        fi;
        at = first;
        in_gate++
    }
    if
    :: closed                                    /* what it does then is deferred.pml */
    :: else ->
        do
        :: at == end -> break
        :: else -> acquire(LOCK_AT(at)); at++
        od;
        do
        :: at == first -> break
        :: else -> release(LOCK_AT(at - 1)); at--
        od
    fi;
    in_gate--;
    finished++
}

init
{
    atomic {
        run thread(1);
        run thread(2);
        run thread(FORKER);
        run handler()
    }
    finished == THREADS
}
