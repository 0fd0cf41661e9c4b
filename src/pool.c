/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pool.c - blocks in a piece of memory, by bitmaps, and its memory given back.
 *
 * A pool is bitmaps, then the memory that they describe, in granules. There are two kinds of pool.
 * For blocks of up to a page a granule is a 64th of a page, so that one word of a bitmap describes
 * one page, and no block crosses a page. For longer blocks a granule is a page.
 *
 * To allocate is to set the bits of the first free granules that are enough, and those of the
 * block's two ends. The memory of free granules goes back to the kernel a whole page at a time:
 * whoever gives it back claims it first, as if for a block.
 *
 * Owns         the bitmaps of a pool.
 * Invariants   a granule belongs to whoever set its bit in `used`, and nobody else touches it, or
 *              its bits, until that one clears it. A bit of `starts` is set exactly while a live
 *              block starts there; the next bit of `ends` is then its last granule. Granules that
 *              are not `dirty` have no memory behind them.
 * Concurrency  lock-free throughout; checked by src/model/emergency.pml, with mutants that it
 *              catches.
 * Called by    emergency.c.
 */
#include "pool.h"

#include "gate.h"
#include "os.h"

enum { REFUSED_BITS = 32 };

#define POOL_BYTES_LEAST ((size_t)1024 * 1024)
#define REFUSED_MASK     ((UINT64_C(1) << REFUSED_BITS) - 1)
#define TOO_MANY_BYTES   ((size_t)1 << 62)

/* The granules of a new pool in which the request has room. */
static size_t count_for(const struct pool_request *request)
{
    size_t slack = request->alignment / request->granule_bytes;
    size_t least = POOL_BYTES_LEAST / request->granule_bytes;

    return align_up(size_max(request->count + slack, least), BITS_PER_WORD);
}

/* The bytes of the bitmaps of so many. */
static size_t table_bytes(size_t count)
{
    return align_up(sizeof(struct pool) + count / BITS_PER_WORD * sizeof(struct granules),
                    os_page_bytes());
}

struct pool_request pool_request_for(size_t size, size_t alignment)
{
    size_t page = os_page_bytes();
    size_t granule_bytes = size <= page && alignment <= page ? page / BITS_PER_WORD : page;
    size_t count = size / granule_bytes + (size % granule_bytes != 0);

    return (struct pool_request){granule_bytes, size_max(count, 1), alignment};
}

size_t pool_bytes_for(const struct pool_request *request)
{
    size_t count = count_for(request);

    return count < REFUSED_MASK ? table_bytes(count) + count * request->granule_bytes
                                : TOO_MANY_BYTES;
}

size_t pool_usual_bytes(void)
{
    /* The kind with the longer bitmaps. */
    return table_bytes(POOL_BYTES_LEAST / os_page_bytes() * BITS_PER_WORD) + POOL_BYTES_LEAST;
}

struct pool *pool_make(void *memory, const struct pool_request *request)
{
    size_t count = count_for(request);
    struct pool *pool = (struct pool *)memory;

    pool->start = (uintptr_t)pool + table_bytes(count);
    pool->granule_bytes = request->granule_bytes;
    pool->count = count;
    return pool;
}

size_t pool_bytes(const struct pool *pool)
{
    return pool->start - (uintptr_t)pool + pool->count * pool->granule_bytes;
}

/* Bits */

static struct granules *word_of(struct pool *pool, size_t granule)
{
    return &pool->words[granule / BITS_PER_WORD];
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
static size_t block_end(struct pool *pool, size_t first)
{
    size_t base = align_down(first, BITS_PER_WORD);
    /* Relaxed: see block_create(). */
    uint64_t ends = atomic_load_explicit(&word_of(pool, base)->ends, memory_order_relaxed) &
                    (UINT64_MAX << first % BITS_PER_WORD);

    while (ends == 0 && base + BITS_PER_WORD < pool->count) {
        base += BITS_PER_WORD;
        ends = atomic_load_explicit(&word_of(pool, base)->ends, memory_order_relaxed);
    }
    return ends != 0 ? base + bit_lowest(ends) + 1 : pool->count;
}

static void *pool_address(const struct pool *pool, size_t granule)
{
    uintptr_t address = pool->start + granule * pool->granule_bytes;

    return (void *)address;
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
        /* Acquire: pairs with the release in pool_clear(); nobody writes to the memory any more. */
    } while (idle != 0 &&
             !atomic_compare_exchange_weak_explicit(&word->used, &used, used | idle,
                                                    memory_order_acquire, memory_order_relaxed));
    return idle;
}

