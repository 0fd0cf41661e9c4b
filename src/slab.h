/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* slab.h - a run of blocks of one class, and the bitmaps that say where each block is. */
#ifndef BREAKWATER_SLAB_H
#define BREAKWATER_SLAB_H

#include <limits.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "lfstack.h"
#include "lock.h"
#include "region.h"
#include "size_class.h"
#include "tick.h"

struct remote_queue; /* remote.h */

/* The pages that a slab's free memory goes back by; where the kernel's are longer, it stays. Of a
 * slab of several units it goes back by blocks, which are whole pages then. */
#define SLAB_PAGE_BYTES 4096
#define SLAB_PAGES      (UNIT_BYTES / SLAB_PAGE_BYTES)
#define SLAB_RANGES_MAX (SLAB_PAGES / 2)

/* The descriptor: what the bin's lock guards first, what producers share in a line of its own. The
 * bitmaps follow: words of `free`, then words of `remote`. */
struct slab {
    /* Guarded by the lock of the slab's bin. */
    struct slab *next;
    struct slab *prev;
    uint64_t free_summary; /* bit set: that word of the free bitmap is not 0 */
    uint32_t free_count;   /* bits set in the free bitmap */
    uint16_t list;         /* bin.c: which list of the bin the slab is on, */
    uint16_t list_most;    /* and the highest free_count that belongs there */
    uint16_t purged;       /* bit set: the page (or block) is free and has no memory behind it */
    uint16_t stayed; /* of several units; bit set: the block is free since the last look at least */
    /* Of one unit: when blocks were last taken in, but for idle ones. Of several: of the last look.
     * Of either, at first: when it was made; where it was settled: when blocks came in again. */
    uint8_t freed_tick;
    bool settled; /* no page is left to purge: none became free since the last purge */

    /* Constant while the slab lives. */
    uint16_t words;
    uint8_t class;
    uint8_t arena;
    uintptr_t start;
    struct remote_queue *queue; /* its arena's */

    /* Lock-free; see remote.c. */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint64_t remote_summary;
    struct cds_lfs_node queue_node;

    /* Guarded by the lock. Bit set: the block is free in the slab. */
    _Alignas(CACHE_LINE_BYTES) uint64_t free[];
};

/* Lock-free. Bit set: the block was freed elsewhere, and is not yet taken in. */
static inline _Atomic uint64_t *slab_remote_word(struct slab *slab, unsigned word)
{
    return (_Atomic uint64_t *)&slab->free[slab->words + word];
}

/* Make the run a slab with every block free, or NULL without memory for the descriptor. Nobody else
 * knows of the slab yet. */
struct slab *slab_create(struct span *span, unsigned class, unsigned arena,
                         struct remote_queue *queue);

/* Undo slab_create(); returns the run, which is the caller's. Every block must be free in the slab.
 */
struct span *slab_destroy(struct slab *slab);

static inline const struct size_class *slab_class(const struct slab *slab)
{
    return &size_classes[slab->class];
}

/* The slab that the run is, or NULL. Between the page heap and slab_create() there is no descriptor
 * yet. */
static inline struct slab *slab_of_span(const struct span *span)
{
    return likely(span->state == SPAN_SLAB) ? span->slab : NULL;
}

/* The slab that `address` lies in, or NULL. */
static inline struct slab *slab_at(uintptr_t address)
{
    const struct span *span = span_of(address);

    return likely(span != NULL) ? slab_of_span(span) : NULL;
}

/* The slab that `block` is a block of, with its index; NULL if no block of a slab starts there. */
static inline struct slab *slab_of_block(uintptr_t block, unsigned *index)
{
    struct slab *slab = slab_at(block);

    if (unlikely(slab == NULL)) {
        return NULL;
    }
    const struct size_class *class = slab_class(slab);

    *index = size_class_index(class, block - slab->start);
    return likely(*index < class->blocks) ? slab : NULL;
}

static inline bool slab_is_of(const struct slab *slab, unsigned class, unsigned arena)
{
    return slab != NULL && slab->class == class && slab->arena == arena;
}

/* Stop the process for an address that was freed, and is no block's. */
_Noreturn void slab_fatal_free(uintptr_t block);

/* The same for one that is no block of the class and arena: that its unit was theirs was seen as it
 * was freed. If it no longer is, all of the slab had come back since, and so had this block. */
_Noreturn void slab_fatal_free_of(uintptr_t block, unsigned class, unsigned arena);

/* As slab_of_block(), for an address that must be a block: else the process stops. */
static inline struct slab *slab_of_own_block(uintptr_t block, unsigned *index)
{
    struct slab *slab = slab_of_block(block, index);

    if (unlikely(slab == NULL)) {
        slab_fatal_free(block);
    }
    return slab;
}

/* The same, for one that must be of the class and arena. */
static inline struct slab *slab_of_block_of(uintptr_t block, unsigned class, unsigned arena,
                                            unsigned *index)
{
    struct slab *slab = slab_of_block(block, index);

    if (unlikely(!slab_is_of(slab, class, arena))) {
        slab_fatal_free_of(block, class, arena);
    }
    return slab;
}

_Noreturn void slab_fatal_double_free(const struct slab *slab, unsigned index);

