/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_slab.c - blocks leave a slab's bitmap once and come back once. */
#include "support.h"

#include "lock.h"
#include "meta.h"
#include "os.h"
#include "page_heap.h"
#include "slab.h"

#define BLOCKS_MAX (UNIT_BYTES / BLOCK_ALIGN)

/* Of the bin that the slabs would be of. */
static struct lock bin_lock = LOCK_INITIALIZER(LOCK_RANK_BIN);

/* The lock is held from now on. */
static struct slab *slab_of_class(unsigned class)
{
    struct span *span = page_heap_alloc(&(struct run_request){.units = size_classes[class].units,
                                                              .align_units = 1,
                                                              .state = SPAN_SLAB,
                                                              .grow = true,
                                                              .zero = false});

    assert_non_null(span);
    struct slab *slab = slab_create(span, class, 0, NULL);

    assert_non_null(slab);
    if (!lock_is_held(&bin_lock)) {
        lock_acquire(&bin_lock);
    }
    slab_check(slab);
    return slab;
}

/* A slab of the class of `size`. */
static struct slab *slab_of_size(size_t size)
{
    size_class_init();
    return slab_of_class(size_class_of(size));
}

static uintptr_t block_address(const struct slab *slab, size_t index)
{
    return slab->start + index * slab_class(slab)->size;
}

/* Put back blocks by their addresses, one by one. */
static void put_back(struct slab *slab, void *const *blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned index;

        assert_ptr_equal(slab_of_own_block((uintptr_t)blocks[i], &index), slab);
        slab_put_word_locked(slab, index / BITS_PER_WORD, UINT64_C(1) << (index % BITS_PER_WORD));
        slab_note_taken_in_locked(slab, 1, false);
    }
}

static void every_block_of_a_new_slab_is_free(void **state)
{
    struct slab *slab = slab_of_size(48);

    (void)state;
    assert_true(slab_is_empty(slab));
    assert_int_equal(slab->free_count, UNIT_BYTES / 48);
    assert_int_equal(slab->start % UNIT_BYTES, 0);
    assert_ptr_equal(span_of(slab->start)->slab, slab);
}

static void blocks_come_in_ascending_order_from_the_top_of_the_stack(void **state)
{
    struct slab *slab = slab_of_size(64);
    void *stack[10];

    (void)state;
    assert_int_equal(slab_take_locked(slab, stack, ARRAY_SIZE(stack)), ARRAY_SIZE(stack));
    slab_check(slab);
    for (size_t i = 0; i < ARRAY_SIZE(stack); i++) {
        assert_ptr_equal(stack[ARRAY_SIZE(stack) - 1 - i], block_address(slab, i));
    }
}

static void takes_may_end_anywhere_but_split_no_second_word_for_a_half(void **state)
{
    static const struct {
        size_t want, taken;
    } takes[] = {{1, 1},   {62, 62}, {1, 1},     {64, 64}, {63, 63}, {2, 1},
                 {2, 2},   {63, 62}, {130, 128}, {64, 64}, {20, 20}, {65, 44},
                 {97, 97}, {94, 94}, {32, 1},    {33, 33}, {63, 31}, {64, 64}};
    void *stack[130];
    size_t next = 0;

    (void)state;
    struct slab *slab = slab_of_size(16);

    for (size_t i = 0; i < ARRAY_SIZE(takes); i++) {
        size_t want = takes[i].want;

        assert_int_equal(slab_take_locked(slab, stack, want), takes[i].taken);
        slab_check(slab);
        for (size_t k = want; k > want - takes[i].taken; k--) {
            assert_ptr_equal(stack[k - 1], block_address(slab, next));
            next++;
        }
        assert_int_equal(slab->free_count, slab_class(slab)->blocks - next);
    }
}

