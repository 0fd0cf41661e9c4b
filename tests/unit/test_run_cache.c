/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_run_cache.c - freed runs are kept for the next of their length, tell that they are free,
 * grow old, and are lost to nobody. */
#include "heap_support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "arena.h"
#include "conf.h"
#include "life.h"
#include "limit.h"
#include "page_heap.h"
#include "reclaim.h"
#include "resize.h"
#include "run_cache.h"
#include "runs.h"
#include "tick.h"

enum { THREADS = 4, ROUNDS = 20000 };

#define LARGE     (3 * UNIT_BYTES)
#define TOO_LARGE ((RUN_CACHE_UNITS + 1) * UNIT_BYTES)

static struct run_cache runs;

static struct span *run_of_units(size_t units)
{
    struct span *span = page_heap_alloc(
        &(struct run_request){.units = units, .align_units = 1, .state = SPAN_LARGE, .grow = true});

    assert_non_null(span);
    span->used_units = units;
    return span;
}

static void check_kept(void *unused)
{
    (void)unused;
    run_cache_check_all();
}

static void the_check_sees_a_kept_run_that_is_not_marked(void **state)
{
    const char *fault = "run cache: a kept run is not marked as one";
    struct span *run = run_of_units(3);

    (void)state;
    run_cache_register(&runs);
    assert_true(run_cache_put(&runs, run));
    run_cache_check_all();
    struct span whole = *run;

    run->units = 2;
    assert_dies(check_kept, NULL, fault);
    *run = whole;
    run->used_units = 3;
    assert_dies(check_kept, NULL, fault);
    *run = whole;
    run->state = SPAN_FREE;
    assert_dies(check_kept, NULL, fault);
    run->state = SPAN_SLAB;
    assert_dies(check_kept, NULL, fault);
    *run = whole;
    *span_history(run) = UNIT_USED;
    assert_dies(check_kept, NULL, fault);
    *span_history(run) = UNIT_FREED;
    run_cache_check_all();
}

static size_t kept_bytes(void)
{
    return run_cache_bytes_all();
}

/* Slots */

static void what_was_put_is_taken(void **state)
{
    (void)state;
    struct span *run = run_of_units(3);

    assert_null(run_cache_take(&runs, 3));
    assert_true(run_cache_put(&runs, run));
    assert_int_equal(run_cache_bytes(&runs), 3 * UNIT_BYTES);
    assert_int_equal(run->used_units, 0);
    assert_int_equal(*span_history(run) & UNIT_HISTORY_MASK, UNIT_FREED);
    assert_null(run_cache_take(&runs, 2));
    assert_null(run_cache_take(&runs, 4));
    assert_ptr_equal(run_cache_take(&runs, 3), run);
    assert_int_equal(*span_history(run), UNIT_USED);
    assert_int_equal(run_cache_bytes(&runs), 0);
    assert_null(run_cache_take(&runs, 3));
    page_heap_check();
}

static void what_was_put_last_is_taken_first(void **state)
{
    struct span *put[RUN_CACHE_SLOTS];

    (void)state;
    run_cache_limit(&runs, SIZE_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(put); i++) {
        put[i] = run_of_units(2);
        assert_true(run_cache_put(&runs, put[i]));
    }
    for (size_t i = ARRAY_SIZE(put); i-- > 0;) {
        assert_ptr_equal(run_cache_take(&runs, 2), put[i]);
    }
}

static void one_run_is_kept_and_what_finds_no_room_is_as_it_was(void **state)
{
    (void)state;
    struct span *run = run_of_units(5);

    run->used_units = 4;
    assert_true(run_cache_put(&runs, run_of_units(5)));
    assert_false(run_cache_put(&runs, run));
    assert_int_equal(run->used_units, 4);
    assert_int_equal(*span_history(run), UNIT_USED);
    run_cache_limit(&runs, 10);
    assert_true(run_cache_put(&runs, run));
    run_cache_limit(&runs, 0);
    assert_false(run_cache_put(&runs, run_of_units(5)));
}

static void runs_too_long_are_not_kept(void **state)
{
    (void)state;
    assert_true(run_cache_put(&runs, run_of_units(RUN_CACHE_UNITS)));
    assert_false(run_cache_put(&runs, run_of_units(RUN_CACHE_UNITS + 1)));
    assert_null(run_cache_take(&runs, RUN_CACHE_UNITS + 1));
    assert_null(run_cache_take(&runs, SIZE_MAX));
}

