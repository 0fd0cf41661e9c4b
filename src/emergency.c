/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* emergency.c - runs mapped from the kernel, cut by one atomic word each.
 *
 * A run is a table of block sizes and the memory behind it, in granules. Its state word holds the
 * next free granule and the number of live blocks; when the last block is freed the run starts over
 * from its first granule. Runs are never unmapped: forks come again.
 *
 * Owns         the list of runs; the stack of deferred frees.
 * Invariants   granules below the state's cursor belong to blocks, live or freed; sizes[g] is not 0
 *              exactly while a live block starts at granule g.
 * Concurrency  lock-free throughout. Runs are only ever added to the list.
 * Called by    heap.c, and life.c around fork().
 */
#include "emergency.h"

#include <stdatomic.h>

#include "lfstack.h"
#include "os.h"

enum { GRANULE_SHIFT = 6, CURSOR_BITS = 32 };

#define GRANULE_BYTES   ((size_t)1 << GRANULE_SHIFT)
#define RUN_BYTES_LEAST ((size_t)1024 * 1024)
#define LIVE_ONE        (UINT64_C(1) << CURSOR_BITS)
#define CURSOR_MASK     (LIVE_ONE - 1)
#define RETIRED_LIVE    (UINT64_C(1) << 31)

struct run {
    struct run *next;
    uintptr_t start;
    size_t granules;
    _Atomic uint64_t state;   /* live blocks << 32 | next free granule */
    _Atomic uint32_t sizes[]; /* granules of the block that starts here, or 0 */
};

struct deferred {
    struct cds_lfs_node node;
    void *block;
};

static _Atomic(struct run *) runs;
static struct __cds_lfs_stack deferred_blocks;

/* Counters: relaxed, they order nothing. */
static _Atomic uint64_t alloc_count;
static _Atomic uint64_t deferred_count;
static _Atomic uint64_t lost_count;
static _Atomic uint64_t mapped_bytes;

static struct run *run_create(size_t granules)
{
    size_t wanted = size_max(granules, RUN_BYTES_LEAST >> GRANULE_SHIFT);
    size_t table = align_up(sizeof(struct run) + wanted * sizeof(uint32_t), os_page_bytes());
    size_t bytes = align_up(table + (wanted << GRANULE_SHIFT), os_page_bytes());
    struct run *run = wanted < UINT32_MAX ? (struct run *)os_map(bytes) : NULL;

    if (run == NULL) {
        return NULL;
    }
    run->start = (uintptr_t)run + table;
    run->granules = wanted;
    atomic_fetch_add_explicit(&mapped_bytes, bytes, memory_order_relaxed);
    run->next = atomic_load_explicit(&runs, memory_order_relaxed);
    /* Release: pairs with the acquire in run_first(); the run is seen whole. */
    while (!atomic_compare_exchange_weak_explicit(&runs, &run->next, run, memory_order_release,
                                                  memory_order_relaxed)) {
    }
    return run;
}

static struct run *run_first(void)
{
    return atomic_load_explicit(&runs, memory_order_acquire);
}

/* The first granule at or after `cursor` whose address is aligned. */
static size_t granule_aligned(const struct run *run, size_t cursor, size_t alignment)
{
    uintptr_t address = align_up(run->start + (cursor << GRANULE_SHIFT), alignment);

    return (address - run->start) >> GRANULE_SHIFT;
}

static void *run_alloc(struct run *run, size_t granules, size_t alignment)
{
    uint64_t state = atomic_load_explicit(&run->state, memory_order_relaxed);
    size_t first;

    do {
        first = granule_aligned(run, state & CURSOR_MASK, alignment);
        if (first + granules > run->granules) {
            return NULL;
        }
        /* Acquire: pairs with the release in emergency_free(), when the run starts over. */
    } while (!atomic_compare_exchange_weak_explicit(
        &run->state, &state, (state & ~CURSOR_MASK) + LIVE_ONE + first + granules,
        memory_order_acquire, memory_order_relaxed));
    /* Relaxed: whoever asks for the size got the block from us by way of the program. */
    atomic_store_explicit(&run->sizes[first], (uint32_t)granules, memory_order_relaxed);
    return (void *)(run->start + (first << GRANULE_SHIFT)); /* NOLINT(performance-no-int-to-ptr) */
}

