/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bin.c - one class of an arena: its slabs by how full they are, and its depot.
 *
 * A bin hands out and takes back whole stacks of blocks. A few of them stay in its depot;
 * everything else goes through the slabs' bitmaps. A few empty slabs are kept, until the bin is
 * aged. A bin that is sparse fills its fullest slabs first, so that the emptiest run empty; where
 * blocks come back in the order of their allocation, one slab after the other.
 *
 * Owns         the lists of slabs, its depot, the free side of its slabs; whether it is sparse.
 * Invariants   a slab is on the list that its free_count says; free_blocks = the sum over slabs;
 *              no bin is both sparse and given up; `filling` is partly free.
 * Concurrency  the caller of a function named *_locked holds the bin's lock (rank BIN).
 * Called by    arena.c, refill.c, reclaim.c.
 */
#include "bin.h"

#include "remote.h"

enum {
    EMPTY_UNITS_MAX = 64, /* in empty slabs that a bin keeps, until it is aged */
    ROW = 8,              /* neighbours that tell of more */
    QUARTERS = 4,
    SPARSE_BYTES = 256 * 1024, /* free in slabs in use, */
    SPARSE_SLABS = 2,          /* so many slabs' worth, */
    SPARSE_SHARE = 4,          /* and more than such a part of them: a bin is sparse; */
    SPARSE_SHARE_LONG = 2,     /* where blocks are longer than a page */
    SPARSE_TURNS = 4,          /* times what they hold that may come back, and none run empty */
    HOPELESS_SHARE = 8,        /* then this part more has to be free */
    ORDER_SLABS = 4,           /* in fewer, blocks lie together by chance */
    ORDER_WEIGHT = 4,          /* so many times what is free counts where frees come in order */
};

void bin_init(struct bin *bin, unsigned class, unsigned arena)
{
    bin->class = (uint8_t) class;
    bin->arena = (uint8_t)arena;
    lock_init(&bin->lock, LOCK_RANK_BIN);
}

/* Slabs on lists */

static unsigned list_of(const struct slab *slab)
{
    unsigned blocks = slab_class(slab)->blocks;

    if (slab->free_count == 0) {
        return SLAB_LIST_NONE;
    }
    if (slab->free_count == blocks) {
        return SLAB_LIST_EMPTY;
    }
    unsigned scaled = slab->free_count * QUARTERS;

    /* The quarter, without a division. */
    return SLAB_LIST_PARTIAL + (unsigned)(scaled >= blocks) + (unsigned)(scaled >= 2 * blocks) +
           (unsigned)(scaled >= 3 * blocks);
}

/* The highest free_count with which a slab is on `list`. */
static unsigned list_most_of(const struct slab *slab, unsigned list)
{
    unsigned blocks = slab_class(slab)->blocks;

    if (list == SLAB_LIST_NONE) {
        return 0;
    }
    return list == SLAB_LIST_EMPTY ? blocks
                                   : ((list - SLAB_LIST_PARTIAL + 1) * blocks - 1) / QUARTERS;
}

/* Relaxed: read without the lock it is a hint. */
static void empty_slabs_set_locked(struct bin *bin, uint32_t count)
{
    ASSERT(lock_is_held(&bin->lock));
    atomic_store_explicit(&bin->empty_slabs, count, memory_order_relaxed);
}

static void slab_link_locked(struct bin *bin, struct slab *slab, unsigned list)
{
    ASSERT(lock_is_held(&bin->lock));
    slab->list = (uint16_t)list;
    slab->list_most = (uint16_t)list_most_of(slab, list);
    if (list == SLAB_LIST_EMPTY) {
        empty_slabs_set_locked(bin, bin_empty_slabs(bin) + 1);
    }
    if (list == SLAB_LIST_NONE) {
        return;
    }
    slab->prev = NULL;
    slab->next = bin->slabs[list];
    if (slab->next != NULL) {
        slab->next->prev = slab;
    }
    bin->slabs[list] = slab;
}