static void blocks_put_back_fill_the_holes_first(void **state)
{
    struct slab *slab = slab_of_size(512);
    void *blocks[100];
    void *again[4];

    (void)state;
    assert_int_equal(slab_take_locked(slab, blocks, BITS_PER_WORD), BITS_PER_WORD);
    assert_int_equal(slab_take_locked(slab, &blocks[BITS_PER_WORD], 100 - BITS_PER_WORD),
                     100 - BITS_PER_WORD);
    /* The tenth block of each word. */
    void *holes[] = {blocks[BITS_PER_WORD - 10], blocks[ARRAY_SIZE(blocks) - 10]};

    put_back(slab, holes, ARRAY_SIZE(holes));
    slab_check(slab);
    assert_int_equal(slab_take_locked(slab, again, ARRAY_SIZE(again)), ARRAY_SIZE(again));
    assert_ptr_equal(again[3], holes[0]);
    assert_ptr_equal(again[2], holes[1]);
    assert_ptr_equal(again[1], block_address(slab, 100));
    assert_ptr_equal(again[0], block_address(slab, 101));
}

static void taking_more_than_there_is_fills_the_end(void **state)
{
    struct slab *slab = slab_of_size(UNIT_BYTES / 4);
    void *stack[7] = {NULL};

    (void)state;
    assert_int_equal(slab_take_locked(slab, stack, ARRAY_SIZE(stack)), 4);
    slab_check(slab);
    assert_true(is_all(stack, 3 * sizeof(stack[0]), 0));
    assert_ptr_equal(stack[6], block_address(slab, 0));
    assert_ptr_equal(stack[3], block_address(slab, 3));
    assert_int_equal(slab_take_locked(slab, stack, ARRAY_SIZE(stack)), 0);
    assert_int_equal(slab->free_count, 0);
    slab_check(slab);
}

static void every_class_gives_and_takes_every_block(void **state)
{
    static void *stack[BLOCKS_MAX];

    (void)state;
    size_class_init();
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        struct slab *slab = slab_of_class(class);
        size_t blocks = size_classes[class].blocks;

        assert_int_equal(slab_take_locked(slab, stack, blocks), blocks);
        slab_check(slab);
        for (size_t i = 0; i < blocks; i++) {
            assert_ptr_equal(stack[blocks - 1 - i], block_address(slab, i));
        }
        put_back(slab, stack, blocks);
        slab_check(slab);
        assert_true(slab_is_empty(slab));
    }
}

static void blocks_are_never_touched(void **state)
{
    static void *stack[BLOCKS_MAX];

    (void)state;
    struct slab *slab = slab_of_size(32);
    size_t blocks = slab_class(slab)->blocks;

    (void)slab_take_locked(slab, stack, blocks);
    put_back(slab, stack, blocks);
    assert_int_equal(resident_pages((void *)slab->start, UNIT_BYTES), 0);
}

/* Lookups */

static void only_the_start_of_a_block_is_a_block(void **state)
{
    struct slab *slab = slab_of_size(48);
    unsigned index;

    (void)state;
    for (size_t offset = 0; offset < UNIT_BYTES; offset++) {
        bool starts = offset % 48 == 0 && offset / 48 < slab_class(slab)->blocks;

        assert_ptr_equal(slab_of_block(slab->start + offset, &index), starts ? slab : NULL);
        if (starts) {
            assert_int_equal(index, offset / 48);
        }
    }
    assert_null(slab_of_block(slab->start - 1, &index));
    assert_null(slab_of_block(slab->start + UNIT_BYTES, &index));
    assert_null(slab_of_block(0, &index));
    assert_null(slab_of_block((uintptr_t)&slab, &index));
}

static void a_slab_of_several_units_is_found_from_each_of_them(void **state)
{
    struct slab *slab = slab_of_size(40 * KIB);
    size_t units = slab_class(slab)->units;
    uintptr_t start = slab->start;
    unsigned index;

    (void)state;
    assert_true(units > 1);
    for (size_t offset = 0; offset < units * UNIT_BYTES; offset += 1024) {
        bool starts = offset % (40 * KIB) == 0 && offset < slab_class(slab)->bytes;

        assert_ptr_equal(slab_at(start + offset), slab);
        assert_ptr_equal(slab_of_block(start + offset, &index), starts ? slab : NULL);
        if (starts) {
            assert_int_equal(index, offset / (40 * KIB));
        }
    }
    page_heap_check();
    struct span *span = slab_destroy(slab);

    assert_ptr_equal(span, span_of(start));
    assert_null(slab_at(start));
    assert_null(slab_at(start + UNIT_BYTES));
    page_heap_free(span);
    page_heap_check();
    /* The same units as a large run: none of them is a slab's. */
    span = page_heap_alloc(&(struct run_request){
        .units = units, .align_units = 1, .state = SPAN_LARGE, .grow = false, .zero = false});
    assert_ptr_equal(span, span_of(start));
    for (size_t unit = 1; unit < units; unit++) {
        assert_int_equal(span[unit].state, SPAN_NONE);
    }
}

