/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* run_cache.pml - the slots that keep freed runs, as a model for spin.
 *
 * Two slots for runs of one length, three runs, two threads and one that lets the cache age. A thread
 * gets a run out of a slot or from the page heap, and frees it into a slot or to the page heap,
 * twice. Its own marks in the span, which say that the run is kept, are written before the run is
 * put and taken back where that fails. The page heap is under its lock: one step.
 *
 * A d_step is one atomic machine instruction on shared memory with the local work around it, or a
 * check that the real code does not have.
 *
 * Claims: the first word of a violated assertion names the one that failed.
 *   run_owned_once      no run is handed out, or given to the page heap, that somebody has
 *   owner_alone_marks   nobody writes the span of a run that is not his
 *   run_kept_is_marked  a run in a slot says that it is free
 *   run_not_lost        at rest each run is in one slot or in the page heap
 * and from spin itself: no deadlock ("invalid end state"), no endless run ("non-progress cycle").
 *
 * Mutants: -DMUTANT_<name> breaks the protocol, and spin must report the claim given.
 * tests/model reads this table.
 *   mutant take_stores: run_owned_once
 *   mutant age_stores: run_owned_once
 *   mutant put_stores: run_not_lost
 *   mutant mark_after_put: owner_alone_marks
 *   mutant put_unmarked: run_kept_is_marked
 *   mutant failed_put_keeps_nothing: run_not_lost
 */

#define SLOTS 2
#define RUNS 3
#define THREADS 2
#define ROUNDS 2

#define NONE 0                  /* an empty slot; run r is kept as r + 1 */
#define NOBODY 0                /* owner of a run: thread t is t + 1 */
#define SLOT_OWNS 7
#define HEAP_OWNS 8

#define CLAIM(name, holds) assert(name || (holds))
hidden byte run_owned_once, owner_alone_marks, run_kept_is_marked, run_not_lost;

byte slot[SLOTS];
bit marked[RUNS];

/* What the real code does not have: who has each run, for the claims. */
byte owner[RUNS];
byte finished;

#define MARK(r, value) \
    d_step { CLAIM(owner_alone_marks, owner[r] == self); marked[r] = value }

/* The run of slot s into `got`, or NONE: empty, or somebody was quicker. */
inline take(s)
{
    d_step { word = slot[s] }
    if
    :: word != NONE ->
        d_step {
            if
#if defined MUTANT_take_stores
            :: true ->
#else
            :: slot[s] == word ->
#endif
                CLAIM(run_owned_once, owner[word - 1] == SLOT_OWNS);
                CLAIM(run_kept_is_marked, marked[word - 1]);
                slot[s] = NONE;
                owner[word - 1] = self;
                got = word
#if !defined MUTANT_take_stores
            :: else
#endif
            fi
        }
    :: else
    fi;
    word = NONE
}

/* The run `got` into slot s, which makes `got` NONE; or slot s is not empty. */
inline put(s)
{
    d_step { word = slot[s] }
    if
    :: word == NONE ->
#if !defined MUTANT_mark_after_put && !defined MUTANT_put_unmarked
        MARK(got - 1, 1);
#endif
        d_step {
            if
#if defined MUTANT_put_stores
            :: true ->
#else
            :: slot[s] == NONE ->
#endif
                slot[s] = got;
                owner[got - 1] = SLOT_OWNS;
                done = 1
#if !defined MUTANT_put_stores
            :: else
#endif
            fi
        }
#if defined MUTANT_mark_after_put
        MARK(got - 1, 1);
#endif
        if
        :: done -> d_step { got = NONE; done = 0 }
        :: else ->
#if defined MUTANT_failed_put_keeps_nothing
            d_step { got = NONE }
#else
            MARK(got - 1, 0)
#endif
        fi
    :: else
    fi;
    word = NONE
}

inline heap_take()
{
    d_step {
        if
        :: owner[0] == HEAP_OWNS -> got = 1
        :: else ->
            if
            :: owner[1] == HEAP_OWNS -> got = 2
            :: else ->
                if
                :: owner[2] == HEAP_OWNS -> got = 3
                :: else
                fi
            fi
        fi;
        if
        :: got != NONE -> owner[got - 1] = self
        :: else
        fi
    }
}

inline heap_free()
{
    d_step {
        CLAIM(run_owned_once, owner[got - 1] == self);
        owner[got - 1] = HEAP_OWNS;
        marked[got - 1] = 1;
        got = NONE
    }
}

proctype worker(byte self)
{
    byte word = NONE, got = NONE, rounds = 0;
    bit done = 0;

    do
    :: rounds == ROUNDS -> break
    :: else ->
        rounds++;
        if
        :: true ->
            take(1);
            if
            :: got == NONE -> take(0)
            :: else
            fi
        :: true /* a slab's unit that the page heap cuts off, say */
        fi;
        if
        :: got == NONE -> heap_take()
        :: else
        fi;
        if
        :: got != NONE ->
            /* The program's. */
            MARK(got - 1, 0);
            put(0);
            if
            :: got != NONE -> put(1)
            :: else
            fi;
            if
            :: got != NONE -> heap_free()
            :: else
            fi
        :: else
        fi
    od;
    finished++
}

/* Whoever lets time pass: what the slots keep goes to the page heap. */
proctype ager()
{
    byte self = THREADS + 1, word = NONE, got = NONE, s = 0;

    do
    :: s == SLOTS -> break
    :: else ->
#if defined MUTANT_age_stores
        d_step { word = slot[s] }
        if
        :: word != NONE ->
            d_step {
                CLAIM(run_owned_once, owner[word - 1] == SLOT_OWNS);
                slot[s] = NONE;
                owner[word - 1] = self;
                got = word
            }
        :: else
        fi;
        word = NONE;
#else
        take(s);
#endif
        if
        :: got != NONE -> heap_free()
        :: else
        fi;
        s++
    od;
    finished++
}

#define IN_SLOT(r) ((slot[0] == r + 1) + (slot[1] == r + 1))
#define AT_REST(r) (IN_SLOT(r) + (owner[r] == HEAP_OWNS) == 1)

init
{
    atomic {
        owner[0] = HEAP_OWNS;
        marked[0] = 1;
        owner[1] = HEAP_OWNS;
        marked[1] = 1;
        owner[2] = SLOT_OWNS;
        marked[2] = 1;
        slot[0] = 3;
        run worker(1);
        run worker(2);
        run ager()
    }
    finished == THREADS + 1;
    CLAIM(run_not_lost, AT_REST(0) && AT_REST(1) && AT_REST(2))
}
