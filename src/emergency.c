/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* emergency.c - runs mapped from the kernel, cut by bitmaps.
 *
 * A run is a table of bits and the memory behind it, in granules: of a 64th of a page for blocks of
 * up to a page, which never cross one, so that a word of bits is a page; of a page for all others.
 * A block is had by setting the bits of its granules, the first that are free, and those of its
 * ends. A block that no run has room for gets a new one, which serves others later. Runs are never
 * unmapped: forks come again.
 *
 * Memory of free granules goes back as time goes by, whole pages each (purge.c). It is claimed for
 * that like a block.
 *
 * Owns         the list of runs.
 * Invariants   a granule belongs to whoever set its bit in `used`, and nobody else touches it, or
 *              its bits, until that one clears it. A bit of `starts` is set exactly while a live
 *              block starts there; the next bit of `ends` is then its last granule. Granules that
 *              are not `dirty` have no memory behind them.
 * Concurrency  lock-free throughout. Runs are only ever added to the list.
 * Called by    heap.c and resize.c; deferred.c; purge.c; fork.c; stats.c.
 */
#include "emergency.h"

#include <stdatomic.h>

#include "gate.h"
#include "limit.h"
#include "os.h"

enum { REFUSED_BITS = 32 };

#define RUN_BYTES_LEAST ((size_t)1024 * 1024)
#define REFUSED_MASK    ((UINT64_C(1) << REFUSED_BITS) - 1)

/* What is known of BITS_PER_WORD granules. */
struct granules {
    _Atomic uint64_t used;
    _Atomic uint64_t starts;
    _Atomic uint64_t ends;
    _Atomic uint64_t dirty;
};

struct run {
    struct run *next;
    uintptr_t start;
    size_t granule_bytes;
    size_t count; /* granules: whole words */
    /* How often granules became free << 32 | a number that has since been looked for in vain, or
     * 0. It spares looking again. */
    _Atomic uint64_t refused;
    _Atomic bool to_purge; /* granules became free */
    struct granules words[];
};

struct request {
    size_t granule_bytes;
    size_t count;
    size_t alignment;
    bool is_limited; /* by the hard limit */
};

static _Atomic(struct run *) runs;
/* From this one on the list holds what a parent left us, with blocks in it: it serves no more.
 * Written by the only thread of a child. */
static struct run *old_runs;

/* Counters: relaxed, they order nothing. */
static _Atomic uint64_t alloc_count;
static _Atomic uint64_t mapped_bytes;

/* Runs */

static struct run *run_create(const struct request *request)
{
    size_t slack = request->alignment / request->granule_bytes;
    size_t count = align_up(
        size_max(request->count + slack, RUN_BYTES_LEAST / request->granule_bytes), BITS_PER_WORD);
    size_t table = align_up(sizeof(struct run) + count / BITS_PER_WORD * sizeof(struct granules),
                            os_page_bytes());
    size_t bytes = table + count * request->granule_bytes;
    /* Relaxed: two threads that map at once may be a run over the limit. */
    size_t mapped = atomic_load_explicit(&mapped_bytes, memory_order_relaxed);
    bool allowed = count < REFUSED_MASK && (!request->is_limited || limit_allows(mapped + bytes));
    struct run *run = allowed ? (struct run *)os_map(bytes) : NULL;

    if (run == NULL) {
        return NULL;
    }
    run->start = (uintptr_t)run + table;
    run->granule_bytes = request->granule_bytes;
    run->count = count;
    atomic_fetch_add_explicit(&mapped_bytes, bytes, memory_order_relaxed);
    return run;
}

/* With its table. */
static size_t run_bytes(const struct run *run)
{
    return run->start - (uintptr_t)run + run->count * run->granule_bytes;
}

static void run_publish(struct run *run)
{
    run->next = atomic_load_explicit(&runs, memory_order_relaxed);
    /* Release: pairs with the acquire in run_first(); the run is seen whole. */
    while (!atomic_compare_exchange_weak_explicit(&runs, &run->next, run, memory_order_release,
                                                  memory_order_relaxed)) {
    }
}

static struct run *run_first(void)
{
    return atomic_load_explicit(&runs, memory_order_acquire);
}

