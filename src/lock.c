/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lock.c - the slow half of the lock: spin a little, then sleep in the kernel.
 *
 * Invariant    state 0: free; 1: held, nobody sleeps; 2: held, somebody may sleep. A thread sleeps
 *              only after it has set 2, and the holder that sees 2 on release wakes one. If that
 *              one is in the handler of a signal, the others wake by themselves after a while.
 *              src/model/lock.pml checks this, with forks of such handlers, and with mutants that
 *              it catches.
 * Concurrency  no critical section of the allocator blocks on anything but a lock of higher rank,
 *              so every wait here ends.
 * Called by    every layer that has a lock.
 */
#include "lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPIN_ROUNDS = 100, NAP_NS = 20 * 1000 * 1000 };

_Thread_local volatile uint32_t lock_count __attribute__((tls_model("initial-exec")));

/* Volatile: a handler of a signal may fork, and have interrupted lock_wait(). */
static volatile bool has_orphans;

/* Ranks held by this thread, a bit each. */
static _Thread_local uint32_t ranks_held __attribute__((tls_model("initial-exec")));

#if defined(__x86_64__) || defined(__i386__)
#define CPU_RELAX() __builtin_ia32_pause()
#else
#define CPU_RELAX() atomic_signal_fence(memory_order_seq_cst)
#endif

void lock_note_acquire(const struct lock *lock)
{
    if (ranks_held >> lock->rank != 0) {
        fatal("lock taken out of rank order");
    }
    ranks_held |= UINT32_C(1) << lock->rank;
}

bool lock_note_is_held(uint32_t rank)
{
    return (ranks_held >> rank & 1) != 0;
}

void lock_note_release(const struct lock *lock)
{
    if (!lock_note_is_held(lock->rank)) {
        fatal("lock released that is not held");
    }
    ranks_held &= ~(UINT32_C(1) << lock->rank);
}

/* Whoever calls us need not know that a lock was waited for: errno stays. */
static void futex(struct lock *lock, int operation, uint32_t value, const struct timespec *most)
{
    int saved_errno = errno;

    (void)syscall(SYS_futex, &lock->state, operation, value, most, NULL, 0);
    errno = saved_errno;
}

void lock_note_orphans(void)
{
    has_orphans = true;
}

void lock_wait(struct lock *lock)
{
    static const struct timespec nap = {.tv_nsec = NAP_NS};

    for (int round = 0; round < SPIN_ROUNDS; round++) {
        CPU_RELAX();
        /* Relaxed: only a hint that an attempt may succeed; the attempt itself acquires. */
        if (atomic_load_explicit(&lock->state, memory_order_relaxed) == 0 &&
            lock_try_acquire(lock)) {
            return;
        }
    }
    lock_count++;
    /* Acquire: as in lock_try_acquire(). From here on the state stays 2 while we hold it, since
     * others may sleep too; one needless wake is the price. */
    while (atomic_exchange_explicit(&lock->state, 2, memory_order_acquire) != 0) {
        lock_count--;
        if (has_orphans) {
            fatal("fork in a signal handler left a lock without the thread that holds it");
        }
        /* Not counted while it sleeps: a signal handler that forks now may wait for the others to
         * leave the gate, since none of them waits for a lock of ours. */
        futex(lock, FUTEX_WAIT_PRIVATE, 2, &nap);
        lock_count++;
    }
    if (CHECKS_ENABLED) {
        lock_note_acquire(lock);
    }
    lock->acquisitions++;
}

void lock_wake(struct lock *lock)
{
    futex(lock, FUTEX_WAKE_PRIVATE, 1, NULL);
}
