/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* slab.c - blocks in and out of a slab's free bitmap, a word at a time.
 *
 * Owns         descriptors and bitmaps (memory of meta.c).
 * Invariants   free_count = bits set in free; a bit of free_summary is set exactly if its word is
 *              not 0; bits past the last block are never set. A block's memory is never touched,
 *              only prefetched.
 * Concurrency  the free side is guarded by the lock of the slab's bin (bin.c); the remote side is
 *              lock-free (remote.c).
 * Called by    bin.c, bin_purge.c, arena.c, refill.c, remote.c, verify.c and heap_free.c.
 */
#include "slab.h"

#include "meta.h"

static size_t slab_bytes(unsigned class)
{
    return sizeof(struct slab) + 2 * sizeof(uint64_t) * size_classes[class].words;
}

/* The bits of `word` that stand for blocks. */
static uint64_t word_mask(const struct size_class *class, unsigned word)
{
    unsigned blocks = class->blocks - word * BITS_PER_WORD;

    return blocks >= BITS_PER_WORD ? ~UINT64_C(0) : (UINT64_C(1) << blocks) - 1;
}

struct slab *slab_create(struct span *span, unsigned class, unsigned arena,
                         struct remote_queue *queue)
{
    struct slab *slab = (struct slab *)meta_alloc(slab_bytes(class));

    if (slab == NULL) {
        return NULL;
    }
    /* A bit for each word in free_summary, and for each block or page in `purged` and `stayed`. */
    ASSERT(size_classes[class].words <= BITS_PER_WORD);
    ASSERT(size_classes[class].units == 1 || size_classes[class].blocks <= SLAB_PAGES);
    slab->free_count = size_classes[class].blocks;
    slab->freed_tick = tick_now();
    slab->words = size_classes[class].words;
    slab->class = (uint8_t) class;
    slab->arena = (uint8_t)arena;
    slab->start = span_address(span);
    slab->queue = queue;
    for (unsigned word = 0; word < slab->words; word++) {
        slab->free[word] = word_mask(&size_classes[class], word);
        slab->free_summary |= UINT64_C(1) << word;
    }
    for (unsigned unit = 0; unit < size_classes[class].units; unit++) {
        span[unit].slab = slab;
    }
    return slab;
}

struct span *slab_destroy(struct slab *slab)
{
    struct span *span = span_of(slab->start);

    ASSERT(slab_is_empty(slab));
    for (unsigned unit = 0; unit < slab_class(slab)->units; unit++) {
        span[unit].slab = NULL;
    }
    meta_free(slab, slab_bytes(slab->class));
    return span;
}

/* A block was free for some time: its first line, which will be written soon, comes the quicker
 * when those of a whole batch are asked for at once. */
static void *fetch_block(uintptr_t address)
{
    void *block = (void *)address;

    __builtin_prefetch(block, 1);
    return block;
}

/* Write the addresses of the blocks of `taken`, descending in memory from `out`. */
static void write_blocks(const struct slab *slab, unsigned word, uint64_t taken, void **out)
{
    size_t size = slab_class(slab)->size;
    uintptr_t first = slab->start + (size_t)word * BITS_PER_WORD * size;

    if (taken == ~UINT64_C(0)) {
        for (unsigned bit = 0; bit < BITS_PER_WORD; bit++) {
            *--out = fetch_block(first + bit * size);
        }
        return;
    }
    for (; taken != 0; taken &= taken - 1) {
        *--out = fetch_block(first + bit_lowest(taken) * size);
    }
}

/* The lowest `count` set bits of `word`, which has more. */
static uint64_t lowest_bits(uint64_t word, size_t count)
{
    uint64_t rest = word;

    for (; count > 0; count--) {
        rest &= rest - 1;
    }
    return word & ~rest;
}

/* Pages */

/* What a bit of `purged` stands for. */
static size_t page_bytes(const struct slab *slab)
{
    return slab_class(slab)->units == 1 ? SLAB_PAGE_BYTES : slab_class(slab)->size;
}

