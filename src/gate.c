/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gate.c - a flag a thread, a count of those who keep the gate closed.
 *
 * A thread sets its own flag, then looks whether the gate is closed; who closes it raises the
 * count, then looks at the flags. Both are sequentially consistent, so at least one sees the other:
 * src/model/fork.pml, with the mutant that looks first and sets afterwards.
 *
 * Owns         the list of slots, the count of the threads inside without a slot.
 * Invariant    closed > 0 and every flag 0: nobody holds a lock of the allocator.
 * Concurrency  lock-free but for gate_close() and gate_enter_waiting(), which wait for others to
 *              leave or to open.
 */
#include "gate.h"

#include <sched.h>

static _Atomic(struct gate_slot *) slots;
static _Atomic uint32_t anonymous_inside;
static _Atomic uint32_t closed;

void gate_register(struct gate_slot *slot)
{
    struct gate_slot *first = atomic_load_explicit(&slots, memory_order_relaxed);

    do {
        slot->next = first;
        /* Release: pairs with the acquire in gate_close(); the slot is seen initialised. */
    } while (!atomic_compare_exchange_weak_explicit(&slots, &first, slot, memory_order_release,
                                                    memory_order_relaxed));
}

bool gate_enter(struct gate_slot *slot)
{
    /* Sequentially consistent stores and loads: see the file's comment. */
    if (slot != NULL) {
        atomic_store_explicit(&slot->inside, 1, memory_order_seq_cst);
    } else {
        atomic_fetch_add_explicit(&anonymous_inside, 1, memory_order_seq_cst);
    }
    if (likely(atomic_load_explicit(&closed, memory_order_seq_cst) == 0)) {
        return true;
    }
    gate_leave(slot);
    return false;
}

void gate_leave(struct gate_slot *slot)
{
    /* Release: all we did inside is seen by the thread that closes the gate, and by its child. */
    if (slot != NULL) {
        atomic_store_explicit(&slot->inside, 0, memory_order_release);
    } else {
        atomic_fetch_sub_explicit(&anonymous_inside, 1, memory_order_release);
    }
}

void gate_enter_waiting(struct gate_slot *slot)
{
    while (!gate_enter(slot)) {
        (void)sched_yield();
    }
}

void gate_close(void)
{
    atomic_fetch_add_explicit(&closed, 1, memory_order_seq_cst);
    /* A slot registered later belongs to a thread that will find the gate closed. */
    struct gate_slot *slot = atomic_load_explicit(&slots, memory_order_seq_cst);

    for (; slot != NULL; slot = slot->next) {
        while (atomic_load_explicit(&slot->inside, memory_order_seq_cst) != 0) {
            (void)sched_yield();
        }
    }
    while (atomic_load_explicit(&anonymous_inside, memory_order_seq_cst) != 0) {
        (void)sched_yield();
    }
}

bool gate_is_open(void)
{
    /* Sequentially consistent: after the push of a deferred free, before this load, either we see
     * the gate open or the thread that opens it sees the push (free_later() in heap.c). */
    return atomic_load_explicit(&closed, memory_order_seq_cst) == 0;
}

bool gate_open(void)
{
    /* Sequentially consistent: see gate_is_open(). A thread that finds the gate open sees what we
     * did while it was closed. */
    return atomic_fetch_sub_explicit(&closed, 1, memory_order_seq_cst) == 1;
}

void gate_reset_in_child(struct gate_slot *self)
{
    /* Relaxed: the child has one thread. */
    atomic_store_explicit(&slots, self, memory_order_relaxed);
    if (self != NULL) {
        self->next = NULL;
        atomic_store_explicit(&self->inside, 0, memory_order_relaxed);
    }
    atomic_store_explicit(&anonymous_inside, 0, memory_order_relaxed);
    atomic_store_explicit(&closed, 0, memory_order_relaxed);
}