static void slab_unlink_locked(struct bin *bin, struct slab *slab)
{
    ASSERT(lock_is_held(&bin->lock));
    if (slab->list == SLAB_LIST_NONE) {
        return;
    }
    if (slab->list == SLAB_LIST_EMPTY) {
        empty_slabs_set_locked(bin, bin_empty_slabs(bin) - 1);
    }
    if (bin->purge_next == slab) {
        bin->purge_next = slab->next;
    }
    if (slab->next != NULL) {
        slab->next->prev = slab->prev;
    }
    if (slab->prev != NULL) {
        slab->prev->next = slab->next;
    } else {
        bin->slabs[slab->list] = slab->next;
    }
}

static void slab_count_set_locked(struct bin *bin, uint32_t count)
{
    ASSERT(lock_is_held(&bin->lock));
    /* Relaxed: nothing is read on the strength of it. */
    atomic_store_explicit(&bin->slab_count, count, memory_order_relaxed);
}

/* The bin forgets a slab, which joins `released`. */
static void slab_release_locked(struct bin *bin, struct slab *slab, struct slab **released)
{
    ASSERT(lock_is_held(&bin->lock));
    bin->free_blocks -= slab->free_count;
    bin->stats.slabs_released++;
    slab_count_set_locked(bin, bin_slabs(bin) - 1);
    slab->next = *released;
    *released = slab;
}

/* Put a slab whose free_count has changed where it belongs. Of empty ones too many go to
 * `released`, for arena_release_slabs() when the lock is no longer held. */
static void slab_relist_locked(struct bin *bin, struct slab *slab, struct slab **released)
{
    unsigned list = list_of(slab);

    ASSERT(lock_is_held(&bin->lock));
    if (list == slab->list) {
        return;
    }
    /* A purge that is under way may have passed the list that it goes to. */
    bin->may_purge |= !slab->settled;
    slab_unlink_locked(bin, slab);
    if (bin->filling == slab && list >= SLAB_LIST_EMPTY) {
        bin->filling = NULL;
    }
    if (list == SLAB_LIST_EMPTY) {
        bin->sparse_puts = 0;
        bin->hopeless_free = 0;
        if ((bin_empty_slabs(bin) + 1) * slab_class(slab)->units > EMPTY_UNITS_MAX) {
            slab_release_locked(bin, slab, released);
            return;
        }
    }
    slab_link_locked(bin, slab, list);
}

void bin_add_locked(struct bin *bin, struct slab *slab)
{
    ASSERT(lock_is_held(&bin->lock));
    slab_link_locked(bin, slab, SLAB_LIST_EMPTY);
    bin->free_blocks += slab->free_count;
    bin->may_purge = true;
    bin->stats.slabs_created++;
    slab_count_set_locked(bin, bin_slabs(bin) + 1);
}

/* Where blocks come back in the order of their allocation, what lies in one slab goes soon after
 * another: slabs run empty one by one, unless what will stay comes into each of them. The fullest
 * are those that have just begun to run empty. So one serves until it is full, and then that of
 * which the most is free. NULL: none is partly free. */
COLD static struct slab *slab_to_fill_locked(struct bin *bin)
{
    ASSERT(lock_is_held(&bin->lock));
    for (unsigned list = SLAB_LIST_EMPTY; bin->filling == NULL && list > SLAB_LIST_PARTIAL;) {
        bin->filling = bin->slabs[--list];
    }
    return bin->filling;
}

static struct slab *slab_best_locked(struct bin *bin)
{
    ASSERT(lock_is_held(&bin->lock));
    if (bin->frees_in_order && bin_is_sparse(bin) && slab_to_fill_locked(bin) != NULL) {
        return bin->filling;
    }
    for (unsigned list = SLAB_LIST_PARTIAL; list < SLAB_LIST_COUNT; list++) {
        if (bin->slabs[list] != NULL) {
            return bin->slabs[list];
        }
    }
    return NULL;
}

/* Blocks out of slabs: up to `want`, ascending from the top of `out` down; fewer where that spares
 * a word (slab_take_locked). */
