/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_cache.c - two stacks a class: they swap, grow, are verified and given back whole. */
#include "cache_support.h"

#include "meta.h"
#include "os.h"
#include "page_heap.h"
#include "proof.h"
#include "reclaim.h"
#include "refill.h"
#include "scavenge.h"
#include "singles.h"

/* Caches of nobody */

static void assert_empty_and_full(struct cache *nobody)
{
    static char block[UNIT_BYTES] __attribute__((aligned(65536)));

    assert_false(cache_is_real(nobody));
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        assert_null(cache_pop(cache_bin_of_class(nobody, class)));
        assert_false(cache_push(cache_bin_of_class(nobody, class), block));
        assert_null(cache_pop(cache_bin_of_class(nobody, class)));
    }
    assert_null(cache_pop(cache_bin_of_code(nobody, 0)));
    assert_false(cache_push(cache_bin_of_code(nobody, 0), block));
}

static void a_thread_without_a_cache_has_stacks_empty_and_full(void **state)
{
    (void)state;
    assert_ptr_equal(cache_self, &cache_none);
    assert_empty_and_full(&cache_none);
    cache_verify(&cache_none);
    cache_check(&cache_none);
}

static void a_new_cache_is_empty_and_full(void **state)
{
    (void)state;
    set_up(SIZE);
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        assert_null(cache_pop(cache_bin_of_class(cache, class)));
        assert_false(cache_push(cache_bin_of_class(cache, class), &arena[class * 64]));
        assert_null(cache_pop_freed(cache, class));
    }
    assert_int_equal(cached_blocks(), 0);
    /* What free() looks up without a call. */
    assert_int_equal(cache->units, region_units_max());
    check();
}

static void a_class_and_its_code_name_the_same_bin(void **state)
{
    (void)state;
    set_up(SIZE);
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        assert_ptr_equal(cache_bin_of_code(cache, SIZE_CLASS_CODE(class)),
                         cache_bin_of_class(cache, class));
    }
    assert_ptr_equal(cache_bin_of_code(cache, 0), &cache->bins[0]);
}

/* Refill */

static void refills_start_small_and_grow_to_the_most_of_the_class(void **state)
{
    size_t last = 0;

    (void)state;
    set_up(SIZE);
    for (int refill = 0; refill < 100; refill++) {
        assert_true(cache_refill(cache, class_of_blocks));
        size_t count = cached_blocks();

        assert_true(count <= size_classes[class_of_blocks].capacity);
        assert_true(refill > 0 || count <= MAGAZINE_SMALLEST);
        last = count > last ? count : last;
        check();
        empty_the_alloc_stack();
    }
    assert_int_equal(last, size_classes[class_of_blocks].batch_max);
    assert_int_equal(cache->misses, 100);
}

/* The most that one of some refills in a row fetches: slabs end. */
static size_t most_fetched(void)
{
    size_t most = 0;

    for (int refill = 0; refill < 100; refill++) {
        size_t before = cached_blocks();

        assert_true(cache_refill(cache, class_of_blocks));
        size_t count = cached_blocks() - before;

        most = count > most ? count : most;
        check();
        empty_the_alloc_stack();
    }
    return most;
}

static void a_thread_that_builds_up_fetches_whole_stacks_if_it_frees_too(void **state)
{
    (void)state;
    set_up(SIZE);
    const struct size_class *described = &size_classes[class_of_blocks];

    assert_true(described->batch_max < described->capacity);
    assert_int_equal(most_fetched(), described->batch_max);
    give(take());
    empty_the_alloc_stack();
    assert_int_equal(most_fetched(), described->capacity);
    /* What was freed has served: the next refill is not one more in a row. */
    assert_true(swap_stacks());
    empty_the_alloc_stack();
    assert_true(cache_refill(cache, class_of_blocks));
    assert_true(cached_blocks() <= described->batch_max);
    empty_the_alloc_stack();
    assert_int_equal(most_fetched(), described->capacity);
}

static void a_thread_that_has_used_little_fetches_little(void **state)
{
    size_t fetched = 0;

    (void)state;
    set_up(SIZE);
    for (class_of_blocks = 0; class_of_blocks < CLASS_COUNT; class_of_blocks++) {
        size_t size = size_classes[class_of_blocks].size;

        for (int refill = 0; refill < 3; refill++) {
            bin = cache_bin_of_class(cache, class_of_blocks);
            assert_true(cache_refill(cache, class_of_blocks));
            size_t bytes = cached_blocks() * size;

            assert_true(bytes <= size + (fetched + 1024) / 8);
            fetched += bytes;
            empty_the_alloc_stack();
        }
    }
}

static void fresh_blocks_come_in_ascending_order(void **state)
{
    char *before;

    (void)state;
    set_up(SIZE);
    before = (char *)take();
    for (int i = 0; i < 100; i++) {
        char *block = (char *)take();

        assert_ptr_equal(block, before + SIZE);
        before = block;
    }
    check();
}