static void a_run_grows_old_in_its_slot(void **state)
{
    struct span *first = run_of_units(2);
    struct span *second = run_of_units(3);
    size_t free_units = page_heap_stats().free_units;

    (void)state;
    run_cache_register(&runs);
    run_cache_limit(&runs, 5);
    assert_true(run_cache_put(&runs, first));
    run_cache_age_all();
    assert_int_equal(run_cache_bytes(&runs), 2 * UNIT_BYTES);
    tick_advance();
    assert_true(run_cache_put(&runs, second));
    run_cache_age_all();
    assert_int_equal(run_cache_bytes(&runs), 3 * UNIT_BYTES);
    assert_int_equal(page_heap_stats().free_units, free_units + 2);
    run_cache_empty_all();
    assert_int_equal(run_cache_bytes(&runs), 0);
    assert_int_equal(page_heap_stats().free_units, free_units + 5);
    page_heap_check();
}

static void the_time_in_a_slot_counts(void **state)
{
    (void)state;
    struct span *run = run_of_units(2);

    (void)run_of_units(2); /* keeps it from the rest of the heap */
    run_cache_register(&runs);
    assert_true(run_cache_put(&runs, run));
    for (unsigned tick = 0; tick < 4; tick++) {
        tick_advance();
    }
    run_cache_age_all();
    assert_int_equal(page_heap_decay(5, SIZE_MAX), 0);
    assert_int_equal(page_heap_decay(4, SIZE_MAX), 2 * UNIT_BYTES);
    page_heap_check();
}

static _Atomic bool two_owners;

/* Each thread takes a run, or one from the page heap where none is kept, and puts it back, while
 * time passes. Whose it is stands in its memory, not atomic: ThreadSanitizer sees two who have one
 * run. */
static void *take_and_put(void *argument)
{
    struct run_cache *shared = (struct run_cache *)argument;

    for (unsigned round = 0; round < ROUNDS; round++) {
        struct span *kept = run_cache_take(shared, 2);
        struct span *run = kept != NULL ? kept : run_of_units(2);
        volatile uintptr_t *memory = (volatile uintptr_t *)span_address(run);

        *memory = (uintptr_t)&round;
        run->used_units = 2;
        if (*memory != (uintptr_t)&round) {
            two_owners = true;
        }
        if (!run_cache_put(shared, run)) {
            page_heap_free(run);
        }
        if (round % 64 == 0) {
            tick_advance();
            run_cache_age_all();
        }
    }
    return NULL;
}

static void threads_share_runs(void **state)
{
    (void)state;
    run_cache_register(&runs);
    run_cache_limit(&runs, (size_t)2 * (THREADS - 1));
    run_threads(THREADS, take_and_put, &runs);
    assert_false(two_owners);
    run_cache_empty_all();
    assert_int_equal(page_heap_stats().free_units, page_heap_stats().total_units);
    page_heap_check();
}

/* The names that the linker's --wrap gives. */
void __real_run_mark_freed(const struct span *span);
void __wrap_run_mark_freed(const struct span *span);

/* What another thread puts while one is about to. */
static struct span *of_another;

void __wrap_run_mark_freed(const struct span *span)
{
    struct span *other = of_another;

    if (other != NULL) {
        of_another = NULL;
        assert_true(run_cache_put(&runs, other));
    }
    __real_run_mark_freed(span);
}

/* Its block may have to wait for the end of a fork, and is freed then, as one that is in use. */
static void who_comes_too_late_to_put_a_run_has_it_as_it_was(void **state)
{
    struct span *run = run_of_units(5);

    (void)state;
    run->used_units = 4;
    of_another = run_of_units(5);
    assert_false(run_cache_put(&runs, run));
    assert_null(of_another);
    assert_int_equal(run->used_units, 4);
    assert_int_equal(run_cache_bytes(&runs), 5 * UNIT_BYTES);
    /* Or finds the next place. */
    run_cache_limit(&runs, 15);
    of_another = run_of_units(5);
    assert_true(run_cache_put(&runs, run));
    assert_int_equal(run->used_units, 0);
    assert_int_equal(run_cache_bytes(&runs), 15 * UNIT_BYTES);
}

/* Pressure */

static void more_is_kept_after_many_waits_and_less_after_quiet_ticks(void **state)
{
    unsigned demand = run_cache_demand(0, 1000);

    (void)state;
    assert_int_equal(demand, RUN_CACHE_QUIET_TICKS);
    assert_int_equal(run_cache_demand(demand, 999), demand);
    assert_int_equal(run_cache_demand(demand, 100), demand);
    assert_int_equal(run_cache_demand(demand, 99), demand - 1);
    assert_int_equal(run_cache_demand(0, 0), 0);
    for (unsigned tick = 0; tick < 100; tick++) {
        demand = run_cache_demand(demand, 5000);
    }
    assert_int_equal(demand, 3 * RUN_CACHE_QUIET_TICKS);
}

