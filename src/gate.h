/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gate.h - how fork() finds the allocator at rest without holding a lock.
 *
 * Every slow path that takes a lock, or changes what is more than a word, runs inside the gate.
 * fork() closes the gate and waits until nobody is inside; from then on no lock of the allocator is
 * held and nothing shared changes, but for single words, until it opens again.
 * A thread that finds the gate closed does not wait: it is served by emergency.h.
 */
#ifndef BREAKWATER_GATE_H
#define BREAKWATER_GATE_H

#include <stdatomic.h>

#include "util.h"

/* One a thread, in its cache; never freed, so that walking the list needs no lock. */
struct gate_slot {
    _Atomic uint32_t inside;
    struct gate_slot *next;
};

/* Add a slot that gate_close() looks at from now on. */
void gate_register(struct gate_slot *slot);

/* Enter; false, and the caller is outside, while the gate is closed. Threads without a slot pass
 * NULL. Not to be nested. */
bool gate_enter(struct gate_slot *slot);
void gate_leave(struct gate_slot *slot);

/* The same; while the gate is closed wait for it, but not for long: who forks may wait for a lock
 * of the program's that the caller holds. */
bool gate_enter_patiently(struct gate_slot *slot);

/* Is the calling thread inside? Elsewhere than inside itself this can be so only in a handler of a
 * signal that interrupted it there. */
bool gate_has_caller(const struct gate_slot *slot);

/* True if nobody keeps the gate closed at some moment during the call. */
bool gate_is_open(void);

/* Has a fault been found? Who was inside may never leave, nor release what it holds. */
bool gate_is_closed_for_good(void);

/* Close the gate and wait until nobody is inside but, perhaps, the caller, whose slot is `self` or
 * NULL; then no longer than a patient one does. Several threads may have it closed at once. */
void gate_close(const struct gate_slot *self);

/* Undo one gate_close() of the caller's: the gate is open again when all who closed it have. */
void gate_open(void);

/* The process is about to stop, perhaps with locks held: from now on nobody enters, nor is waited
 * for, and a child's gate is closed too. */
void gate_close_for_good(void);

/* Panics unless the gate is open and nobody inside. At rest. */
void gate_check(void);

/* In a forked child: forget all slots but `self`, which may be NULL. */
void gate_keep_only(struct gate_slot *self);

/* In a forked child, whose only thread is the caller: open, nobody inside, and only `self`, which
 * may be NULL, registered. If the caller is inside, the gate is closed until it has left; if it is
 * in another fork besides, until that is over. */
void gate_reset_in_child(struct gate_slot *self);

#endif