static void every_class_can_be_refilled_and_given_back(void **state)
{
    (void)state;
    set_up(SIZE);
    for (class_of_blocks = 0; class_of_blocks < CLASS_COUNT; class_of_blocks++) {
        void *blocks[40];

        bin = cache_bin_of_class(cache, class_of_blocks);
        take_many(blocks, ARRAY_SIZE(blocks));
        give_many(blocks, ARRAY_SIZE(blocks));
    }
    cache_flush_all(cache);
    assert_int_equal(cached_blocks(), 0);
    reclaim_all();
    check();
    assert_int_equal(page_heap_stats().free_units, page_heap_stats().total_units);
}

static void use_up_the_heap(void)
{
    while (page_heap_alloc(&(struct run_request){
               .units = 1, .align_units = 1, .state = SPAN_LARGE, .grow = false}) != NULL) {
    }
}

static void without_memory_a_refill_fails_and_the_next_may_work(void **state)
{
    (void)state;
    set_up(SIZE);
    use_up_the_heap();
    os_fail_calls(1, UINT64_MAX);
    for (int i = 0; i < 5; i++) {
        assert_false(cache_refill(cache, class_of_blocks));
        assert_null(cache_pop(bin));
    }
    os_fail_calls(0, 0);
    check();
    assert_true(cache_refill(cache, class_of_blocks));
    check();
}

static void without_memory_for_its_group_a_class_has_neither_stacks_nor_singles(void **state)
{
    (void)state;
    set_up(SIZE);
    void *block = refill_one(arena, class_of_blocks);

    assert_non_null(block);
    use_up_the_heap();
    os_fail_calls(1, UINT64_MAX);
    while (meta_alloc(CACHE_LINE_BYTES) != NULL) {
    }
    assert_false(cache_refill(cache, class_of_blocks));
    assert_false(cache_grow_free(cache, class_of_blocks));
    assert_null(singles_take(cache, class_of_blocks));
    assert_false(singles_give(cache, class_of_blocks, block));
    os_fail_calls(0, 0);
    assert_int_equal(stacks_count_groups(cache), 0);
    assert_true(singles_give(cache, class_of_blocks, block));
    assert_int_equal(stacks_count_groups(cache), 1);
    /* Its neighbour needs no other group. */
    assert_true(cache_grow_free(cache, class_of_blocks / GROUP_CLASSES * GROUP_CLASSES));
    assert_int_equal(stacks_count_groups(cache), 1);
    check();
}

/* Swap */

static void in_the_middle_of_a_swap_nothing_counts_as_freed(void **state)
{
    void *blocks[2];

    (void)state;
    set_up(SIZE);
    take_many(blocks, ARRAY_SIZE(blocks));
    give_many(blocks, ARRAY_SIZE(blocks));
    struct cache_class *cold = stacks_made_class(cache, class_of_blocks);
    struct magazine *filled = cold->free;

    assert_int_equal(stacks_freed(cache, class_of_blocks), ARRAY_SIZE(blocks));
    cold->free = cold->alloc;
    assert_int_equal(stacks_freed(cache, class_of_blocks), 0);
    cold->free = filled;
}

static void what_was_freed_last_comes_back_first(void **state)
{
    void *blocks[4];

    (void)state;
    set_up(SIZE);
    take_many(blocks, ARRAY_SIZE(blocks));
    empty_the_alloc_stack();
    give_many(blocks, ARRAY_SIZE(blocks));
    assert_null(cache_pop(bin));
    assert_true(swap_stacks());
    for (size_t i = ARRAY_SIZE(blocks); i > 0; i--) {
        assert_ptr_equal(cache_pop(bin), blocks[i - 1]);
    }
    assert_null(cache_pop(bin));
    assert_false(swap_stacks());
}

static void a_lone_freed_block_comes_back_without_a_swap(void **state)
{
    void *blocks[2];

    (void)state;
    set_up(SIZE);
    take_many(blocks, ARRAY_SIZE(blocks));
    empty_the_alloc_stack();
    assert_null(cache_pop_freed(cache, class_of_blocks));
    give(blocks[0]);
    const struct magazine *filled = stacks_class(cache, class_of_blocks)->free;

    assert_ptr_equal(cache_pop_freed(cache, class_of_blocks), blocks[0]);
    assert_ptr_equal(stacks_class(cache, class_of_blocks)->free, filled);
    assert_null(cache_pop_freed(cache, class_of_blocks));
    give_many(blocks, ARRAY_SIZE(blocks));
    assert_ptr_equal(cache_pop_freed(cache, class_of_blocks), blocks[1]);
    assert_ptr_equal(stacks_class(cache, class_of_blocks)->alloc, filled);
    check();
}

/* The class's state at which nothing more is asked before freed blocks serve. */
static void ask_no_more(void)
{
    struct cache_class *cold = stacks_made_class(cache, class_of_blocks);

    cold->swaps = SWAPS_UNASKED;
    cold->stacks = TRIM_STACKS;
}

