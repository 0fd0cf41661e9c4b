/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_bin_purge.c - free pages of a bin's slabs: which go back, how many at once, and what is left
 * for the next purge. */
#include "bin_support.h"

#include "bin_purge.h"

/* What goes back at once: so many slabs without a block in use. */
enum { PURGED_AT_ONCE = 16 };

/* A purge that has begun; the bytes that went back. */
static size_t go_on_to_the_end(void)
{
    size_t sum = 0;
    size_t bytes;

    for (bool more = true; more; sum += bytes) {
        more = bin_purge_locked(&bin, PURGED_AT_ONCE * UNIT_BYTES, &bytes);
    }
    return sum;
}

/* All that can be. */
static size_t purge_all(void)
{
    return bin_purge_begin_locked(&bin, 0) ? go_on_to_the_end() : 0;
}

static void a_new_bin_has_nothing_to_give_back(void **state)
{
    (void)state;
    new_bin();
    assert_false(bin_purge_begin_locked(&bin, 0));
    assert_int_equal(purge_all(), 0);
}

static void a_purge_looks_through_slabs_only_as_long_as_there_may_be_something(void **state)
{
    static void *blocks[2][UNIT_BYTES / SIZE];

    (void)state;
    new_bin();
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        (void)add_slab();
        take_slab(blocks[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        put(&blocks[i][1], blocks_of_slab() - 1);
    }
    /* All of each slab but the page of the block in use. */
    assert_true(bin.may_purge);
    assert_int_equal(purge_all(), ARRAY_SIZE(blocks) * (UNIT_BYTES - SLAB_PAGE_BYTES));
    assert_false(bin.may_purge);
    assert_false(bin_purge_begin_locked(&bin, 0));
    assert_true(is_all(blocks[0][0], SIZE, PATTERN));
    assert_true(is_all(blocks[1][0], SIZE, PATTERN));
    /* The last block of a slab, and with it the page. */
    put(&blocks[0][0], 1);
    assert_true(bin.may_purge);
    assert_int_equal(purge_all(), SLAB_PAGE_BYTES);
}

static void a_page_is_looked_for_though_its_slab_stays_on_its_list(void **state)
{
    enum { PAGE_BLOCKS = SLAB_PAGE_BYTES / SIZE };
    static void *blocks[UNIT_BYTES / SIZE];

    (void)state;
    new_bin();
    struct slab *slab = add_slab();

    take_slab(blocks);
    put(&blocks[0], PAGE_BLOCKS - 1);
    assert_int_equal(purge_all(), 0);
    unsigned list = slab->list;

    put(&blocks[PAGE_BLOCKS - 1], 1);
    assert_int_equal(slab->list, list);
    assert_int_equal(purge_all(), SLAB_PAGE_BYTES);
    /* From other threads too. */
    struct slab *released = NULL;

    remote_publish(slab, 0, ((UINT64_C(1) << PAGE_BLOCKS) - 1) << 4 * PAGE_BLOCKS);
    assert_int_equal(bin_take_in_locked(&bin, slab, &released), PAGE_BLOCKS);
    assert_int_equal(slab->list, list);
    assert_int_equal(purge_all(), SLAB_PAGE_BYTES);
}

/* However many there are, and though the lock is given up in between. */
static void a_purge_looks_at_each_slab_once(void **state)
{
    enum { SLABS = 600, SEEN_AT_ONCE = 256 };
    unsigned calls = 0;
    size_t sum = 0;
    size_t bytes;

    (void)state;
    new_bin();
    add_slabs(SLABS);
    for (bool more = bin_purge_begin_locked(&bin, 0); more; calls++) {
        more = bin_purge_locked(&bin, PURGED_AT_ONCE * UNIT_BYTES, &bytes);
        sum += bytes;
    }
    assert_int_equal(sum, SLABS * UNIT_BYTES);
    assert_in_range(calls, SLABS / PURGED_AT_ONCE, SLABS / PURGED_AT_ONCE + 2);
    bin.may_purge = true;
    calls = 0;
    for (bool more = bin_purge_begin_locked(&bin, 0); more; calls++) {
        more = bin_purge_locked(&bin, PURGED_AT_ONCE * UNIT_BYTES, &bytes);
        assert_int_equal(bytes, 0);
    }
    assert_in_range(calls, 1, SLABS / SEEN_AT_ONCE + 1);
}

static void a_purge_goes_on_where_a_slab_has_left_its_list(void **state)
{
    enum { SLABS = 20 };
    static void *blocks[UNIT_BYTES / SIZE];
    size_t bytes;

    (void)state;
    new_bin();
    add_slabs(SLABS);
    assert_true(bin_purge_begin_locked(&bin, 0));
    assert_true(bin_purge_locked(&bin, PURGED_AT_ONCE * UNIT_BYTES, &bytes));
    assert_int_equal(bytes, PURGED_AT_ONCE * UNIT_BYTES);
    /* The next ones are in use now, all but the last. */
    for (unsigned i = 0; i + 1 < SLABS; i++) {
        take_slab(blocks);
    }
    assert_false(bin_purge_locked(&bin, PURGED_AT_ONCE * UNIT_BYTES, &bytes));
    assert_int_equal(bytes, UNIT_BYTES);
    bin_check_locked(&bin);
}

/* Blocks that are taken meanwhile make it one of the fuller ones, which were looked at before. */
static void a_slab_that_goes_to_a_list_that_was_passed_is_left_to_the_next_purge(void **state)
{
    enum { BLOCKS_OF_PAGE = SLAB_PAGE_BYTES / SIZE };
    static void *blocks[2][UNIT_BYTES / SIZE];
    size_t bytes;

    (void)state;
    new_bin();
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        (void)add_slab();
        take_slab(blocks[i]);
    }
    /* A page of one slab, four of the other: just a quarter. */
    put(blocks[0], BLOCKS_OF_PAGE);
    put(blocks[1], (size_t)4 * BLOCKS_OF_PAGE);
    assert_true(bin_purge_begin_locked(&bin, 0));
    assert_true(bin_purge_locked(&bin, SLAB_PAGE_BYTES, &bytes));
    assert_int_equal(bytes, SLAB_PAGE_BYTES);
    for (size_t i = 0; i < BLOCKS_OF_PAGE + 1; i++) {
        (void)take();
    }
    size_t rest = go_on_to_the_end();

    assert_int_equal(rest + purge_all(), (size_t)3 * SLAB_PAGE_BYTES);
}

