/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cache_support.c - see cache_support.h. */
#include "cache_support.h"

#include "meta.h"
#include "proof.h"
#include "refill.h"

struct arena *arena;
struct cache *cache;
struct cache_bin *bin;

void set_up(size_t size)
{
    size_class_init();
    class_of_blocks = size_class_of(size);
    arena = arena_create(0);
    assert_non_null(arena);
    cache = (struct cache *)meta_alloc(sizeof(*cache));
    assert_non_null(cache);
    cache_bind(cache, arena);
    bin = cache_bin_of_class(cache, class_of_blocks);
}

void set_up_with_a_slab(size_t size)
{
    set_up(size);
    void *block = refill_one(arena, class_of_blocks);

    assert_non_null(block);
    arena_free_blocks(arena, class_of_blocks, &block, 1);
}

void check(void)
{
    cache_check(cache);
    arena_check(arena);
}

size_t cached_bytes(void)
{
    size_t blocks;
    size_t bytes;

    cache_count(cache, &blocks, &bytes);
    return bytes;
}

size_t cached_blocks(void)
{
    size_t blocks;
    size_t bytes;

    cache_count(cache, &blocks, &bytes);
    assert_true(blocks == 0 || bytes % blocks == 0);
    return blocks;
}

bool swap_stacks(void)
{
    void *block = cache_pop_freed(cache, class_of_blocks);

    if (block == NULL) {
        return false;
    }
    struct cache_class *cold = stacks_made_class(cache, class_of_blocks);

    if (cold->alloc == NULL) {
        cold->alloc = stacks_create(cache, MAGAZINE_SMALLEST);
        assert_non_null(cold->alloc);
        stacks_set_alloc(bin, cold->alloc, 0);
    }
    *++bin->alloc_top = block;
    return true;
}

void *take(void)
{
    void *block = cache_pop(bin);

    if (block == NULL) {
        (void)proof_make(cache, class_of_blocks);
    }
    if (block == NULL && (swap_stacks() || cache_refill(cache, class_of_blocks) || swap_stacks())) {
        block = cache_pop(bin);
    }
    assert_non_null(block);
    return block;
}

void give(void *block)
{
    if (!cache_push(bin, block)) {
        if (!cache_grow_free(cache, class_of_blocks)) {
            cache_flush(cache, class_of_blocks);
        }
        assert_true(cache_push(bin, block));
    }
}

void take_many(void **blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        blocks[i] = take();
    }
    check();
}

void give_many(void **blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        give(blocks[i]);
    }
    check();
}

void empty_the_alloc_stack(void)
{
    while (cache_pop(bin) != NULL) {
    }
}
