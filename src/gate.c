/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gate.c - a flag a thread, a count of those who keep the gate closed.
 *
 * A thread that enters sets its own flag, then looks whether the gate is closed. A thread that
 * closes the gate raises the count, then looks at the flags. All four are sequentially consistent,
 * so at least one of the two sees the other: src/model/gate.pml, with a mutant that looks first and
 * sets afterwards. So it is with the count, and with a slot that is registered inside meanwhile.
 *
 * Threads without a slot are counted twice, in one count around the other: either would do to keep
 * the fork waiting. A thread that is interrupted as it changes one of them cannot know whether it
 * is in that one. It knows of the other.
 *
 * A signal handler may fork, and have interrupted its thread inside: a program that reports its
 * own abort() does so. A thread that closes the gate does not wait for itself. Its child begins
 * inside then, and there the gate stays closed until the thread has left. Others may be inside,
 * waiting for a lock that the interrupted thread holds: then after a while it goes on without
 * waiting for them. The child, which may have locks that nobody will release, keeps its gate closed
 * for good then, and stops if what was interrupted needs one of those.
 *
 * Owns         the list of slots, both counts of the threads inside without a slot.
 * Invariant    while closed > 0 and every flag is 0, but for that of the thread which closed it,
 *              nobody else holds a lock of the allocator.
 * Concurrency  lock-free but for gate_close() and gate_enter_patiently(), which wait for others to
 *              leave or to open.
 * Called by    pool.c, page_heap.c, reclaim.c, purge.c, life.c, fork.c, upkeep.c, heap.c,
 *              heap_free.c, resize.c, stats.c, background.c and api.c.
 */
#include "gate.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "lock.h"
#include "os.h"

enum {
    YIELDS = 64, /* before a thread that waits sleeps: one of lower priority may have to run */
    PAUSE_US = 50,
    PATIENCE = 200, /* pauses, some 20 ms as the kernel rounds them */
};

static _Atomic(struct gate_slot *) slots;
/* Threads inside without a slot, twice: the outer count is raised first and lowered last. */
static _Atomic uint32_t anonymous_outer;
static _Atomic uint32_t anonymous_inner;

static _Atomic uint32_t closed;

static _Atomic bool is_closed_for_good;

/* Who closes the gate waits for others to leave. Relaxed: a hint. */
static _Atomic bool waits_for_others;

/* What the thread has to do with those counts: how often it has come in without a slot, or is about
 * to; how often it is known to be in each. Volatile: a handler reads them, between any two
 * instructions. */
static _Thread_local struct {
    volatile uint32_t entries;
    volatile uint32_t in_outer;
    volatile uint32_t in_inner;
} anonymous_self __attribute__((tls_model("initial-exec")));

/* How often the thread has closed the gate and not opened it again: forks may be nested, where a
 * handler of a fork, or of a signal that comes during one, forks. */
static _Thread_local uint32_t own_closed __attribute__((tls_model("initial-exec")));

/* The thread has closed the gate, the last time, without waiting for all others to leave. */
static _Thread_local bool has_lost_patience __attribute__((tls_model("initial-exec")));

/* In a child that was forked from inside: its only thread, by the address of what each thread has
 * of its own, and that one's slot. NULL: it is no such child, or the thread has left. Written while
 * there is one thread, or by that thread. */
static const void *_Atomic child_thread;
static const struct gate_slot *child_slot;

/* One more turn of waiting. */
COLD static void pause_thread(unsigned turn)
{
    int saved_errno = errno;

    if (turn < YIELDS) {
        (void)sched_yield();
    } else {
        os_sleep_us(PAUSE_US);
    }
    errno = saved_errno;
}

void gate_register(struct gate_slot *slot)
{
    struct gate_slot *first = atomic_load_explicit(&slots, memory_order_relaxed);

    do {
        slot->next = first;
        /* Sequentially consistent: pairs with the load in gate_close(), which misses the slot only
         * if its thread will find the gate closed. */
    } while (!atomic_compare_exchange_weak_explicit(&slots, &first, slot, memory_order_seq_cst,
                                                    memory_order_relaxed));
}

static bool enter_slot(struct gate_slot *slot)
{
    /* Relaxed: the thread's own. Set already only in a handler that interrupted it inside. */
    uint32_t before = atomic_load_explicit(&slot->inside, memory_order_relaxed);

    /* Sequentially consistent stores and loads: see the file's comment. */
    atomic_store_explicit(&slot->inside, 1, memory_order_seq_cst);
    if (likely(atomic_load_explicit(&closed, memory_order_seq_cst) == 0)) {
        return true;
    }
    atomic_store_explicit(&slot->inside, before, memory_order_release);
    return false;
}