/* Trims on two threads, and a decay step between: whoever goes on, all goes back. */
static void two_purges_at_once_leave_nothing(void **state)
{
    enum { SLABS = 40, TICKS = 3 };
    size_t bytes;

    (void)state;
    new_bin();
    add_slabs(SLABS);
    assert_true(bin_purge_begin_locked(&bin, 0));
    assert_true(bin_purge_locked(&bin, PURGED_AT_ONCE * UNIT_BYTES, &bytes));
    assert_int_equal(bytes, PURGED_AT_ONCE * UNIT_BYTES);
    assert_true(bin_purge_begin_locked(&bin, TICKS));
    assert_true(bin_purge_begin_locked(&bin, 0));
    assert_int_equal(go_on_to_the_end(), (SLABS - PURGED_AT_ONCE) * UNIT_BYTES);
    assert_false(bin_purge_begin_locked(&bin, 0));
}

static void a_trim_takes_over_a_decay_step(void **state)
{
    enum { SLABS = 40, TICKS = 3 };
    size_t bytes;

    (void)state;
    new_bin();
    add_slabs(SLABS);
    let_ticks_pass(1);
    assert_true(bin_purge_begin_locked(&bin, TICKS));
    assert_true(bin_purge_begin_locked(&bin, 0));
    assert_true(bin_purge_begin_locked(&bin, TICKS));
    assert_true(bin_purge_locked(&bin, PURGED_AT_ONCE * UNIT_BYTES, &bytes));
    assert_int_equal(bytes + go_on_to_the_end(), SLABS * UNIT_BYTES);
    assert_false(bin_purge_begin_locked(&bin, 0));
}

