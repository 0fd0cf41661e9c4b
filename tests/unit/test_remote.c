/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_remote.c - every block published is taken once, and its slab is queued once at a time. */
#include "support.h"

#include <sched.h>

#include "lock.h"
#include "page_heap.h"
#include "remote.h"

enum { PRODUCERS = 4, ROUNDS = 50 };

/* Of the bin that the slabs would be of. */
static struct lock bin_lock = LOCK_INITIALIZER(LOCK_RANK_BIN);

static struct slab *slab_on_queue(struct remote_queue *queue, size_t size)
{
    size_class_init();
    struct span *span = page_heap_alloc(&(struct run_request){
        .units = 1, .align_units = 1, .state = SPAN_SLAB, .grow = true, .zero = false});

    assert_non_null(span);
    struct slab *slab = slab_create(span, size_class_of(size), 0, queue);

    assert_non_null(slab);
    return slab;
}

/* Take all out of the slab's free bitmap, as if the program had the blocks. */
static void take_all(struct slab *slab)
{
    static void *blocks[UNIT_BYTES / BLOCK_ALIGN];

    lock_acquire(&bin_lock);
    assert_int_equal(slab_take_locked(slab, blocks, ARRAY_SIZE(blocks)), slab_class(slab)->blocks);
    lock_release(&bin_lock);
}

static void put_word(struct slab *slab, unsigned word, uint64_t blocks)
{
    lock_acquire(&bin_lock);
    slab_put_word_locked(slab, word, blocks);
    slab_note_taken_in_locked(slab, bit_count(blocks), false);
    lock_release(&bin_lock);
}

/* Take in what the queue holds. The blocks' number. */
static size_t drain(struct remote_queue *queue)
{
    struct slab *slab = remote_take_queue(queue);
    size_t count = 0;

    while (slab != NULL) {
        struct slab *next = remote_next(slab);
        uint64_t words = remote_take_summary(slab);

        for (; words != 0; words &= words - 1) {
            unsigned word = bit_lowest(words);
            uint64_t blocks = remote_take_word(slab, word);

            put_word(slab, word, blocks);
            count += bit_count(blocks);
        }
        slab = next;
    }
    return count;
}

static void a_new_queue_is_empty(void **state)
{
    struct remote_queue queue;

    (void)state;
    remote_queue_init(&queue);
    assert_false(remote_queue_has_slabs(&queue));
    assert_null(remote_take_queue(&queue));
}

static void each_block_published_is_taken_once(void **state)
{
    struct remote_queue queue;

    (void)state;
    remote_queue_init(&queue);
    struct slab *slab = slab_on_queue(&queue, 128);

    take_all(slab);
    remote_publish(slab, 0, UINT64_C(0xff));
    remote_publish(slab, 1, UINT64_C(1));
    remote_publish(slab, 0, UINT64_C(0xff00));
    assert_true(remote_queue_has_slabs(&queue));
    assert_int_equal(slab->free_count, 0);
    assert_int_equal(drain(&queue), 17);
    assert_int_equal(slab->free_count, 17);
    assert_int_equal(slab->free[0], 0xffff);
    assert_int_equal(slab->free[1], 1);
    assert_int_equal(drain(&queue), 0);
    assert_false(remote_queue_has_slabs(&queue));
    slab_check(slab);
}

static void a_slab_is_queued_once_however_much_is_published(void **state)
{
    struct remote_queue queue;

    (void)state;
    remote_queue_init(&queue);
    struct slab *slab = slab_on_queue(&queue, 16);

    take_all(slab);
    for (unsigned word = 0; word < slab->words; word++) {
        remote_publish(slab, word, UINT64_C(1));
        remote_publish(slab, word, UINT64_C(2));
    }
    assert_ptr_equal(remote_take_queue(&queue), slab);
    assert_null(remote_next(slab));
    assert_false(remote_queue_has_slabs(&queue));
    /* Still pending: more is added, and nothing is pushed. */
    remote_publish(slab, 0, UINT64_C(4));
    assert_false(remote_queue_has_slabs(&queue));
    assert_int_equal(remote_take_summary(slab), ~UINT64_C(0));
    assert_int_equal(remote_take_word(slab, 0), 7);
    assert_int_equal(remote_take_word(slab, 63), 3);
}

static void a_slab_is_queued_again_after_it_was_taken(void **state)
{
    struct remote_queue queue;

    (void)state;
    remote_queue_init(&queue);
    struct slab *slab = slab_on_queue(&queue, 64);

    take_all(slab);
    for (unsigned bit = 0; bit < BITS_PER_WORD; bit++) {
        remote_publish(slab, 2, UINT64_C(1) << bit);
        assert_int_equal(drain(&queue), 1);
    }
    assert_int_equal(slab->free_count, BITS_PER_WORD);
    slab_check(slab);
}

static void a_block_published_between_summary_and_word_is_not_lost(void **state)
{
    struct remote_queue queue;

    (void)state;
    remote_queue_init(&queue);
    struct slab *slab = slab_on_queue(&queue, 64);

    take_all(slab);
    remote_publish(slab, 0, 1);
    assert_ptr_equal(remote_take_queue(&queue), slab);
    assert_int_equal(remote_take_summary(slab), 1);
    remote_publish(slab, 0, 2);
    remote_publish(slab, 3, 8);
    assert_int_equal(remote_take_word(slab, 0), 3);
    put_word(slab, 0, 3);
    assert_int_equal(drain(&queue), 1);
    assert_int_equal(slab->free_count, 3);
    slab_check(slab);
}