static bool all_free_locked(const struct slab *slab, size_t first, size_t last)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    for (size_t index = first; index <= last; index++) {
        uint64_t word = slab->free[index / BITS_PER_WORD];

        if (index % BITS_PER_WORD == 0 && last - index >= BITS_PER_WORD - 1) {
            if (word != ~UINT64_C(0)) {
                return false;
            }
            index += BITS_PER_WORD - 1;
        } else if ((word >> (index % BITS_PER_WORD) & 1) == 0) {
            return false;
        }
    }
    return true;
}

static bool page_is_free_locked(const struct slab *slab, size_t page)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    size_t size = slab_class(slab)->size;
    size_t blocks = slab_class(slab)->blocks;
    size_t first = page * page_bytes(slab) / size;
    size_t last = ((page + 1) * page_bytes(slab) - 1) / size;

    /* Behind the last block nothing was ever written. */
    return first < blocks && all_free_locked(slab, first, size_min(last, blocks - 1));
}

/* The blocks of `taken` are handed out: their pages will have memory behind them. */
static void forget_idle_locked(struct slab *slab, unsigned word, uint64_t taken)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    size_t size = slab_class(slab)->size;
    size_t bytes = page_bytes(slab);

    for (; taken != 0; taken &= taken - 1) {
        size_t start = ((size_t)word * BITS_PER_WORD + bit_lowest(taken)) * size;

        for (size_t page = start / bytes; page <= (start + size - 1) / bytes; page++) {
            slab->purged &= (uint16_t) ~(1U << page);
            slab->stayed &= (uint16_t) ~(1U << page);
        }
    }
}

/* Bit set: the page has stayed free for long enough. */
static uint16_t stayed_free_locked(struct slab *slab, unsigned ticks)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    uint16_t stayed = slab->stayed;

    if (ticks == 0 || slab_class(slab)->units == 1) {
        slab->settled = true;
        return UINT16_MAX;
    }
    slab->stayed = (uint16_t)slab->free[0];
    slab->freed_tick = tick_now();
    slab->settled = (slab->stayed & ~(stayed | slab->purged)) == 0;
    return stayed;
}

unsigned slab_begin_purge_locked(struct slab *slab, unsigned ticks, struct iovec *ranges)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    uint16_t candidates = (uint16_t)(stayed_free_locked(slab, ticks) & ~slab->purged);
    size_t bytes = page_bytes(slab);
    unsigned count = 0;

    for (size_t page = 0; page < SLAB_PAGES; page++) {
        size_t end = page;

        while (end < SLAB_PAGES && (candidates >> end & 1) != 0 && page_is_free_locked(slab, end)) {
            end++;
        }
        if (end > page) {
            ranges[count++] = (struct iovec){.iov_base = (char *)slab->start + page * bytes,
                                             .iov_len = (end - page) * bytes};
        }
        page = end;
    }
    return count;
}

void slab_note_purged_locked(struct slab *slab, const struct iovec *range)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    size_t bytes = page_bytes(slab);
    size_t first = ((uintptr_t)range->iov_base - slab->start) / bytes;

    slab->purged |= (uint16_t)(((1U << range->iov_len / bytes) - 1) << first);
    /* What the kernel refused is tried again. */
    if (range->iov_len == 0) {
        slab->settled = false;
    }
}

size_t slab_take_locked(struct slab *slab, void **out, size_t want)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    size_t taken_count = 0;

    while (taken_count < want && slab->free_summary != 0) {
        unsigned word = bit_lowest(slab->free_summary);
        uint64_t taken = slab->free[word];
        size_t count = bit_count(taken);

        if (count > want - taken_count) {
            if (taken_count > 0 && taken == ~UINT64_C(0) &&
                want - taken_count <= BITS_PER_WORD / 2) {
                break;
            }
            count = want - taken_count;
            taken = lowest_bits(taken, count);
        }
        slab->free[word] &= ~taken;
        if (slab->free[word] == 0) {
            slab->free_summary &= ~(UINT64_C(1) << word);
        }
        write_blocks(slab, word, taken, out + want - taken_count);
        if (unlikely((slab->purged | slab->stayed) != 0)) {
            forget_idle_locked(slab, word, taken);
        }
        taken_count += count;
    }
    slab->free_count -= (uint32_t)taken_count;
    return taken_count;
}

