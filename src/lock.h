/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lock.h - the allocator's own lock, with a rank that the dev preset checks.
 *
 * A futex of three states (free, held, held with waiters), 16 bytes, zero-initialised but for its
 * rank. It needs no memory, no initialisation call and no pthread state, so it works before any
 * constructor and in a forked child.
 *
 * Ranks: a thread takes locks in ascending rank only. src/README.md gives the reasons.
 */
#ifndef BREAKWATER_LOCK_H
#define BREAKWATER_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

#include "util.h"

enum lock_rank {
    LOCK_RANK_LIFE = 1,  /* life.c: first call, threads that start and end */
    LOCK_RANK_DRAIN,     /* arena.c: one drain of an arena's queue at a time */
    LOCK_RANK_BIN,       /* bin.c: one class of one arena */
    LOCK_RANK_PAGE_HEAP, /* page_heap.c */
    LOCK_RANK_BREAK,     /* break.c */
    LOCK_RANK_META,      /* meta.c */
};

struct lock {
    _Atomic uint32_t state;
    uint32_t rank;
    uint64_t acquisitions; /* counted by the holder */
};

#define LOCK_INITIALIZER(lock_rank)                                                                \
    {                                                                                              \
        .state = 0, .rank = (lock_rank), .acquisitions = 0                                         \
    }

/* A lock in zeroed memory, which is written only for the witness: locks that nobody ever takes have
 * no memory behind them. */
static inline void lock_init(struct lock *lock, enum lock_rank rank)
{
    if (CHECKS_ENABLED) {
        lock->rank = (uint32_t)rank;
    }
}

void lock_wait(struct lock *lock);
void lock_wake(struct lock *lock);

/* Locks that this thread holds, or is about to, but for the one it sleeps for: a signal handler
 * that has interrupted it asks. */
extern _Thread_local volatile uint32_t lock_count __attribute__((tls_model("initial-exec")));

/* In a child without the threads that may have held locks: who waits for one waits for nobody, and
 * the process is stopped. */
void lock_note_orphans(void);

/* The dev preset's witness: does nothing where checks are off. */
void lock_note_acquire(const struct lock *lock);
void lock_note_release(const struct lock *lock);
bool lock_note_is_held(uint32_t rank); /* one of the rank, by the caller */

static inline bool lock_try_acquire(struct lock *lock)
{
    uint32_t free_state = 0;

    lock_count++;
    /* Acquire: pairs with the release in lock_release(); all that the last holder wrote is seen. */
    if (!atomic_compare_exchange_strong_explicit(&lock->state, &free_state, 1, memory_order_acquire,
                                                 memory_order_relaxed)) {
        lock_count--;
        return false;
    }
    if (CHECKS_ENABLED) {
        lock_note_acquire(lock);
    }
    lock->acquisitions++;
    return true;
}

static inline void lock_acquire(struct lock *lock)
{
    if (unlikely(!lock_try_acquire(lock))) {
        lock_wait(lock);
    }
}

static inline void lock_release(struct lock *lock)
{
    if (CHECKS_ENABLED) {
        lock_note_release(lock);
    }
    /* Release: pairs with the acquire of the next holder. */
    bool has_sleepers = atomic_exchange_explicit(&lock->state, 0, memory_order_release) == 2;

    lock_count--;
    if (unlikely(has_sleepers)) {
        lock_wake(lock);
    }
}

/* Does the caller hold the lock? For assertions in functions that end in _locked: where checks are
 * off, held by whomever. */
static inline bool lock_is_held(const struct lock *lock)
{
    /* Relaxed: who took the lock reads its own store. */
    return atomic_load_explicit(&lock->state, memory_order_relaxed) != 0 &&
           (!CHECKS_ENABLED || lock_note_is_held(lock->rank));
}

/* The same where the lock itself is out of sight: does the caller hold one of the rank? True where
 * checks are off. */
static inline bool lock_rank_is_held(enum lock_rank rank)
{
    return !CHECKS_ENABLED || lock_note_is_held((uint32_t)rank);
}

#endif