static void of_a_slab_of_several_units_whole_blocks_go_back(void **state)
{
    struct slab *slab = slab_of_size(40 * KIB);
    struct iovec ranges[SLAB_RANGES_MAX];
    void *stack[8];

    (void)state;
    assert_int_equal(slab_class(slab)->blocks, ARRAY_SIZE(stack));
    assert_int_equal(slab_take_locked(slab, stack, ARRAY_SIZE(stack)), ARRAY_SIZE(stack));
    assert_int_equal(slab_begin_purge_locked(slab, 0, ranges), 0);
    /* The second; the fourth and fifth. */
    void *freed[] = {(void *)block_address(slab, 1), (void *)block_address(slab, 3),
                     (void *)block_address(slab, 4)};

    put_back(slab, freed, ARRAY_SIZE(freed));
    assert_int_equal(slab_begin_purge_locked(slab, 0, ranges), 2);
    assert_ptr_equal(ranges[0].iov_base, freed[0]);
    assert_int_equal(ranges[0].iov_len, 40 * KIB);
    assert_ptr_equal(ranges[1].iov_base, freed[1]);
    assert_int_equal(ranges[1].iov_len, 80 * KIB);
    slab_note_purged_locked(slab, &ranges[1]);
    assert_int_equal(slab_begin_purge_locked(slab, 0, ranges), 1);
    assert_int_equal(slab_take_locked(slab, stack, 2), 2);
    assert_ptr_equal(stack[0], freed[1]);
    put_back(slab, stack, 2);
    assert_int_equal(slab_begin_purge_locked(slab, 0, ranges), 2);
    assert_ptr_equal(ranges[1].iov_base, freed[1]);
    assert_int_equal(ranges[1].iov_len, 40 * KIB);
}

static void each_page_of_a_block_that_was_in_use_again_goes_back_again(void **state)
{
    struct slab *slab = slab_of_size(12 * KIB);
    struct iovec ranges[SLAB_RANGES_MAX];
    void *block;

    (void)state;
    assert_int_equal(slab_begin_purge_locked(slab, 0, ranges), 1);
    assert_int_equal(ranges[0].iov_len, slab_class(slab)->bytes);
    slab_note_purged_locked(slab, &ranges[0]);
    assert_int_equal(slab_take_locked(slab, &block, 1), 1);
    slab_check(slab);
    put_back(slab, &block, 1);
    assert_int_equal(slab_begin_purge_locked(slab, 0, ranges), 1);
    assert_ptr_equal(ranges[0].iov_base, block);
    assert_int_equal(ranges[0].iov_len, 12 * KIB);
}

static void look_after(struct slab *slab, unsigned ticks, struct iovec *ranges, unsigned expected)
{
    for (; ticks > 0; ticks--) {
        assert_false(slab_may_purge_locked(slab, 4));
        tick_advance();
    }
    assert_true(slab_may_purge_locked(slab, 4));
    assert_int_equal(slab_begin_purge_locked(slab, 4, ranges), expected);
}

static void a_block_that_comes_and_goes_does_not_keep_the_memory_of_others(void **state)
{
    struct slab *slab = slab_of_size(64 * KIB);
    struct iovec ranges[SLAB_RANGES_MAX];
    void *stack[8];

    (void)state;
    assert_int_equal(slab_class(slab)->blocks, ARRAY_SIZE(stack));
    assert_int_equal(slab_take_locked(slab, stack, ARRAY_SIZE(stack)), ARRAY_SIZE(stack));
    slab->settled = true;
    void *resting = (void *)block_address(slab, 5);
    void *busy = (void *)block_address(slab, 1);

    put_back(slab, &resting, 1);
    look_after(slab, 2, ranges, 0);
    tick_advance();
    put_back(slab, &busy, 1);
    /* The first look after half the time saw it free, the second sees it still free. */
    look_after(slab, 1, ranges, 1);
    assert_ptr_equal(ranges[0].iov_base, resting);
    assert_int_equal(ranges[0].iov_len, 64 * KIB);
    slab_note_purged_locked(slab, &ranges[0]);
    assert_false(slab->settled);
    /* The other one has gone and come back. */
    assert_int_equal(slab_take_locked(slab, stack, 1), 1);
    assert_ptr_equal(stack[0], busy);
    put_back(slab, &busy, 1);
    look_after(slab, 2, ranges, 0);
    look_after(slab, 2, ranges, 1);
    assert_ptr_equal(ranges[0].iov_base, busy);
    slab_note_purged_locked(slab, &ranges[0]);
    /* Nothing is left to look at. */
    assert_true(slab->settled);
}

