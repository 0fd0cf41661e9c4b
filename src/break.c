/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* break.c - the program break, and nothing else that moves it.
 *
 * Owns         [base, top): the range handed upward, unit aligned; top is where we left the break.
 * Invariants   base moves once, from 0; top moves only under break_lock; memory that a foreign
 *              sbrk() took or cut off is never handed out.
 * Concurrency  break_lock, of rank BREAK: nothing but system calls happens under it. Foreign
 *              sbrk() callers hold no lock of ours, so every move is checked after the fact, and
 *              a lowering that cut off theirs undone.
 * Called by    growth.c; who reads: page_heap.c, stats.c.
 */
#include "break.h"

#include "lock.h"
#include "os.h"
#include "size_class.h"

static struct lock break_lock = LOCK_INITIALIZER(LOCK_RANK_BREAK);
static uintptr_t base;
static _Atomic uintptr_t published_top; /* read without the lock */
static struct break_stats stats;

uintptr_t break_top(void)
{
    /* Relaxed: it tells of no other memory. Whoever must not miss a move holds the page heap's
     * lock, under which alone there are any. */
    return atomic_load_explicit(&published_top, memory_order_relaxed);
}

static void set_top_locked(uintptr_t top)
{
    ASSERT(lock_is_held(&break_lock));
    atomic_store_explicit(&published_top, top, memory_order_relaxed);
}

static bool at_known_place_locked(uintptr_t current)
{
    ASSERT(lock_is_held(&break_lock));
    return base != 0 && current == break_top();
}

static void note_foreign_move_locked(uintptr_t start)
{
    ASSERT(lock_is_held(&break_lock));
    uintptr_t top = break_top();

    stats.foreign_moves++;
    if (start > top) {
        stats.gap_bytes += start - top;
    } else {
        /* Of what was cut off, some may be gaps that were never ours. */
        stats.bytes -= size_min(stats.bytes, top - start);
    }
}

/* What `increment` bytes from `old` on give when somebody moved the break between our look and our
 * call, so that they lie elsewhere: a second call completes the last unit if need be. */
static bool complete_locked(uintptr_t old, size_t increment, uintptr_t start, size_t bytes)
{
    ASSERT(lock_is_held(&break_lock));
    uintptr_t have = old + increment;
    uintptr_t want = start + bytes;

    return have >= want || (uintptr_t)os_sbrk((intptr_t)(want - have)) == have;
}

/* Raise the break by `bytes` and what alignment needs. True if the new memory is whole. */
static bool raise_locked(size_t bytes, struct break_extent *extent)
{
    ASSERT(lock_is_held(&break_lock));
    uintptr_t current = os_break();
    uintptr_t start = align_up(current, UNIT_BYTES);
    size_t increment = start + bytes - current;

    /* Below the base, after somebody lowered the break there, no table has rows. */
    if (current == 0 || start < base || start + bytes < start || increment > PTRDIFF_MAX) {
        return false;
    }
    uintptr_t old = (uintptr_t)os_sbrk((intptr_t)increment);

    if (old == 0) {
        return false;
    }
    if (old != current) {
        start = align_up(old, UNIT_BYTES);
        if (start < base || !complete_locked(old, increment, start, bytes)) {
            return false;
        }
    }
    if (base == 0) {
        base = start;
    } else if (start != break_top()) {
        note_foreign_move_locked(start);
    }
    *extent = (struct break_extent){.start = start, .bytes = bytes};
    set_top_locked(start + bytes);
    return true;
}

struct break_extent break_grow(size_t bytes)
{
    struct break_extent extent = {0, 0};

    ASSERT(bytes % UNIT_BYTES == 0);
    lock_acquire(&break_lock);
    if (raise_locked(bytes, &extent)) {
        stats.grown++;
        stats.bytes += extent.bytes;
    } else {
        stats.failed++;
    }
    lock_release(&break_lock);
    return extent;
}

/* Somebody moved the break to `old` between our look and our call, which cut off what is theirs:
 * their addresses are theirs again, though not what was in them. False if somebody has got memory
 * there meanwhile. */
static bool undo_lowering_locked(uintptr_t old, size_t bytes)
{
    ASSERT(lock_is_held(&break_lock));
    return (uintptr_t)os_sbrk((intptr_t)bytes) == old - bytes;
}

COLD bool break_lower(uintptr_t new_top)
{
    bool lowered = false;

    lock_acquire(&break_lock);
    uintptr_t top = break_top();

    if (at_known_place_locked(os_break()) && new_top < top && new_top >= base) {
        uintptr_t old = (uintptr_t)os_sbrk(-(intptr_t)(top - new_top));

        /* Where it cannot be undone we keep nothing of what we cut off. */
        lowered = old != 0 && (old == top || !undo_lowering_locked(old, top - new_top));
    }
    if (lowered) {
        stats.lowered++;
        stats.bytes -= top - new_top;
        set_top_locked(new_top);
    }
    lock_release(&break_lock);
    return lowered;
}

uintptr_t break_intact_end(void)
{
    uintptr_t top = break_top();
    uintptr_t current = os_break();

    /* 0: the kernel does not say. */
    return current != 0 && current < top ? size_max(align_down(current, UNIT_BYTES), base) : top;
}

COLD struct break_stats break_stats(void)
{
    lock_acquire(&break_lock);
    struct break_stats result = stats;

    result.lock_acquisitions = break_lock.acquisitions;
    lock_release(&break_lock);
    return result;
}

void break_check(void)
{
    lock_acquire(&break_lock);
    uintptr_t top = break_top();

    if (base % UNIT_BYTES != 0 || top % UNIT_BYTES != 0 || top < base) {
        fatal("break: top or base is out of place");
    }
    lock_release(&break_lock);
}