static void a_lone_block_is_popped_at_once_where_nothing_is_to_be_asked(void **state)
{
    void *blocks[2];

    (void)state;
    set_up(48);
    take_many(blocks, ARRAY_SIZE(blocks));
    empty_the_alloc_stack();
    give(blocks[0]);
    assert_null(cache_pop_lone(cache, class_of_blocks));
    ask_no_more();
    stacks_made_class(cache, class_of_blocks)->low = 2;
    assert_ptr_equal(cache_pop_lone(cache, class_of_blocks), blocks[0]);
    assert_int_equal(stacks_class(cache, class_of_blocks)->stacks, TRIM_STACKS + 1);
    assert_int_equal(stacks_class(cache, class_of_blocks)->low, 1);
    assert_null(cache_pop_lone(cache, class_of_blocks));
    give(blocks[0]);
    stacks_made_class(cache, class_of_blocks)->stacks = 2 * TRIM_STACKS - 1;
    assert_null(cache_pop_lone(cache, class_of_blocks));
    ask_no_more();
    give(blocks[1]);
    assert_null(cache_pop_lone(cache, class_of_blocks));
    assert_ptr_equal(cache_pop_freed(cache, class_of_blocks), blocks[1]);
    check();
}

static void a_class_whose_one_block_goes_round_is_not_idle(void **state)
{
    (void)state;
    set_up(SIZE);
    void *block = take();

    empty_the_alloc_stack();
    give(block);
    for (unsigned look = 0; look < 3; look++) {
        cache->misses = 0;
        scavenge_cache(cache);
        assert_ptr_equal(cache_pop_freed(cache, class_of_blocks), block);
        give(block);
    }
    assert_int_equal(cached_blocks(), 1);
    check();
}

/* Let one block go round until a swap is refused; the rounds that took. */
static int rounds_until_refused(void *block)
{
    for (int round = 0; round < 200; round++) {
        give(block);
        if (!swap_stacks()) {
            return round;
        }
        assert_ptr_equal(cache_pop(bin), block);
        assert_null(cache_pop(bin));
    }
    return -1;
}

static void short_stacks_are_swapped_until_a_refill_lengthens_them(void **state)
{
    void *block;

    (void)state;
    set_up(SIZE);
    block = take();
    empty_the_alloc_stack();
    assert_in_range(rounds_until_refused(block), 1, 50);
    assert_false(swap_stacks());
    assert_true(cache_refill(cache, class_of_blocks));
    assert_true(cached_blocks() > 1);
    empty_the_alloc_stack();
    assert_true(swap_stacks());
    check();
}

/* The most that a refill fetches after freed blocks have served for long. */
static size_t most_fetched_after_swaps(void *block)
{
    size_t most = 0;

    for (unsigned refill = 0; refill < 20; refill++) {
        for (unsigned swap = 0; swap < SWAPS_PER_GROWTH; swap++) {
            give(block);
            assert_true(swap_stacks());
            assert_ptr_equal(cache_pop(bin), block);
        }
        assert_true(cache_refill(cache, class_of_blocks));
        most = cached_blocks() > most ? cached_blocks() : most;
        check();
        empty_the_alloc_stack();
    }
    return most;
}

static void where_the_number_in_use_swings_refills_are_half_as_large(void **state)
{
    (void)state;
    set_up(SIZE);
    size_t batch = most_fetched();
    void *block = take();

    empty_the_alloc_stack();
    assert_int_equal(most_fetched_after_swaps(block), (batch + 1) / 2);
}

static void of_blocks_longer_than_a_page_they_are_not(void **state)
{
    (void)state;
    set_up(SLAB_PAGE_BYTES + 1);
    size_t batch = most_fetched();
    void *block = take();

    assert_true(batch > 1);
    empty_the_alloc_stack();
    assert_int_equal(most_fetched_after_swaps(block), batch);
}

static void of_a_sparse_class_of_long_blocks_what_was_freed_goes_back_before_a_refill(void **state)
{
    enum { LONG = 2 * SLAB_PAGE_BYTES, SPARSE_SLABS = 8, FREE = 5, BLOCKS = UNIT_BYTES / LONG };
    static void *blocks[SPARSE_SLABS][BLOCKS];

    (void)state;
    set_up(LONG);
    for (size_t i = 0; i < SPARSE_SLABS * BLOCKS; i++) {
        blocks[i / BLOCKS][i % BLOCKS] = refill_one(arena, class_of_blocks);
    }
    for (size_t i = 0; i < SPARSE_SLABS; i++) {
        arena_free_blocks(arena, class_of_blocks, blocks[i], FREE);
    }
    assert_true(bin_is_sparse(arena_bin(arena, class_of_blocks)));
    give(blocks[0][FREE]);
    assert_int_equal(stacks_free_count(bin, stacks_class(cache, class_of_blocks)->free), 1);
    assert_true(cache_refill(cache, class_of_blocks));
    assert_int_equal(stacks_free_count(bin, stacks_class(cache, class_of_blocks)->free), 0);
    check();
}

