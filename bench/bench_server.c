/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_server.c - a multithreaded server: each thread keeps a live set of blocks and replaces
 * random ones. Sizes are skewed, mostly small, up to 64 KiB. Some blocks are resized in place of
 * replaced; a share of those dropped goes through a mailbox to another thread, which frees it.
 *
 * A block carries its identity in its first 16 bytes, in its last byte and on each page, and is
 * checked before it is resized, handed over or freed. At the end as many blocks have been freed as
 * were allocated. An operation is one block that is replaced or resized. */
#include "bench_common.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    LIVE_BLOCKS = 4096,   /* a thread's live set */
    MAILBOX_LIMIT = 1024, /* blocks waiting in a mailbox; over it the sender frees them itself */
    DRAIN_INTERVAL = 64,  /* operations between two looks into the own mailbox */
    REALLOC_ONE_IN = 16,
    HANDOVER_ONE_IN = 8,
    PAGE_BYTES = 4096,
};

#define CHECK_SALT UINT64_C(0x9e3779b97f4a7c15)

/* Sizes: `percent` of the blocks lie in [from, to), evenly. The percentages add up to 100. */
static const struct size_range {
    uint32_t percent, from, to;
} size_ranges[] = {
    {60, 16, 128},
    {26, 128, 1024},
    {11, 1024, 8192},
    {3, 8192, 65537},
};

/* What every block starts with. While the block is live, `word` holds a check value derived from
 * its address, size and serial; while it is in a mailbox, the address of the next one. */
struct block {
    uint64_t word;
    uint32_t size;
    uint32_t serial;
};

struct slot {
    struct block *block;
    uint32_t serial; /* a block handed out twice gets another serial, and is found out */
};

struct worker {
    /* Last in, first out; pushed by any thread, emptied as a whole by the owner. */
    _Alignas(64) _Atomic(struct block *) mailbox;
    atomic_uint pending;
    _Alignas(64) struct slot slots[LIVE_BLOCKS];
    uint32_t serial;
    uint64_t allocated, freed, handed_over;
};

static struct worker *workers;

static uint32_t random_size(uint64_t *random)
{
    uint64_t percent = bench_below(random, 100);
    const struct size_range *range = size_ranges;

    while (percent >= range->percent) {
        percent -= range->percent;
        range++;
    }
    return range->from + (uint32_t)bench_below(random, range->to - range->from);
}

/* Blocks */

static uint64_t check_word(const struct block *block)
{
    return ((uint64_t)(uintptr_t)block ^ ((uint64_t)block->serial << 32 | block->size)) *
           CHECK_SALT;
}

/* The header, the last byte and one byte of each page in between, as a server that fills its
 * buffers touches every page of them. */
static void stamp(struct block *block, uint32_t size, uint32_t serial)
{
    unsigned char *bytes = (unsigned char *)block;

    block->size = size;
    block->serial = serial;
    block->word = check_word(block);
    for (uint32_t at = PAGE_BYTES; at < size; at += PAGE_BYTES) {
        bytes[at] = (unsigned char)serial;
    }
    if (size > sizeof(*block)) {
        bytes[size - 1] = (unsigned char)serial;
    }
}

/* The first `size` bytes. */
static void verify_bytes(const struct block *block, uint32_t size)
{
    const unsigned char *bytes = (const unsigned char *)block;
    unsigned char expected = (unsigned char)block->serial;
    bool whole = size <= sizeof(*block) || size < block->size || bytes[size - 1] == expected;

    for (uint32_t at = PAGE_BYTES; at < size; at += PAGE_BYTES) {
        whole = whole && bytes[at] == expected;
    }
    if (!whole) {
        bench_fail("the block at %p (%u bytes) was overwritten", (const void *)block, size);
    }
}

static void verify(const struct slot *slot)
{
    const struct block *block = slot->block;

    if (block->serial != slot->serial || block->word != check_word(block)) {
        bench_fail("the header of the block at %p was overwritten", (const void *)block);
    }
    verify_bytes(block, block->size);
}

static void fill(struct bench_thread *self, struct worker *worker, struct slot *slot)
{
    uint32_t size = random_size(&self->random);

    slot->block = (struct block *)bench_not_null(malloc(size), size);
    slot->serial = worker->serial++;
    stamp(slot->block, size, slot->serial);
    worker->allocated++;
}

static void release(struct worker *worker, struct block *block)
{
    free(block);
    worker->freed++;
}

