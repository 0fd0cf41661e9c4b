/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* fork.pml - fork against the allocator's locks and stdio's, as a model for spin.
 *
 * A slow path (refill, flush, large allocation) works on the central structures inside a gate.
 * The prepare handler closes the gate and waits until every other thread is out; it takes no
 * lock. Whoever finds the gate closed is served without one: allocations from emergency memory,
 * frees by deferring them on a lock-free stack. How a thread comes to be known to the gate is
 * gate.pml; deferred.pml has the stack in more detail, emergency.pml the memory.
 *
 * Two threads fork at once, one with a handler of the program's own that frees after ours has
 * closed the gate. glibc takes the lock of its list of streams between the prepare handlers and
 * the fork. One thread runs fflush(NULL): it holds that lock and waits for a stream's. One runs
 * getline: it holds the stream's lock and allocates. One more allocates and frees.
 *
 * A d_step is one atomic machine instruction on shared memory with the local work around it, or a
 * check that the real code does not have. README.md beside this file says what is left out.
 *
 * Claims: the first word of a violated assertion names the one that failed.
 *   no_lock_held_at_fork    at the fork every allocator lock is free
 *   central_state_whole     at the fork no central structure is in the middle of an update
 *   child_uses_the_heap     the gate is open in the child
 *   child_can_fork_again    no thread of the parent is in the child's gate
 *   deferred_free_not_lost  at rest each deferred free was taken in
 *   gate_is_left            at rest the gate is open and empty
 * and from spin itself: no deadlock ("invalid end state"), no endless run ("non-progress cycle").
 *
 * Mutants: -DMUTANT_<name> breaks the protocol, and spin must report the claim given.
 * tests/model reads this table.
 *   mutant locks_held_across_fork: invalid end state
 *   mutant wait_while_closed: invalid end state
 *   mutant retry_while_closed: non-progress cycle
 *   mutant stays_in_gate: invalid end state
 *   mutant closed_read_first: no_lock_held_at_fork
 *   mutant no_wait_for_gate: no_lock_held_at_fork
 *   mutant closed_as_flag: no_lock_held_at_fork
 *   mutant release_outside_gate: no_lock_held_at_fork
 *   mutant publish_outside_gate: central_state_whole
 *   mutant child_counts_down: child_uses_the_heap
 *   mutant child_keeps_gates: child_can_fork_again
 *   mutant no_look_after_defer: deferred_free_not_lost
 *   mutant release_drops_refused: deferred_free_not_lost
 *   mutant parent_keeps_closed: gate_is_left
 */

#define WORKER 0
#define READER 1
#define FORKER0 2
#define FORKER1 3
#define CALLERS 4              /* threads that call the allocator */
#define THREADS 5              /* and the one in fflush */
#define FREES 2                /* the worker's and one forker's */

/* A name that pan prints with the assertion that fails. */
#define CLAIM(name, holds) assert(name || (holds))
hidden byte no_lock_held_at_fork, central_state_whole, child_uses_the_heap,
            child_can_fork_again, deferred_free_not_lost, gate_is_left;

/* The gate. */
byte closed;                   /* forks in progress */
bit in_gate[CALLERS];

/* The central structures: two locks that nest, and the stack of deferred frees. */
bit bin_lock, heap_lock;
byte deferred;

/* stdio. */
bit list_lock, file_lock;

/* What the real code does not have, for the claims. */
byte updating;                 /* threads in the middle of an update */
byte freed;                    /* frees that reached the central structures */
byte finished;
hidden byte child_closed, child_in_gate;

inline acquire(lock) { d_step { lock == 0 -> lock = 1 } }
inline release(lock) { lock = 0 }

/* Either inside the gate, or `passed` is 0 and the gate is closed. */
inline enter_gate(me)
{
#if defined MUTANT_locks_held_across_fork
    passed = 1
#elif defined MUTANT_closed_read_first
    passed = (closed == 0);
    if
    :: passed -> in_gate[me] = 1
    :: else
    fi
#else
    in_gate[me] = 1;
    passed = (closed == 0);
    if
    :: passed
    :: else ->
#ifndef MUTANT_stays_in_gate
        in_gate[me] = 0
#else
        skip
#endif
    fi
#endif
}

inline leave_gate(me)
{
    in_gate[me] = 0;
    passed = 0
}

/* Every update of the central structures, with the locks of a bin and of the page heap. */
inline update_centrally(frees)
{
    acquire(bin_lock);
    d_step { updating++ }
    acquire(heap_lock);
    d_step { updating--; freed = freed + frees; heap_lock = 0 }
    release(bin_lock)
}

/* A remote free: several atomic operations and no lock. */
inline publish(frees)
{
    d_step { updating++ }
    d_step { updating--; freed = freed + frees }
}

inline wait_for_gate()
{
#if defined MUTANT_wait_while_closed
    closed == 0
#elif defined MUTANT_retry_while_closed
    skip
#else
    break
#endif
}

inline allocate(me)
{
    do
    :: true ->
        enter_gate(me);
        if
        :: passed ->
            update_centrally(0);
            leave_gate(me);
            break
        :: else ->                               /* from emergency memory */
            wait_for_gate()
        fi
    od
}