static void without_memory_for_longer_stacks_the_short_ones_are_swapped(void **state)
{
    void *block;

    (void)state;
    set_up(SIZE);
    block = take();
    empty_the_alloc_stack();
    assert_in_range(rounds_until_refused(block), 1, 50);
    while (refill_one(arena, class_of_blocks) != NULL) {
        os_fail_calls(1, UINT64_MAX);
    }
    assert_false(cache_refill(cache, class_of_blocks));
    os_fail_calls(0, 0);
    assert_true(swap_stacks());
    assert_ptr_equal(cache_pop(bin), block);
}

static void stacks_do_not_become_longer_than_swaps_need(void **state)
{
    (void)state;
    set_up(SIZE);
    for (unsigned round = 0; round < 100000; round++) {
        give(take());
    }
    assert_in_range(cached_blocks(), 64, 256);
    check();
}

/* Push */

static void a_block_freed_just_before_is_refused(void **state)
{
    void *blocks[2];

    (void)state;
    set_up(SIZE);
    take_many(blocks, ARRAY_SIZE(blocks));
    give_many(blocks, ARRAY_SIZE(blocks));
    assert_false(cache_push(bin, blocks[1]));
    assert_true(cache_push(bin, take()));
    check();
}

static void a_misaligned_address_is_refused(void **state)
{
    char *block;

    (void)state;
    set_up(SIZE);
    block = (char *)take();
    assert_true(cache_grow_free(cache, class_of_blocks));
    for (size_t offset = 1; offset < SIZE; offset++) {
        assert_false(cache_push(bin, block + offset));
    }
    assert_true(cache_push(bin, block));
    check();
}

static void the_free_stack_grows_to_the_capacity_and_keeps_its_blocks(void **state)
{
    static void *blocks[BLOCKS_MAX];
    uint32_t capacity;

    (void)state;
    set_up(SIZE);
    capacity = size_classes[class_of_blocks].capacity;
    take_many(blocks, capacity);
    empty_the_alloc_stack();
    for (uint32_t i = 0; i < capacity; i++) {
        if (!cache_push(bin, blocks[i])) {
            assert_true(cache_grow_free(cache, class_of_blocks));
            assert_true(cache_push(bin, blocks[i]));
        }
        assert_int_equal(cached_blocks(), i + 1);
    }
    assert_false(cache_grow_free(cache, class_of_blocks));
    assert_false(cache_push(bin, arena));
    check();
    assert_true(swap_stacks());
    for (uint32_t i = capacity; i > 0; i--) {
        assert_ptr_equal(cache_pop(bin), blocks[i - 1]);
    }
}

static void without_memory_the_free_stack_stays_as_it_is(void **state)
{
    void *blocks[MAGAZINE_SMALLEST];

    (void)state;
    set_up(SIZE);
    take_many(blocks, ARRAY_SIZE(blocks));
    empty_the_alloc_stack();
    give_many(blocks, ARRAY_SIZE(blocks));
    os_fail_calls(1, UINT64_MAX);
    /* Until the descriptors' memory is used up. */
    while (magazine_create(magazine_next_capacity(MAGAZINE_SMALLEST)) != NULL) {
    }
    assert_false(cache_grow_free(cache, class_of_blocks));
    os_fail_calls(0, 0);
    assert_int_equal(cached_blocks(), MAGAZINE_SMALLEST);
    check();
    assert_true(cache_grow_free(cache, class_of_blocks));
    assert_int_equal(cached_blocks(), MAGAZINE_SMALLEST);
    check();
}

static void a_flush_empties_the_free_stack_into_the_arena(void **state)
{
    static void *blocks[20];

    (void)state;
    set_up(SIZE);
    take_many(blocks, ARRAY_SIZE(blocks));
    empty_the_alloc_stack();
    give_many(blocks, ARRAY_SIZE(blocks));
    uint64_t free_bytes = arena_totals().free_bytes;

    cache_flush(cache, class_of_blocks);
    assert_int_equal(cached_blocks(), 0);
    assert_int_equal(arena_totals().free_bytes, free_bytes + ARRAY_SIZE(blocks) * SIZE);
    check();
}

/* Doubles */

static void swap(void *unused)
{
    (void)unused;
    empty_the_alloc_stack();
    (void)swap_stacks();
}

static void flush(void *unused)
{
    (void)unused;
    cache_flush(cache, class_of_blocks);
}

static void verify(void *unused)
{
    (void)unused;
    cache_verify(cache);
}

static void check_cache(void *unused)
{
    (void)unused;
    cache_check(cache);
}

