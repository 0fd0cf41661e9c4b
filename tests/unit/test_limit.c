/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_limit.c - what the heap holds stays within its limits, and the program is told. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "break.h"
#include "breakwater/breakwater.h"
#include "conf.h"
#include "deferred.h"
#include "emergency.h"
#include "gate.h"
#include "life.h"
#include "limit.h"
#include "os.h"
#include "page_heap.h"
#include "purge.h"
#include "slab.h"
#include "stacks.h"
#include "tick.h"
#include "upkeep.h"

enum { BLOCKS = 64 };

#define MIB        ((size_t)1024 * 1024)
#define HARD_BYTES (16 * MIB)
#define SOFT_BYTES (8 * MIB)

struct told {
    unsigned soft, hard;
    size_t held_bytes;
};

static size_t held_bytes(void)
{
    return page_heap_stats().held_units * UNIT_BYTES;
}

static void note(enum bw_limit which, size_t held, void *context)
{
    struct told *told = (struct told *)context;

    told->soft += which == BW_LIMIT_SOFT;
    told->hard += which == BW_LIMIT_HARD;
    told->held_bytes = held;
    /* Allowed, and not told of again from in here. */
    bw_free(bw_malloc(100));
    assert_null(bw_malloc(2 * HARD_BYTES));
}

static void *filled(size_t bytes)
{
    void *block = bw_malloc(bytes);

    return block != NULL ? memset(block, 1, bytes) : NULL;
}

/* Blocks of `bytes` until there are no more; how many. */
static size_t take_all(void **blocks, size_t most, size_t bytes)
{
    size_t count = 0;

    while (count < most && (blocks[count] = filled(bytes)) != NULL) {
        assert_true(held_bytes() <= HARD_BYTES);
        count++;
    }
    return count;
}

static void free_all(void **blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bw_free(blocks[i]);
    }
}

static void over_the_hard_limit_there_is_no_memory(void **state)
{
    void *blocks[BLOCKS];

    (void)state;
    assert_true(bw_set_limits(0, HARD_BYTES));
    for (int round = 0; round < 3; round++) {
        size_t count = take_all(blocks, BLOCKS, MIB);

        assert_in_range(count, 14, 16);
        errno = 0;
        assert_null(bw_malloc(MIB));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(bw_realloc(blocks[0], 4 * MIB));
        assert_int_equal(errno, ENOMEM);
        assert_true(page_heap_stats().refused > 0);
        free_all(blocks, count);
        page_heap_check();
    }
    assert_true(bw_set_limits(0, 0));
    bw_free(filled(2 * HARD_BYTES));
}

static void what_no_limit_leaves_room_for_does_not_grow_the_heap(void **state)
{
    (void)state;
    assert_true(bw_set_limits(0, HARD_BYTES));
    bw_free(filled(MIB));
    size_t units = page_heap_stats().total_units;

    assert_null(bw_malloc(2 * HARD_BYTES));
    assert_int_equal(page_heap_stats().total_units, units);
}

static void small_blocks_are_limited_too(void **state)
{
    enum { BYTES = 1000, MOST = HARD_BYTES / BYTES };
    static void *blocks[MOST];

    (void)state;
    assert_true(bw_set_limits(0, HARD_BYTES));
    for (int round = 0; round < 2; round++) {
        size_t count = take_all(blocks, MOST, BYTES);

        assert_in_range(count, MOST / 2, MOST - 1);
        free_all(blocks, count);
    }
    page_heap_check();
}

static void free_memory_makes_way_before_the_hard_limit_refuses(void **state)
{
    (void)state;
    assert_true(bw_set_limits(0, HARD_BYTES));
    for (size_t bytes = MIB; bytes < HARD_BYTES - MIB; bytes += MIB / 2) {
        void *block = filled(bytes);

        assert_non_null(block);
        assert_true(held_bytes() <= HARD_BYTES);
        bw_free(block);
    }
    page_heap_check();
}

/* Which is mapped past the heap. */
static void while_somebody_forks_the_hard_limit_holds_too(void **state)
{
    const size_t held = 5 * MIB;
    size_t bytes = 0;

    (void)state;
    assert_true(bw_set_limits(0, HARD_BYTES));
    void *block = filled(held);

    assert_non_null(block);
    gate_close(NULL);
    assert_null(bw_malloc(2 * HARD_BYTES));
    while (bw_malloc(MIB) != NULL) {
        bytes += MIB;
        assert_true(bytes < HARD_BYTES);
    }
    assert_true(bytes >= MIB);
    gate_open();
    assert_true(gate_is_open());
    assert_true(emergency_stats().mapped_bytes + held <= HARD_BYTES);
    bw_free(block);
}