/* The names that the linker's --wrap gives. */
uint64_t __real_page_heap_waits(void);
uint64_t __wrap_page_heap_waits(void);

/* Besides those that there were. */
static uint64_t more_waits;

uint64_t __wrap_page_heap_waits(void)
{
    return __real_page_heap_waits() + more_waits;
}

static size_t kept_most(void)
{
    reclaim_aged();
    return cache_self->arena->large_runs.units_most;
}

static void each_tick_with_many_waits_lets_twice_as_much_be_kept(void **state)
{
    (void)state;
    (void)filled(64 * MIB);
    size_t most = kept_most();

    assert_in_range(most, 16, 17);
    more_waits += 1000;
    assert_in_range(kept_most(), 2 * most, 2 * most + 1);
    more_waits += 1000;
    assert_in_range(kept_most(), 4 * most, 4 * most + 3);
    /* Those that came before do not count again. */
    for (unsigned tick = 0; tick < 2 * RUN_CACHE_QUIET_TICKS; tick++) {
        (void)kept_most();
    }
    assert_int_equal(kept_most(), most);
}

static void *ask_the_page_heap(void *argument)
{
    (void)argument;
    (void)page_heap_stats();
    return NULL;
}

static void waits_are_counted(void **state)
{
    pthread_t thread;

    (void)state;
    assert_int_equal(page_heap_waits(), 0);
    lock_acquire(&page_heap_lock);
    assert_int_equal(pthread_create(&thread, NULL, ask_the_page_heap, NULL), 0);
    /* Until it sleeps. */
    while (atomic_load(&page_heap_lock.state) != 2) {
        (void)sched_yield();
    }
    lock_release(&page_heap_lock);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(page_heap_waits(), 1);
    assert_int_equal(page_heap_stats().lock_waits, 1);
}

/* Blocks */

static void a_large_block_gets_the_run_of_the_last(void **state)
{
    (void)state;
    char *block = filled(LARGE);
    uint64_t allocs = page_heap_stats().allocs;

    for (unsigned i = 0; i < 100; i++) {
        heap_free(block);
        assert_ptr_equal(filled(LARGE - i), block);
        assert_int_equal(usable(block), LARGE);
    }
    assert_int_equal(page_heap_stats().allocs, allocs);
    heap_free(block);
    check_all();
    assert_nothing_is_used();
}

static void a_thread_keeps_one_run_that_is_not_long(void **state)
{
    (void)state;
    char *long_block = filled(5 * UNIT_BYTES);
    char *blocks[] = {filled(LARGE), filled(LARGE)};

    heap_free(long_block);
    assert_int_equal(run_cache_bytes(&cache_self->runs), 0);
    heap_free(blocks[0]);
    heap_free(blocks[1]);
    assert_int_equal(run_cache_bytes(&cache_self->runs), LARGE);
    assert_int_equal(run_cache_bytes(&cache_self->arena->large_runs), 5 * UNIT_BYTES);
    tick_advance();
    run_cache_age_all();
    assert_int_equal(kept_bytes(), 0);
    check_all();
}

static void a_zeroed_block_of_a_kept_run_is_zero(void **state)
{
    (void)state;
    char *block = filled(LARGE);

    heap_free(block);
    assert_ptr_equal(heap_alloc_zeroed(LARGE), block);
    assert_true(is_all(block, LARGE, 0));
}

static void free_it(void *block)
{
    heap_free(block);
}

static void ask_its_size(void *block)
{
    (void)usable(block);
}

static void a_kept_block_is_free(void **state)
{
    (void)state;
    char *block = filled(LARGE);

    heap_free(block);
    assert_int_equal(kept_bytes(), LARGE);
    assert_dies_at(free_it, block, "double free of", (uintptr_t)block);
    assert_dies_at(ask_its_size, block, "invalid", (uintptr_t)block);
}

static void a_run_that_realloc_left_is_not_kept(void **state)
{
    (void)state;
    char *block = filled(LARGE);

    (void)filled(LARGE); /* it cannot grow where it is */
    char *moved = (char *)heap_resize(block, 2 * LARGE);

    assert_non_null(moved);
    assert_ptr_not_equal(moved, block);
    assert_int_equal(kept_bytes(), 0);
    assert_true(is_all(moved, LARGE, PATTERN));
    check_all();
}