static void blocks_that_rested_elsewhere_do_not_let_free_pages_wait_anew(void **state)
{
    enum { TICKS = 4 };
    struct slab *slab = slab_of_size(4096);
    void *stack[2];

    (void)state;
    assert_int_equal(slab_take_locked(slab, stack, ARRAY_SIZE(stack)), ARRAY_SIZE(stack));
    put_back(slab, &stack[0], 1);
    for (unsigned ticks = 0; ticks < TICKS; ticks++) {
        assert_false(slab_may_purge_locked(slab, TICKS));
        tick_advance();
    }
    slab_put_word_locked(slab, 0, 1);
    slab_note_taken_in_locked(slab, 1, true);
    assert_true(slab_may_purge_locked(slab, TICKS));
    /* One that was in use a moment ago does. */
    assert_int_equal(slab_take_locked(slab, stack, 1), 1);
    put_back(slab, stack, 1);
    assert_false(slab_may_purge_locked(slab, TICKS));
}

static void a_large_run_has_no_blocks(void **state)
{
    struct span *span = page_heap_alloc(&(struct run_request){
        .units = 2, .align_units = 1, .state = SPAN_LARGE, .grow = true, .zero = false});
    unsigned index;

    (void)state;
    assert_null(slab_of_block(span_address(span), &index));
    assert_null(slab_of_block(span_address(span) + UNIT_BYTES, &index));
}

static void ask_for_own_block(void *address)
{
    unsigned index;

    (void)slab_of_own_block((uintptr_t)address, &index);
}

static void an_address_that_must_be_a_block_and_is_none_dies(void **state)
{
    struct slab *slab = slab_of_size(48);
    uintptr_t interior = slab->start + 49;
    int local;

    (void)state;
    assert_dies_at(ask_for_own_block, (void *)interior, "invalid free of", interior);
    assert_dies_at(ask_for_own_block, &local, "invalid free of", (uintptr_t)&local);
}

/* Faults */

static void put_block_70(void *slab)
{
    slab_put_word_locked((struct slab *)slab, 1, UINT64_C(1) << 6);
}

static void put_word_1(void *slab)
{
    slab_put_word_locked((struct slab *)slab, 1, UINT64_C(0xffff));
}

static void putting_a_free_block_back_dies_and_names_it(void **state)
{
    struct slab *slab = slab_of_size(64);
    void *blocks[128];

    (void)state;
    assert_dies_at(put_block_70, slab, "double free of", block_address(slab, 70));
    (void)slab_take_locked(slab, blocks, ARRAY_SIZE(blocks));
    put_block_70(slab);
    assert_dies_at(put_block_70, slab, "double free of", block_address(slab, 70));
    assert_dies_at(put_word_1, slab, "double free of", block_address(slab, 70));
}

static void destroy(void *slab)
{
    slab_destroy((struct slab *)slab);
}

static void a_slab_with_a_block_in_use_cannot_be_destroyed(void **state)
{
    struct slab *slab = slab_of_size(64);
    void *block;

    (void)state;
    (void)slab_take_locked(slab, &block, 1);
    assert_dies(destroy, slab, "assertion failed: slab_is_empty(slab)");
}

static void a_destroyed_slab_leaves_no_descriptor(void **state)
{
    (void)state;
    size_class_init();
    struct slab *slab = slab_of_size(16);
    size_t used = meta_stats().used_bytes;
    struct slab *second = slab_of_size(16);

    assert_true(meta_stats().used_bytes > used);
    slab_destroy(second);
    assert_int_equal(meta_stats().used_bytes, used);
    slab_check(slab);
    meta_check();
}