static void a_limit_set_later_counts_what_is_held_in_a_fork_too(void **state)
{
    size_t bytes = 0;

    (void)state;
    void *block = filled(HARD_BYTES - 2 * MIB);

    assert_non_null(block);
    assert_true(bw_set_limits(0, HARD_BYTES));
    gate_close(NULL);
    while (bw_malloc(MIB / 4) != NULL) {
        bytes += MIB / 4;
        assert_true(bytes <= 2 * MIB);
    }
    gate_open();
    assert_true(gate_is_open());
    bw_free(block);
}

/* Counts the blocks that there are for a thread of another arena. */
static void *take_all_in_another_arena(void *count)
{
    enum { BYTES = 256 };

    while (bw_malloc(BYTES) != NULL) {
        ++*(size_t *)count;
    }
    assert_int_equal(life_stats().arenas, 2);
    return NULL;
}

static void at_the_hard_limit_threads_share_what_any_arena_has_free(void **state)
{
    enum { BYTES = 256, MOST = HARD_BYTES / BYTES, KEPT = 128 };
    static void *blocks[MOST];
    size_t others = 0;

    (void)state;
    assert_true(life_limit_arenas(2));
    assert_true(bw_set_limits(0, HARD_BYTES));
    size_t count = take_all(blocks, MOST, BYTES);

    /* So that no slab is empty. */
    for (size_t i = 0; i < count; i++) {
        if (i % KEPT != 0) {
            bw_free(blocks[i]);
        }
    }
    run_threads(1, take_all_in_another_arena, &others);
    assert_in_range(others, count / 4 * 3, count);
    page_heap_check();
}

static void at_the_hard_limit_no_free_is_lost_in_a_fork(void **state)
{
    enum { COUNT = HARD_BYTES / MIB };
    void *blocks[COUNT];

    (void)state;
    assert_true(bw_set_limits(0, HARD_BYTES));
    size_t count = take_all(blocks, COUNT, MIB - UNIT_BYTES);

    gate_close(NULL);
    assert_null(bw_malloc(2 * MIB));
    for (size_t i = 0; i < count; i++) {
        bw_free(blocks[i]);
    }
    gate_open();
    assert_true(gate_is_open());
    assert_int_equal(deferred_count(), count);
    deferred_release(bw_free);
    assert_int_equal(take_all(blocks, count, MIB - UNIT_BYTES), count);
}

/* It cannot serve during the fork, and goes back later. */
static void what_is_free_leaves_room_in_a_fork(void **state)
{
    (void)state;
    assert_true(bw_set_limits(0, HARD_BYTES));
    bw_free(filled(HARD_BYTES - MIB));
    gate_close(NULL);
    void *block = bw_malloc(5 * MIB);

    gate_open();
    assert_true(gate_is_open());
    assert_non_null(block);
    bw_free(block);
}

static void free_memory_that_cannot_go_back_counts_too(void **state)
{
    enum { COUNT = 12 };
    char *blocks[COUNT];

    (void)state;
    assert_true(bw_set_limits(0, HARD_BYTES));
    assert_int_equal(take_all((void **)blocks, COUNT, MIB), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        lock_pages(blocks[i], MIB);
    }
    for (size_t i = 0; i < COUNT; i += 2) {
        bw_free(blocks[i]);
    }
    /* Half of them is free, but none of that is long enough. */
    errno = 0;
    assert_null(bw_malloc(5 * MIB));
    assert_int_equal(errno, ENOMEM);
    assert_true(page_heap_stats().refused > 0);
    errno = 0;
    assert_null(bw_realloc(blocks[COUNT - 1], 6 * MIB));
    assert_int_equal(errno, ENOMEM);
    assert_true(held_bytes() <= HARD_BYTES);
    /* What is as long serves again. */
    assert_non_null(bw_malloc(MIB));
    assert_non_null(bw_malloc(4 * MIB));
    assert_true(held_bytes() <= HARD_BYTES);
    /* Over a lower limit too. */
    assert_true(bw_set_limits(0, 13 * MIB));
    assert_true(held_bytes() > 13 * MIB);
    assert_non_null(bw_malloc(MIB));
    page_heap_check();
}

/* Let the cache hold 1.8 MiB: a stack of the longest blocks. */
static void cache_much(void)
{
    enum { COUNT = 29 };
    void *blocks[COUNT];

    assert_int_equal(take_all(blocks, COUNT, SMALL_MAX_BYTES), COUNT);
    free_all(blocks, COUNT);
}