static void *run_address(const struct run *run, size_t granule)
{
    uintptr_t address = run->start + granule * run->granule_bytes;

    return (void *)address; /* NOLINT(performance-no-int-to-ptr) */
}

static struct run *run_of(uintptr_t address)
{
    struct run *run = run_first();

    while (run != NULL && address - run->start >= run->count * run->granule_bytes) {
        run = run->next;
    }
    return run;
}

/* Bits */

static struct granules *word_of(struct run *run, size_t granule)
{
    return &run->words[granule / BITS_PER_WORD];
}

static uint64_t bit_of(size_t granule)
{
    return UINT64_C(1) << granule % BITS_PER_WORD;
}

/* The bits of granules [first, end) in the word that begins with granule `base`. */
static uint64_t bits_between(size_t first, size_t end, size_t base)
{
    size_t low = size_max(first, base) - base;
    size_t high = size_min(end - base, BITS_PER_WORD);

    return UINT64_MAX >> (BITS_PER_WORD - (high - low)) << low;
}

/* The granule after the last of the block that starts at `first`. */
static size_t block_end(struct run *run, size_t first)
{
    size_t base = align_down(first, BITS_PER_WORD);
    /* Relaxed: see block_create(). */
    uint64_t ends = atomic_load_explicit(&word_of(run, base)->ends, memory_order_relaxed) &
                    (UINT64_MAX << first % BITS_PER_WORD);

    while (ends == 0 && base + BITS_PER_WORD < run->count) {
        base += BITS_PER_WORD;
        ends = atomic_load_explicit(&word_of(run, base)->ends, memory_order_relaxed);
    }
    return ends != 0 ? base + bit_lowest(ends) + 1 : run->count;
}

/* Memory that goes back */

/* Claim the granules of a word that are free and have memory behind them; their bits. Where the
 * word is a page: all of them or none. */
static uint64_t word_claim_idle(struct granules *word, bool is_page)
{
    uint64_t used = atomic_load_explicit(&word->used, memory_order_relaxed);
    uint64_t idle;

    do {
        /* Relaxed: a bit that we do not see yet is that of a granule which another thread has just
         * freed, and that thread says so after us (to_purge). */
        uint64_t dirty = atomic_load_explicit(&word->dirty, memory_order_relaxed);

        idle = dirty & ~used;
        if (is_page) {
            idle = used == 0 && dirty != 0 ? UINT64_MAX : 0;
        }
        /* Acquire: pairs with the release in run_clear(); nobody writes to the memory any more. */
    } while (idle != 0 &&
             !atomic_compare_exchange_weak_explicit(&word->used, &used, used | idle,
                                                    memory_order_acquire, memory_order_relaxed));
    return idle;
}

/* Purge the granules of `bits`; the bits of those that the kernel took. */
static uint64_t purge_bits(const struct run *run, size_t base, uint64_t bits)
{
    uint64_t purged = 0;

    while (bits != 0) {
        unsigned low = bit_lowest(bits);
        uint64_t after = ~(bits >> low);
        unsigned count = after != 0 ? bit_lowest(after) : BITS_PER_WORD;
        uint64_t stretch = bits_between(low, low + count, 0);

        if (os_purge(run_address(run, base + low), count * run->granule_bytes)) {
            purged |= stretch;
        }
        bits &= ~stretch;
    }
    return purged;
}

/* Purge what is idle in the word that begins with granule `base`; the bytes that went. */
static size_t word_purge(struct run *run, size_t base)
{
    struct granules *word = word_of(run, base);
    uint64_t idle = word_claim_idle(word, run->granule_bytes < os_page_bytes());

    if (idle == 0) {
        return 0;
    }
    uint64_t purged = purge_bits(run, base, idle);

    /* Relaxed: published by the release. */
    atomic_fetch_and_explicit(&word->dirty, ~purged, memory_order_relaxed);
    /* Release: pairs with the acquire of whoever claims them next. */
    atomic_fetch_and_explicit(&word->used, ~idle, memory_order_release);
    return bit_count(purged) * run->granule_bytes;
}

