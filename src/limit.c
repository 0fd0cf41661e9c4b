/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* limit.c - see limit.h.
 *
 * Owns         the two limits, what is to be done about the soft one, the program's callback.
 * Concurrency  any thread, no lock. A callback is never called inside itself.
 * Called by    page_heap.c, life.c, upkeep.c, heap.c and api.c.
 */
#include "limit.h"

struct limit limit;

static _Atomic(bw_limit_callback *) program_callback;
static _Atomic(void *) program_context;
static _Thread_local bool delivering __attribute__((tls_model("initial-exec")));

void limit_set(size_t soft_bytes, size_t hard_bytes)
{
    atomic_store_explicit(&limit.soft, soft_bytes, memory_order_relaxed);
    atomic_store_explicit(&limit.hard, hard_bytes, memory_order_relaxed);
}

/* Relaxed, as all of this: who is told acts, and reads nothing on the strength of it. No fork that
 * leaves the gate open finds another thread at a step. */
COLD enum limit_pressure limit_take_pressure(void)
{
    enum limit_pressure pressure = atomic_load_explicit(&limit.pressure, memory_order_relaxed);

    if ((pressure == LIMIT_PRESSES || pressure == LIMIT_RELIEF) &&
        atomic_compare_exchange_strong_explicit(&limit.pressure, &pressure, LIMIT_STEP,
                                                memory_order_relaxed, memory_order_relaxed)) {
        return pressure;
    }
    return LIMIT_QUIET;
}

COLD void limit_put_pressure(enum limit_pressure pressure)
{
    atomic_store_explicit(&limit.pressure, pressure, memory_order_relaxed);
    if (pressure == LIMIT_QUIET &&
        atomic_exchange_explicit(&limit.has_grown, false, memory_order_relaxed)) {
        limit_notice(BW_LIMIT_SOFT);
    }
}

/* Not during a relief: what it gives back on the way is free for a while. */
void limit_press(bool has_grown)
{
    enum limit_pressure quiet = LIMIT_QUIET;

    /* What the callback itself does is no news to it. */
    if (has_grown && !delivering) {
        atomic_store_explicit(&limit.has_grown, true, memory_order_relaxed);
    }
    (void)atomic_compare_exchange_strong_explicit(&limit.pressure, &quiet, LIMIT_PRESSES,
                                                  memory_order_relaxed, memory_order_relaxed);
}

void limit_on(bw_limit_callback *callback, void *context)
{
    /* Release: pairs with the acquire in limit_deliver(), which sees the context, or a later one;
     * breakwater.h asks that other threads be at rest. */
    atomic_store_explicit(&program_context, context, memory_order_relaxed);
    atomic_store_explicit(&program_callback, callback, memory_order_release);
}

COLD void limit_notice(enum bw_limit which)
{
    /* What the callback itself does is no news to it. */
    if (!delivering) {
        atomic_fetch_or_explicit(&limit.notices, 1U << which, memory_order_relaxed);
    }
}

COLD void limit_deliver(size_t held_bytes)
{
    bw_limit_callback *callback = atomic_load_explicit(&program_callback, memory_order_acquire);

    if (delivering) {
        return;
    }
    unsigned notices = atomic_exchange_explicit(&limit.notices, 0, memory_order_relaxed);
    void *context = atomic_load_explicit(&program_context, memory_order_relaxed);

    delivering = true;
    for (unsigned which = BW_LIMIT_SOFT; callback != NULL && which <= BW_LIMIT_HARD; which++) {
        if ((notices >> which & 1) != 0) {
            callback((enum bw_limit)which, held_bytes, context);
        }
    }
    delivering = false;
}
