/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fork.c - what happens around fork().
 *
 * The handler that runs before closes the gate (gate.h), those that run after, in parent and child,
 * open it. No lock is held across, so the stdio locks that fork() takes after our first handler
 * cannot be waited for by somebody who waits for us.
 *
 * A handler of a signal may fork, and have interrupted the allocator anywhere, a fast path
 * included: what happens here touches no thread's cache. What it interrupted goes on in the child
 * too (settle() in life.c, child_opens() in gate.c).
 *
 * Owns         whether the handlers are registered.
 * Concurrency  the handlers run in the thread that forks; fork_watch_threads() in any.
 * Called by    heap.c; the C library around fork().
 */
#include "fork.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "cache.h"
#include "deferred.h"
#include "emergency.h"
#include "life.h"

/* Not in a handler of a signal that interrupted the thread inside: then what was put off is left to
 * who comes next. */
void fork_take_in_left(void)
{
    if ((deferred_waits() || life_ended_wait()) && gate_is_open() &&
        !gate_has_caller(cache_gate(cache_self))) {
        life_take_back_ended();
        deferred_release(heap_free_deferred);
    }
}

COLD static void prepare(void)
{
    deferred_fork_begins();
    gate_close(cache_gate(cache_self));
}

COLD static void parent(void)
{
    deferred_fork_ends();
    gate_open();
    fork_take_in_left();
}

COLD static void child(void)
{
    emergency_reset_in_child();
    deferred_reset_in_child();
    deferred_fork_ends();
    gate_reset_in_child(cache_gate(cache_self));
    life_reset_in_child();
    fork_take_in_left();
}

/* What pthread_atfork() calls, with the library whose handlers are to go when it is finalized. Ours
 * must not: destructors that run after ours, and threads meanwhile, may fork. */
extern int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                             void *library) __attribute__((weak));

static _Atomic bool is_registered;

static void register_handlers(void)
{
    /* Relaxed: an exchange decides. Whoever loses may fork before the handlers are there, as if it
     * had come a little earlier: it cannot wait, since to register may allocate. */
    if (atomic_exchange_explicit(&is_registered, true, memory_order_relaxed)) {
        return;
    }
    int error = __register_atfork != NULL ? __register_atfork(prepare, parent, child, NULL)
                                          : pthread_atfork(prepare, parent, child);

    if (error != 0) {
        /* No memory for it: the next slow path of another thread tries again. */
        atomic_store_explicit(&is_registered, false, memory_order_relaxed);
    }
}

/* Constructors of the program's libraries run before that of a preloaded one, and may start
 * threads. */
void fork_watch_threads(void)
{
    static _Atomic uintptr_t first_thread;
    uintptr_t first = 0;
    uintptr_t self = (uintptr_t)&cache_self;

    if (atomic_load_explicit(&is_registered, memory_order_relaxed)) {
        return;
    }
    if (!atomic_compare_exchange_strong_explicit(&first_thread, &first, self, memory_order_relaxed,
                                                 memory_order_relaxed) &&
        first != self) {
        register_handlers();
    }
}

/* As early as constructors run, so that handlers registered later, the program's own, run before
 * our first and after our last. Those of libraries whose constructors ran before ours find the gate
 * closed: what they allocate is emergency memory, what they free is deferred. Not with the first
 * call of all: pthread_atfork() takes a lock of its own, and allocates beyond 48 handlers. */
__attribute__((constructor(CONSTRUCT_LAYERS))) static void fork_construct(void)
{
    register_handlers();
}
