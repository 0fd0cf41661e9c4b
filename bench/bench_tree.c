/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_tree.c - binary trees of small nodes are built and dropped, beside one that lives on: the
 * growth of big structures. After "GCBench" of J. Ellis, P. Kovac and H. Boehm (1997) and the
 * "binary trees" of the Computer Language Benchmarks Game. An operation is one node. */
#include "bench_common.h"

#include <stdlib.h>

enum { DEPTH = 16, LONG_LIVED_DEPTH = 18 };

struct node {
    struct node *left, *right;
    uint64_t depth;
    uint64_t payload[2];
};

static struct node *build(unsigned depth)
{
    struct node *node = (struct node *)bench_not_null(malloc(sizeof(*node)), sizeof(*node));

    node->depth = depth;
    node->left = depth > 0 ? build(depth - 1) : NULL;
    node->right = depth > 0 ? build(depth - 1) : NULL;
    return node;
}

static uint64_t drop(struct node *node, unsigned depth)
{
    if (node->depth != depth || (depth > 0) != (node->left != NULL)) {
        bench_fail("a node was overwritten");
    }
    uint64_t nodes =
        1 + (depth > 0 ? drop(node->left, depth - 1) + drop(node->right, depth - 1) : 0);

    free(node);
    return nodes;
}

static void setup(struct bench_thread *self)
{
    self->state = build(LONG_LIVED_DEPTH);
}

static uint64_t step(struct bench_thread *self)
{
    unsigned depth = DEPTH - (unsigned)bench_below(&self->random, 6);

    return drop(build(depth), depth);
}

static void teardown(struct bench_thread *self)
{
    (void)drop((struct node *)self->state, LONG_LIVED_DEPTH);
}

const struct bench_workload bench_workload = {
    .name = "tree",
    .about = "Builds and drops binary trees",
    .variants = (const struct bench_variant[]){{"binary", 20000000, 0}, {NULL, 0, 0}},
    .threads = 1,
    .threads_least = 1,
    .setup = setup,
    .step = step,
    .teardown = teardown,
};