static void what_the_own_cache_holds_makes_way_too(void **state)
{
    static void *small[4 * MIB / 1000];

    (void)state;
    assert_true(bw_set_limits(0, 4 * MIB));
    cache_much();
    void *large = filled(3 * MIB);

    assert_non_null(large);
    bw_free(large);
    cache_much();
    size_t count = take_all(small, ARRAY_SIZE(small), 1000);

    assert_true(count * 1000 > 3 * MIB);
    free_all(small, count);
    page_heap_check();
}

enum { MEDIUM_BYTES = 100 * KIB, MEDIUM_BLOCKS = 40 };

static void near_a_limit_blocks_above_64_KiB_stay_runs(void **state)
{
    enum { COUNT = MEDIUM_BLOCKS / 2 };
    void *blocks[COUNT];

    (void)state;
    assert_true(bw_set_limits(0, HARD_BYTES));
    void *most = filled(HARD_BYTES / 4 * 3);

    /* Each asks for a class. */
    for (int round = 0; round < 3; round++) {
        assert_int_equal(take_all(blocks, COUNT, MEDIUM_BYTES), COUNT);
        free_all(blocks, COUNT);
    }
    assert_int_equal(size_class_code_of_any(MEDIUM_BYTES), 0);
    bw_free(most);
    page_heap_check();
}

/* How many of the blocks are of slabs. */
static size_t count_in_slabs(void *const *blocks, size_t count)
{
    size_t slabs = 0;

    for (size_t i = 0; i < count; i++) {
        slabs += slab_at((uintptr_t)blocks[i]) != NULL;
    }
    return slabs;
}

/* But what is free in slabs that there are serves first. */
static void far_from_a_limit_they_are_of_slabs(void **state)
{
    void *blocks[MEDIUM_BLOCKS];
    void *others[2 * MEDIUM_BLOCKS];

    (void)state;
    assert_true(bw_set_limits(0, HARD_BYTES));
    /* Each of the first asks for a class. */
    for (int round = 0; round < 2; round++) {
        free_all(blocks, (size_t)round * MEDIUM_BLOCKS);
        assert_int_equal(take_all(blocks, MEDIUM_BLOCKS, MEDIUM_BYTES), MEDIUM_BLOCKS);
    }
    assert_int_equal(count_in_slabs(blocks, MEDIUM_BLOCKS), MEDIUM_BLOCKS);
    /* Half of each slab. */
    for (size_t i = 0; i < MEDIUM_BLOCKS; i += 2) {
        bw_free(blocks[i]);
    }
    size_t room = HARD_BYTES - held_bytes();
    void *most = filled(room - MIB);

    assert_non_null(most);
    size_t count = take_all(others, ARRAY_SIZE(others), MEDIUM_BYTES);

    assert_in_range(count_in_slabs(others, count), MEDIUM_BLOCKS / 2, MEDIUM_BLOCKS / 2 + 1);
    assert_true(count > MEDIUM_BLOCKS / 2 + 1);
    bw_free(most);
    page_heap_check();
}

static void over_the_soft_limit_free_memory_goes_back_at_once(void **state)
{
    void *blocks[BLOCKS];

    (void)state;
    assert_true(bw_set_limits(SOFT_BYTES, 0));
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = filled(MIB / 2);
    }
    assert_true(held_bytes() >= BLOCKS / 2 * MIB);
    for (size_t i = 0; i < BLOCKS; i += 2) {
        bw_free(blocks[i]);
    }
    assert_true(held_bytes() <= BLOCKS / 4 * MIB + 2 * MIB);
    for (size_t i = 1; i < BLOCKS; i += 2) {
        bw_free(blocks[i]);
    }
    assert_true(held_bytes() <= SOFT_BYTES + MIB);
    page_heap_check();
}

/* Until it is a sixteenth of the limit. */
static void over_the_soft_limit_a_little_that_is_free_stays(void **state)
{
    enum { BYTES = 5 * UNIT_BYTES };
    void *blocks[BLOCKS];

    (void)state;
    assert_true(bw_set_limits(SOFT_BYTES, 0));
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = filled(BYTES);
    }
    size_t held = held_bytes();

    assert_true(held > SOFT_BYTES);
    bw_free(blocks[0]);
    assert_int_equal(held_bytes(), held);
    bw_free(blocks[BLOCKS / 2]);
    assert_int_equal(held_bytes(), held - (size_t)2 * BYTES);
    page_heap_check();
}

static void take_step(struct gate_slot *slot)
{
    assert_true(gate_enter(slot));
    upkeep_poll(cache_self);
    gate_leave(slot);
}