/* Purge the granules of `bits`; the bits of those that the kernel took. */
static uint64_t purge_bits(const struct pool *pool, size_t base, uint64_t bits)
{
    uint64_t purged = 0;

    while (bits != 0) {
        unsigned low = bit_lowest(bits);
        uint64_t after = ~(bits >> low);
        unsigned count = after != 0 ? bit_lowest(after) : BITS_PER_WORD;
        uint64_t stretch = bits_between(low, low + count, 0);

        if (os_purge(pool_address(pool, base + low), count * pool->granule_bytes)) {
            purged |= stretch;
        }
        bits &= ~stretch;
    }
    return purged;
}

/* Purge what is idle in the word that begins with granule `base`; the bytes that went. */
static size_t word_purge(struct pool *pool, size_t base)
{
    struct granules *word = word_of(pool, base);
    uint64_t idle = word_claim_idle(word, pool->granule_bytes < os_page_bytes());

    if (idle == 0) {
        return 0;
    }
    uint64_t purged = purge_bits(pool, base, idle);

    /* Relaxed: published by the release. */
    atomic_fetch_and_explicit(&word->dirty, ~purged, memory_order_relaxed);
    /* Release: pairs with the acquire of whoever claims them next. */
    atomic_fetch_and_explicit(&word->used, ~idle, memory_order_release);
    return bit_count(purged) * pool->granule_bytes;
}

/* The same of the whole pool, up to about `most_bytes`, unless somebody forks. */
static size_t pool_purge_words(struct pool *pool, size_t most_bytes)
{
    size_t bytes = 0;
    size_t base = 0;

    for (; base < pool->count && bytes < most_bytes && gate_is_open(); base += BITS_PER_WORD) {
        bytes += word_purge(pool, base);
    }
    if (base < pool->count) {
        /* Relaxed: what is left may be looked for later. */
        atomic_store_explicit(&pool->to_purge, true, memory_order_relaxed);
    }
    return bytes;
}

/* Granules became free: what was looked for in vain may be there now. */
static void pool_accept(struct pool *pool)
{
    uint64_t before = atomic_load_explicit(&pool->refused, memory_order_relaxed);

    /* Release: pairs with the acquire in pool_alloc(); the granules are seen free. */
    while (!atomic_compare_exchange_weak_explicit(&pool->refused, &before,
                                                  ((before >> REFUSED_BITS) + 1) << REFUSED_BITS,
                                                  memory_order_release, memory_order_relaxed)) {
    }
}

static void pool_clear(struct pool *pool, size_t first, size_t end)
{
    for (size_t base = align_down(first, BITS_PER_WORD); base < end; base += BITS_PER_WORD) {
        /* Release: the program's last writes happen before the acquire of whoever claims the
         * granules next. */
        atomic_fetch_and_explicit(&word_of(pool, base)->used, ~bits_between(first, end, base),
                                  memory_order_release);
    }
}

/* Granules that nobody needs: of a block, or of a claim that failed. */
static void pool_release(struct pool *pool, size_t first, size_t end)
{
    pool_clear(pool, first, end);
    /* Release: pairs with the acquire in pool_purge(); the granules are seen free. */
    atomic_store_explicit(&pool->to_purge, true, memory_order_release);
    pool_accept(pool);
}

size_t pool_purge(struct pool *pool, size_t most_bytes)
{
    size_t bytes = 0;

    /* Relaxed: the exchange decides. */
    if (atomic_load_explicit(&pool->to_purge, memory_order_relaxed) &&
        atomic_exchange_explicit(&pool->to_purge, false, memory_order_acquire)) {
        bytes = pool_purge_words(pool, most_bytes);
        pool_accept(pool);
    }
    return bytes;
}

/* Blocks */