/* Move up to `want` free blocks out, ascending from the top of out[want - 1] down, so that a stack
 * filled this way gives them in ascending order. Returns how many: they fill the end of out. If it
 * has some, it leaves a bitmap word that is all free to the next call rather than split it for a
 * half or less: whole words are quick, and their blocks stay together. Under the bin's lock. */
size_t slab_take_locked(struct slab *slab, void **out, size_t want);

/* Take in the blocks of one word; slab_note_taken_in_locked() afterwards. A block that is free
 * already, or was freed elsewhere and is pending, stops the process. */
static inline void slab_put_word_locked(struct slab *slab, unsigned word, uint64_t blocks)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    /* Relaxed: it tells a fault, and nothing else goes by it. */
    uint64_t pending = atomic_load_explicit(slab_remote_word(slab, word), memory_order_relaxed);
    uint64_t twice = (slab->free[word] | pending) & blocks;

    if (unlikely(twice != 0)) {
        slab_fatal_double_free(slab, word * BITS_PER_WORD + bit_lowest(twice));
    }
    slab->free[word] |= blocks;
    slab->free_summary |= UINT64_C(1) << (word % BITS_PER_WORD);
}

static inline bool slab_has_free_locked(const struct slab *slab, unsigned index)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    return (slab->free[index / BITS_PER_WORD] >> (index % BITS_PER_WORD) & 1) != 0;
}

/* What it takes to tell which block of a slab an address is; copies, of which the compiler knows
 * that no store to a bitmap changes them. */
struct slab_frame {
    uintptr_t start;
    uint64_t reciprocal;
    size_t bytes;
};

#define SLAB_INDEX_NONE UINT_MAX

static inline struct slab_frame slab_frame(const struct slab *slab)
{
    const struct size_class *class = slab_class(slab);

    return (struct slab_frame){
        .start = slab->start, .reciprocal = class->reciprocal, .bytes = class->bytes};
}

/* The index of blocks[at] of `count` in the slab; SLAB_INDEX_NONE if it is another's, or there is
 * none. */
static inline unsigned slab_index_among(const struct slab_frame *frame, void *const *blocks,
                                        size_t at, size_t count)
{
    uintptr_t offset = at < count ? (uintptr_t)blocks[at] - frame->start : SIZE_MAX;
    unsigned index;

    return offset < frame->bytes && size_class_divides(frame->reciprocal, offset, &index)
               ? index
               : SLAB_INDEX_NONE;
}

/* Take in the first of `blocks`, which is the slab's block `index`, and those that follow it as far
 * as they are the slab's too. Returns how many; slab_note_taken_in_locked() afterwards. Successive
 * blocks of one bitmap word are put there together. */
static inline size_t slab_put_words_locked(struct slab *slab, unsigned index, void *const *blocks,
                                           size_t count)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    const struct slab_frame frame = slab_frame(slab);
    size_t done = 0;

    while (index != SLAB_INDEX_NONE) {
        unsigned word = index / BITS_PER_WORD;
        uint64_t bits = 0;

        do {
            uint64_t bit = UINT64_C(1) << (index % BITS_PER_WORD);

            if (unlikely((bits & bit) != 0)) {
                slab_fatal_double_free(slab, index);
            }
            bits |= bit;
            done++;
            index = slab_index_among(&frame, blocks, done, count);
        } while (index / BITS_PER_WORD == word);
        slab_put_word_locked(slab, word, bits);
    }
    return done;
}

/* The same, quicker for blocks that are neighbours in memory one after the other. */
size_t slab_put_rows_locked(struct slab *slab, unsigned index, void *const *blocks, size_t count);

/* Count the `count` blocks just taken in, and note the time: the slab is settled no more, and its
 * free pages wait anew before they are purged. Where the blocks had been `idle` for a while
 * already, pages that wait go on waiting from when they did. */
static inline void slab_note_taken_in_locked(struct slab *slab, unsigned count, bool idle)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    slab->free_count += count;
    if (slab->settled || (!idle && slab_class(slab)->units == 1)) {
        slab->freed_tick = tick_now();
        slab->settled = false;
    }
}

/* Can there be pages that have been free for `ticks`? */
static inline bool slab_may_purge_locked(const struct slab *slab, unsigned ticks)
{
    ASSERT(lock_rank_is_held(LOCK_RANK_BIN));
    unsigned wait = slab_class(slab)->units == 1 ? ticks : (ticks + 1) / 2;

    return !slab->settled && (uint8_t)(tick_now() - slab->freed_tick) >= wait;
}

/* The pages that hold no live block and have memory behind them, as at most SLAB_RANGES_MAX ranges:
 * what a purge would give back. Returns how many ranges. slab_note_purged_locked() for each that
 * has gone back, while the lock is still held. Of one unit, nothing was taken in for `ticks`; of
 * several, a block is idle that has stayed free from one look to the next, at least half as long:
 * one that comes and goes does not keep the memory of the others. For 0 ticks all that are free. */
unsigned slab_begin_purge_locked(struct slab *slab, unsigned ticks, struct iovec *ranges);
void slab_note_purged_locked(struct slab *slab, const struct iovec *range);

static inline bool slab_is_empty(const struct slab *slab)
{
    return slab->free_count == slab_class(slab)->blocks;
}

/* Panics unless summary, count and bitmap agree and no block is both free and remote. At rest. */
void slab_check(struct slab *slab);

#endif
