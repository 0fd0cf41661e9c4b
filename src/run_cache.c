/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run_cache.c - see run_cache.h.
 *
 * A slot is one word: 0, or the address of a run's first span, with the run's length in the high
 * bits and the tick at which it was put in the low ones. Whoever exchanges the word owns the run:
 * there is nothing else to agree about. A word that comes back while a thread is about to exchange
 * it is again a kept run, the same one, so it does no harm. src/model/run_cache.pml checks this.
 *
 * Owns         the runs in the slots; the list of run caches, which only grows.
 * Invariants   a run is in one slot at most. While it is, its first unit's history says UNIT_FREED,
 *              and used_units is 0, so that frees of it are found out.
 * Concurrency  lock-free. A release when a run is put, an acquire when it is taken: the taker sees
 *              the span and the memory as the last owner left them.
 * Called by    large.c; reclaim.c as time goes by; arena.c and life.c, whose caches are registered.
 */
#include "run_cache.h"

#include <stdatomic.h>
#include <string.h>

#include "limit.h"
#include "page_heap.h"
#include "runs.h"
#include "tick.h"

/* Spans are aligned to their size, which leaves room for the tick; no address has bits as high. */
#define TICK_MASK    ((uintptr_t)sizeof(struct span) - 1)
#define LENGTH_SHIFT 56
#define SPAN_MASK    ((((uintptr_t)1 << LENGTH_SHIFT) - 1) & ~TICK_MASK)

_Static_assert((sizeof(struct span) & TICK_MASK) == 0, "a power of two");
_Static_assert(RUN_CACHE_UNITS < 1 << (64 - LENGTH_SHIFT), "a length fits");

enum {
    WAITS_MANY = 1000, /* in a tick: twice as much is to be kept, */
    WAITS_FEW = 100,   /* and with so few, in RUN_CACHE_QUIET_TICKS, half as much */
    DOUBLINGS_MOST = 3,
};

static _Atomic(struct run_cache *) registered;

/* Some run may be kept: where none is, nobody need look for one in the caches of thousands of
 * threads. Who puts a run writes its slot and then looks here; who empties all writes here and then
 * looks at the slots. Sequentially consistent, all four: at least one of the two sees the other, so
 * that a run that is not given up is there the next time. */
static _Atomic bool keeps_some;

static uintptr_t word_of(const struct span *span)
{
    ASSERT(((uintptr_t)span & ~SPAN_MASK) == 0);
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
    return (struct span *)(word & SPAN_MASK);
}

/* Relaxed, here and below: a hint; the exchange decides. */
static uintptr_t slot_look(const _Atomic uintptr_t *slot)
{
    return atomic_load_explicit(slot, memory_order_relaxed);
}

static size_t length_of(uintptr_t word)
{
    return word >> LENGTH_SHIFT;
}

void run_cache_limit(struct run_cache *cache, size_t units)
{
    atomic_store_explicit(&cache->units_most, units, memory_order_relaxed);
}

static void mark_kept(struct span *span)
{
    span->used_units = 0;
    run_mark_freed(span);
}

static void mark_in_use(struct span *span)
{
    memset(span_history(span), UNIT_USED, span->units);
}

struct span *run_cache_take(struct run_cache *cache, size_t units)
{
    /* Mostly the one that was put last, whose memory is still in the processor's cache. */
    for (unsigned slot = RUN_CACHE_SLOTS; slot-- > 0;) {
        uintptr_t word = slot_look(&cache->slots[slot]);
        struct span *span =
            length_of(word) == units ? slot_take(&cache->slots[slot], word) : (struct span *)NULL;

        if (span != NULL) {
            mark_in_use(span);
            return span;
        }
    }
    return NULL;
}

/* The first empty slot, if a run of `units` may be kept besides what is; RUN_CACHE_SLOTS if not. */
static unsigned slot_for(const struct run_cache *cache, size_t units)
{
    unsigned empty = RUN_CACHE_SLOTS;
    size_t kept = 0;

    for (unsigned slot = RUN_CACHE_SLOTS; slot-- > 0;) {
        uintptr_t word = slot_look(&cache->slots[slot]);

        kept += length_of(word);
        empty = word == 0 ? slot : empty;
    }
    size_t most = atomic_load_explicit(&cache->units_most, memory_order_relaxed);

    return kept == 0 || kept + units <= most ? empty : RUN_CACHE_SLOTS;
}