/* Until it is through. */
static void relieve_step_by_step(struct gate_slot *slot)
{
    for (int steps = 0; limit_presses(); steps++) {
        assert_true(steps < 1000);
        take_step(slot);
    }
}

/* However much there is, no slow path gives more back than a step. */
static void over_the_soft_limit_memory_goes_back_step_by_step(void **state)
{
    struct gate_slot *slot = cache_gate(life_cache());
    void *freed = filled(8 * SOFT_BYTES);
    void *behind = filled(MIB);

    (void)state;
    bw_free(freed);
    assert_true(bw_set_limits(SOFT_BYTES, 0));
    size_t before = held_bytes();

    assert_true(limit_presses());
    take_step(slot);
    assert_in_range(before - held_bytes(), PACE_BYTES_LEAST, PURGE_STEP_BYTES + 2 * MIB);
    assert_true(limit_presses());
    relieve_step_by_step(slot);
    assert_true(held_bytes() <= 3 * MIB);
    bw_free(behind);
    page_heap_check();
}

/* The blocks that the thread's cache holds after some of a class were freed. */
static size_t cached_blocks(bool frees)
{
    enum { COUNT = 40, BYTES = 1024 };
    void *blocks[COUNT];

    for (size_t i = 0; frees && i < COUNT; i++) {
        blocks[i] = filled(BYTES);
    }
    for (size_t i = 0; frees && i < COUNT; i++) {
        bw_free(blocks[i]);
    }
    return stacks_held(cache_self, size_class_of(BYTES));
}

static pthread_barrier_t relief;

static void *keep_until_relief(void *unused)
{
    assert_true(cached_blocks(true) > 0);
    (void)pthread_barrier_wait(&relief);
    (void)pthread_barrier_wait(&relief);
    assert_true(cached_blocks(false) > 0);
    take_step(cache_gate(cache_self));
    assert_int_equal(cached_blocks(false), 0);
    return unused;
}

static void over_the_soft_limit_all_caches_give_back_what_they_hold(void **state)
{
    void *block = filled(2 * SOFT_BYTES);
    pthread_t other;

    (void)state;
    assert_int_equal(pthread_barrier_init(&relief, NULL, 2), 0);
    assert_int_equal(pthread_create(&other, NULL, keep_until_relief, NULL), 0);
    (void)pthread_barrier_wait(&relief);
    assert_true(cached_blocks(true) > 0);
    assert_true(bw_set_limits(SOFT_BYTES, 0));
    take_step(cache_gate(cache_self));
    assert_int_equal(cached_blocks(false), 0);
    (void)pthread_barrier_wait(&relief);
    assert_int_equal(pthread_join(other, NULL), 0);
    bw_free(block);
    page_heap_check();
}

static void over_the_soft_limit_free_pages_of_slabs_go_back(void **state)
{
    enum { BYTES = 512, KEPT_OF = 64 };
    const size_t count = 4 * SOFT_BYTES / BYTES;
    void **blocks = (void **)bw_malloc(count * sizeof(void *));

    (void)state;
    for (size_t i = 0; i < count; i++) {
        blocks[i] = filled(BYTES);
    }
    for (size_t i = 0; i < count; i++) {
        if (i % KEPT_OF != 0) {
            bw_free(blocks[i]);
        }
    }
    assert_true(bw_set_limits(SOFT_BYTES, 0));
    relieve_step_by_step(cache_gate(cache_self));
    assert_in_range(bw_purge(), 0, MIB);
}

static void a_relief_that_a_fork_cuts_short_is_made_up_for(void **state)
{
    struct gate_slot *slot = cache_gate(life_cache());
    void *freed = filled(2 * SOFT_BYTES);
    void *behind = filled(MIB);

    (void)state;
    bw_free(freed);
    assert_true(bw_set_limits(SOFT_BYTES, 0));
    /* A fork begins after the thread has entered. */
    assert_true(gate_enter(slot));
    gate_close(slot);
    upkeep_poll(cache_self);
    assert_true(held_bytes() > SOFT_BYTES);
    gate_leave(slot);
    gate_open();
    assert_true(gate_is_open());
    assert_true(limit_presses());
    relieve_step_by_step(slot);
    assert_true(held_bytes() <= SOFT_BYTES);
    bw_free(behind);
}