static void a_block_twice_on_the_free_stack_dies_before_it_is_handed_out(void **state)
{
    void *blocks[30];
    uintptr_t twice;

    (void)state;
    set_up(SIZE);
    take_many(blocks, ARRAY_SIZE(blocks));
    give_many(blocks, ARRAY_SIZE(blocks));
    twice = (uintptr_t)blocks[3];
    give(blocks[3]);
    assert_dies_at(swap, NULL, "double free of", twice);
    assert_dies_at(flush, NULL, "double free of", twice);
    assert_dies_at(verify, NULL, "double free of", twice);
    assert_dies_at(check_cache, NULL, "double free of", twice);
}

static void a_block_twice_on_a_full_stack_dies_when_it_is_flushed(void **state)
{
    enum { STACKS = 8, MOST = 300 };
    static void *blocks[STACKS][MOST];

    (void)state;
    set_up(SIZE);
    size_t capacity = size_classes[class_of_blocks].capacity;

    assert_true(capacity <= MOST);
    for (size_t i = 0; i < STACKS; i++) {
        take_many(blocks[i], capacity);
    }
    for (size_t i = 0; i < STACKS; i++) {
        give_many(blocks[i], capacity - 1);
        give(blocks[i][3]);
        assert_dies_at(flush, NULL, "double free of", (uintptr_t)blocks[i][3]);
        bin->free_top--;
        give(blocks[i][capacity - 1]);
        cache_flush(cache, class_of_blocks);
    }
    check();
}

static void a_block_twice_dies_before_it_goes_to_a_depot_in_the_sample(void **state)
{
    enum { BEFORE = 67 /* the next stack is in the sample */ };
    static void *blocks[BLOCKS_MAX];

    (void)state;
    set_up(SIZE);
    size_t capacity = size_classes[class_of_blocks].capacity;

    take_many(blocks, capacity);
    give_many(blocks, capacity - 1);
    stacks_made_class(cache, class_of_blocks)->stacks = BEFORE;
    give(blocks[3]);
    assert_dies_at(flush, NULL, "double free of", (uintptr_t)blocks[3]);
    bin->free_top--;
    give(blocks[capacity - 1]);
    cache_flush(cache, class_of_blocks);
    assert_int_equal(depot_blocks(&arena_bin(arena, class_of_blocks)->depot), capacity);
    check();
}

static void an_address_between_two_blocks_dies_before_it_is_handed_out(void **state)
{
    char *block;

    (void)state;
    /* Blocks of 48 bytes lie on multiples of 16: the mask alone cannot tell. */
    set_up(48);
    block = (char *)take();
    give(block);
    give(block + 16);
    assert_dies_at(swap, NULL, "invalid free of", (uintptr_t)block + 16);
    assert_dies_at(flush, NULL, "invalid free of", (uintptr_t)block + 16);
    assert_dies_at(verify, NULL, "invalid free of", (uintptr_t)block + 16);
    assert_dies_at(check_cache, NULL, "invalid free of", (uintptr_t)block + 16);
}

/* Not only in the stacks where doubles are looked for. */
static void an_address_between_two_blocks_is_never_handed_out(void **state)
{
    enum { SAMPLED_FROM = 64, STACKS = 20 };

    (void)state;
    set_up(48);
    char *block = (char *)take();

    give(block);
    give(block + 16);
    for (uint16_t stacks = SAMPLED_FROM; stacks < SAMPLED_FROM + STACKS; stacks++) {
        stacks_made_class(cache, class_of_blocks)->stacks = stacks;
        assert_dies_at(swap, NULL, "invalid free of", (uintptr_t)block + 16);
    }
}

static void pop_freed(void *unused)
{
    (void)unused;
    (void)cache_pop_freed(cache, class_of_blocks);
}

static void dies_of_a_lone_address(size_t size, size_t offset)
{
    set_up(size);
    char *block = (char *)take();

    empty_the_alloc_stack();
    give(block + offset);
    assert_int_equal(stacks_free_count(bin, stacks_class(cache, class_of_blocks)->free), 1);
    ask_no_more();
    assert_null(cache_pop_lone(cache, class_of_blocks));
    assert_dies_at(pop_freed, NULL, "invalid free of", (uintptr_t)block + offset);
}

static void a_lone_address_inside_a_block_is_never_handed_out(void **state)
{
    (void)state;
    dies_of_a_lone_address(48, 16);
}

static void nor_is_one_in_a_slab_of_several_units(void **state)
{
    (void)state;
    dies_of_a_lone_address(40 * KIB, 8 * KIB);
    assert_true(size_classes[class_of_blocks].units > 1);
}

static void the_check_sees_a_block_on_both_stacks(void **state)
{
    (void)state;
    set_up(SIZE);
    void *next;

    /* The first refills fetch a block each. */
    do {
        (void)take();
        next = *bin->alloc_top;
    } while (next == NULL);
    give(next);
    assert_dies_at(check_cache, NULL, "double free of", (uintptr_t)next);
}

