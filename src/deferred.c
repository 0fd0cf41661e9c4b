/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* deferred.c - frees that wait while the gate is closed, in nodes of emergency memory. Where there
 * is none the block is its own node.
 *
 * Owns         the stack of deferred frees that all threads share, and one of each thread that
 *              forks.
 * Invariants   a node belongs to whoever has it from emergency.c, or frees it, until it is pushed,
 *              then to the stack, then to whoever takes all of that.
 * Concurrency  lock-free throughout. src/model/deferred.pml checks, with mutants that it catches,
 *              that no block is left behind, whoever opens the gate when.
 * Called by    heap_free.c; fork.c; stats.c.
 */
#include "deferred.h"

#include <stdatomic.h>

#include "emergency.h"
#include "lfstack.h"

struct deferred {
    struct cds_lfs_node node;
    void *block;
};

static struct __cds_lfs_stack deferred_blocks;
/* A thread that forks defers apart: what others defer, a child cannot rely on. A stack like the
 * other, since a signal handler may defer in the middle. */
static _Thread_local struct {
    unsigned forks; /* that the thread is in */
    struct __cds_lfs_stack blocks;
} forking __attribute__((tls_model("initial-exec")));

/* Relaxed: it orders nothing. */
static _Atomic uint64_t pushed;

COLD void deferred_push(void *block)
{
    /* Past the limit: what is freed makes room. */
    struct deferred *deferred = (struct deferred *)emergency_alloc_unlimited(
        sizeof(struct deferred), _Alignof(struct deferred));
    struct cds_lfs_node *node = (struct cds_lfs_node *)block;

    if (deferred != NULL) {
        deferred->block = block;
        node = &deferred->node;
    }
    atomic_fetch_add_explicit(&pushed, 1, memory_order_relaxed);
    (void)cds_lfs_push(forking.forks > 0 ? &forking.blocks : &deferred_blocks, node);
}

/* The block that a node stands for. The node is gone then. */
static void *block_of(struct cds_lfs_node *node)
{
    if (!emergency_owns((uintptr_t)node)) {
        return node;
    }
    struct deferred *deferred = caa_container_of(node, struct deferred, node);
    void *block = deferred->block;

    emergency_free((uintptr_t)deferred);
    return block;
}

/* All there is, the last pushed first. */
static struct cds_lfs_node *take_all(struct __cds_lfs_stack *stack)
{
    struct cds_lfs_head *head = __cds_lfs_pop_all(stack);

    return head != NULL ? &head->node : NULL;
}

bool deferred_waits(void)
{
    return !cds_lfs_empty(&deferred_blocks);
}

COLD void deferred_release(void (*release)(void *block))
{
    struct cds_lfs_node *node = take_all(&deferred_blocks);

    while (node != NULL) {
        struct cds_lfs_node *next = node->next;

        release(block_of(node));
        node = next;
    }
}

void deferred_fork_begins(void)
{
    forking.forks++;
}

COLD void deferred_fork_ends(void)
{
    forking.forks--;
    struct cds_lfs_node *node = forking.forks == 0 ? take_all(&forking.blocks) : NULL;

    while (node != NULL) {
        struct cds_lfs_node *next = node->next;

        (void)cds_lfs_push(&deferred_blocks, node);
        node = next;
    }
}

void deferred_reset_in_child(void)
{
    __cds_lfs_init(&deferred_blocks);
}

uint64_t deferred_count(void)
{
    return atomic_load_explicit(&pushed, memory_order_relaxed);
}
