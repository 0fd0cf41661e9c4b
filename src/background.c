/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* background.c - a thread that polls the clock of decay (purge.h).
 *
 * Only with background_thread:true or bw_background_thread(). It is started by a constructor or by
 * that call, never from inside malloc: a program may call malloc while it holds locks that
 * pthread_create() takes. It allocates nothing, has every signal blocked, and ends before the
 * process's destructors are through; where the program's last thread ends and nobody calls exit(),
 * it ends as well, and with it the process.
 *
 * fork(): only the forking thread lives on, so the child starts a thread of its own.
 *
 * Owns         the thread.
 * Concurrency  background_start() and background_stop() are called by constructors, destructors
 *              and in forked children: by one thread at a time.
 * Called by    api.c; its own constructor and destructor.
 */
#include "background.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cache.h"
#include "conf.h"
#include "fatal.h"
#include "gate.h"
#include "life.h"
#include "limit.h"
#include "purge.h"
#include "upkeep.h"

enum {
    STACK_BYTES = 256 * 1024,
    MS_PER_SECOND = 1000,
    NS_PER_MS = 1000000,
    WAIT_MS_MOST = MS_PER_SECOND, /* after which it is seen that we are the last thread */
};

static pthread_t thread;
static bool has_started;
static pid_t process; /* that the thread is of */
static bool forks_are_handled;
static _Atomic uint32_t to_stop; /* a futex */

/* Not in a child of which no handler of ours knows, by _Fork() or clone(). */
static bool runs(void)
{
    return has_started && process == getpid();
}

static bool is_to_stop(void)
{
    /* Relaxed: pthread_join() orders what follows. */
    return atomic_load_explicit(&to_stop, memory_order_relaxed) != 0;
}

/* Wait until a step is due; false if it is time to end. For a while, not until a time: a library
 * that fakes the program's clock would have the kernel compare two. */
static bool wait_for_step(void)
{
    size_t wait_ms = size_min(purge_interval_ms(), WAIT_MS_MOST);
    const struct timespec wait = {.tv_sec = (time_t)(wait_ms / MS_PER_SECOND),
                                  .tv_nsec = (long)(wait_ms % MS_PER_SECOND * NS_PER_MS)};

    (void)syscall(SYS_futex, &to_stop, FUTEX_WAIT_PRIVATE, 0, &wait, NULL, 0);
    return !is_to_stop();
}

/* One step inside the gate; true if there is more to do. While somebody forks, nothing changes. */
static bool step(bool (*take)(void))
{
    bool more = false;

    if (gate_enter(NULL)) {
        more = take();
        gate_leave(NULL);
    }
    return more;
}

/* A step of what the soft limit calls for comes first. As purge_poll(). */
static bool poll_once(void)
{
    if (limit_presses()) {
        upkeep_poll(&cache_none);
        return false;
    }
    return purge_poll();
}

/* Has main() ended by pthread_exit(), and every other thread? The process ends with its last one:
 * that would be us. */
static bool is_last_thread(void)
{
    enum { FIRST_AND_US = 2 };

    if (!life_first_thread_has_ended()) {
        return false;
    }
    size_t threads = os_thread_count();

    /* 0: nobody can say. That the process ends counts for more than that it gives memory back. */
    return threads == FIRST_AND_US || threads == 0;
}

COLD static void *poll_the_clock(void *unused)
{
    while (wait_for_step()) {
        if (is_last_thread()) {
            has_started = false;
            return unused;
        }
        bool more = step(poll_once);

        /* There may be gigabytes to give back, and exit() waits. */
        while (more) {
            if (is_to_stop()) {
                return unused;
            }
            more = step(purge_go_on);
        }
    }
    return unused;
}

COLD static bool create(void)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;

    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    atomic_store_explicit(&to_stop, 0, memory_order_relaxed);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    life_watch_first_thread();
    /* The second, since the program's thread-local variables have to fit on the stack too. */
    has_started = pthread_create(&thread, &attributes, poll_the_clock, NULL) == 0 ||
                  pthread_create(&thread, NULL, poll_the_clock, NULL) == 0;
    process = getpid();
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return has_started;
}

/* Without a word where it cannot be: the parent's program may limit its children's threads. */
COLD static void start_in_child(void)
{
    has_started = has_started && create();
}

COLD bool background_start(void)
{
    if (runs()) {
        return true;
    }
    if (!forks_are_handled) {
        /* After fork.c's handlers are registered, so that in the child the gate is open by then. */
        forks_are_handled = pthread_atfork(NULL, NULL, start_in_child) == 0;
    }
    if (!create()) {
        warn_line((const char *const[]){"the background thread cannot be started", NULL});
    }
    return has_started;
}

void background_stop(void)
{
    int state;

    if (runs()) {
        has_started = false;
        atomic_store_explicit(&to_stop, 1, memory_order_relaxed);
        (void)syscall(SYS_futex, &to_stop, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        /* It may wait for a lock: in a handler of a signal that has interrupted us inside, and
         * exits, for one that we hold; after a fault, for one that is held for good. */
        if (gate_is_closed_for_good() || gate_has_caller(cache_gate(cache_self))) {
            return;
        }
        /* pthread_join() is a cancellation point, we are not. */
        (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
        (void)pthread_join(thread, NULL);
        (void)pthread_setcancelstate(state, &state);
    }
}

/* Most processes end here: no variable, no option. */
__attribute__((constructor(CONSTRUCT_BACKGROUND))) static void background_construct(void)
{
    if (secure_getenv("BREAKWATER_CONF") == NULL) {
        return;
    }
    /* Reads the options, unless an earlier allocation did. */
    (void)life_attach_thread();
    if (conf.background_thread) {
        (void)background_start();
    }
}

__attribute__((destructor(CONSTRUCT_BACKGROUND))) static void background_destruct(void)
{
    background_stop();
}