/* A relief lets a tick go by. */
static void what_cannot_go_back_does_not_press_again_and_again(void **state)
{
    enum { COUNT = 12, TURNS = 5, NEVER_MS = 1000000000 };
    char *blocks[COUNT];

    (void)state;
    conf.decay_ms = NEVER_MS;
    struct gate_slot *slot = cache_gate(life_cache());

    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = (char *)filled(MIB);
        lock_pages(blocks[i], MIB);
    }
    assert_true(bw_set_limits(SOFT_BYTES, 0));
    relieve_step_by_step(slot);
    for (size_t i = 0; i < COUNT; i += 2) {
        bw_free(blocks[i]);
    }
    relieve_step_by_step(slot);
    assert_true(held_bytes() > SOFT_BYTES);
    uint32_t ticks = tick_count();

    for (unsigned turn = 0; turn < TURNS; turn++) {
        bw_free(bw_malloc(MIB));
    }
    assert_int_equal(tick_count(), ticks);
    page_heap_check();
}

static void without_a_limit_free_memory_stays(void **state)
{
    (void)state;
    bw_free(filled(2 * HARD_BYTES));
    assert_true(held_bytes() >= 2 * HARD_BYTES);
}

static void the_program_is_told_of_both_limits(void **state)
{
    struct told told = {0, 0, 0};
    void *blocks[BLOCKS];

    (void)state;
    bw_on_limit(note, &told);
    assert_true(bw_set_limits(SOFT_BYTES, HARD_BYTES));
    size_t count = take_all(blocks, 7, MIB);

    assert_int_equal(count, 7);
    assert_int_equal(told.soft, 0);
    count += take_all(blocks + count, BLOCKS - count, MIB);
    /* Once for each sixteenth, not for each block. */
    assert_in_range(told.soft, 1, 17);
    assert_int_equal(told.hard, 1);
    assert_in_range(told.held_bytes, SOFT_BYTES, HARD_BYTES);
    free_all(blocks, count);
    bw_on_limit(NULL, NULL);
    assert_null(bw_malloc(2 * HARD_BYTES));
    assert_int_equal(told.hard, 1);
}

/* As note(), but does nothing. */
static void count(enum bw_limit which, size_t held, void *context)
{
    struct told *told = (struct told *)context;

    told->soft += which == BW_LIMIT_SOFT;
    told->hard += which == BW_LIMIT_HARD;
    told->held_bytes = held;
}

static void *notice_the_hard_limit(void *unused)
{
    limit_notice(BW_LIMIT_HARD);
    return unused;
}

/* Meanwhile there is news, from another thread. */
static void allocate_with_news(enum bw_limit which, size_t held_bytes, void *calls)
{
    (void)which;
    (void)held_bytes;
    ++*(unsigned *)calls;
    run_threads(1, notice_the_hard_limit, NULL);
    bw_free(filled(MIB));
    assert_int_equal(*(unsigned *)calls, 1);
}

static void the_callback_is_not_called_inside_itself(void **state)
{
    unsigned calls = 0;

    (void)state;
    bw_free(bw_malloc(1));
    bw_on_limit(allocate_with_news, &calls);
    limit_notice(BW_LIMIT_SOFT);
    bw_free(filled(MIB));
    assert_int_equal(calls, 1);
    bw_on_limit(NULL, NULL);
}

/* A block for it would be refused, but there is room behind the old one. */
static void a_block_that_grows_in_place_after_all_is_no_failure(void **state)
{
    static void *behind[4000];
    struct told told = {0, 0, 0};

    (void)state;
    assert_true(bw_set_limits(0, HARD_BYTES));
    bw_on_limit(count, &told);
    char *block = filled(HARD_BYTES * 5 / 8);

    for (size_t i = 0; i < ARRAY_SIZE(behind); i++) {
        behind[i] = bw_malloc(1024);
    }
    free_all(behind, ARRAY_SIZE(behind));
    assert_ptr_equal(bw_realloc(block, HARD_BYTES * 5 / 8 + 2 * MIB), block);
    assert_int_equal(told.hard, 0);
    assert_null(bw_realloc(block, 2 * HARD_BYTES));
    assert_int_equal(told.hard, 1);
}

static void where_the_kernel_has_no_memory_no_limit_is_to_blame(void **state)
{
    struct told told = {0, 0, 0};

    (void)state;
    bw_on_limit(count, &told);
    assert_true(bw_set_limits(HARD_BYTES, 0));
    os_fail_calls(1, UINT64_MAX);
    assert_null(bw_malloc(HARD_BYTES));
    os_fail_calls(0, 0);
    bw_free(bw_malloc(MIB));
    assert_int_equal(told.hard, 0);
}