static void the_check_sees_a_block_of_another_class(void **state)
{
    (void)state;
    set_up(SIZE);
    void *other = refill_one(arena, size_class_of(1024));

    give(other);
    assert_dies_at(check_cache, NULL, "double free of", (uintptr_t)other);
}

static void the_check_sees_a_stack_that_is_not_marked_or_too_long(void **state)
{
    static const char fault[] =
        "cache: a stack is longer than it may be, or not known to be in use";

    (void)state;
    set_up(SIZE);
    give(take());
    struct cache_class *cold = stacks_made_class(cache, class_of_blocks);

    check();
    cold->free->capacity = 0;
    assert_dies(check_cache, NULL, fault);
    cold->free->capacity = MAGAZINE_SMALLEST;
    cache->in_use[class_of_blocks / BITS_PER_WORD] = 0;
    assert_dies(check_cache, NULL, fault);
}

static void the_check_sees_a_stack_without_a_floor_and_lost_spare_ones(void **state)
{
    (void)state;
    set_up(SIZE);
    give(take());
    check();
    struct magazine *freed = stacks_class(cache, class_of_blocks)->free;

    freed->floor = freed;
    assert_dies(check_cache, NULL, "stacks: something lies below a stack's bottom");
    freed->floor = NULL;
    cache->spare_count++;
    assert_dies(check_cache, NULL, "stacks: spare ones do not add up");
    cache->spare_count--;
    stacks_flush_class(cache, class_of_blocks);
    assert_non_null(cache->spares);
    check();
    cache->spares->capacity++;
    assert_dies(check_cache, NULL, "stacks: a spare one is not of the smallest size");
}

static void until_the_first_stacks_are_through_each_is_proved(void **state)
{
    void *blocks[2];

    (void)state;
    set_up(SIZE);
    take_many(blocks, ARRAY_SIZE(blocks));
    give_many(blocks, ARRAY_SIZE(blocks));
    empty_the_alloc_stack();
    struct cache_class *cold = stacks_made_class(cache, class_of_blocks);

    /* No refill could lengthen the stacks, and blocks went back. */
    cold->swaps = SWAPS_PER_GROWTH;
    cold->doublings = 15;
    cold->has_flushed = true;
    for (int swap = 0; swap < 3; swap++) {
        (void)proof_make(cache, class_of_blocks);
        assert_true(swap_stacks());
        take_many(blocks, ARRAY_SIZE(blocks));
        give_many(blocks, ARRAY_SIZE(blocks));
        assert_false(swap_stacks());
    }
    /* As when their count has begun anew. */
    (void)proof_make(cache, class_of_blocks);
    cold->swaps = SWAPS_UNASKED;
    proof_need(cold);
    assert_false(swap_stacks());
}

static void many_different_blocks_are_no_doubles(void **state)
{
    static void *blocks[BLOCKS_MAX];

    (void)state;
    set_up(16);
    take_many(blocks, ARRAY_SIZE(blocks));
    for (int round = 0; round < 100; round++) {
        give_many(blocks, ARRAY_SIZE(blocks));
        cache_verify(cache);
        take_many(blocks, ARRAY_SIZE(blocks));
    }
}

/* Giving back */

enum { SMALLEST_STACK_BYTES = 64 };

static void a_full_stack_of_big_blocks_is_flushed_by_half(void **state)
{
    enum { BIG = 8192, MOST = 64 };
    void *blocks[MOST];

    (void)state;
    set_up(BIG);
    size_t capacity = size_classes[class_of_blocks].capacity;

    assert_true(capacity <= MOST);
    take_many(blocks, capacity);
    while (cache_grow_free(cache, class_of_blocks)) {
    }
    empty_the_alloc_stack();
    give_many(blocks, capacity);
    size_t before = arena_bin(arena, class_of_blocks)->free_blocks;

    cache_flush(cache, class_of_blocks);
    assert_int_equal(arena_bin(arena, class_of_blocks)->free_blocks - before, (capacity + 1) / 2);
    /* The younger half stays, in order. */
    for (size_t i = 0; i < capacity / 2; i++) {
        assert_ptr_equal(bin->free_top[-1 - (ptrdiff_t)i], blocks[capacity - 1 - i]);
    }
    check();
}

static void a_few_of_the_smallest_stacks_are_kept_for_the_next_use(void **state)
{
    (void)state;
    set_up(SIZE);
    for (int round = 0; round < 3; round++) {
        for (class_of_blocks = 0; class_of_blocks < CLASS_COUNT; class_of_blocks++) {
            assert_true(cache_refill(cache, class_of_blocks));
            assert_true(cache_grow_free(cache, class_of_blocks));
        }
        cache_flush_all(cache);
        assert_in_range(cache->spare_count, 1, 32);
        meta_check();
        size_t used = meta_stats().used_bytes;

        /* Both stacks of one class. */
        assert_true(cache_grow_free(cache, 0));
        assert_true(cache_refill(cache, 0));
        assert_int_equal(meta_stats().used_bytes, used);
        cache_flush_all(cache);
    }
    check();
}