/* The same of the whole run, up to about `most_bytes`, unless somebody forks. */
static size_t run_purge(struct run *run, size_t most_bytes)
{
    size_t bytes = 0;
    size_t base = 0;

    for (; base < run->count && bytes < most_bytes && gate_is_open(); base += BITS_PER_WORD) {
        bytes += word_purge(run, base);
    }
    if (base < run->count) {
        /* Relaxed: what is left may be looked for later. */
        atomic_store_explicit(&run->to_purge, true, memory_order_relaxed);
    }
    return bytes;
}

/* Granules became free: what was looked for in vain may be there now. */
static void run_accept(struct run *run)
{
    uint64_t before = atomic_load_explicit(&run->refused, memory_order_relaxed);

    /* Release: pairs with the acquire in run_alloc(); the granules are seen free. */
    while (!atomic_compare_exchange_weak_explicit(&run->refused, &before,
                                                  ((before >> REFUSED_BITS) + 1) << REFUSED_BITS,
                                                  memory_order_release, memory_order_relaxed)) {
    }
}

static void run_clear(struct run *run, size_t first, size_t end)
{
    for (size_t base = align_down(first, BITS_PER_WORD); base < end; base += BITS_PER_WORD) {
        /* Release: the program's last writes happen before the acquire of whoever claims the
         * granules next. */
        atomic_fetch_and_explicit(&word_of(run, base)->used, ~bits_between(first, end, base),
                                  memory_order_release);
    }
}

/* Granules that nobody needs: of a block, or of a claim that failed. */
static void run_release(struct run *run, size_t first, size_t end)
{
    run_clear(run, first, end);
    /* Release: pairs with the acquire in emergency_purge(); the granules are seen free. */
    atomic_store_explicit(&run->to_purge, true, memory_order_release);
    run_accept(run);
}

size_t emergency_purge(size_t most_bytes)
{
    size_t bytes = 0;

    for (struct run *run = run_first(); run != NULL && bytes < most_bytes; run = run->next) {
        /* Relaxed: the exchange decides. */
        if (atomic_load_explicit(&run->to_purge, memory_order_relaxed) &&
            atomic_exchange_explicit(&run->to_purge, false, memory_order_acquire)) {
            bytes += run_purge(run, most_bytes - bytes);
            run_accept(run);
        }
    }
    return bytes;
}

/* Blocks */

/* Set those bits, all or none; those of them that were set. */
static uint64_t word_claim(struct granules *word, uint64_t bits)
{
    uint64_t used = atomic_load_explicit(&word->used, memory_order_relaxed);

    /* Acquire: pairs with the releases in run_clear() and run_purge(). */
    while ((used & bits) == 0 &&
           !atomic_compare_exchange_weak_explicit(&word->used, &used, used | bits,
                                                  memory_order_acquire, memory_order_relaxed)) {
    }
    return used & bits;
}

/* Claim granules [first, end): `first`, or a later one before which no such claim can succeed. */
static size_t run_claim(struct run *run, size_t first, size_t end)
{
    for (size_t base = align_down(first, BITS_PER_WORD); base < end; base += BITS_PER_WORD) {
        uint64_t taken = word_claim(word_of(run, base), bits_between(first, end, base));

        if (taken != 0) {
            if (base > first) {
                run_release(run, first, base);
            }
            return base + BITS_PER_WORD - (size_t)__builtin_clzll(taken);
        }
    }
    return first;
}

/* The first granule at or after `from` where the request may lie. It never crosses a page that it
 * could lie in: a block that stays pins no more than it must. */
static size_t run_fit(const struct run *run, const struct request *request, size_t from)
{
    uintptr_t address = run->start + from * run->granule_bytes;
    size_t first = (align_up(address, request->alignment) - run->start) / run->granule_bytes;
    bool crosses = first % BITS_PER_WORD + request->count > BITS_PER_WORD;

    return run->granule_bytes < os_page_bytes() && crosses ? align_up(first, BITS_PER_WORD) : first;
}

