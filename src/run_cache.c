/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run_cache.c - see run_cache.h.
 *
 * A slot is one word: 0, or the address of a run's first span, with the run's length in the high bits
 * and the tick at which it was put in the low ones. Who exchanges the word owns the run: there is
 * nothing else to agree about. A word that comes back while a thread is about to exchange it is again
 * a kept run, the same one, so it does no harm. src/model/run_cache.pml checks this with spin.
 *
 * Owns         the runs in the slots.
 * Invariants   a run is in one slot at most. While it is, its first unit's history says UNIT_FREED,
 *              and used_units is 0 (of a slab's run, slab is NULL), so that frees of it are found
 *              out.
 * Concurrency  lock-free. Release when a run is put, acquire when it is taken: the taker sees the
 *              span and the memory as the last owner left them.
 * Called by    arena.c for slabs and as time goes by, heap.c for large blocks.
 */
#include "run_cache.h"

#include <stdatomic.h>
#include <string.h>

#include "page_heap.h"
#include "runs.h"
#include "tick.h"

/* Spans are aligned to their size, which leaves room for the tick; no address has bits as high. */
#define TICK_MASK    ((uintptr_t)sizeof(struct span) - 1)
#define LENGTH_SHIFT 56
#define SPAN_MASK    ((((uintptr_t)1 << LENGTH_SHIFT) - 1) & ~TICK_MASK)

_Static_assert((sizeof(struct span) & TICK_MASK) == 0, "a power of two");

enum {
    WAITS_MANY = 1000, /* for the page heap's lock in a tick: twice as much is to be kept, */
    WAITS_FEW = 100,
    QUIET_TICKS = 16,                /* and with so few, in so many ticks, half as much again */
    PRESSURE_MOST = 4 * QUIET_TICKS, /* 16 times as much */
};

static _Atomic uint64_t waits_seen; /* at the last tick */
static _Atomic unsigned pressure;   /* QUIET_TICKS for each doubling, less the quiet ticks since */

static uintptr_t word_of(const struct span *span)
{
    return (uintptr_t)span->units << LENGTH_SHIFT | (uintptr_t)span | (tick_now() & TICK_MASK);
}

/* The run of a slot that held `word` a moment ago, which is empty then; NULL if somebody else was
 * quicker. */
static struct span *slot_take(_Atomic uintptr_t *slot, uintptr_t word)
{
    uintptr_t expected = word;

    if (!atomic_compare_exchange_strong_explicit(slot, &expected, 0, memory_order_acquire,
                                                 memory_order_relaxed)) {
        return NULL;
    }
    return (struct span *)(word & SPAN_MASK); /* NOLINT(performance-no-int-to-ptr) */
}

/* Relaxed, here and below: a hint; the exchange decides. */
static uintptr_t slot_look(const _Atomic uintptr_t *slot)
{
    return atomic_load_explicit(slot, memory_order_relaxed);
}

static size_t slots_to_fill(const struct run_cache *cache)
{
    return 1 + (size_t)atomic_load_explicit(&cache->more, memory_order_relaxed);
}

void run_cache_limit(struct run_cache *cache, size_t count)
{
    size_t most = size_min(size_max(count, 1), RUN_CACHE_SLOTS);

    atomic_store_explicit(&cache->more, (uint32_t)most - 1, memory_order_relaxed);
}

size_t run_cache_adapt(void)
{
    /* Relaxed throughout: if two threads take a step at once, one of them is lost. */
    uint64_t waits = page_heap_waits();
    uint64_t waited = waits - atomic_load_explicit(&waits_seen, memory_order_relaxed);
    unsigned now = atomic_load_explicit(&pressure, memory_order_relaxed);

    if (waited >= WAITS_MANY) {
        now = now + QUIET_TICKS < PRESSURE_MOST ? now + QUIET_TICKS : PRESSURE_MOST;
    } else if (waited < WAITS_FEW && now > 0) {
        now--;
    }
    atomic_store_explicit(&waits_seen, waits, memory_order_relaxed);
    atomic_store_explicit(&pressure, now, memory_order_relaxed);
    return (size_t)1 << (now + QUIET_TICKS - 1) / QUIET_TICKS;
}

static void mark_kept(struct span *span)
{
    uint8_t *history = span_history(span);

    span->used_units = 0; /* of a slab's run: slab is NULL, in the same place */
    *history = UNIT_FREED;
    run_stamp(history, span->units);
}

static void mark_in_use(struct span *span)
{
    memset(span_history(span), UNIT_USED, span->units);
}

struct span *run_cache_take(struct run_cache *cache, size_t units)
{
    /* The one that was put last is the one whose memory is still in the processor's cache. */
    for (size_t slot = slots_to_fill(cache); slot-- > 0;) {
        uintptr_t word = slot_look(&cache->slots[slot]);
        struct span *span = word != 0 && word >> LENGTH_SHIFT == units
                                ? slot_take(&cache->slots[slot], word)
                                : (struct span *)NULL;

        if (span != NULL) {
            mark_in_use(span);
            return span;
        }
    }
    return NULL;
}

bool run_cache_put(struct run_cache *cache, struct span *span)
{
    size_t used_units = span->used_units;
    size_t most = span->units <= RUN_CACHE_UNITS ? slots_to_fill(cache) : 0;

    for (size_t slot = 0; slot < most; slot++) {
        uintptr_t empty = slot_look(&cache->slots[slot]);

        if (empty != 0) {
            continue;
        }
        mark_kept(span);
        if (atomic_compare_exchange_strong_explicit(&cache->slots[slot], &empty, word_of(span),
                                                    memory_order_release, memory_order_relaxed)) {
            return true;
        }
        mark_in_use(span);
        span->used_units = used_units;
    }
    return false;
}

/* Those that were not put in the tick `spared`; TICK_MASK + 1 spares none. */
static void give_up(struct run_cache *cache, uintptr_t spared)
{
    for (unsigned slot = 0; slot < RUN_CACHE_SLOTS; slot++) {
        uintptr_t word = slot_look(&cache->slots[slot]);
        struct span *span = word != 0 && (word & TICK_MASK) != spared
                                ? slot_take(&cache->slots[slot], word)
                                : (struct span *)NULL;

        if (span != NULL) {
            page_heap_take_back(span);
        }
    }
}

void run_cache_age(struct run_cache *cache)
{
    give_up(cache, tick_now() & TICK_MASK);
}

void run_cache_empty(struct run_cache *cache)
{
    give_up(cache, TICK_MASK + 1);
}

size_t run_cache_bytes(const struct run_cache *cache)
{
    size_t bytes = 0;

    for (unsigned slot = 0; slot < RUN_CACHE_SLOTS; slot++) {
        bytes += (slot_look(&cache->slots[slot]) >> LENGTH_SHIFT) * UNIT_BYTES;
    }
    return bytes;
}
