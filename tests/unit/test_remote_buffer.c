/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_remote_buffer.c - frees of other arenas' blocks are collected, bounded, and published. */
#include "cache_support.h"

#include "magazine.h"
#include "meta.h"
#include "os.h"
#include "reclaim.h"
#include "refill.h"

static void the_first_block_asks_for_a_buffer(void **state)
{
    (void)state;
    set_up(SIZE);
    assert_false(remote_buffer_keep(cache, arena, SIZE));
    remote_buffer_free(cache, take(), SIZE);
    assert_int_equal(cache->remote->count, 1);
    assert_true(remote_buffer_keep(cache, take(), SIZE));
}

static void published_blocks_reach_their_arena(void **state)
{
    void *blocks[40];

    (void)state;
    set_up(SIZE);
    take_many(blocks, ARRAY_SIZE(blocks));
    remote_buffer_free(cache, blocks[0], SIZE);
    for (size_t i = 1; i < ARRAY_SIZE(blocks); i++) {
        assert_true(remote_buffer_keep(cache, blocks[i], SIZE));
        assert_false(remote_queue_has_slabs(&arena->queue));
    }
    remote_buffer_publish(cache);
    assert_int_equal(arena_drain(arena), ARRAY_SIZE(blocks));
    remote_buffer_publish(cache);
    assert_int_equal(arena_drain(arena), 0);
    check();
}

static size_t kept_until_full(uint32_t size)
{
    size_t count = 0;

    cache->remote = NULL;
    cache->remote_bytes = 0;
    remote_buffer_free(cache, arena, 0);
    cache->remote->count = 0;
    while (count < 100000 && remote_buffer_keep(cache, arena, size)) {
        count++;
    }
    cache->remote->count = 0;
    return count;
}

static void the_buffer_is_bounded_in_count_and_bytes(void **state)
{
    (void)state;
    set_up(SIZE);
    size_t smallest = kept_until_full(16);

    assert_in_range(smallest, 32, 1000);
    assert_int_equal(kept_until_full(32), smallest);
    assert_in_range(kept_until_full(4096) * 4096, 4096, 64 * KIB);
    assert_int_equal(kept_until_full(UNIT_BYTES), 0);
}

static void without_memory_for_the_buffer_nothing_is_kept(void **state)
{
    (void)state;
    set_up(SIZE);
    void *block = take();

    os_fail_calls(1, UINT64_MAX);
    while (magazine_create(125) != NULL) {
    }
    assert_null(cache->remote);
    remote_buffer_free(cache, block, SIZE);
    assert_null(cache->remote);
    assert_int_equal(arena_drain(arena), 1);
    os_fail_calls(0, 0);
    assert_false(remote_buffer_keep(cache, arena, SIZE));
    remote_buffer_free(cache, arena, SIZE);
    assert_int_equal(cache->remote->count, 1);
}

static void publish(void *unused)
{
    (void)unused;
    remote_buffer_publish(cache);
}

static void a_block_whose_slab_is_gone_when_it_is_published_dies(void **state)
{
    (void)state;
    set_up(SIZE);
    void *block = refill_one(arena, class_of_blocks);

    remote_buffer_free(cache, block, SIZE);
    /* Its other free, which makes the slab's last block free. */
    arena_free_blocks(arena, class_of_blocks, &block, 1);
    reclaim_all();
    assert_int_equal(bin_slabs(bin_of(arena)), 0);
    assert_dies_at(publish, NULL, "double free of", (uintptr_t)block);
}

static void check_buffer(void *unused)
{
    (void)unused;
    remote_buffer_check(cache);
}

static void the_check_sees_a_block_twice(void **state)
{
    (void)state;
    set_up(SIZE);
    void *block = take();

    remote_buffer_free(cache, block, SIZE);
    remote_buffer_check(cache);
    assert_true(remote_buffer_keep(cache, block, SIZE));
    assert_dies_at(check_buffer, NULL, "double free of", (uintptr_t)block);
}

static void the_check_sees_bytes_that_do_not_add_up(void **state)
{
    (void)state;
    set_up(SIZE);
    remote_buffer_free(cache, take(), SIZE);
    cache->remote_bytes++;
    assert_dies(check_buffer, NULL, "remote buffer: bytes do not add up");
}

static void dropping_the_buffer_publishes_what_is_in_it(void **state)
{
    (void)state;
    set_up(SIZE);
    void *block = take();
    size_t used = meta_stats().used_bytes;

    remote_buffer_free(cache, block, SIZE);
    remote_buffer_drop(cache);
    assert_null(cache->remote);
    assert_int_equal(arena_drain(arena), 1);
    assert_int_equal(meta_stats().used_bytes, used);
    remote_buffer_drop(cache);
    check();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(the_first_block_asks_for_a_buffer),
        ISOLATED(published_blocks_reach_their_arena),
        ISOLATED(the_buffer_is_bounded_in_count_and_bytes),
        ISOLATED(without_memory_for_the_buffer_nothing_is_kept),
        ISOLATED(dropping_the_buffer_publishes_what_is_in_it),
        ISOLATED(a_block_whose_slab_is_gone_when_it_is_published_dies),
        ISOLATED(the_check_sees_a_block_twice),
        ISOLATED(the_check_sees_bytes_that_do_not_add_up),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
