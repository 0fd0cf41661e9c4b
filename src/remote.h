/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* remote.h - blocks freed by threads of other arenas: how they get home without a lock. */
#ifndef BREAKWATER_REMOTE_H
#define BREAKWATER_REMOTE_H

#include "slab.h"

/* An arena's queue of slabs with blocks to take in, alone in its cache line. */
struct remote_queue {
    _Alignas(CACHE_LINE_BYTES) struct __cds_lfs_stack slabs;
};

void remote_queue_init(struct remote_queue *queue);

/* False if nothing was queued at some moment during the call. Any thread, no lock. */
bool remote_queue_has_slabs(struct remote_queue *queue);

/* Publish blocks of one bitmap word as freed. Any thread, no lock, lock-free.
 * Afterwards the blocks belong to the slab's arena. */
void remote_publish(struct slab *slab, unsigned word, uint64_t blocks);

/* Is the slab's block published, and not taken yet? No lock: a moment ago. */
bool remote_is_pending(struct slab *slab, unsigned index);

/* Take every queued slab off the queue: the first of a list for remote_next(), or NULL. */
struct slab *remote_take_queue(struct remote_queue *queue);

/* The slab after `slab` on a list taken; to be asked before remote_take_summary(slab), for from
 * then on another thread may queue the slab again. */
struct slab *remote_next(struct slab *slab);

/* The words with blocks to take in, a bit each; the slab is off the queue afterwards. */
uint64_t remote_take_summary(struct slab *slab);

/* The blocks of one word, which belong to the caller afterwards. */
uint64_t remote_take_word(struct slab *slab, unsigned word);

/* Panics unless the summary knows of every pending block. At rest. */
void remote_check(struct slab *slab);

#endif