/* More than any address space: no limit is to blame. */
static void what_no_heap_could_have_is_no_news(void **state)
{
    static const size_t sizes[] = {(size_t)1 << 48, (size_t)1 << 62, PTRDIFF_MAX,
                                   (size_t)PTRDIFF_MAX + 1, SIZE_MAX};
    struct told told = {0, 0, 0};
    void *small = bw_malloc(100);
    void *large = bw_malloc(MIB);

    (void)state;
    bw_on_limit(count, &told);
    assert_true(bw_set_limits(0, HARD_BYTES));
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        assert_null(bw_malloc(sizes[i]));
        assert_null(bw_calloc(1, sizes[i]));
        assert_null(bw_realloc(small, sizes[i]));
        assert_null(bw_realloc(large, sizes[i]));
        assert_null(bw_memalign(2 * UNIT_BYTES, sizes[i]));
        errno = 0;
        assert_null(bw_memalign((size_t)1 << 62, 1));
        assert_int_equal(errno, ENOMEM);
    }
    assert_int_equal(told.hard, 0);
    assert_null(bw_malloc((size_t)1 << 47));
    assert_int_equal(told.hard, 1);
}

/* As count(), and the heap grows. */
static void count_and_grow(enum bw_limit which, size_t held, void *context)
{
    count(which, held, context);
    limit_press(true);
}

/* Though the relief is through when the callback has returned. */
static void growth_in_the_callback_is_not_told_of(void **state)
{
    struct told told = {0, 0, 0};

    (void)state;
    bw_on_limit(count_and_grow, &told);
    assert_true(bw_set_limits(SOFT_BYTES, 0));
    assert_non_null(filled(SOFT_BYTES + MIB));
    assert_int_equal(told.soft, 1);
    assert_true(limit_presses());
    relieve_step_by_step(cache_gate(cache_self));
    upkeep_tell_of_limits();
    assert_int_equal(told.soft, 1);
}

static void below_the_soft_limit_nothing_happens(void **state)
{
    struct told told = {0, 0, 0};

    (void)state;
    bw_on_limit(count, &told);
    assert_true(bw_set_limits(SOFT_BYTES, 0));
    bw_free(filled(SOFT_BYTES - 2 * MIB));
    bw_free(bw_malloc(10));
    assert_true(held_bytes() >= SOFT_BYTES - 2 * MIB);
    assert_int_equal(told.soft, 0);
}

/* How often the program is told while it gets so many blocks. */
static unsigned grow_past_the_soft_limit(struct told *told, void *blocks[BLOCKS])
{
    bw_on_limit(count, told);
    assert_true(bw_set_limits(SOFT_BYTES, 0));
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = filled(MIB);
    }
    return told->soft;
}

static void the_program_is_told_of_growth_only(void **state)
{
    struct told told = {0, 0, 0};
    void *blocks[BLOCKS];

    (void)state;
    unsigned of_growth = grow_past_the_soft_limit(&told, blocks);

    assert_true(of_growth >= 1);
    free_all(blocks, BLOCKS - 4);
    assert_true(held_bytes() <= SOFT_BYTES);
    assert_int_equal(told.soft, of_growth);
    /* Below the limit all begins anew. */
    for (size_t i = 0; i < BLOCKS - 4; i++) {
        blocks[i] = filled(MIB);
    }
    assert_true(told.soft > of_growth);
}

static void once_below_the_limit_by_the_clock_the_program_is_told_again(void **state)
{
    enum { BYTES = 5 * UNIT_BYTES };
    struct told told = {0, 0, 0};
    void *blocks[BLOCKS];
    size_t got = 0;

    (void)state;
    bw_on_limit(count, &told);
    assert_true(bw_set_limits(SOFT_BYTES, 0));
    while (told.soft == 0) {
        assert_true(got < BLOCKS);
        blocks[got++] = filled(BYTES);
    }
    /* Too little to go back at once: as time goes by. */
    for (int freed = 0; freed < 2; freed++) {
        bw_free(blocks[--got]);
        assert_true(held_bytes() > SOFT_BYTES - BYTES);
        (void)page_heap_decay(0, SIZE_MAX);
    }
    assert_true(held_bytes() <= SOFT_BYTES);
    assert_int_equal(told.soft, 1);
    assert_non_null(filled(BYTES));
    assert_non_null(filled(BYTES));
    assert_int_equal(told.soft, 2);
}

static void above_the_limit_too_the_program_is_told_of_growth_after_a_purge(void **state)
{
    enum { FREED = 8 };
    struct told told = {0, 0, 0};
    void *blocks[BLOCKS];

    (void)state;
    unsigned of_growth = grow_past_the_soft_limit(&told, blocks);

    free_all(blocks, FREED);
    (void)bw_purge();
    assert_true(held_bytes() > SOFT_BYTES);
    assert_int_equal(told.soft, of_growth);
    for (size_t i = 0; i < FREED; i++) {
        blocks[i] = filled(MIB);
    }
    assert_true(told.soft > of_growth);
}