static void what_waits_for_less_takes_over_a_decay_step(void **state)
{
    enum { SLABS = 20, TICKS = 3 };

    (void)state;
    new_bin();
    add_slabs(SLABS);
    let_ticks_pass(1);
    assert_true(bin_purge_begin_locked(&bin, TICKS));
    assert_true(bin_purge_begin_locked(&bin, 1));
    assert_int_equal(go_on_to_the_end(), SLABS * UNIT_BYTES);
}

static void what_a_purge_has_left_waits_for_the_next(void **state)
{
    enum { SLABS = 20, TICKS = 3 };
    size_t bytes;

    (void)state;
    new_bin();
    add_slabs(SLABS);
    let_ticks_pass(TICKS);
    assert_true(bin_purge_begin_locked(&bin, TICKS));
    assert_true(bin_purge_locked(&bin, PURGED_AT_ONCE * UNIT_BYTES, &bytes));
    bin_purge_stop_locked(&bin, TICKS);
    assert_true(bin.may_purge);
    assert_true(bin_purge_begin_locked(&bin, TICKS));
    assert_false(bin_purge_locked(&bin, PURGED_AT_ONCE * UNIT_BYTES, &bytes));
    assert_int_equal(bytes, (SLABS - PURGED_AT_ONCE) * UNIT_BYTES);
    /* No more in this pass. */
    bin.may_purge = true;
    assert_false(bin_purge_begin_locked(&bin, TICKS));
    let_ticks_pass(1);
    assert_true(bin_purge_begin_locked(&bin, TICKS));
}

/* A trim, or what makes up for growth, that ended half-way. */
static void of_a_purge_without_age_the_decay_goes_on_with_nothing(void **state)
{
    enum { SLABS = 20, TICKS = 3 };
    size_t bytes;

    (void)state;
    new_bin();
    add_slabs(SLABS);
    let_ticks_pass(1);
    assert_true(bin_purge_begin_locked(&bin, 0));
    assert_true(bin_purge_locked(&bin, PURGED_AT_ONCE * UNIT_BYTES, &bytes));
    bin_purge_stop_locked(&bin, 0);
    assert_true(bin_purge_begin_locked(&bin, TICKS));
    assert_int_equal(go_on_to_the_end(), 0);
    let_ticks_pass(TICKS);
    assert_true(bin_purge_begin_locked(&bin, TICKS));
    assert_int_equal(go_on_to_the_end(), (SLABS - PURGED_AT_ONCE) * UNIT_BYTES);
}

/* However many slabs it has: a tick in which nothing was freed looks at none of them. */
static void a_class_at_rest_is_left_alone_once_its_memory_has_gone(void **state)
{
    enum { SLABS = 20, TICKS = 3 };

    (void)state;
    new_bin();
    add_slabs(SLABS);
    for (unsigned i = 1; i < TICKS; i++) {
        let_ticks_pass(1);
        assert_true(bin_purge_begin_locked(&bin, TICKS));
        assert_int_equal(go_on_to_the_end(), 0);
    }
    let_ticks_pass(1);
    assert_true(bin_purge_begin_locked(&bin, TICKS));
    assert_int_equal(go_on_to_the_end(), SLABS * UNIT_BYTES);
    for (unsigned i = 0; i < TICKS; i++) {
        let_ticks_pass(1);
        assert_false(bin_purge_begin_locked(&bin, TICKS));
    }
}