static void without_memory_for_the_descriptor_there_is_no_slab(void **state)
{
    struct span *span = page_heap_alloc(&(struct run_request){
        .units = 1, .align_units = 1, .state = SPAN_SLAB, .grow = true, .zero = false});

    (void)state;
    size_class_init();
    os_fail_calls(1, UINT64_MAX);
    assert_null(slab_create(span, 0, 0, NULL));
    os_fail_calls(0, 0);
    assert_null(span->slab);
    page_heap_free(span);
    page_heap_check();
}

static void check(void *slab)
{
    slab_check((struct slab *)slab);
}

static void the_check_sees_what_does_not_agree(void **state)
{
    struct slab *slab = slab_of_size(48);
    static const char disagree[] = "slab: bitmap and summary disagree, or a block is in two places";

    (void)state;
    slab->free_count--;
    assert_dies(check, slab, "slab: free_count is wrong");
    slab->free_count++;
    slab->free_summary ^= 1;
    assert_dies(check, slab, disagree);
    slab->free_summary ^= 1;
    atomic_store(slab_remote_word(slab, 0), 2);
    assert_dies(check, slab, disagree);
    atomic_store(slab_remote_word(slab, 0), 0);
    slab->free[slab->words - 1] |= UINT64_C(1) << 63;
    assert_dies(check, slab, disagree);
}

static void the_check_sees_a_page_that_is_in_use_and_counts_as_idle(void **state)
{
    static const char fault[] = "slab: a page that is in use counts as idle";
    struct slab *slab = slab_of_size(48);
    struct slab *several = slab_of_size(24 * KIB);
    void *block;

    (void)state;
    slab->purged = 2;
    slab_check(slab);
    /* The first block, on the first page. */
    assert_int_equal(slab_take_locked(slab, &block, 1), 1);
    slab_check(slab);
    slab->purged = 1;
    assert_dies(check, slab, fault);
    assert_int_equal(slab_take_locked(several, &block, 1), 1);
    several->stayed = 2;
    slab_check(several);
    several->stayed = 1;
    assert_dies(check, several, fault);
    slab->purged = 0;
    slab->stayed = 2;
    assert_dies(check, slab, "slab: of one unit only pages are known");
}

static void take_without_lock(void *slab)
{
    void *block;

    lock_release(&bin_lock);
    (void)slab_take_locked((struct slab *)slab, &block, 1);
}

static void without_the_lock_nothing_is_taken(void **state)
{
    struct slab *slab = slab_of_size(64);

    (void)state;
    assert_dies(take_without_lock, slab, "assertion failed: lock_rank_is_held(LOCK_RANK_BIN)");
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(every_block_of_a_new_slab_is_free),
        ISOLATED(blocks_come_in_ascending_order_from_the_top_of_the_stack),
        ISOLATED(takes_may_end_anywhere_but_split_no_second_word_for_a_half),
        ISOLATED(blocks_put_back_fill_the_holes_first),
        ISOLATED(taking_more_than_there_is_fills_the_end),
        ISOLATED(every_class_gives_and_takes_every_block),
        ISOLATED(blocks_are_never_touched),
        ISOLATED(only_the_start_of_a_block_is_a_block),
        ISOLATED(a_slab_of_several_units_is_found_from_each_of_them),
        ISOLATED(of_a_slab_of_several_units_whole_blocks_go_back),
        ISOLATED(each_page_of_a_block_that_was_in_use_again_goes_back_again),
        ISOLATED(a_block_that_comes_and_goes_does_not_keep_the_memory_of_others),
        ISOLATED(blocks_that_rested_elsewhere_do_not_let_free_pages_wait_anew),
        ISOLATED(a_large_run_has_no_blocks),
        ISOLATED(an_address_that_must_be_a_block_and_is_none_dies),
        ISOLATED(putting_a_free_block_back_dies_and_names_it),
        ISOLATED(a_slab_with_a_block_in_use_cannot_be_destroyed),
        ISOLATED(a_destroyed_slab_leaves_no_descriptor),
        ISOLATED(without_memory_for_the_descriptor_there_is_no_slab),
        ISOLATED(the_check_sees_what_does_not_agree),
        ISOLATED(the_check_sees_a_page_that_is_in_use_and_counts_as_idle),
        ISOLATED(without_the_lock_nothing_is_taken),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