static void a_limit_set_below_what_is_held_is_told_of_at_the_next_call(void **state)
{
    struct told told = {0, 0, 0};

    (void)state;
    bw_on_limit(count, &told);
    assert_true(bw_set_limits(SOFT_BYTES, 0));
    assert_non_null(filled(2 * SOFT_BYTES));
    assert_int_equal(told.soft, 1);
    assert_true(bw_set_limits(SOFT_BYTES / 2, 0));
    assert_non_null(filled(MIB / 8));
    assert_int_equal(told.soft, 2);
    assert_non_null(filled(MIB / 8));
    assert_int_equal(told.soft, 2);
}

static void a_block_that_grows_in_place_counts(void **state)
{
    struct told told = {0, 0, 0};

    (void)state;
    bw_on_limit(count, &told);
    assert_true(bw_set_limits(SOFT_BYTES, 0));
    assert_non_null(bw_realloc(filled(MIB), 4 * SOFT_BYTES));
    assert_true(held_bytes() >= 4 * SOFT_BYTES);
    assert_int_equal(told.soft, 1);
}

static void a_block_that_grows_in_place_relieves(void **state)
{
    char *block = filled(MIB);

    (void)state;
    bw_free(filled(2 * SOFT_BYTES));
    assert_true(held_bytes() >= 2 * SOFT_BYTES);
    assert_true(bw_set_limits(SOFT_BYTES, 0));
    for (size_t units = 1; limit_presses(); units++) {
        assert_true(units < 1000);
        assert_ptr_equal(bw_realloc(block, MIB + units * UNIT_BYTES), block);
    }
    assert_true(held_bytes() <= SOFT_BYTES);
}

static void a_hard_limit_leaves_no_room_to_grow_into(void **state)
{
    struct told told = {0, 0, 0};

    (void)state;
    bw_on_limit(count, &told);
    assert_true(bw_set_limits(0, HARD_BYTES));
    char *block = (char *)bw_realloc(filled(5 * MIB), 6 * MIB);

    assert_non_null(block);
    assert_non_null(bw_malloc(HARD_BYTES / 2));
    assert_int_equal(told.hard, 0);
}

static void threads_without_a_cache_relieve_too(void **state)
{
    enum { BYTES = 1000, MOST = 2 * SOFT_BYTES / BYTES };
    static void *blocks[MOST];

    (void)state;
    conf_parse("checked:true");
    assert_true(bw_set_limits(SOFT_BYTES, 0));
    for (size_t i = 0; i < MOST; i++) {
        blocks[i] = filled(BYTES);
    }
    assert_true(held_bytes() > SOFT_BYTES);
    free_all(blocks, MOST);
    assert_true(held_bytes() <= SOFT_BYTES);
}

static void a_soft_limit_above_the_hard_one_is_refused(void **state)
{
    (void)state;
    assert_true(bw_set_limits(1, 2));
    assert_false(bw_set_limits(3, 2));
    assert_int_equal(limit_soft(), 1);
    assert_int_equal(limit_hard(), 2);
    assert_true(bw_set_limits(3, 0));
}

static void huge_pages_are_asked_for(void **state)
{
    enum { HUGE = 2 * MIB };

    (void)state;
    conf.thp = THP_ALWAYS;
    assert_non_null(bw_malloc(1));
    /* The kernel has no huge page where only a part of it is ours. */
    assert_int_equal(break_top() % HUGE, 0);
    assert_true(mapping_has_flag(bw_malloc(4 * MIB), "hg"));
    assert_int_equal(break_top() % HUGE, 0);
    assert_non_null(bw_malloc(3 * MIB));
    assert_int_equal(break_top() % HUGE, 0);
}

static void huge_pages_are_asked_for_beside_the_break_too(void **state)
{
    (void)state;
    conf.thp = THP_ALWAYS;
    block_break();
    assert_true(mapping_has_flag(bw_malloc(4 * MIB), "hg"));
    unblock_break();
}

static void huge_pages_are_declined(void **state)
{
    (void)state;
    conf.thp = THP_NEVER;
    assert_true(mapping_has_flag(bw_malloc(4 * MIB), "nh"));
}

static void huge_pages_are_the_kernels_business_by_default(void **state)
{
    (void)state;
    void *block = bw_malloc(64 * MIB);

    assert_false(mapping_has_flag(block, "hg"));
    assert_false(mapping_has_flag(block, "nh"));
}