static size_t take_from_slabs_locked(struct bin *bin, void **out, size_t want)
{
    ASSERT(lock_is_held(&bin->lock));
    size_t taken = 0;

    while (taken < want) {
        struct slab *slab = slab_best_locked(bin);

        if (slab == NULL) {
            break;
        }
        size_t count = slab_take_locked(slab, out, want - taken);

        taken += count;
        bin->free_blocks -= count;
        slab_relist_locked(bin, slab, NULL);
        if (slab->free_count > 0) {
            break;
        }
    }
    return taken;
}

/* How blocks lie in memory, one after the other. Programs mostly go on as they begin: the first few
 * tell. */
enum order {
    ORDER_ROWS,      /* neighbours: freed as they were allocated, or the other way round */
    ORDER_TOGETHER,  /* many of one slab in succession */
    ORDER_SCATTERED, /* each of another slab than the one before it */
};

static enum order order_of(void *const *blocks, size_t count)
{
    uintptr_t first = (uintptr_t)blocks[0];
    unsigned together = 0;

    if (count <= ROW) {
        return ORDER_TOGETHER;
    }
    bool in_one_slab = ((uintptr_t)blocks[1] ^ first) < UNIT_BYTES;

    if (in_one_slab && (uintptr_t)blocks[ROW] - first == ROW * ((uintptr_t)blocks[1] - first)) {
        return ORDER_ROWS;
    }
    for (unsigned i = 0; i < ROW; i++) {
        together += ((uintptr_t)blocks[i] ^ (uintptr_t)blocks[i + 1]) < UNIT_BYTES;
    }
    return together < ROW / 2 ? ORDER_SCATTERED : ORDER_TOGETHER;
}

/* Note that `count` blocks were taken in. Inline: for blocks in no order it is once a block. */
static inline void slab_took_in_locked(struct bin *bin, struct slab *slab, size_t count, bool idle,
                                       struct slab **released)
{
    ASSERT(lock_is_held(&bin->lock));
    slab_note_taken_in_locked(slab, (unsigned)count, idle);
    if (unlikely(slab->free_count > slab->list_most)) {
        slab_relist_locked(bin, slab, released);
    }
}

/* Block by block: there is nothing that two in succession have in common but the class. */
static void put_scattered_locked(struct bin *bin, void *const *blocks, size_t count, bool idle,
                                 struct slab **released)
{
    ASSERT(lock_is_held(&bin->lock));
    /* Copies, of which the compiler knows that no store changes them. */
    const unsigned class = bin->class;
    const unsigned arena = bin->arena;
    const struct size_class described = size_classes[class];

    for (size_t i = 0; i < count; i++) {
        uintptr_t block = (uintptr_t)blocks[i];
        struct slab *slab = slab_at(block);
        bool is_own = slab_is_of(slab, class, arena);
        unsigned index = is_own ? size_class_index(&described, block - slab->start) : 0;

        if (unlikely(!is_own || index == described.blocks)) {
            slab_fatal_free_of(block, class, arena);
        }
        slab_put_word_locked(slab, index / BITS_PER_WORD, UINT64_C(1) << (index % BITS_PER_WORD));
        slab_took_in_locked(bin, slab, 1, idle, released);
    }
}

static void put_locked(struct bin *bin, void **blocks, size_t count, bool idle,
                       struct slab **released)
{
    ASSERT(lock_is_held(&bin->lock));
    enum order order = order_of(blocks, count);

    bin->may_purge = true;
    bin->free_blocks += count;
    if (count > ROW) {
        bin->frees_in_order = order != ORDER_SCATTERED && bin_slabs(bin) >= ORDER_SLABS;
    }
    if (order == ORDER_SCATTERED) {
        put_scattered_locked(bin, blocks, count, idle, released);
        return;
    }
    for (size_t i = 0; i < count;) {
        unsigned index;
        struct slab *slab = slab_of_block_of((uintptr_t)blocks[i], bin->class, bin->arena, &index);
        size_t taken_in = order == ORDER_ROWS
                              ? slab_put_rows_locked(slab, index, blocks + i, count - i)
                              : slab_put_words_locked(slab, index, blocks + i, count - i);

        i += taken_in;
        slab_took_in_locked(bin, slab, taken_in, idle, released);
    }
}