static void *block_create(struct run *run, size_t first, size_t end)
{
    /* Relaxed, all: the granules are ours, and whoever asks for the size, or frees the block, got
     * it from us by way of the program. */
    for (size_t base = align_down(first, BITS_PER_WORD); base < end; base += BITS_PER_WORD) {
        atomic_fetch_or_explicit(&word_of(run, base)->dirty, bits_between(first, end, base),
                                 memory_order_relaxed);
    }
    atomic_fetch_or_explicit(&word_of(run, end - 1)->ends, bit_of(end - 1), memory_order_relaxed);
    atomic_fetch_or_explicit(&word_of(run, first)->starts, bit_of(first), memory_order_relaxed);
    return run_address(run, first);
}

/* Relaxed: whoever finds it full a moment too late looks elsewhere. */
static bool word_is_full(const struct granules *word)
{
    return atomic_load_explicit(&word->used, memory_order_relaxed) == UINT64_MAX;
}

static void *run_search(struct run *run, const struct request *request)
{
    size_t first = run_fit(run, request, 0);

    while (first + request->count <= run->count) {
        if (word_is_full(word_of(run, first))) {
            first = run_fit(run, request, align_down(first, BITS_PER_WORD) + BITS_PER_WORD);
            continue;
        }
        size_t next = run_claim(run, first, first + request->count);

        if (next == first) {
            return block_create(run, first, first + request->count);
        }
        first = run_fit(run, request, next);
    }
    return NULL;
}

static void *run_alloc(struct run *run, const struct request *request)
{
    /* Acquire: pairs with the release in run_accept(). */
    uint64_t refused = atomic_load_explicit(&run->refused, memory_order_acquire);
    bool is_hopeless = (refused & REFUSED_MASK) != 0 && request->count >= (refused & REFUSED_MASK);

    if (run->granule_bytes != request->granule_bytes || is_hopeless) {
        return NULL;
    }
    void *block = run_search(run, request);

    if (block == NULL && request->alignment <= run->granule_bytes) {
        /* Relaxed: a number that others compare with, and void if granules became free meanwhile.
         */
        (void)atomic_compare_exchange_strong_explicit(&run->refused, &refused,
                                                      (refused & ~REFUSED_MASK) | request->count,
                                                      memory_order_relaxed, memory_order_relaxed);
    }
    return block;
}

static struct request request_for(size_t size, size_t alignment, bool is_limited)
{
    size_t page = os_page_bytes();
    size_t granule_bytes = size <= page && alignment <= page ? page / BITS_PER_WORD : page;
    size_t count = size / granule_bytes + (size % granule_bytes != 0);

    return (struct request){granule_bytes, size_max(count, 1), alignment, is_limited};
}

static void *block_alloc(const struct request *request)
{
    void *block = NULL;

    atomic_fetch_add_explicit(&alloc_count, 1, memory_order_relaxed);
    /* To the end, if a handler of a signal has forked meanwhile. */
    for (struct run *run = run_first(); run != NULL && run != old_runs && block == NULL;
         run = run->next) {
        block = run_alloc(run, request);
    }
    if (block == NULL) {
        struct run *run = run_create(request);

        if (run != NULL) {
            /* Before others know of it. */
            block = run_search(run, request);
            run_publish(run);
        }
    }
    return block;
}

void *emergency_alloc(size_t size, size_t alignment)
{
    const struct request request = request_for(size, alignment, true);

    return block_alloc(&request);
}

void *emergency_alloc_unlimited(size_t size, size_t alignment)
{
    const struct request request = request_for(size, alignment, false);

    return block_alloc(&request);
}

bool emergency_owns(uintptr_t address)
{
    return run_of(address) != NULL;
}

size_t emergency_usable_size(uintptr_t address)
{
    struct run *run = run_of(address);

    if (run == NULL || (address - run->start) % run->granule_bytes != 0) {
        return 0;
    }
    size_t first = (address - run->start) / run->granule_bytes;
    /* Relaxed: see block_create(). */
    uint64_t starts = atomic_load_explicit(&word_of(run, first)->starts, memory_order_relaxed);

    return starts & bit_of(first) ? (block_end(run, first) - first) * run->granule_bytes : 0;
}