/* Set those bits, all or none; those of them that were set. */
static uint64_t word_claim(struct granules *word, uint64_t bits)
{
    uint64_t used = atomic_load_explicit(&word->used, memory_order_relaxed);

    /* Acquire: pairs with the releases in pool_clear() and word_purge(). */
    while ((used & bits) == 0 &&
           !atomic_compare_exchange_weak_explicit(&word->used, &used, used | bits,
                                                  memory_order_acquire, memory_order_relaxed)) {
    }
    return used & bits;
}

/* Claim granules [first, end): `first`, or a later one before which no such claim can succeed. */
static size_t pool_claim(struct pool *pool, size_t first, size_t end)
{
    for (size_t base = align_down(first, BITS_PER_WORD); base < end; base += BITS_PER_WORD) {
        uint64_t taken = word_claim(word_of(pool, base), bits_between(first, end, base));

        if (taken != 0) {
            if (base > first) {
                pool_release(pool, first, base);
            }
            return base + BITS_PER_WORD - (size_t)__builtin_clzll(taken);
        }
    }
    return first;
}

/* The first granule at or after `from` where the request may lie. It never crosses a page that it
 * could lie in: a block that stays pins no more than it must. */
static size_t pool_fit(const struct pool *pool, const struct pool_request *request, size_t from)
{
    uintptr_t address = pool->start + from * pool->granule_bytes;
    size_t first = (align_up(address, request->alignment) - pool->start) / pool->granule_bytes;
    bool crosses = first % BITS_PER_WORD + request->count > BITS_PER_WORD;

    return pool->granule_bytes < os_page_bytes() && crosses ? align_up(first, BITS_PER_WORD)
                                                            : first;
}

static void *block_create(struct pool *pool, size_t first, size_t end)
{
    /* Relaxed, all: the granules are ours, and whoever asks for the size, or frees the block, got
     * it from us by way of the program. */
    for (size_t base = align_down(first, BITS_PER_WORD); base < end; base += BITS_PER_WORD) {
        atomic_fetch_or_explicit(&word_of(pool, base)->dirty, bits_between(first, end, base),
                                 memory_order_relaxed);
    }
    atomic_fetch_or_explicit(&word_of(pool, end - 1)->ends, bit_of(end - 1), memory_order_relaxed);
    atomic_fetch_or_explicit(&word_of(pool, first)->starts, bit_of(first), memory_order_relaxed);
    return pool_address(pool, first);
}

/* Relaxed: whoever finds it full a moment too late looks elsewhere. */
static bool word_is_full(const struct granules *word)
{
    return atomic_load_explicit(&word->used, memory_order_relaxed) == UINT64_MAX;
}

/* The first granule after the full word that `granule` is in, and those that follow on it. A pool
 * that fills up is mostly these. */
COLD static size_t pass_full_words(struct pool *pool, size_t granule)
{
    size_t base = align_down(granule, BITS_PER_WORD) + BITS_PER_WORD;

    while (base < pool->count && word_is_full(word_of(pool, base))) {
        base += BITS_PER_WORD;
    }
    return base;
}

static void *pool_search(struct pool *pool, const struct pool_request *request)
{
    size_t first = pool_fit(pool, request, 0);

    while (first + request->count <= pool->count) {
        if (word_is_full(word_of(pool, first))) {
            first = pool_fit(pool, request, pass_full_words(pool, first));
            continue;
        }
        size_t next = pool_claim(pool, first, first + request->count);

        if (next == first) {
            return block_create(pool, first, first + request->count);
        }
        first = pool_fit(pool, request, next);
    }
    return NULL;
}

void *pool_alloc(struct pool *pool, const struct pool_request *request)
{
    /* Acquire: pairs with the release in pool_accept(). */
    uint64_t refused = atomic_load_explicit(&pool->refused, memory_order_acquire);
    bool is_hopeless = (refused & REFUSED_MASK) != 0 && request->count >= (refused & REFUSED_MASK);

    if (pool->granule_bytes != request->granule_bytes || is_hopeless) {
        return NULL;
    }
    void *block = pool_search(pool, request);

    if (block == NULL && request->alignment <= pool->granule_bytes) {
        /* Relaxed: a number that others compare with, and void if granules became free meanwhile.
         */
        (void)atomic_compare_exchange_strong_explicit(&pool->refused, &refused,
                                                      (refused & ~REFUSED_MASK) | request->count,
                                                      memory_order_relaxed, memory_order_relaxed);
    }
    return block;
}