/* Sparse bins. Where frees come in order, slabs run empty soon, and less suffices. Where each slab
 * has a block that stays, none ever runs empty: then it is given up, until there is more free. */

/* Is so much free, of `all` blocks, that a bin is sparse? In a few long slabs there is no other to
 * be filled in place of one. */
static bool is_much(const struct size_class *described, uint64_t free, uint64_t all)
{
    bool is_long = described->size > SLAB_PAGE_BYTES;

    return free * described->size >= size_max(SPARSE_BYTES, SPARSE_SLABS * described->bytes) &&
           free > all / (is_long ? SPARSE_SHARE_LONG : SPARSE_SHARE);
}

static bool look_how_sparse_locked(struct bin *bin)
{
    ASSERT(lock_is_held(&bin->lock));
    const struct size_class *described = &size_classes[bin->class];
    uint64_t empty = (uint64_t)bin_empty_slabs(bin) * described->blocks;
    uint64_t all = (uint64_t)bin_slabs(bin) * described->blocks - empty;
    uint64_t unused = bin->free_blocks - empty;

    if (unused > bin->hopeless_free + bin->hopeless_free / HOPELESS_SHARE ||
        unused < bin->hopeless_free / 2) {
        bin->hopeless_free = 0;
    }
    uint64_t counted = bin->frees_in_order ? unused * ORDER_WEIGHT : unused;

    if (described->size > SMALL_MAX_BYTES || !is_much(described, counted, all)) {
        return false;
    }
    if (bin->sparse_puts > all * SPARSE_TURNS) {
        bin->sparse_puts = 0;
        bin->hopeless_free = unused;
    }
    return bin->hopeless_free == 0;
}

static void note_how_sparse_locked(struct bin *bin)
{
    ASSERT(lock_is_held(&bin->lock));
    bool is_sparse = look_how_sparse_locked(bin);

    /* Others read it: it is not written without need. Relaxed: a hint. */
    if (is_sparse != bin_is_sparse(bin)) {
        atomic_store_explicit(&bin->is_sparse, is_sparse, memory_order_relaxed);
    }
}

void bin_put_locked(struct bin *bin, void **blocks, size_t count, bool idle, struct slab **released)
{
    ASSERT(lock_is_held(&bin->lock));
    bool is_sparse = bin_is_sparse(bin);

    bin->sparse_puts += is_sparse ? count : 0;
    put_locked(bin, blocks, count, idle || is_sparse, released);
    note_how_sparse_locked(bin);
}

/* Whole stacks, and single blocks */

struct magazine *bin_refill_locked(struct bin *bin, struct magazine *magazine, uint32_t want)
{
    ASSERT(lock_is_held(&bin->lock));
    ASSERT(want <= magazine->capacity);
    struct magazine *full = NULL;

    note_how_sparse_locked(bin);
    if (!bin_is_sparse(bin)) {
        full = depot_take_locked(&bin->depot, magazine);
    }
    bin->stats.depot_exchanges += full != NULL;
    if (full == NULL) {
        size_t count = take_from_slabs_locked(bin, magazine->slots, want);
        size_t room = want - count;

        /* They fill the end of the slots. */
        for (size_t i = 0; room > 0 && i < count; i++) {
            magazine->slots[i] = magazine->slots[room + i];
        }
        magazine->count = (uint32_t)count;
        full = count > 0 ? magazine : NULL;
    }
    if (full != NULL) {
        bin->stats.refills++;
        bin->stats.refill_blocks += full->count;
    }
    return full;
}

void *bin_take_one_locked(struct bin *bin)
{
    ASSERT(lock_is_held(&bin->lock));
    void *block = NULL;

    if (take_from_slabs_locked(bin, &block, 1) == 0) {
        block = depot_take_one_locked(&bin->depot);
    }
    bin->stats.refills += block != NULL;
    bin->stats.refill_blocks += block != NULL;
    return block;
}