static void flushing_all_gives_every_block_and_stack_back(void **state)
{
    void *blocks[100];

    (void)state;
    set_up(SIZE);
    size_t used = meta_stats().used_bytes;

    take_many(blocks, ARRAY_SIZE(blocks));
    remote_buffer_free(cache, blocks[0], SIZE);
    assert_int_equal(cache->remote->count, 1);
    give_many(&blocks[1], ARRAY_SIZE(blocks) - 1);
    cache_flush_all(cache);
    assert_int_equal(cached_blocks(), 0);
    assert_null(cache_pop(bin));
    reclaim_all();
    check();
    meta_check();
    assert_int_equal(page_heap_stats().free_units, page_heap_stats().total_units);
    assert_int_equal(meta_stats().used_bytes, used + sizeof(struct bin) +
                                                  GROUP_CLASSES * sizeof(struct cache_class) +
                                                  cache->spare_count * SMALLEST_STACK_BYTES);
    /* And it serves again. */
    assert_non_null(take());
    check();
}

/* Take one block and give all back until, at every 16th stack, the class is looked at; then trim
 * it.
 */
static void use_until_trimmed(void)
{
    void *block = cache_pop_any(cache, class_of_blocks);
    size_t unneeded = 0;

    do {
        assert_int_equal(unneeded, 0);
        for (; block != NULL; block = cache_pop(bin)) {
            give(block);
        }
        (void)proof_make(cache, class_of_blocks);
        block = cache_pop_freed(cache, class_of_blocks);
        assert_non_null(block);
    } while (!cache_is_trim_due(cache, class_of_blocks));
    unneeded = cache_begin_trim(cache, class_of_blocks);
    void *freed_before = *bin->alloc_top;

    cache_trim(cache, class_of_blocks, unneeded);
    assert_true(*bin->alloc_top == freed_before || *bin->alloc_top == NULL);
    give(block);
    check();
}

static void set_up_twelve_to_hand_out(void)
{
    void *blocks[12];

    set_up(16384);
    take_many(blocks, ARRAY_SIZE(blocks));
    give_many(blocks, ARRAY_SIZE(blocks));
    empty_the_alloc_stack();
    assert_true(swap_stacks());
}

static void a_trim_gives_half_of_the_unneeded_blocks_back_and_keeps_one(void **state)
{
    (void)state;
    set_up_twelve_to_hand_out();
    /* There was a refill since the last trim: every block was needed. */
    use_until_trimmed();
    assert_int_equal(cached_blocks(), 12);
    use_until_trimmed();
    assert_int_equal(cached_blocks(), 6);
    use_until_trimmed();
    use_until_trimmed();
    assert_int_equal(cached_blocks(), 2);
    use_until_trimmed();
    use_until_trimmed();
    assert_int_equal(cached_blocks(), 1);
}

static void a_trim_gives_nothing_back_that_a_refill_was_needed_for(void **state)
{
    (void)state;
    set_up_twelve_to_hand_out();
    use_until_trimmed();
    for (void *block = cache_pop(bin); block != NULL; block = cache_pop(bin)) {
        give(block);
    }
    assert_true(cache_refill(cache, class_of_blocks));
    size_t held = cached_blocks();

    use_until_trimmed();
    assert_int_equal(cached_blocks(), held);
}

/* A block that the cache holds. */
static void *take_held(void)
{
    void *block = cache_pop(bin);

    if (block == NULL) {
        (void)proof_make(cache, class_of_blocks);
        block = cache_pop_freed(cache, class_of_blocks);
    }
    assert_non_null(block);
    return block;
}

static void a_trim_goes_by_the_fewest_blocks_that_were_held(void **state)
{
    void *blocks[12];

    (void)state;
    set_up_twelve_to_hand_out();
    use_until_trimmed();
    /* The last one was all that there was. */
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = take_held();
    }
    give_many(blocks, ARRAY_SIZE(blocks));
    use_until_trimmed();
    assert_int_equal(cached_blocks(), 12);
    /* Two were. */
    for (size_t i = 0; i < 11; i++) {
        blocks[i] = take_held();
    }
    give(blocks[0]);
    blocks[0] = take_held();
    give_many(blocks, 11);
    use_until_trimmed();
    assert_int_equal(cached_blocks(), 11);
}

static void a_thread_that_only_hits_learns_that_its_class_is_sparse(void **state)
{
    (void)state;
    set_up(SIZE);
    give(take());
    atomic_store(&arena_bin(arena, class_of_blocks)->is_sparse, true);
    (void)cache_begin_trim(cache, class_of_blocks);
    empty_the_alloc_stack();
    (void)proof_make(cache, class_of_blocks);
    assert_null(cache_pop_freed(cache, class_of_blocks));
    assert_true(cache_refill(cache, class_of_blocks));
}

