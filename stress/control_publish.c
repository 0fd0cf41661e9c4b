/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* control_publish.c - risk: ThreadSanitizer does not see the order that liburcu's stack and the
 * bitmap words give, and so is silent, or loud, whatever the allocator does.
 *
 * The publish pattern of remote.c in small. The first producer writes its payload, turns a word
 * from 0, and pushes the node; the second finds the word not 0, so that the word alone orders its
 * payload. The consumer takes the node off the stack, takes the word, reads both payloads. The
 * threads wait for each other by relaxed loads, which order nothing, so that every run meets the
 * same cases. Mode "ordered" is correct: there must be no report. In the others there must be one:
 *   word    the second producer sets its bit relaxed
 *   stack   the first producer writes its payload after the push
 *   plain   the consumer reads the word without an atomic operation
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lfstack.h"

enum mode { ORDERED, WORD, STACK, PLAIN, MODES };

static const char *const names[MODES] = {"ordered", "word", "stack", "plain"};

enum { PRODUCERS = 2, NODES = 100 };

struct node {
    struct cds_lfs_node link;
    _Atomic uint64_t word;
    _Atomic unsigned producers_done;
    uint64_t payload[PRODUCERS];
};

static enum mode mode;
static struct __cds_lfs_stack stack;
static struct node nodes[NODES];
static uint64_t sum;

/* Until that many producers are done with the node. */
static void wait_for_producers(struct node *node, unsigned count)
{
    while (atomic_load_explicit(&node->producers_done, memory_order_relaxed) < count) {
        (void)sched_yield();
    }
}

static void note_done(struct node *node)
{
    atomic_fetch_add_explicit(&node->producers_done, 1, memory_order_relaxed);
}

static void *produce_first(void *unused)
{
    (void)unused;
    for (struct node *node = nodes; node < nodes + NODES; node++) {
        if (mode != STACK) {
            node->payload[0] = 1;
        }
        (void)atomic_fetch_or_explicit(&node->word, 1, memory_order_acq_rel);
        (void)cds_lfs_push(&stack, &node->link);
        if (mode == STACK) {
            node->payload[0] = 1;
        }
        note_done(node);
    }
    return NULL;
}

static void *produce_second(void *unused)
{
    (void)unused;
    for (struct node *node = nodes; node < nodes + NODES; node++) {
        wait_for_producers(node, 1);
        node->payload[1] = 1;
        if (mode == WORD) {
            (void)atomic_fetch_or_explicit(&node->word, 2, memory_order_relaxed);
        } else {
            (void)atomic_fetch_or_explicit(&node->word, 2, memory_order_acq_rel);
        }
        note_done(node);
    }
    return NULL;
}

static uint64_t take_word(struct node *node)
{
    if (mode == PLAIN) {
        return *(volatile uint64_t *)&node->word;
    }
    return atomic_exchange_explicit(&node->word, 0, memory_order_acq_rel);
}

static void *consume(void *unused)
{
    (void)unused;
    for (struct node *node = nodes; node < nodes + NODES; node++) {
        wait_for_producers(node, PRODUCERS);
    }
    struct cds_lfs_head *head = __cds_lfs_pop_all(&stack);
    struct cds_lfs_node *link = head != NULL ? &head->node : NULL;

    for (; link != NULL; link = link->next) {
        struct node *node = caa_container_of(link, struct node, link);
        uint64_t word = take_word(node);

        for (unsigned producer = 0; producer < PRODUCERS; producer++) {
            sum += (word >> producer & 1) * node->payload[producer];
        }
    }
    return NULL;
}

static enum mode mode_of(const char *name)
{
    for (unsigned found = 0; found < MODES; found++) {
        if (name != NULL && strcmp(names[found], name) == 0) {
            return (enum mode)found;
        }
    }
    (void)fprintf(stderr, "control_publish: which mode? ordered, word, stack or plain\n");
    exit(2);
}

int main(int argc, char **argv)
{
    void *(*const roles[])(void *) = {consume, produce_first, produce_second};
    enum { ROLES = sizeof(roles) / sizeof(roles[0]) };
    pthread_t threads[ROLES] = {0};

    mode = mode_of(argc == 2 ? argv[1] : NULL);
    __cds_lfs_init(&stack);
    for (unsigned i = 0; i < ROLES; i++) {
        if (pthread_create(&threads[i], NULL, roles[i], NULL) != 0) {
            return EXIT_FAILURE;
        }
    }
    for (unsigned i = 0; i < ROLES; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    printf("control_publish: %s, %llu payloads\n", names[mode], (unsigned long long)sum);
    return sum == PRODUCERS * NODES ? EXIT_SUCCESS : EXIT_FAILURE;
}