/* Which would overwrite them. */
static void limits_are_not_set_before_the_options_are_read(void **state)
{
    (void)state;
    gate_close(NULL);
    assert_false(bw_set_limits(0, HARD_BYTES));
    assert_false(life_limit_arenas(1));
    gate_open();
    bw_free(filled(2 * HARD_BYTES));
    assert_int_equal(limit_hard(), 0);
    assert_true(bw_set_limits(0, HARD_BYTES));
    assert_null(bw_malloc(2 * HARD_BYTES));
}

static _Atomic bool is_closed;

static void *close_for_a_moment(void *unused)
{
    gate_close(NULL);
    atomic_store(&is_closed, true);
    (void)usleep(2000);
    gate_open();
    return unused;
}

static void who_sets_limits_first_of_all_waits_for_a_fork(void **state)
{
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, close_for_a_moment, NULL), 0);
    while (!is_closed) {
        (void)sched_yield();
    }
    /* On a busy machine the gate may stay closed for longer than patience lasts. */
    while (!bw_set_limits(0, HARD_BYTES)) {
    }
    assert_int_equal(limit_hard(), HARD_BYTES);
    assert_null(bw_malloc(2 * HARD_BYTES));
    assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(over_the_hard_limit_there_is_no_memory),
        ISOLATED(what_no_limit_leaves_room_for_does_not_grow_the_heap),
        ISOLATED(small_blocks_are_limited_too),
        ISOLATED(free_memory_makes_way_before_the_hard_limit_refuses),
        ISOLATED(while_somebody_forks_the_hard_limit_holds_too),
        ISOLATED(a_limit_set_later_counts_what_is_held_in_a_fork_too),
        ISOLATED(at_the_hard_limit_threads_share_what_any_arena_has_free),
        ISOLATED(at_the_hard_limit_no_free_is_lost_in_a_fork),
        ISOLATED(what_is_free_leaves_room_in_a_fork),
        ISOLATED(free_memory_that_cannot_go_back_counts_too),
        ISOLATED(what_the_own_cache_holds_makes_way_too),
        ISOLATED(near_a_limit_blocks_above_64_KiB_stay_runs),
        ISOLATED(far_from_a_limit_they_are_of_slabs),
        ISOLATED(over_the_soft_limit_free_memory_goes_back_at_once),
        ISOLATED(over_the_soft_limit_a_little_that_is_free_stays),
        ISOLATED(over_the_soft_limit_memory_goes_back_step_by_step),
        ISOLATED(over_the_soft_limit_all_caches_give_back_what_they_hold),
        ISOLATED(over_the_soft_limit_free_pages_of_slabs_go_back),
        ISOLATED(a_relief_that_a_fork_cuts_short_is_made_up_for),
        ISOLATED(what_cannot_go_back_does_not_press_again_and_again),
        ISOLATED(without_a_limit_free_memory_stays),
        ISOLATED(the_program_is_told_of_both_limits),
        ISOLATED(growth_in_the_callback_is_not_told_of),
        ISOLATED(the_callback_is_not_called_inside_itself),
        ISOLATED(a_block_that_grows_in_place_after_all_is_no_failure),
        ISOLATED(where_the_kernel_has_no_memory_no_limit_is_to_blame),
        ISOLATED(what_no_heap_could_have_is_no_news),
        ISOLATED(below_the_soft_limit_nothing_happens),
        ISOLATED(the_program_is_told_of_growth_only),
        ISOLATED(once_below_the_limit_by_the_clock_the_program_is_told_again),
        ISOLATED(above_the_limit_too_the_program_is_told_of_growth_after_a_purge),
        ISOLATED(a_limit_set_below_what_is_held_is_told_of_at_the_next_call),
        ISOLATED(a_block_that_grows_in_place_counts),
        ISOLATED(a_block_that_grows_in_place_relieves),
        ISOLATED(a_hard_limit_leaves_no_room_to_grow_into),
        ISOLATED(threads_without_a_cache_relieve_too),
        ISOLATED(a_soft_limit_above_the_hard_one_is_refused),
        ISOLATED(limits_are_not_set_before_the_options_are_read),
        ISOLATED(who_sets_limits_first_of_all_waits_for_a_fork),
        ISOLATED(huge_pages_are_asked_for),
        ISOLATED(huge_pages_are_asked_for_beside_the_break_too),
        ISOLATED(huge_pages_are_declined),
        ISOLATED(huge_pages_are_the_kernels_business_by_default),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