/* A bitmap word of blocks, freed by threads of another arena. */
static void take_in(struct slab *slab, unsigned word)
{
    struct slab *released = NULL;

    remote_publish(slab, word, ~UINT64_C(0));
    assert_ptr_equal(remote_take_queue(&queue), slab);
    assert_int_equal(bin_take_in_locked(&bin, slab, &released), BITS_PER_WORD);
    assert_null(released);
}

static void what_comes_in_from_others_goes_back_too(void **state)
{
    static void *blocks[UNIT_BYTES / SIZE];

    (void)state;
    new_bin();
    struct slab *slab = add_slab();

    take_slab(blocks);
    assert_int_equal(purge_all(), 0);
    take_in(slab, 1);
    assert_int_equal(purge_all(), (size_t)BITS_PER_WORD * SIZE);
    assert_true(is_all(blocks[0], SIZE, PATTERN));
}

/* Blocks that come back to a sparse bin had better not serve next. */
static void what_comes_in_to_a_sparse_bin_lets_no_free_page_wait_anew(void **state)
{
    enum { SLABS = 8, TICKS = 3 };
    static void *blocks[SLABS][UNIT_BYTES / SIZE];

    (void)state;
    new_bin();
    for (size_t i = 0; i < SLABS; i++) {
        (void)add_slab();
        take_slab(blocks[i]);
    }
    for (size_t i = 0; i < SLABS; i++) {
        put(blocks[i], BITS_PER_WORD);
    }
    assert_true(bin_is_sparse(&bin));
    struct slab *slab = slab_at((uintptr_t)blocks[0][0]);

    let_ticks_pass(TICKS);
    take_in(slab, 1);
    assert_true(slab_may_purge_locked(slab, TICKS));
}

static void what_comes_from_the_depot_lets_no_free_page_wait_anew(void **state)
{
    enum { TICKS = 3 };
    static void *blocks[UNIT_BYTES / SIZE];
    struct slab *released = NULL;

    (void)state;
    new_bin();
    struct slab *slab = add_slab();
    struct magazine *full = magazine_create(size_classes[class_of_bin].capacity);

    take_slab(blocks);
    while (full->count < full->capacity) {
        full->slots[full->count] = blocks[full->count];
        full->count++;
    }
    put(&blocks[full->count], 1);
    assert_non_null(depot_put_locked(&bin.depot, class_of_bin, full));
    bin_age_locked(&bin, 1, &released);
    let_ticks_pass(TICKS);
    bin_age_locked(&bin, 1, &released);
    assert_int_equal(depot_blocks(&bin.depot), 0);
    assert_true(slab_may_purge_locked(slab, TICKS));
}

static void a_purge_stops_where_as_much_has_gone_as_was_asked_for(void **state)
{
    enum { UNITS = 10, BLOCKS = 4 };
    void *blocks[3][BLOCKS];
    size_t bytes;

    (void)state;
    new_bin_of_class(CLASS_COUNT - 4);
    assert_int_equal(size_classes[class_of_bin].units, UNITS);
    assert_int_equal(blocks_of_slab(), BLOCKS);
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        (void)add_slab();
        take_slab(blocks[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        put(blocks[i], 1);
    }
    size_t size = size_classes[class_of_bin].size;

    /* A block of each of three slabs. */
    assert_true(bin_purge_begin_locked(&bin, 0));
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        assert_true(bin_purge_locked(&bin, size, &bytes));
        assert_int_equal(bytes, size);
    }
    assert_false(bin_purge_locked(&bin, size, &bytes));
    assert_int_equal(bytes, 0);
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        assert_int_equal(resident_pages(blocks[i][0], size), 0);
        assert_true(is_all((char *)blocks[i][1], size, PATTERN));
    }
}

/* Slabs whose every second page has no block in use: eight ranges each. */

enum { HALF_FREE_SLABS = 10, BLOCKS_PER_PAGE = SLAB_PAGE_BYTES / SIZE };

