/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* deferred.pml - frees that wait while the gate is closed, as a model for spin.
 *
 * Whoever finds the gate closed pushes the block on a stack that all share, looks at the gate once
 * more, and releases all there is if it has opened (free_later() in heap_free.c). Who forks opens
 * the gate, looks at the stack, and does so if there is anything and nobody else forks (parent()
 * and fork_take_in_left() in fork.c). To release is to take the whole stack, outside the gate, and
 * to enter for each block; who is refused there defers again. Who forks has a stack of its own for
 * what it defers in between: the child frees that, and only that.
 *
 * Two threads fork, each with a handler of the program's own that frees after ours has closed the
 * gate. Two others free. That the gate works is gate.pml; here it is a count.
 *
 * A d_step is one atomic machine instruction on shared memory with the local work around it, or a
 * check that the real code does not have. README.md beside this file says what is left out.
 *
 * Claims: the first word of a violated assertion names the one that failed.
 *   deferred_free_not_lost  at rest every block was freed
 *   block_freed_once        no block is freed twice
 *   no_free_at_fork         at the fork no block is being freed
 *   child_frees_own         the child has, and frees, what its own thread deferred
 * and from spin itself: no deadlock ("invalid end state"), no endless run ("non-progress cycle").
 *
 * Mutants: -DMUTANT_<name> breaks the protocol, and spin must report the claim given.
 * tests/model reads this table.
 *   mutant no_look_after_push: deferred_free_not_lost
 *   mutant look_before_push: deferred_free_not_lost
 *   mutant refused_release_drops: deferred_free_not_lost
 *   mutant refused_release_keeps: non-progress cycle
 *   mutant first_to_open_releases: deferred_free_not_lost
 *   mutant look_before_opening: deferred_free_not_lost
 *   mutant put_back_after_opening: deferred_free_not_lost
 *   mutant own_not_put_back: deferred_free_not_lost
 *   mutant release_before_opening: deferred_free_not_lost
 *   mutant take_in_two_steps: block_freed_once
 *   mutant release_outside_gate: no_free_at_fork
 *   mutant own_with_the_others: child_frees_own
 *   mutant child_resets_last: child_frees_own
 */

#define WORKERS 2
#define FORKERS 2
#ifdef CYCLES                  /* the search for cycles needs more memory a state */
#define MORE_FREES 1
#else
#define MORE_FREES 2           /* of one of the workers */
#endif
#define FREES (1 + MORE_FREES + FORKERS)

#define CLAIM(name, holds) assert(name || (holds))
hidden byte deferred_free_not_lost, block_freed_once, no_free_at_fork, child_frees_own;

byte closed;                   /* forks in progress */
byte in_gate;                  /* threads inside, or just looking */
byte deferred;                 /* blocks on the stack that all share */

/* What the real code does not have, for the claims. */
byte updating;                 /* threads in the middle of a free */
byte freed;
byte finished;
hidden byte child_deferred, child_own;

/* gate_enter(): inside, or `passed` is 0. */
inline enter_gate()
{
    d_step { in_gate++ }
    passed = (closed == 0);
    if
    :: passed
    :: else -> d_step { in_gate-- }
    fi
}

inline leave_gate()
{
    d_step { in_gate--; passed = 0 }
}

/* Into a bitmap or the page heap. */
inline free_block()
{
    d_step { updating++ }
    d_step {
        updating--;
        freed++;
        CLAIM(block_freed_once, freed <= FREES)
    }
}

/* take_all() in deferred.c: one exchange. Who takes while it has a list still, since it was refused
 * in the middle of it, does so in a call within a call: the order does not matter. */
inline take_all()
{
#ifdef MUTANT_take_in_two_steps
    list = list + deferred;
    deferred = 0
#else
    d_step { list = list + deferred; deferred = 0 }
#endif
}