static void *trim(void *argument)
{
    (void)argument;
    (void)filled(1);
    (void)heap_trim(0);
    return NULL;
}

static void *free_block(void *block)
{
    /* A thread of another arena, with a cache of its own. */
    (void)filled(1);
    heap_free(block);
    return NULL;
}

static void a_run_goes_back_to_where_it_came_from(void **state)
{
    pthread_t thread;

    (void)state;
    char *block = filled(LARGE);

    assert_int_equal(pthread_create(&thread, NULL, free_block, block), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(kept_bytes(), LARGE);
    assert_ptr_equal(filled(LARGE), block);
}

static void *keep_own_run(void *unused)
{
    heap_free(filled(1));
    assert_int_not_equal(cache_self->arena->index, 0);
    heap_free(filled(LARGE));
    assert_int_equal(run_cache_bytes(&cache_self->runs), LARGE);
    return unused;
}

static void threads_of_every_arena_keep_their_own_runs(void **state)
{
    (void)state;
    (void)filled(1);
    assert_true(life_limit_arenas(2));
    run_threads(1, keep_own_run, NULL);
}

static void kept_runs_serve_before_the_break_grows(void **state)
{
    (void)state;
    char *block = filled(LARGE);

    heap_free(block);
    /* Nothing else is free. */
    while (page_heap_alloc(&(struct run_request){
               .units = 1, .align_units = 1, .state = SPAN_LARGE, .grow = false}) != NULL) {
    }
    size_t units = page_heap_stats().total_units;

    assert_ptr_equal(filled(2 * UNIT_BYTES), block);
    assert_int_equal(page_heap_stats().total_units, units);
    assert_int_equal(kept_bytes(), 0);
}

static void a_block_grows_where_it_lies_when_only_a_kept_run_is_in_the_way(void **state)
{
    (void)state;
    char *block = filled(LARGE);
    char *behind = filled(LARGE);

    assert_ptr_equal(behind, block + LARGE);
    use_up_all_memory();
    heap_free(behind);
    assert_int_equal(kept_bytes(), LARGE);
    assert_ptr_equal(heap_resize(block, 2 * LARGE), block);
    check_all();
}

/* Does the heap keep a run that is freed below this soft, and this hard limit? */
static bool keeps_a_run(size_t soft, size_t hard)
{
    char *block = filled(LARGE);

    limit_set(soft, hard);
    heap_free(block);
    bool keeps = kept_bytes() == LARGE;

    run_cache_empty_all();
    return keeps;
}

static void near_a_limit_nothing_is_kept(void **state)
{
    (void)state;
    void *most = filled(6 * MIB);

    assert_true(keeps_a_run(0, 0));
    assert_true(keeps_a_run(64 * MIB, 0));
    assert_true(keeps_a_run(0, 64 * MIB));
    assert_false(keeps_a_run(8 * MIB, 0));
    assert_false(keeps_a_run(0, 8 * MIB));
    assert_false(keeps_a_run(8 * MIB, 64 * MIB));
    heap_free(most);
}

static void an_aligned_block_gets_a_kept_run(void **state)
{
    (void)state;
    char *block = filled(LARGE);

    heap_free(block);
    assert_ptr_equal(heap_alloc_aligned(4096, LARGE), block);
    heap_free(block);
    assert_ptr_equal(heap_alloc_aligned(UNIT_BYTES, LARGE), block);
    heap_free(block);
    block = (char *)heap_alloc_aligned(2 * UNIT_BYTES, LARGE);
    assert_int_equal((uintptr_t)block % (2 * UNIT_BYTES), 0);
    /* A run of one unit would never be taken. */
    heap_free(heap_alloc_aligned(2 * UNIT_BYTES, 1));
    assert_int_equal(kept_bytes(), LARGE);
}

static void frees_keep_errno_and_time_passes(void **state)
{
    (void)state;
    conf.decay_ms = 0;
    uint8_t tick = tick_now();

    errno = ERRNO_BEFORE;
    heap_free(filled(LARGE));
    assert_int_equal(errno, ERRNO_BEFORE);
    assert_int_not_equal(tick_now(), tick);
}

static bool take_what_is_kept(void *block)
{
    return heap_alloc(LARGE) == block;
}

static void a_child_has_what_was_kept(void **state)
{
    (void)state;
    char *block = filled(LARGE);

    heap_free(block);
    assert_works_in_child(take_what_is_kept, block);
    assert_ptr_equal(filled(LARGE), block);
}

static void a_trim_reaches_all_arenas(void **state)
{
    pthread_t thread;

    (void)state;
    char *block = filled(LARGE);

    (void)filled(LARGE);
    heap_free(block);
    assert_int_equal(pthread_create(&thread, NULL, trim, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(kept_bytes(), 0);
    assert_int_equal(resident_pages(block, LARGE), 0);
}

static void as_time_goes_by_no_run_is_kept_for_long(void **state)
{
    (void)state;
    heap_free(filled(LARGE));
    reclaim_aged();
    assert_int_equal(kept_bytes(), LARGE);
    tick_advance();
    reclaim_aged();
    assert_int_equal(kept_bytes(), 0);
    check_all();
}

/* Large blocks, all in use at once, then all free. */
static void use_as_many_as_slots(void)
{
    char *blocks[RUN_CACHE_SLOTS];

    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = filled(LARGE);
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        heap_free(blocks[i]);
    }
}

static void as_the_heap_grows_more_runs_are_kept(void **state)
{
    (void)state;
    heap_free(filled(LARGE));
    char *rest = heap_alloc(64 * MIB); /* not touched */

    assert_non_null(rest);
    reclaim_aged();
    use_as_many_as_slots();
    assert_in_range(kept_bytes(), 3 * LARGE, (RUN_CACHE_SLOTS + 1) * LARGE);
    /* What is free again is no reason to keep more. */
    heap_free(rest);
    tick_advance();
    reclaim_aged();
    use_as_many_as_slots();
    assert_in_range(kept_bytes(), LARGE, 2 * LARGE);
    check_all();
}

static void *use_another_arena(void *unused)
{
    heap_free(filled(1));
    return unused;
}

static void of_two_arenas_each_keeps_half_as_many(void **state)
{
    (void)state;
    heap_free(filled(LARGE));
    assert_true(life_limit_arenas(2));
    run_threads(1, use_another_arena, NULL);
    assert_non_null(arena_by_index(1));
    char *rest = heap_alloc(64 * MIB);

    assert_non_null(rest);
    reclaim_aged();
    use_as_many_as_slots();
    /* And the thread one. */
    assert_int_equal(kept_bytes(), (64 * MIB / 64 / 2 / LARGE + 1) * LARGE);
    heap_free(rest);
    check_all();
}

static void longer_blocks_go_to_the_page_heap(void **state)
{
    (void)state;
    char *block = filled(TOO_LARGE);
    uint64_t frees = page_heap_stats().frees;

    heap_free(block);
    assert_int_equal(page_heap_stats().frees, frees + 1);
    assert_int_equal(kept_bytes(), 0);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(the_check_sees_a_kept_run_that_is_not_marked),
        ISOLATED(what_was_put_is_taken),
        ISOLATED(what_was_put_last_is_taken_first),
        ISOLATED(one_run_is_kept_and_what_finds_no_room_is_as_it_was),
        ISOLATED(runs_too_long_are_not_kept),
        ISOLATED(a_run_grows_old_in_its_slot),
        ISOLATED(the_time_in_a_slot_counts),
        ISOLATED(threads_share_runs),
        ISOLATED(who_comes_too_late_to_put_a_run_has_it_as_it_was),
        ISOLATED(more_is_kept_after_many_waits_and_less_after_quiet_ticks),
        ISOLATED(each_tick_with_many_waits_lets_twice_as_much_be_kept),
        ISOLATED(waits_are_counted),
        ISOLATED(a_large_block_gets_the_run_of_the_last),
        ISOLATED(a_thread_keeps_one_run_that_is_not_long),
        ISOLATED(a_zeroed_block_of_a_kept_run_is_zero),
        ISOLATED(a_kept_block_is_free),
        ISOLATED(a_run_that_realloc_left_is_not_kept),
        ISOLATED(a_run_goes_back_to_where_it_came_from),
        ISOLATED(threads_of_every_arena_keep_their_own_runs),
        ISOLATED(kept_runs_serve_before_the_break_grows),
        ISOLATED(a_block_grows_where_it_lies_when_only_a_kept_run_is_in_the_way),
        ISOLATED(near_a_limit_nothing_is_kept),
        ISOLATED(an_aligned_block_gets_a_kept_run),
        ISOLATED(frees_keep_errno_and_time_passes),
        ISOLATED(a_child_has_what_was_kept),
        ISOLATED(a_trim_reaches_all_arenas),
        ISOLATED(as_time_goes_by_no_run_is_kept_for_long),
        ISOLATED(as_the_heap_grows_more_runs_are_kept),
        ISOLATED(of_two_arenas_each_keeps_half_as_many),
        ISOLATED(longer_blocks_go_to_the_page_heap),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