/* The bits of the first of `blocks`, the one of that index in its slab, and of those after it that
 * are its neighbours upwards or downwards, in the same bitmap word. *count: how many there are at
 * most, then how many those are. */
static uint64_t row_bits(const struct size_class *class, unsigned index, void *const *blocks,
                         size_t *count)
{
    unsigned bit = index % BITS_PER_WORD;
    uintptr_t next = (uintptr_t)blocks[0];
    uintptr_t step = *count > 1 ? (uintptr_t)blocks[1] - next : 0;
    bool up = step == class->size;
    bool down = step == -(uintptr_t) class->size;
    size_t most = up ? size_min(BITS_PER_WORD - bit, class->blocks - index) : down ? bit + 1 : 1;
    size_t length = 0;

    most = size_min(most, *count);
    do {
        length++;
        next += step;
    } while (length < most && (uintptr_t)blocks[length] == next);
    *count = length;
    size_t lowest = down ? bit + 1 - length : bit;

    return ~UINT64_C(0) >> (BITS_PER_WORD - length) << (lowest % BITS_PER_WORD);
}

size_t slab_put_rows_locked(struct slab *slab, unsigned index, void *const *blocks, size_t count)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    const struct size_class *class = slab_class(slab);
    const struct slab_frame frame = slab_frame(slab);
    size_t done = 0;

    while (index != SLAB_INDEX_NONE) {
        size_t length = count - done;

        slab_put_word_locked(slab, index / BITS_PER_WORD,
                             row_bits(class, index, blocks + done, &length));
        done += length;
        index = slab_index_among(&frame, blocks, done, count);
    }
    return done;
}

COLD _Noreturn void slab_fatal_free(uintptr_t block)
{
    fatal_at(region_was_freed(block) ? FAULT_DOUBLE_FREE : FAULT_INVALID_FREE, block);
}

COLD _Noreturn void slab_fatal_free_of(uintptr_t block, unsigned class, unsigned arena)
{
    bool is_others = span_of(block) != NULL && !slab_is_of(slab_at(block), class, arena);

    fatal_at(is_others ? FAULT_DOUBLE_FREE : FAULT_INVALID_FREE, block);
}

COLD _Noreturn void slab_fatal_double_free(const struct slab *slab, unsigned index)
{
    fatal_at(FAULT_DOUBLE_FREE, slab->start + (size_t)index * slab_class(slab)->size);
}

/* What is known of a page holds as long as the page is free. */
static void check_idle(const struct slab *slab)
{
    uint16_t known = slab->purged;

    if (slab_class(slab)->units > 1) {
        known |= slab->stayed;
    } else if (slab->stayed != 0) {
        fatal("slab: of one unit only pages are known");
    }
    for (size_t page = 0; page < SLAB_PAGES; page++) {
        if ((known >> page & 1) != 0 && !page_is_free_locked(slab, page)) {
            fatal("slab: a page that is in use counts as idle");
        }
    }
}

void slab_check(struct slab *slab)
{
    uint32_t count = 0;

    for (unsigned word = 0; word < slab->words; word++) {
        uint64_t blocks = slab->free[word];
        /* Relaxed: at rest nobody publishes. */
        uint64_t remote = atomic_load_explicit(slab_remote_word(slab, word), memory_order_relaxed);
        bool summary = (slab->free_summary >> word & 1) != 0;

        if ((blocks & ~word_mask(slab_class(slab), word)) != 0 || summary != (blocks != 0) ||
            (blocks & remote) != 0) {
            fatal("slab: bitmap and summary disagree, or a block is in two places");
        }
        count += bit_count(blocks);
    }
    if (count != slab->free_count) {
        fatal("slab: free_count is wrong");
    }
    check_idle(slab);
}
