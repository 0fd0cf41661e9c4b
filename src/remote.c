/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* remote.c - the remote-free protocol.
 *
 * A producer sets the block's bit in a word of the slab's remote bitmap. If the word was 0, it
 * also sets the word's bit in the summary; if the summary was 0, it also pushes the slab on its
 * arena's queue. A drain pops the whole queue, then for each slab exchanges the summary with 0, and
 * then each of the summary's words with 0.
 *
 * Invariants
 *   1. A slab is on the queue, or on its way there, exactly while its summary is not 0. So it is
 *      pushed once at a time, and its queue_node is free to be written by the pusher.
 *   2. A word that is not 0 has its summary bit set, or the producer that turned it from 0 is about
 *      to set it. So no block stays behind.
 *   3. A slab with a remote bit set is not empty (the block is not in the free bitmap), so it is
 *      not released. A producer whose word, or whose summary, was not 0 before it never touches the
 *      slab again; the one that must go on holds the slab alive by its own pending block: what it
 *      set is taken in only after its push.
 *
 * src/model/remote.pml checks these with spin, with mutants that it catches.
 *
 * Concurrency  publishing: any thread, lock-free. Taking: under the arena's drain lock.
 * Called by    bin.c, arena.c and refill.c.
 */
#include "remote.h"

void remote_queue_init(struct remote_queue *queue)
{
    __cds_lfs_init(&queue->slabs);
}

bool remote_queue_has_slabs(struct remote_queue *queue)
{
    return !cds_lfs_empty(&queue->slabs);
}

void remote_publish(struct slab *slab, unsigned word, uint64_t blocks)
{
    /* Release: the program's last writes to the blocks happen before the acquire in
     * remote_take_word(), which hands them out again. Acquire: if the word was not 0, the one who
     * turned it from 0 does the rest, and its fetch_or is ordered before ours. */
    uint64_t before =
        atomic_fetch_or_explicit(slab_remote_word(slab, word), blocks, memory_order_acq_rel);

    if (unlikely((before & blocks) != 0)) {
        slab_fatal_double_free(slab, word * BITS_PER_WORD + bit_lowest(before & blocks));
    }
    if (before != 0) {
        return;
    }
    /* Release: who sees the summary's bit in remote_take_summary() sees the word's bits. Acquire:
     * pairs with the release there; whoever finds 0 writes queue_node after the drain has read it.
     */
    before =
        atomic_fetch_or_explicit(&slab->remote_summary, UINT64_C(1) << word, memory_order_acq_rel);
    if (before == 0) {
        /* Sequentially consistent inside liburcu: pairs with the exchange in remote_take_queue().
         */
        (void)cds_lfs_push(&slab->queue->slabs, &slab->queue_node);
    }
}

bool remote_is_pending(struct slab *slab, unsigned index)
{
    /* Relaxed: the answer is used for nothing but to tell a fault. */
    uint64_t word =
        atomic_load_explicit(slab_remote_word(slab, index / BITS_PER_WORD), memory_order_relaxed);

    return (word >> index % BITS_PER_WORD & 1) != 0;
}

static struct slab *slab_of_node(struct cds_lfs_node *node)
{
    return node != NULL ? caa_container_of(node, struct slab, queue_node) : NULL;
}

struct slab *remote_take_queue(struct remote_queue *queue)
{
    struct cds_lfs_head *head = __cds_lfs_pop_all(&queue->slabs);

    return head != NULL ? slab_of_node(&head->node) : NULL;
}

struct slab *remote_next(struct slab *slab)
{
    return slab_of_node(slab->queue_node.next);
}

uint64_t remote_take_summary(struct slab *slab)
{
    /* Acquire: pairs with the release in remote_publish(); the words' bits are visible. Release:
     * our read of queue_node.next happens before the push of a producer that finds 0 here. */
    return atomic_exchange_explicit(&slab->remote_summary, 0, memory_order_acq_rel);
}

uint64_t remote_take_word(struct slab *slab, unsigned word)
{
    /* Acquire: pairs with the release in remote_publish(). Release: a producer that finds 0 here
     * starts anew after us. */
    return atomic_exchange_explicit(slab_remote_word(slab, word), 0, memory_order_acq_rel);
}

void remote_check(struct slab *slab)
{
    /* Relaxed: at rest nobody publishes. */
    uint64_t summary = atomic_load_explicit(&slab->remote_summary, memory_order_relaxed);

    for (unsigned word = 0; word < slab->words; word++) {
        uint64_t blocks = atomic_load_explicit(slab_remote_word(slab, word), memory_order_relaxed);

        if (blocks != 0 && (summary >> word & 1) == 0) {
            fatal("remote: a word with pending blocks is not in the summary");
        }
    }
}