void *emergency_alloc(size_t size, size_t alignment)
{
    size_t granules = size_max(1, (size >> GRANULE_SHIFT) + ((size & (GRANULE_BYTES - 1)) != 0));
    size_t slack = alignment > GRANULE_BYTES ? alignment >> GRANULE_SHIFT : 0;
    void *block = NULL;

    atomic_fetch_add_explicit(&alloc_count, 1, memory_order_relaxed);
    for (struct run *run = run_first(); run != NULL && block == NULL; run = run->next) {
        block = run_alloc(run, granules, alignment);
    }
    while (block == NULL) {
        struct run *run = run_create(granules + slack);

        if (run == NULL) {
            return NULL;
        }
        /* Others may have emptied it before us. */
        block = run_alloc(run, granules, alignment);
    }
    return block;
}

static struct run *run_of(uintptr_t address)
{
    struct run *run = run_first();

    while (run != NULL && address - run->start >= run->granules << GRANULE_SHIFT) {
        run = run->next;
    }
    return run;
}

bool emergency_owns(uintptr_t address)
{
    return run_of(address) != NULL;
}

size_t emergency_usable_size(uintptr_t address)
{
    struct run *run = run_of(address);

    if (run == NULL || (address - run->start) % GRANULE_BYTES != 0) {
        return 0;
    }
    return (size_t)atomic_load_explicit(&run->sizes[(address - run->start) >> GRANULE_SHIFT],
                                        memory_order_relaxed)
           << GRANULE_SHIFT;
}

void emergency_free(uintptr_t address)
{
    struct run *run = run_of(address);
    size_t granule = (address - run->start) >> GRANULE_SHIFT;

    if ((address - run->start) % GRANULE_BYTES != 0) {
        fatal_at("invalid free of", address);
    }
    /* Relaxed exchange: only to tell the second of two frees, whichever comes second. */
    if (atomic_exchange_explicit(&run->sizes[granule], 0, memory_order_relaxed) == 0) {
        fatal_at("double free of", address);
    }
    uint64_t state = atomic_load_explicit(&run->state, memory_order_relaxed);
    uint64_t after;

    do {
        after = state - LIVE_ONE;
        if (after < LIVE_ONE) {
            after = 0;
        }
        /* Release: the program's last writes happen before the run's memory is cut again. Acquire:
         * so do those of the blocks freed before ours. */
    } while (!atomic_compare_exchange_weak_explicit(&run->state, &state, after,
                                                    memory_order_acq_rel, memory_order_relaxed));
}

bool emergency_defer(void *block)
{
    struct deferred *deferred =
        (struct deferred *)emergency_alloc(sizeof(*deferred), _Alignof(struct deferred));

    if (deferred == NULL) {
        atomic_fetch_add_explicit(&lost_count, 1, memory_order_relaxed);
        return false;
    }
    deferred->block = block;
    atomic_fetch_add_explicit(&deferred_count, 1, memory_order_relaxed);
    (void)cds_lfs_push(&deferred_blocks, &deferred->node);
    return true;
}

void emergency_release_deferred(void (*release)(void *block))
{
    struct cds_lfs_head *head = __cds_lfs_pop_all(&deferred_blocks);
    struct cds_lfs_node *node = head != NULL ? &head->node : NULL;

    while (node != NULL) {
        struct deferred *deferred = caa_container_of(node, struct deferred, node);
        void *block = deferred->block;

        node = node->next;
        emergency_free((uintptr_t)deferred);
        release(block);
    }
}

void emergency_reset_in_child(void)
{
    __cds_lfs_init(&deferred_blocks);
    for (struct run *run = run_first(); run != NULL; run = run->next) {
        /* Full, with a block more than will ever be freed: never cut again. Relaxed: one thread. */
        atomic_store_explicit(&run->state, LIVE_ONE * RETIRED_LIVE + run->granules,
                              memory_order_relaxed);
    }
}

struct emergency_stats emergency_stats(void)
{
    return (struct emergency_stats){
        .allocs = atomic_load_explicit(&alloc_count, memory_order_relaxed),
        .deferred = atomic_load_explicit(&deferred_count, memory_order_relaxed),
        .lost = atomic_load_explicit(&lost_count, memory_order_relaxed),
        .mapped_bytes = atomic_load_explicit(&mapped_bytes, memory_order_relaxed),
    };
}