/* No store where nothing changes. */
static void note_some_kept(void)
{
    if (!atomic_load_explicit(&keeps_some, memory_order_seq_cst)) {
        atomic_store_explicit(&keeps_some, true, memory_order_relaxed);
    }
}

bool run_cache_put(struct run_cache *cache, struct span *span)
{
    size_t used_units = span->used_units;
    unsigned slot;

    if (span->units > RUN_CACHE_UNITS || !limit_is_far()) {
        return false;
    }
    while ((slot = slot_for(cache, span->units)) < RUN_CACHE_SLOTS) {
        uintptr_t empty = 0;

        mark_kept(span);
        if (atomic_compare_exchange_strong_explicit(&cache->slots[slot], &empty, word_of(span),
                                                    memory_order_seq_cst, memory_order_relaxed)) {
            note_some_kept();
            return true;
        }
        span->used_units = used_units;
    }
    return false;
}

/* Give its runs to the page heap, but for those that were put in the tick `spared`; TICK_MASK + 1
 * spares none. */
static void give_up(struct run_cache *cache, uintptr_t spared)
{
    for (unsigned slot = 0; slot < RUN_CACHE_SLOTS; slot++) {
        uintptr_t word = atomic_load_explicit(&cache->slots[slot], memory_order_seq_cst);
        struct span *span = word != 0 && (word & TICK_MASK) != spared
                                ? slot_take(&cache->slots[slot], word)
                                : (struct span *)NULL;

        if (span != NULL) {
            page_heap_take_back(span);
        }
    }
}

/* Whatever was registered before is seen as it was then: acquire pairs with the release there. */
static struct run_cache *first_registered(void)
{
    return atomic_load_explicit(&registered, memory_order_acquire);
}

void run_cache_register(struct run_cache *cache)
{
    /* Relaxed: written under the life lock only. */
    cache->next = atomic_load_explicit(&registered, memory_order_relaxed);
    atomic_store_explicit(&registered, cache, memory_order_release);
}

static void give_up_all(uintptr_t spared)
{
    for (struct run_cache *cache = first_registered(); cache != NULL; cache = cache->next) {
        give_up(cache, spared);
    }
}

void run_cache_age_all(void)
{
    give_up_all(tick_now() & TICK_MASK);
}

void run_cache_empty_all(void)
{
    if (atomic_exchange_explicit(&keeps_some, false, memory_order_seq_cst)) {
        give_up_all(TICK_MASK + 1);
    }
}

COLD size_t run_cache_bytes_all(void)
{
    size_t bytes = 0;

    for (struct run_cache *cache = first_registered(); cache != NULL; cache = cache->next) {
        bytes += run_cache_bytes(cache);
    }
    return bytes;
}

COLD size_t run_cache_bytes(const struct run_cache *cache)
{
    size_t bytes = 0;

    for (unsigned slot = 0; slot < RUN_CACHE_SLOTS; slot++) {
        bytes += length_of(slot_look(&cache->slots[slot])) * UNIT_BYTES;
    }
    return bytes;
}

unsigned run_cache_demand(unsigned demand, uint64_t waits)
{
    if (waits >= WAITS_MANY) {
        return (unsigned)size_min(demand + RUN_CACHE_QUIET_TICKS,
                                  (size_t)DOUBLINGS_MOST * RUN_CACHE_QUIET_TICKS);
    }
    return waits < WAITS_FEW && demand > 0 ? demand - 1 : demand;
}

static void slot_check(uintptr_t word)
{
    const struct span *span = (const struct span *)(word & SPAN_MASK);

    if (span->state != SPAN_LARGE || span->units != length_of(word) || span->used_units != 0 ||
        (*span_history(span) & UNIT_HISTORY_MASK) != UNIT_FREED) {
        fatal("run cache: a kept run is not marked as one");
    }
}

void run_cache_check_all(void)
{
    for (const struct run_cache *cache = first_registered(); cache != NULL; cache = cache->next) {
        for (unsigned slot = 0; slot < RUN_CACHE_SLOTS; slot++) {
            uintptr_t word = slot_look(&cache->slots[slot]);

            if (word != 0) {
                slot_check(word);
            }
        }
    }
}