static bool enter_anonymously(void)
{
    /* Relaxed: a look ahead, so that those who are refused do not keep who closes the gate waiting
     * for a moment without any. */
    if (atomic_load_explicit(&closed, memory_order_relaxed) != 0) {
        return false;
    }
    anonymous_self.entries++;
    atomic_fetch_add_explicit(&anonymous_outer, 1, memory_order_seq_cst);
    anonymous_self.in_outer++;
    atomic_fetch_add_explicit(&anonymous_inner, 1, memory_order_seq_cst);
    anonymous_self.in_inner++;
    if (likely(atomic_load_explicit(&closed, memory_order_seq_cst) == 0)) {
        return true;
    }
    gate_leave(NULL);
    return false;
}

static bool try_to_enter(struct gate_slot *slot)
{
    return slot != NULL ? enter_slot(slot) : enter_anonymously();
}

static void set_anonymous(uint32_t outer, uint32_t inner)
{
    atomic_store_explicit(&anonymous_outer, outer, memory_order_relaxed);
    atomic_store_explicit(&anonymous_inner, inner, memory_order_relaxed);
}

/* The only thread of a child that was forked inside has left: nothing is in the middle any more. */
static bool child_opens(void)
{
    if (atomic_load_explicit(&child_thread, memory_order_relaxed) != &anonymous_self ||
        gate_has_caller(child_slot)) {
        return false;
    }
    atomic_store_explicit(&child_thread, NULL, memory_order_relaxed);
    /* Relaxed: nobody has been in since. The fork may have come between the thread's own counts. */
    set_anonymous(0, 0);
    /* What gate_reset_in_child() has left closed. */
    atomic_fetch_sub_explicit(&closed, 1, memory_order_seq_cst);
    return true;
}

/* Whoever is refused goes on without a lock, and may keep the processors from a thread of lower
 * priority that is inside, and waited for. So it sleeps: once, and not for long, since a handler of
 * the fork may wait for it. */
COLD static void make_way(void)
{
    if (atomic_load_explicit(&waits_for_others, memory_order_relaxed) && own_closed == 0) {
        pause_thread(YIELDS);
    }
}

bool gate_enter(struct gate_slot *slot)
{
    if (likely(try_to_enter(slot)) || (child_opens() && try_to_enter(slot))) {
        return true;
    }
    make_way();
    return false;
}

void gate_leave(struct gate_slot *slot)
{
    /* Release: all we did inside is seen by the thread that closes the gate, and by its child. */
    if (slot != NULL) {
        atomic_store_explicit(&slot->inside, 0, memory_order_release);
    } else {
        anonymous_self.in_inner--;
        atomic_fetch_sub_explicit(&anonymous_inner, 1, memory_order_release);
        anonymous_self.in_outer--;
        atomic_fetch_sub_explicit(&anonymous_outer, 1, memory_order_release);
        anonymous_self.entries--;
    }
}

COLD bool gate_enter_patiently(struct gate_slot *slot)
{
    bool entered = gate_enter(slot);

    for (unsigned turn = 0; !entered && turn < YIELDS + PATIENCE; turn++) {
        pause_thread(turn);
        entered = gate_enter(slot);
    }
    return entered;
}

bool gate_has_caller(const struct gate_slot *slot)
{
    /* Relaxed: the thread's own. */
    return anonymous_self.entries != 0 ||
           (slot != NULL && atomic_load_explicit(&slot->inside, memory_order_relaxed) != 0);
}

/* Are others inside without a slot? By the count that the caller has not been interrupted in. In a
 * child a count may be one too low, while what the fork has interrupted goes on. */
static bool others_are_anonymous(void)
{
    bool in_outer = anonymous_self.in_outer != anonymous_self.entries;
    uint32_t own = in_outer ? anonymous_self.in_inner : anonymous_self.in_outer;
    uint32_t count =
        atomic_load_explicit(in_outer ? &anonymous_inner : &anonymous_outer, memory_order_seq_cst);

    return (int32_t)(count - own) > 0;
}

/* May others wait for the caller, which is inside? For a lock of its own, or, closing the gate as
 * well, for the caller to leave. */
static bool may_be_waited_for(void)
{
    return lock_count > 0 || atomic_load_explicit(&closed, memory_order_seq_cst) > own_closed;
}

struct closing {
    bool was_interrupted; /* the thread is inside itself */
    unsigned turn;
    bool loses_patience;
};

