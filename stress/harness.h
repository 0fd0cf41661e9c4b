/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* harness.h - what every stress program shares: options, threads in rounds, accounts at rest.
 *
 * A program gives a step, which the harness has every thread repeat. A round starts threads, lets
 * them step, brings them to rest with blocks live, checks, lets them step again, checks again, has
 * them free everything, joins them, and then wants the heap to be as empty as before.
 *
 * Threads hand blocks to each other by mailboxes whose only ordering goes from giver to taker.
 * Nothing of the harness orders a free before the allocation that hands the block out again: that
 * is the allocator's part, and ThreadSanitizer sees it if it is missing.
 */
#ifndef BREAKWATER_STRESS_HARNESS_H
#define BREAKWATER_STRESS_HARNESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "block.h"

enum { HELD_MAX = 128, MAIL_SLOTS = 64 };

struct stress_thread {
    unsigned index;
    struct block_accounts accounts; /* with the thread's random numbers */
    uint64_t ops_left;
    void *held[HELD_MAX];             /* blocks of this thread, or NULL */
    _Atomic(void *) mail[MAIL_SLOTS]; /* blocks that others gave to it, or NULL */
    size_t cached_bytes;              /* at rest: see stress_note_cached() */
};

struct stress_program {
    const char *name;
    unsigned threads;         /* unless --threads says otherwise, */
    unsigned threads_least;   /* which must not be below this, */
    unsigned threads_most;    /* or above this; 0: the harness's own bound */
    unsigned arenas;          /* unless --arenas says otherwise; 0: as many as CPUs */
    const char *const *modes; /* what --mode may be, the first by default; NULL: there are none */
    void (*step)(struct stress_thread *self);
    /* Both may be NULL. */
    void (*round_begins)(void);                 /* by the main thread, before any other starts */
    void (*phase_ends)(struct stress_thread *); /* by each thread, when all have stopped */
};

struct stress_options {
    uint64_t seed;
    unsigned threads;
    unsigned arenas;
    unsigned seconds;
    uint64_t ops;  /* steps of each thread, in one round; 0: as long as `seconds` */
    unsigned mode; /* index in the program's modes */
};

extern struct stress_options stress_options;

/* Read the options, print them, and take note of the heap. Bad arguments end the process. */
void stress_start(int argc, char **argv, const struct stress_program *program);

/* Check the calling thread's cache, and note what it keeps from the other threads: the blocks on
 * its stacks and those not yet published. */
void stress_note_cached(struct stress_thread *self);

/* For programs that run threads of their own: structs for them, with nothing in them; the check
 * that what they hold is all there is; and a round to be counted. The main thread calls them while
 * no other runs. */
void stress_prepare_threads(void);
void stress_check_conservation(void);
void stress_round_over(void);

/* Rounds until the time, or the one round of --ops, is over; then stress_finish(). The status for
 * main() to return. */
int stress_rounds(void);

/* Is there time for another round? */
bool stress_has_time(void);
void stress_round(void);

/* Wants every block freed and the heap as at the start; the status for main(). */
int stress_finish(void);

/* End the process with one line that names the program, the fault and the seed. */
_Noreturn void stress_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Should the calling thread go on stepping? For steps that wait for others. */
bool stress_goes_on(const struct stress_thread *self);

struct stress_thread *stress_thread_by_index(unsigned index);

/* Start a thread with a small stack; end the process where that fails. */
void stress_spawn(unsigned long *thread, void *(*run)(void *), void *argument);
void stress_join(unsigned long thread);

/* A number below `bound`, which is not 0. */
static inline uint64_t stress_below(struct stress_thread *self, uint64_t bound)
{
    return block_random(&self->accounts) % bound;
}

/* Give a block to a thread; false if there was no room at the place looked at. */
bool stress_give(struct stress_thread *self, unsigned to, void *block);

/* A block from the thread's mailbox, or NULL if there was none at the place looked at. */
void *stress_take(struct stress_thread *self, struct stress_thread *from);

/* Free whatever lies in a random one of the first `places` of `held`, and put `block`, which may be
 * NULL, there. */
void stress_hold(struct stress_thread *self, unsigned places, void *block);

/* Free all blocks the thread holds or was given. */
void stress_drop_all(struct stress_thread *self);

/* All blocks freed, all threads gone: a trim must leave nothing in use. */
void stress_check_empty(void);

#endif