size_t pool_usable_size(struct pool *pool, uintptr_t address)
{
    if ((address - pool->start) % pool->granule_bytes != 0) {
        return 0;
    }
    size_t first = (address - pool->start) / pool->granule_bytes;
    /* Relaxed: see block_create(). */
    uint64_t starts = atomic_load_explicit(&word_of(pool, first)->starts, memory_order_relaxed);

    return starts & bit_of(first) ? (block_end(pool, first) - first) * pool->granule_bytes : 0;
}

void pool_free(struct pool *pool, uintptr_t address)
{
    size_t first = (address - pool->start) / pool->granule_bytes;

    if ((address - pool->start) % pool->granule_bytes != 0) {
        fatal_at(FAULT_INVALID_FREE, address);
    }
    /* Relaxed: only to tell the second of two frees, whichever comes second. */
    uint64_t starts = atomic_fetch_and_explicit(&word_of(pool, first)->starts, ~bit_of(first),
                                                memory_order_relaxed);

    if (!(starts & bit_of(first))) {
        uint64_t used = atomic_load_explicit(&word_of(pool, first)->used, memory_order_relaxed);

        fatal_at(used & bit_of(first) ? FAULT_INVALID_FREE : FAULT_DOUBLE_FREE, address);
    }
    size_t end = block_end(pool, first);

    /* Relaxed: published by the release in pool_clear(). */
    atomic_fetch_and_explicit(&word_of(pool, end - 1)->ends, ~bit_of(end - 1),
                              memory_order_relaxed);
    pool_release(pool, first, end);
}

bool pool_take_over(struct pool *pool)
{
    /* Relaxed: the child has one thread. What was about to be put there begins with a claim. */
    for (size_t granule = 0; granule < pool->count; granule += BITS_PER_WORD) {
        if (atomic_load_explicit(&word_of(pool, granule)->used, memory_order_relaxed) != 0) {
            return false;
        }
    }
    atomic_store_explicit(&pool->refused, 0, memory_order_relaxed);
    return true;
}

/* What a granule says of the block that it is of, if it is of one. */
struct granule_marks {
    bool is_used;
    bool is_start;
    bool is_end;
    bool is_dirty;
};

/* Relaxed, all: nobody is at it. */
static struct granule_marks marks_of(struct pool *pool, size_t granule)
{
    struct granules *word = word_of(pool, granule);
    uint64_t bit = bit_of(granule);

    return (struct granule_marks){
        .is_used = (atomic_load_explicit(&word->used, memory_order_relaxed) & bit) != 0,
        .is_start = (atomic_load_explicit(&word->starts, memory_order_relaxed) & bit) != 0,
        .is_end = (atomic_load_explicit(&word->ends, memory_order_relaxed) & bit) != 0,
        .is_dirty = (atomic_load_explicit(&word->dirty, memory_order_relaxed) & bit) != 0,
    };
}

COLD size_t pool_used_bytes(struct pool *pool)
{
    size_t used = 0;

    for (size_t base = 0; base < pool->count; base += BITS_PER_WORD) {
        /* Relaxed: a count. */
        used += bit_count(atomic_load_explicit(&word_of(pool, base)->used, memory_order_relaxed));
    }
    return used * pool->granule_bytes;
}

void pool_check(struct pool *pool)
{
    bool inside = false;
    bool is_whole = true;

    for (size_t granule = 0; granule < pool->count; granule++) {
        struct granule_marks marks = marks_of(pool, granule);

        is_whole &= !(inside && marks.is_start);
        inside |= marks.is_start;
        is_whole &= marks.is_used == inside;
        is_whole &= inside ? marks.is_dirty : !marks.is_end;
        inside &= !marks.is_end;
    }
    if (!is_whole || inside) {
        fatal("emergency: the bits of a pool do not add up to blocks");
    }
}
