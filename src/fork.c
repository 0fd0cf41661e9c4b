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
 * Called by    heap.c; the C library around fork().
 */
#include "fork.h"

#include <pthread.h>

#include "cache.h"
#include "emergency.h"
#include "life.h"

static void (*release_deferred)(void *block);

void fork_on_deferred(void (*release)(void *block))
{
    release_deferred = release;
}

static void prepare(void)
{
    emergency_fork_begins();
    gate_close(cache_gate(cache_self));
}

static void release_all(void)
{
    if (release_deferred != NULL) {
        emergency_release_deferred(release_deferred);
    }
}

static void parent(void)
{
    emergency_fork_ends();
    /* In a handler of a signal that interrupted the thread inside, what was put off is left to the
     * end of the next fork. */
    if (!gate_open() || gate_has_caller(cache_gate(cache_self))) {
        return;
    }
    life_take_back_ended();
    release_all();
}

static void child(void)
{
    emergency_reset_in_child();
    emergency_fork_ends();
    gate_reset_in_child(cache_gate(cache_self));
    life_reset_in_child();
    /* Or the fork was a handler's, as above. */
    if (gate_is_open()) {
        release_all();
    }
}

/* As early as constructors run, so that handlers registered later, the program's own, run before
 * our first and after our last. Those of libraries whose constructors ran before ours find the gate
 * closed: what they allocate is emergency memory, what they free is deferred. Not with the first
 * call of all: pthread_atfork() takes a lock of its own, and allocates beyond 48 handlers. */
__attribute__((constructor(101))) static void fork_construct(void)
{
    (void)pthread_atfork(prepare, parent, child);
}