static void free_every_second_page(void)
{
    static void *blocks[HALF_FREE_SLABS][UNIT_BYTES / SIZE];

    for (size_t i = 0; i < HALF_FREE_SLABS; i++) {
        (void)add_slab();
        take_slab(blocks[i]);
    }
    for (size_t i = 0; i < HALF_FREE_SLABS; i++) {
        for (size_t at = 0; at < blocks_of_slab(); at += (size_t)2 * BLOCKS_PER_PAGE) {
            put(&blocks[i][at], BLOCKS_PER_PAGE);
        }
    }
}

static size_t purged_pages(void)
{
    size_t pages = 0;

    for (unsigned list = 0; list < SLAB_LIST_COUNT; list++) {
        for (const struct slab *slab = bin.slabs[list]; slab != NULL; slab = slab->next) {
            void *memory = (void *)slab->start;

            assert_int_equal(bit_count(slab->purged) + resident_pages(memory, UNIT_BYTES),
                             UNIT_BYTES / SLAB_PAGE_BYTES);
            pages += bit_count(slab->purged);
        }
    }
    return pages;
}

static void free_pages_of_many_slabs_go_back(void **state)
{
    size_t pages = (size_t)HALF_FREE_SLABS * SLAB_RANGES_MAX;

    (void)state;
    new_bin();
    free_every_second_page();
    assert_int_equal(purge_all(), pages * SLAB_PAGE_BYTES);
    assert_int_equal(purged_pages(), pages);
    bin_check_locked(&bin);
}

static void a_page_that_the_kernel_refuses_is_not_taken_for_purged(void **state)
{
    size_t pages = (size_t)HALF_FREE_SLABS * SLAB_RANGES_MAX - 1;

    (void)state;
    new_bin();
    free_every_second_page();
    const struct slab *slab = bin.slabs[SLAB_LIST_PARTIAL + 2];

    lock_pages((char *)slab->start + (size_t)4 * SLAB_PAGE_BYTES, SLAB_PAGE_BYTES);
    assert_int_equal(purge_all(), pages * SLAB_PAGE_BYTES);
    assert_int_equal(purged_pages(), pages);
    assert_int_equal(slab->purged >> 4 & 1, 0);
    /* It is tried again. */
    unlock_pages((char *)slab->start + (size_t)4 * SLAB_PAGE_BYTES, SLAB_PAGE_BYTES);
    assert_true(bin.may_purge);
    assert_int_equal(purge_all(), SLAB_PAGE_BYTES);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_new_bin_has_nothing_to_give_back),
        ISOLATED(a_purge_looks_through_slabs_only_as_long_as_there_may_be_something),
        ISOLATED(a_page_is_looked_for_though_its_slab_stays_on_its_list),
        ISOLATED(a_purge_looks_at_each_slab_once),
        ISOLATED(a_purge_goes_on_where_a_slab_has_left_its_list),
        ISOLATED(a_slab_that_goes_to_a_list_that_was_passed_is_left_to_the_next_purge),
        ISOLATED(two_purges_at_once_leave_nothing),
        ISOLATED(a_trim_takes_over_a_decay_step),
        ISOLATED(what_waits_for_less_takes_over_a_decay_step),
        ISOLATED(what_a_purge_has_left_waits_for_the_next),
        ISOLATED(of_a_purge_without_age_the_decay_goes_on_with_nothing),
        ISOLATED(a_class_at_rest_is_left_alone_once_its_memory_has_gone),
        ISOLATED(what_comes_in_from_others_goes_back_too),
        ISOLATED(what_comes_in_to_a_sparse_bin_lets_no_free_page_wait_anew),
        ISOLATED(what_comes_from_the_depot_lets_no_free_page_wait_anew),
        ISOLATED(a_purge_stops_where_as_much_has_gone_as_was_asked_for),
        ISOLATED(free_pages_of_many_slabs_go_back),
        ISOLATED(a_page_that_the_kernel_refuses_is_not_taken_for_purged),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