static void resize(struct bench_thread *self, struct slot *slot)
{
    uint32_t size = random_size(&self->random);
    uint32_t old_size = slot->block->size;
    uint64_t word = slot->block->word;
    struct block *block = (struct block *)bench_not_null(realloc(slot->block, size), size);

    if (block->word != word || block->size != old_size || block->serial != slot->serial) {
        bench_fail("realloc to %u bytes lost the start of the block", size);
    }
    verify_bytes(block, size < old_size ? size : old_size);
    slot->block = block;
    stamp(block, size, slot->serial);
}

/* Mailboxes */

/* Passes the block to `to`, which frees it. False if its mailbox is full. */
static bool mailbox_push(struct worker *to, struct block *block)
{
    /* Relaxed: a bound on memory, not a claim; a few blocks over it do no harm. */
    if (atomic_load_explicit(&to->pending, memory_order_relaxed) >= MAILBOX_LIMIT) {
        return false;
    }
    atomic_fetch_add_explicit(&to->pending, 1, memory_order_relaxed);
    struct block *head = atomic_load_explicit(&to->mailbox, memory_order_relaxed);

    do {
        block->word = (uint64_t)(uintptr_t)head;
        /* Release: pairs with the acquire of mailbox_drain(), which reads the block. */
    } while (!atomic_compare_exchange_weak_explicit(&to->mailbox, &head, block,
                                                    memory_order_release, memory_order_relaxed));
    return true;
}

static void mailbox_drain(struct worker *worker)
{
    /* Relaxed: only spares the exchange while the mailbox is empty. */
    if (atomic_load_explicit(&worker->mailbox, memory_order_relaxed) == NULL) {
        return;
    }
    /* Acquire: pairs with the release of mailbox_push(). */
    struct block *block = atomic_exchange_explicit(&worker->mailbox, NULL, memory_order_acquire);
    unsigned taken = 0;

    while (block != NULL) {
        struct block *next = (struct block *)(uintptr_t)block->word;

        verify_bytes(block, block->size);
        release(worker, block);
        block = next;
        taken++;
    }
    atomic_fetch_sub_explicit(&worker->pending, taken, memory_order_relaxed);
}

static void drop(struct bench_thread *self, struct worker *worker, struct block *block)
{
    unsigned threads = bench_options.threads;

    if (threads > 1 && bench_below(&self->random, HANDOVER_ONE_IN) == 0) {
        uint64_t other = self->index + 1 + bench_below(&self->random, threads - 1);

        if (mailbox_push(&workers[other % threads], block)) {
            worker->handed_over++;
            return;
        }
    }
    release(worker, block);
}

/* The workload */

static void prepare(void)
{
    workers = (struct worker *)bench_memory(bench_options.threads * sizeof(*workers));
}

static void setup(struct bench_thread *self)
{
    struct worker *worker = &workers[self->index];

    worker->serial = self->index << 20;
    for (unsigned i = 0; i < LIVE_BLOCKS; i++) {
        fill(self, worker, &worker->slots[i]);
    }
    self->state = worker;
}

static uint64_t step(struct bench_thread *self)
{
    struct worker *worker = (struct worker *)self->state;

    for (unsigned i = 0; i < DRAIN_INTERVAL; i++) {
        struct slot *slot = &worker->slots[bench_below(&self->random, LIVE_BLOCKS)];

        verify(slot);
        if (bench_below(&self->random, REALLOC_ONE_IN) == 0) {
            resize(self, slot);
        } else {
            drop(self, worker, slot->block);
            fill(self, worker, slot);
        }
    }
    mailbox_drain(worker);
    return DRAIN_INTERVAL;
}

/* All threads have done their steps: nobody pushes any more. */
static void teardown(struct bench_thread *self)
{
    struct worker *worker = (struct worker *)self->state;

    mailbox_drain(worker);
    for (unsigned i = 0; i < LIVE_BLOCKS; i++) {
        verify(&worker->slots[i]);
        release(worker, worker->slots[i].block);
    }
}

static void conclude(void)
{
    uintmax_t allocated = 0;
    uintmax_t freed = 0;
    uintmax_t handed_over = 0;

    for (unsigned i = 0; i < bench_options.threads; i++) {
        allocated += workers[i].allocated;
        freed += workers[i].freed;
        handed_over += workers[i].handed_over;
    }
    if (allocated != freed) {
        bench_fail("%ju blocks allocated but %ju freed", allocated, freed);
    }
    bench_extra("remote_frees", (double)handed_over);
}

const struct bench_workload bench_workload = {
    .name = "server",
    .about = "Replaces and resizes blocks of mixed sizes, a share freed by other threads",
    .variants = (const struct bench_variant[]){{"mixed", 4000000, 0}, {NULL, 0, 0}},
    .threads = 4,
    .threads_least = 1,
    .prepare = prepare,
    .setup = setup,
    .step = step,
    .teardown = teardown,
    .conclude = conclude,
};