void emergency_free(uintptr_t address)
{
    struct run *run = run_of(address);
    size_t first = (address - run->start) / run->granule_bytes;

    if ((address - run->start) % run->granule_bytes != 0) {
        fatal_at("invalid free of", address);
    }
    /* Relaxed: only to tell the second of two frees, whichever comes second. */
    uint64_t starts = atomic_fetch_and_explicit(&word_of(run, first)->starts, ~bit_of(first),
                                                memory_order_relaxed);

    if (!(starts & bit_of(first))) {
        uint64_t used = atomic_load_explicit(&word_of(run, first)->used, memory_order_relaxed);

        fatal_at(used & bit_of(first) ? "invalid free of" : "double free of", address);
    }
    size_t end = block_end(run, first);

    /* Relaxed: published by the release in run_clear(). */
    atomic_fetch_and_explicit(&word_of(run, end - 1)->ends, ~bit_of(end - 1), memory_order_relaxed);
    run_release(run, first, end);
}

/* A child */

/* Nor was any thread of the parent at it, or it had claimed something. Relaxed: the child has one
 * thread. */
static bool run_is_unused(struct run *run)
{
    for (size_t granule = 0; granule < run->count; granule += BITS_PER_WORD) {
        if (atomic_load_explicit(&word_of(run, granule)->used, memory_order_relaxed) != 0) {
            return false;
        }
    }
    return true;
}

/* Those that are unused come first and serve on, or a chain of children would have one more run
 * each. Whoever was on the way through the list, and was interrupted by the fork, still comes by
 * all that have blocks. The limit is for what can serve. */
void emergency_reset_in_child(void)
{
    struct run *unused = NULL;
    struct run *others = NULL;
    struct run **unused_end = &unused;
    struct run **others_end = &others;
    size_t bytes = 0;

    for (struct run *run = run_first(); run != NULL; run = run->next) {
        if (run_is_unused(run)) {
            *unused_end = run;
            unused_end = &run->next;
            bytes += run_bytes(run);
            atomic_store_explicit(&run->refused, 0, memory_order_relaxed);
        } else {
            *others_end = run;
            others_end = &run->next;
        }
    }
    *others_end = NULL;
    *unused_end = others;
    old_runs = others;
    atomic_store_explicit(&runs, unused, memory_order_relaxed);
    atomic_store_explicit(&mapped_bytes, bytes, memory_order_relaxed);
}

struct emergency_stats emergency_stats(void)
{
    return (struct emergency_stats){
        .allocs = atomic_load_explicit(&alloc_count, memory_order_relaxed),
        .mapped_bytes = atomic_load_explicit(&mapped_bytes, memory_order_relaxed),
    };
}

/* What a granule says of the block that it is of, if it is of one. */
struct granule_marks {
    bool is_used;
    bool is_start;
    bool is_end;
    bool is_dirty;
};

/* Relaxed, all: nobody is at it. */
static struct granule_marks marks_of(struct run *run, size_t granule)
{
    struct granules *word = word_of(run, granule);
    uint64_t bit = bit_of(granule);

    return (struct granule_marks){
        .is_used = (atomic_load_explicit(&word->used, memory_order_relaxed) & bit) != 0,
        .is_start = (atomic_load_explicit(&word->starts, memory_order_relaxed) & bit) != 0,
        .is_end = (atomic_load_explicit(&word->ends, memory_order_relaxed) & bit) != 0,
        .is_dirty = (atomic_load_explicit(&word->dirty, memory_order_relaxed) & bit) != 0,
    };
}

static void run_check(struct run *run)
{
    bool inside = false;
    bool is_whole = true;

    for (size_t granule = 0; granule < run->count; granule++) {
        struct granule_marks marks = marks_of(run, granule);

        is_whole &= !(inside && marks.is_start);
        inside |= marks.is_start;
        is_whole &= marks.is_used == inside;
        is_whole &= inside ? marks.is_dirty : !marks.is_end;
        inside &= !marks.is_end;
    }
    if (!is_whole || inside) {
        fatal("emergency: the bits of a run do not add up to blocks");
    }
}

/* Runs that a parent left may have been caught in the middle of a change. */
void emergency_check(void)
{
    for (struct run *run = run_first(); run != old_runs; run = run->next) {
        run_check(run);
    }
}