static void every_slab_of_the_queue_is_found(void **state)
{
    struct remote_queue queue;
    struct slab *slabs[5];

    (void)state;
    remote_queue_init(&queue);
    for (size_t i = 0; i < ARRAY_SIZE(slabs); i++) {
        slabs[i] = slab_on_queue(&queue, (size_t)16 << i);
        take_all(slabs[i]);
        remote_publish(slabs[i], 0, UINT64_C(1) << i);
    }
    assert_int_equal(drain(&queue), ARRAY_SIZE(slabs));
    for (size_t i = 0; i < ARRAY_SIZE(slabs); i++) {
        assert_int_equal(slabs[i]->free[0], UINT64_C(1) << i);
        slab_check(slabs[i]);
    }
}

/* `act` frees blocks 4 and 5 of the slab that it is given, of which 5 is pending. */
static void assert_dies_where_block_5_is_pending(void (*act)(void *slab))
{
    struct remote_queue queue;

    remote_queue_init(&queue);
    struct slab *slab = slab_on_queue(&queue, 256);

    take_all(slab);
    remote_publish(slab, 0, UINT64_C(0x20));
    assert_dies_at(act, slab, "double free of", slab->start + (size_t)5 * 256);
}

static void publish_blocks_4_and_5(void *slab)
{
    remote_publish((struct slab *)slab, 0, UINT64_C(0x30));
}

static void publishing_a_block_twice_dies_and_names_it(void **state)
{
    (void)state;
    assert_dies_where_block_5_is_pending(publish_blocks_4_and_5);
}

static void put_blocks_4_and_5(void *slab)
{
    put_word((struct slab *)slab, 0, UINT64_C(0x30));
}

static void a_block_that_is_pending_dies_when_it_is_freed_at_home_too(void **state)
{
    (void)state;
    assert_dies_where_block_5_is_pending(put_blocks_4_and_5);
}

static void drain_queue(void *queue)
{
    (void)drain((struct remote_queue *)queue);
}

static void a_block_that_is_free_already_dies_when_it_is_taken_in(void **state)
{
    struct remote_queue queue;

    (void)state;
    remote_queue_init(&queue);
    struct slab *slab = slab_on_queue(&queue, 256);

    remote_publish(slab, 1, UINT64_C(2));
    assert_dies_at(drain_queue, &queue, "double free of", slab->start + (size_t)65 * 256);
}

/* Threads */

struct traffic {
    struct remote_queue queue;
    struct slab *slabs[2];
    _Atomic unsigned next_producer;
    _Atomic unsigned running;
};

/* Publishes every PRODUCERS-th block of both slabs, once. */
static void *produce(void *argument)
{
    struct traffic *traffic = (struct traffic *)argument;
    unsigned self = atomic_fetch_add(&traffic->next_producer, 1) % PRODUCERS;

    for (unsigned index = self; index < slab_class(traffic->slabs[0])->blocks; index += PRODUCERS) {
        for (size_t i = 0; i < ARRAY_SIZE(traffic->slabs); i++) {
            remote_publish(traffic->slabs[i], index / BITS_PER_WORD,
                           UINT64_C(1) << (index % BITS_PER_WORD));
        }
    }
    atomic_fetch_sub(&traffic->running, 1);
    return NULL;
}

static void *produce_or_consume(void *argument)
{
    struct traffic *traffic = (struct traffic *)argument;

    /* The first thread consumes until it has all. */
    if (atomic_fetch_add(&traffic->running, 1) != 0) {
        return produce(argument);
    }
    for (size_t have = 0; have < (size_t)2 * slab_class(traffic->slabs[0])->blocks;) {
        have += drain(&traffic->queue);
        (void)sched_yield();
    }
    return NULL;
}

static void producers_and_a_consumer_lose_and_double_nothing(void **state)
{
    static struct traffic traffic;

    (void)state;
    remote_queue_init(&traffic.queue);
    traffic.slabs[0] = slab_on_queue(&traffic.queue, 32);
    traffic.slabs[1] = slab_on_queue(&traffic.queue, 32);
    for (int round = 0; round < ROUNDS; round++) {
        take_all(traffic.slabs[0]);
        take_all(traffic.slabs[1]);
        atomic_store(&traffic.running, 0);
        run_threads(PRODUCERS + 1, produce_or_consume, &traffic);
        assert_int_equal(drain(&traffic.queue), 0);
        for (size_t i = 0; i < ARRAY_SIZE(traffic.slabs); i++) {
            assert_true(slab_is_empty(traffic.slabs[i]));
            slab_check(traffic.slabs[i]);
        }
    }
}

static void check(void *slab)
{
    remote_check((struct slab *)slab);
}

static void the_check_sees_a_word_that_the_summary_does_not_know(void **state)
{
    struct remote_queue queue;

    (void)state;
    remote_queue_init(&queue);
    struct slab *slab = slab_on_queue(&queue, 64);

    take_all(slab);
    remote_publish(slab, 1, 1);
    remote_check(slab);
    atomic_store(&slab->remote_summary, 1);
    assert_dies(check, slab, "remote: a word with pending blocks is not in the summary");
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_new_queue_is_empty),
        ISOLATED(each_block_published_is_taken_once),
        ISOLATED(a_slab_is_queued_once_however_much_is_published),
        ISOLATED(a_slab_is_queued_again_after_it_was_taken),
        ISOLATED(a_block_published_between_summary_and_word_is_not_lost),
        ISOLATED(every_slab_of_the_queue_is_found),
        ISOLATED(publishing_a_block_twice_dies_and_names_it),
        ISOLATED(a_block_that_is_pending_dies_when_it_is_freed_at_home_too),
        ISOLATED(a_block_that_is_free_already_dies_when_it_is_taken_in),
        ISOLATED(producers_and_a_consumer_lose_and_double_nothing),
        ISOLATED(the_check_sees_a_word_that_the_summary_does_not_know),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