/* One more turn of waiting for others to leave. False where that may be in vain: who finds a fault
 * inside stays there. */
COLD static bool wait_for_others(struct closing *closing)
{
    if (gate_is_closed_for_good()) {
        return false;
    }
    if (closing->was_interrupted && closing->turn >= YIELDS + PATIENCE && may_be_waited_for()) {
        closing->loses_patience = true;
        return false;
    }
    atomic_store_explicit(&waits_for_others, true, memory_order_relaxed);
    pause_thread(closing->turn++);
    return true;
}

/* The thread closes or opens the gate. A handler of a signal, which may fork, finds both counts
 * changed or neither. */
COLD static void count_closed(uint32_t change)
{
    sigset_t all;
    sigset_t mask;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &mask);
    own_closed += change;
    atomic_fetch_add_explicit(&closed, change, memory_order_seq_cst);
    (void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

COLD void gate_close(const struct gate_slot *self)
{
    struct closing closing = {.was_interrupted = gate_has_caller(self)};

    count_closed(1);
    /* A slot registered later belongs to a thread that will find the gate closed. */
    struct gate_slot *slot = atomic_load_explicit(&slots, memory_order_seq_cst);

    for (; slot != NULL; slot = slot->next) {
        while (slot != self && atomic_load_explicit(&slot->inside, memory_order_seq_cst) != 0 &&
               wait_for_others(&closing)) {
        }
    }
    while (others_are_anonymous() && wait_for_others(&closing)) {
    }
    atomic_store_explicit(&waits_for_others, false, memory_order_relaxed);
    /* Not before: a handler that forks as well may come in between. */
    has_lost_patience = closing.loses_patience;
}

/* Sequentially consistent, as gate_close(). */
void gate_close_for_good(void)
{
    atomic_store_explicit(&is_closed_for_good, true, memory_order_seq_cst);
    atomic_fetch_add_explicit(&closed, 1, memory_order_seq_cst);
}

bool gate_is_closed_for_good(void)
{
    return atomic_load_explicit(&is_closed_for_good, memory_order_seq_cst);
}

bool gate_is_open(void)
{
    /* Sequentially consistent: after the push of a deferred free, before this load, either we see
     * the gate open or the thread that opens it sees the push (free_later() in heap_free.c). */
    return atomic_load_explicit(&closed, memory_order_seq_cst) == 0;
}

void gate_open(void)
{
    /* Sequentially consistent: see gate_is_open(). A thread that finds the gate open sees what we
     * did while it was closed. */
    count_closed(UINT32_MAX);
}

void gate_keep_only(struct gate_slot *self)
{
    if (self != NULL) {
        self->next = NULL;
    }
    /* Relaxed, here and below: the child has one thread. */
    atomic_store_explicit(&slots, self, memory_order_relaxed);
}

COLD void gate_reset_in_child(struct gate_slot *self)
{
    bool inside = gate_has_caller(self);
    bool for_good = gate_is_closed_for_good();

    gate_keep_only(self);
    set_anonymous(anonymous_self.in_outer, anonymous_self.in_inner);
    child_slot = self;
    atomic_store_explicit(&child_thread,
                          inside && !has_lost_patience && !for_good ? &anonymous_self : NULL,
                          memory_order_relaxed);
    if (inside && has_lost_patience) {
        lock_note_orphans();
    }
    /* This fork is over; those that it came in the middle of go on. */
    own_closed -= own_closed > 0;
    atomic_store_explicit(&waits_for_others, false, memory_order_relaxed);
    atomic_store_explicit(&closed, own_closed + (inside || for_good), memory_order_relaxed);
}

void gate_check(void)
{
    /* Relaxed, all: nobody is at it. */
    bool is_at_rest = atomic_load_explicit(&closed, memory_order_relaxed) == 0 &&
                      atomic_load_explicit(&anonymous_outer, memory_order_relaxed) == 0 &&
                      atomic_load_explicit(&anonymous_inner, memory_order_relaxed) == 0 &&
                      anonymous_self.entries == 0 && anonymous_self.in_outer == 0 &&
                      anonymous_self.in_inner == 0;

    for (const struct gate_slot *slot = atomic_load_explicit(&slots, memory_order_relaxed);
         slot != NULL; slot = slot->next) {
        is_at_rest &= atomic_load_explicit(&slot->inside, memory_order_relaxed) == 0;
    }
    if (!is_at_rest) {
        fatal("gate: closed, or somebody inside, where all should be at rest");
    }
}
