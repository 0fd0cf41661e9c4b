/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run_cache.c - see run_cache.h.
 *
 * A slot is one word: 0, or the address of a run's first span with the tick at which it was put in
 * the low bits. Who exchanges the word owns the run: there is nothing else to agree about. A word
 * that comes back while a thread is about to exchange it is again a kept run, the same one, so it
 * does no harm.
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

enum { HEAP_SHARE = 32 }; /* of the heap are the runs of one length, if they are more than one */

/* Spans are aligned to their size, which leaves room for the tick. */
#define TICK_MASK ((uintptr_t)sizeof(struct span) - 1)

_Static_assert((sizeof(struct span) & TICK_MASK) == 0, "a power of two");

static struct span *span_of_word(uintptr_t word)
{
    return (struct span *)(word & ~TICK_MASK); /* NOLINT(performance-no-int-to-ptr) */
}

/* The run of a slot, which is empty then; NULL if it is empty, or if somebody else was quicker. */
static struct span *slot_take(_Atomic uintptr_t *slot, uintptr_t word)
{
    bool taken = word != 0 && atomic_compare_exchange_strong_explicit(
                                  slot, &word, 0, memory_order_acquire, memory_order_relaxed);

    return taken ? span_of_word(word) : NULL;
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
    if (units > RUN_CACHE_UNITS) {
        return NULL;
    }
    _Atomic uintptr_t *slots = cache->slots[units - 1];

    /* The one that was put last is the one whose memory is still in the processor's cache. */
    for (unsigned slot = RUN_CACHE_SLOTS; slot-- > 0;) {
        struct span *span =
            slot_take(&slots[slot], atomic_load_explicit(&slots[slot], memory_order_relaxed));

        if (span != NULL) {
            mark_in_use(span);
            return span;
        }
    }
    return NULL;
}

/* How many runs of a length are kept: where the heap is small, what they might be joined with is
 * needed more. */
static size_t slots_to_fill(size_t units)
{
    size_t share = page_heap_bytes() / UNIT_BYTES / HEAP_SHARE / units;

    return size_min(size_max(share, 1), RUN_CACHE_SLOTS);
}

bool run_cache_put(struct run_cache *cache, struct span *span)
{
    enum span_state state = (enum span_state)span->state;
    size_t used_units = state == SPAN_LARGE ? span->used_units : 0;

    /* A large block of one unit, as alignment makes them, is no slab's run. */
    if (span->units > RUN_CACHE_UNITS || (state == SPAN_LARGE) != (span->units > 1)) {
        return false;
    }
    _Atomic uintptr_t *slots = cache->slots[span->units - 1];
    uintptr_t word = (uintptr_t)span | (tick_now() & TICK_MASK);

    size_t most = slots_to_fill(span->units);

    for (size_t slot = 0; slot < most; slot++) {
        uintptr_t empty = atomic_load_explicit(&slots[slot], memory_order_relaxed);

        if (empty != 0) {
            continue;
        }
        mark_kept(span);
        if (atomic_compare_exchange_strong_explicit(&slots[slot], &empty, word,
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
    for (unsigned units = 0; units < RUN_CACHE_UNITS; units++) {
        for (unsigned slot = 0; slot < RUN_CACHE_SLOTS; slot++) {
            uintptr_t word = atomic_load_explicit(&cache->slots[units][slot], memory_order_relaxed);
            struct span *span = (word & TICK_MASK) != spared
                                    ? slot_take(&cache->slots[units][slot], word)
                                    : (struct span *)NULL;

            if (span != NULL) {
                page_heap_take_back(span);
            }
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

    for (unsigned units = 0; units < RUN_CACHE_UNITS; units++) {
        for (unsigned slot = 0; slot < RUN_CACHE_SLOTS; slot++) {
            if (atomic_load_explicit(&cache->slots[units][slot], memory_order_relaxed) != 0) {
                bytes += (units + 1) * UNIT_BYTES;
            }
        }
    }
    return bytes;
}