/* deferred_release(heap_free_deferred): outside the gate, entered for each block. */
inline release_deferred()
{
    take_all();
    do
    :: list == 0 -> break
    :: else ->
#ifdef MUTANT_release_outside_gate
        list--;
        free_block()
#else
        enter_gate();
        if
        :: passed ->
            list--;
            free_block();
            leave_gate()
        :: else ->
#if defined MUTANT_refused_release_keeps
            skip                                 /* and tries again */
#elif defined MUTANT_refused_release_drops
            d_step { list--; deferred++ }        /* without another look */
#else
            d_step { list--; deferred++ }        /* free_later() */
            if
            :: closed == 0 -> take_all()
            :: else
            fi
#endif
        fi
#endif
    od
}

/* free_later() in heap_free.c */
inline free_later()
{
#ifdef MUTANT_look_before_push
    passed = (closed == 0);
    d_step { deferred++ }
    if
    :: passed -> passed = 0; release_deferred()
    :: else
    fi
#else
    d_step { deferred++ }                        /* deferred_push() */
#ifndef MUTANT_no_look_after_push
    if
    :: closed == 0 -> release_deferred()         /* gate_is_open() */
    :: else
    fi
#endif
#endif
}

/* free_uncached(), give_run_back() and the like. */
inline free_centrally()
{
    enter_gate();
    if
    :: passed ->
        free_block();
        leave_gate()
    :: else -> free_later()
    fi
}

proctype worker(byte frees)
{
    bit passed;
    byte list;

    do
    :: frees == 0 -> break
    :: else -> frees--; free_centrally()
    od;
    finished++
}

/* child() in fork.c: it runs alone, so that it can be followed in one step. Nobody of the parent's
 * is inside, and what others had taken, or put on the stack, is lost with them. */
inline child()
{
    child_deferred = deferred;
    child_own = own;
#ifdef MUTANT_child_resets_last
    child_deferred = child_deferred + child_own; /* deferred_fork_ends() */
    child_deferred = 0;
#else
    child_deferred = 0;                          /* deferred_reset_in_child() */
    child_deferred = child_deferred + child_own; /* deferred_fork_ends() */
#endif
    CLAIM(child_frees_own, child_deferred == 1)
}

proctype forker()
{
    bit passed, last;
    byte list, own;

    /* prepare(): deferred_fork_begins(), gate_close() */
    d_step { closed++ }
    in_gate == 0;
    /* A handler of the program's. What it frees finds the gate closed, and closed again. */
#ifdef MUTANT_own_with_the_others
    d_step { deferred++ }
#else
    d_step { own++ }
#endif
    d_step {
        CLAIM(no_free_at_fork, updating == 0);
        child()
    }
    /* parent(): deferred_fork_ends(), gate_open(), fork_take_in_left() */
#ifdef MUTANT_release_before_opening
    d_step { deferred = deferred + own; own = 0; last = (closed == 1) }
    if
    :: last -> take_all()
    :: else
    fi;
    d_step { freed = freed + list; list = 0 }
    d_step { closed--; last = 0 }
#elif defined MUTANT_put_back_after_opening
    d_step { closed--; last = (closed == 0) }
    if
    :: last -> release_deferred()
    :: else
    fi;
    last = 0;
    d_step { deferred = deferred + own; own = 0 }
#else
#ifndef MUTANT_own_not_put_back
    d_step { deferred = deferred + own; own = 0 }
#endif
#ifdef MUTANT_look_before_opening
    last = (deferred != 0);
    d_step { closed-- }
    if
    :: last ->
#else
    d_step { closed-- }
    if
    :: deferred != 0 ->                          /* deferred_waits() */
#endif
        if
#ifdef MUTANT_first_to_open_releases
        :: closed != 0 -> release_deferred()
#else
        :: closed == 0 -> release_deferred()     /* gate_is_open() */
#endif
        :: else
        fi
    :: else
    fi;
#endif
    finished++
}

init
{
    atomic {
        run worker(1);
        run worker(MORE_FREES);
        run forker();
        run forker()
    }
    finished == WORKERS + FORKERS;
    d_step {
        CLAIM(deferred_free_not_lost, deferred == 0 && freed == FREES)
    }
}