static void a_trim_keeps_what_spares_swaps(void **state)
{
    void *blocks[120];

    (void)state;
    set_up(64);
    take_many(blocks, ARRAY_SIZE(blocks));
    give_many(blocks, ARRAY_SIZE(blocks));
    empty_the_alloc_stack();
    assert_true(swap_stacks());
    for (int round = 0; round < 6; round++) {
        use_until_trimmed();
    }
    assert_int_equal(cached_blocks(), 64);
}

static void counting_gives_blocks_and_bytes(void **state)
{
    size_t blocks;
    size_t bytes;

    (void)state;
    set_up(SIZE);
    assert_true(cache_refill(cache, class_of_blocks));
    cache_count(cache, &blocks, &bytes);
    assert_int_equal(bytes, blocks * SIZE);
    give(cache_pop(bin));
    size_t again;

    cache_count(cache, &again, &bytes);
    assert_int_equal(again, blocks);
    cache_count(&cache_none, &blocks, &bytes);
    assert_int_equal(blocks, 0);
    assert_int_equal(bytes, 0);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_thread_without_a_cache_has_stacks_empty_and_full),
        ISOLATED(a_new_cache_is_empty_and_full),
        ISOLATED(a_class_and_its_code_name_the_same_bin),
        ISOLATED(refills_start_small_and_grow_to_the_most_of_the_class),
        ISOLATED(a_thread_that_builds_up_fetches_whole_stacks_if_it_frees_too),
        ISOLATED(a_thread_that_has_used_little_fetches_little),
        ISOLATED(fresh_blocks_come_in_ascending_order),
        ISOLATED(every_class_can_be_refilled_and_given_back),
        ISOLATED(without_memory_a_refill_fails_and_the_next_may_work),
        ISOLATED(without_memory_for_its_group_a_class_has_neither_stacks_nor_singles),
        ISOLATED(in_the_middle_of_a_swap_nothing_counts_as_freed),
        ISOLATED(what_was_freed_last_comes_back_first),
        ISOLATED(a_lone_freed_block_comes_back_without_a_swap),
        ISOLATED(a_lone_block_is_popped_at_once_where_nothing_is_to_be_asked),
        ISOLATED(a_class_whose_one_block_goes_round_is_not_idle),
        ISOLATED(short_stacks_are_swapped_until_a_refill_lengthens_them),
        ISOLATED(where_the_number_in_use_swings_refills_are_half_as_large),
        ISOLATED(of_blocks_longer_than_a_page_they_are_not),
        ISOLATED(of_a_sparse_class_of_long_blocks_what_was_freed_goes_back_before_a_refill),
        ISOLATED(without_memory_for_longer_stacks_the_short_ones_are_swapped),
        ISOLATED(stacks_do_not_become_longer_than_swaps_need),
        ISOLATED(a_block_freed_just_before_is_refused),
        ISOLATED(a_misaligned_address_is_refused),
        ISOLATED(the_free_stack_grows_to_the_capacity_and_keeps_its_blocks),
        ISOLATED(without_memory_the_free_stack_stays_as_it_is),
        ISOLATED(a_flush_empties_the_free_stack_into_the_arena),
        ISOLATED(a_block_twice_on_the_free_stack_dies_before_it_is_handed_out),
        ISOLATED(a_block_twice_on_a_full_stack_dies_when_it_is_flushed),
        ISOLATED(a_block_twice_dies_before_it_goes_to_a_depot_in_the_sample),
        ISOLATED(an_address_between_two_blocks_dies_before_it_is_handed_out),
        ISOLATED(an_address_between_two_blocks_is_never_handed_out),
        ISOLATED(a_lone_address_inside_a_block_is_never_handed_out),
        ISOLATED(nor_is_one_in_a_slab_of_several_units),
        ISOLATED(the_check_sees_a_block_on_both_stacks),
        ISOLATED(the_check_sees_a_block_of_another_class),
        ISOLATED(the_check_sees_a_stack_that_is_not_marked_or_too_long),
        ISOLATED(the_check_sees_a_stack_without_a_floor_and_lost_spare_ones),
        ISOLATED(until_the_first_stacks_are_through_each_is_proved),
        ISOLATED(many_different_blocks_are_no_doubles),
        ISOLATED(a_full_stack_of_big_blocks_is_flushed_by_half),
        ISOLATED(a_few_of_the_smallest_stacks_are_kept_for_the_next_use),
        ISOLATED(flushing_all_gives_every_block_and_stack_back),
        ISOLATED(a_trim_gives_half_of_the_unneeded_blocks_back_and_keeps_one),
        ISOLATED(a_trim_gives_nothing_back_that_a_refill_was_needed_for),
        ISOLATED(a_trim_goes_by_the_fewest_blocks_that_were_held),
        ISOLATED(a_thread_that_only_hits_learns_that_its_class_is_sparse),
        ISOLATED(a_trim_keeps_what_spares_swaps),
        ISOLATED(counting_gives_blocks_and_bytes),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