/* All there is, outside the gate; then a block at a time, inside (deferred_release()). Who is
 * refused there defers again, as free_later() does. */
inline release_deferred(me)
{
    d_step { list = list + deferred; deferred = 0 }
    do
    :: list == 0 -> break
    :: else ->
#ifdef MUTANT_release_outside_gate
        passed = 1;
#else
        enter_gate(me);
#endif
        if
        :: passed ->
            list--;
            update_centrally(1);
            leave_gate(me)
        :: else ->
#ifdef MUTANT_release_drops_refused
            list--
#else
            d_step { list--; deferred++ }
            if
            :: closed == 0 -> d_step { list = list + deferred; deferred = 0 }
            :: else
            fi
#endif
        fi
    od
}

/* free_later(): the gate may have opened, and its last fork looked for deferred frees, before the
 * push; then nobody else would. */
inline free_later(me)
{
    d_step { deferred++ }
#ifndef MUTANT_no_look_after_defer
    if
    :: closed == 0 -> release_deferred(me)
    :: else
    fi
#endif
}

/* Frees through a bin's lock, or through the remote bitmap of another arena. */
inline flush(me)
{
#ifdef MUTANT_publish_outside_gate
    publish(1);
#else
    enter_gate(me);
    if
    :: passed ->
        if
        :: update_centrally(1)
        :: publish(1)
        fi;
        leave_gate(me)
    :: else -> free_later(me)
    fi;
#endif
    passed = 0
}

/* A free of the program's own prepare handler that runs after ours: the gate is closed by its own
 * thread, so that this goes the way of flush() through a closed gate, and onto the thread's own
 * stack. */
inline free_in_handler(me)
{
    in_gate[me] = 1;
    in_gate[me] = 0;
    own = 1
}

inline wait_until_out(thread)
{
#ifndef MUTANT_no_wait_for_gate
    if
    :: thread != me -> in_gate[thread] == 0
    :: else
    fi
#else
    skip
#endif
}

inline prepare_handler()
{
#if defined MUTANT_locks_held_across_fork
    acquire(bin_lock);
    acquire(heap_lock)
#else
#ifdef MUTANT_closed_as_flag
    closed = 1;
#else
    d_step { closed++ }
#endif
    wait_until_out(WORKER);
    wait_until_out(READER);
    wait_until_out(FORKER0);
    wait_until_out(FORKER1)
#endif
}

inline parent_handler()
{
#if defined MUTANT_locks_held_across_fork
    d_step { freed = freed + deferred + own; deferred = 0 }
    release(heap_lock);
    release(bin_lock)
#else
    d_step { deferred = deferred + own; own = 0 }
#if defined MUTANT_closed_as_flag
    last = 1;
    closed = 0;
#elif defined MUTANT_parent_keeps_closed
    last = 0;
#else
    d_step { closed--; last = (closed == 0) }
#endif
    if
    :: last -> release_deferred(me)
    :: else
    fi
#endif
}

/* The child has a copy of everything and runs alone, so that its handler can be followed in one
 * step. Threads that were in the gate, or on their way out of it, are not in the child. */
inline child_handler(me)
{
    child_closed = closed;
    child_in_gate = in_gate[WORKER] + in_gate[READER] + in_gate[FORKER0] + in_gate[FORKER1];
#ifdef MUTANT_child_counts_down
    child_closed--;
#else
    child_closed = 0;
#endif
#ifndef MUTANT_child_keeps_gates
    child_in_gate = 0;
#endif
    CLAIM(child_uses_the_heap, child_closed == 0);
    CLAIM(child_can_fork_again, child_in_gate == 0)
}

proctype forker(byte me)
{
    bit passed, last, own;
    byte list;

    prepare_handler();
    if
    :: me == FORKER0 -> free_in_handler(me)
    :: else
    fi;
    acquire(list_lock);
    d_step {
        CLAIM(no_lock_held_at_fork, !bin_lock && !heap_lock);
        CLAIM(central_state_whole, updating == 0);
        child_handler(me)
    }
    release(list_lock);
    parent_handler();
    finished++
}

/* getline on a line longer than its buffer. */
proctype reader()
{
    bit passed;

    acquire(file_lock);
    allocate(READER);
    release(file_lock);
    finished++
}

/* fflush(NULL). */
proctype flusher()
{
    acquire(list_lock);
    acquire(file_lock);
    release(file_lock);
    release(list_lock);
    finished++
}

proctype worker()
{
    bit passed;
    byte list;

#ifndef CYCLES                 /* that search needs more memory a state */
    allocate(WORKER);
#endif
    flush(WORKER);
    finished++
}

init
{
    atomic {
        run worker();
        run reader();
        run flusher();
        run forker(FORKER0);
        run forker(FORKER1)
    }
    finished == THREADS;
    CLAIM(deferred_free_not_lost, deferred == 0 && freed == FREES);
    CLAIM(gate_is_left, closed == 0 &&
          (in_gate[WORKER] | in_gate[READER] | in_gate[FORKER0] | in_gate[FORKER1]) == 0)
}
