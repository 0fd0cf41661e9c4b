/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stress_gate.c - risk: a thread gets inside a gate that is closed, or whoever closes it sees the
 * heap in the middle of an update.
 *
 * Some threads enter, with a slot of their own or without one in turns, and are in the middle of an
 * update for a while: their counter, which is no atomic, is odd. One closes the gate, looks at all
 * of the counters, twice, and opens it. Asserts: they are even, and stay as they are; each thread
 * got in and was refused. Under ThreadSanitizer any access that the gate does not order is a race.
 *
 * Mode "look-first" enters by a function of its own, which looks at the gate before it sets the
 * slot's flag, and waits for the gate to close and open in between. mutant_gate_relaxed.c is the
 * gate without its memory orders.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gate.h"

enum { THREADS = 3, CLOSINGS = 2000, LOOKS = 8 };

struct entrant {
    pthread_t thread;
    struct gate_slot slot;
    unsigned updates; /* odd in the middle of one */
    _Atomic unsigned entered;
    _Atomic unsigned refused;
};

static bool looks_first;
static struct entrant entrants[THREADS];
static _Atomic bool is_over;
static _Atomic unsigned closings;

/* Until the gate is closed next. */
static void wait_for_closing(void)
{
    unsigned before = closings;

    while (closings == before && !is_over) {
        (void)sched_yield();
    }
}

static bool enter(struct gate_slot *slot)
{
    if (!looks_first || slot == NULL) {
        return gate_enter(slot);
    }
    if (!gate_is_open()) {
        return false;
    }
    wait_for_closing();
    atomic_store_explicit(&slot->inside, 1, memory_order_seq_cst);
    return true;
}

static void *update(void *argument)
{
    struct entrant *self = (struct entrant *)argument;

    for (unsigned round = 0; !is_over; round++) {
        struct gate_slot *slot = round % 2 == 0 ? &self->slot : NULL;

        if (!enter(slot)) {
            self->refused++;
            (void)sched_yield();
            continue;
        }
        self->updates++;
        if (round % LOOKS == 0) {
            (void)sched_yield();
        }
        self->updates++;
        gate_leave(slot);
        self->entered++;
    }
    return NULL;
}

_Noreturn static void fail(const char *what, size_t thread)
{
    (void)fprintf(stderr, "stress_gate: %s (thread %zu)\n", what, thread);
    exit(EXIT_FAILURE);
}

static void look_at_all(unsigned *updates)
{
    for (size_t i = 0; i < THREADS; i++) {
        updates[i] = entrants[i].updates;
        if (updates[i] % 2 != 0) {
            fail("inside while the gate is closed", i);
        }
    }
}

static void close_and_open(void)
{
    unsigned first[THREADS];
    unsigned second[THREADS];

    gate_close(NULL);
    closings++;
    look_at_all(first);
    for (int i = 0; i < LOOKS; i++) {
        (void)sched_yield();
    }
    look_at_all(second);
    for (size_t i = 0; i < THREADS; i++) {
        if (first[i] != second[i]) {
            fail("updated while the gate is closed", i);
        }
    }
    (void)gate_open();
}

int main(int argc, char **argv)
{
    looks_first = argc == 2 && strcmp(argv[1], "look-first") == 0;
    if (argc > 1 && !looks_first) {
        (void)fprintf(stderr, "stress_gate: no such mode: %s\n", argv[1]);
        return 2;
    }
    for (size_t i = 0; i < THREADS; i++) {
        gate_register(&entrants[i].slot);
        if (pthread_create(&entrants[i].thread, NULL, update, &entrants[i]) != 0) {
            fail("cannot be started", i);
        }
    }
    for (int i = 0; i < CLOSINGS; i++) {
        close_and_open();
        (void)sched_yield();
    }
    /* On a busy machine some thread may not have come by. */
    for (size_t i = 0; i < THREADS; i++) {
        while (entrants[i].entered == 0 || entrants[i].refused == 0) {
            close_and_open();
        }
    }
    is_over = true;
    for (size_t i = 0; i < THREADS; i++) {
        (void)pthread_join(entrants[i].thread, NULL);
        printf("thread %zu: entered %u times, refused %u times\n", i, entrants[i].entered,
               entrants[i].refused);
    }
    gate_check();
    return EXIT_SUCCESS;
}