/* Remote frees */

static size_t take_in_words_locked(struct bin *bin, struct slab *slab, uint64_t words)
{
    ASSERT(lock_is_held(&bin->lock));
    size_t count = 0;

    for (; words != 0; words &= words - 1) {
        unsigned word = bit_lowest(words);
        uint64_t blocks = remote_take_word(slab, word);

        slab_put_word_locked(slab, word, blocks);
        count += bit_count(blocks);
        bin->stats.remote_batches++;
    }
    slab_note_taken_in_locked(slab, (unsigned)count, bin_is_sparse(bin));
    bin->free_blocks += count;
    bin->stats.remote_blocks += count;
    return count;
}

size_t bin_take_in_locked(struct bin *bin, struct slab *slab, struct slab **released)
{
    ASSERT(lock_is_held(&bin->lock));
    size_t count = take_in_words_locked(bin, slab, remote_take_summary(slab));

    bin->may_purge = true;
    slab_relist_locked(bin, slab, released);
    note_how_sparse_locked(bin);
    return count;
}

/* Reclaiming */

/* Put the blocks of `count` stacks of the depot back into the slabs. */
static void depot_empty_locked(struct bin *bin, uint32_t count, struct slab **released)
{
    ASSERT(lock_is_held(&bin->lock));
    for (; count > 0; count--) {
        struct magazine *full = depot_pop_locked(&bin->depot);

        bin_put_locked(bin, full->slots, full->count, true, released);
        magazine_destroy(full);
    }
}

static void empty_slabs_give_up_locked(struct bin *bin, struct slab **released)
{
    ASSERT(lock_is_held(&bin->lock));
    struct slab *empty = bin->slabs[SLAB_LIST_EMPTY];

    while (empty != NULL) {
        struct slab *next = empty->next;

        slab_unlink_locked(bin, empty);
        slab_release_locked(bin, empty, released);
        empty = next;
    }
}

COLD void bin_reclaim_locked(struct bin *bin, struct slab **released)
{
    ASSERT(lock_is_held(&bin->lock));
    depot_empty_locked(bin, bin->depot.full_count, released);
    depot_drop_spares_locked(&bin->depot);
    empty_slabs_give_up_locked(bin, released);
}

/* Stacks that nobody has asked for since the last look hide slabs that may be empty; and empty
 * slabs serve better where the memory is needed now. */
void bin_age_locked(struct bin *bin, uint32_t most_stacks, struct slab **released)
{
    ASSERT(lock_is_held(&bin->lock));
    depot_empty_locked(bin, depot_age_locked(&bin->depot, most_stacks), released);
    empty_slabs_give_up_locked(bin, released);
}

void bin_check_locked(struct bin *bin)
{
    ASSERT(lock_is_held(&bin->lock));
    uint64_t free_blocks = 0;
    uint32_t empty_slabs = 0;

    for (unsigned list = 0; list < SLAB_LIST_COUNT; list++) {
        for (struct slab *slab = bin->slabs[list]; slab != NULL; slab = slab->next) {
            if (slab->list != list || list_of(slab) != list ||
                slab->list_most != list_most_of(slab, list)) {
                fatal("bin: a slab is on the wrong list");
            }
            slab_check(slab);
            remote_check(slab);
            free_blocks += slab->free_count;
            empty_slabs += list == SLAB_LIST_EMPTY;
        }
    }
    if (bin_slabs(bin) != bin->stats.slabs_created - bin->stats.slabs_released) {
        fatal("bin: slabs do not add up");
    }
    if (free_blocks != bin->free_blocks || empty_slabs != bin_empty_slabs(bin)) {
        fatal("bin: free blocks do not add up");
    }
    if (bin->filling != NULL && bin->filling->list >= SLAB_LIST_EMPTY) {
        fatal("bin: the slab that is to be filled is not partly free");
    }
    if (bin_is_sparse(bin) && bin->hopeless_free != 0) {
        fatal("bin: it is sparse and given up");
    }
    depot_check_locked(&bin->depot);
}
