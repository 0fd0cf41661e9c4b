/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_purge.c - free memory goes back after its time, from the page heap, from slabs in use and
 * from other threads' caches, and can be used again. */
#include "heap_support.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "breakwater/breakwater.h"
#include "conf.h"
#include "emergency.h"
#include "heap.h"
#include "life.h"
#include "os.h"
#include "pace.h"
#include "page_heap.h"
#include "purge.h"
#include "reclaim.h"
#include "tick.h"
#include "vdso.h"

enum { TICKS = 5, SLAB_TICKS = 7, SIZE = 512, BLOCKS = 4000, PAGE = 4096, HUGE = 2 * MIB };

/* Unless a test says otherwise the clock of decay stands still but for let_ticks_pass(). */
enum { DECAY_MS_LONG = 1000000000 };

/* Blocks whose runs are free when this returns. */
static void free_to_page_heap(char *const *blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        heap_free(blocks[i]);
    }
    run_cache_empty_all();
}

/* A free run in the middle of the heap. */
static char *free_run(size_t bytes)
{
    char *block = filled(bytes);

    (void)filled(SMALL_MAX_BYTES + 1);
    free_to_page_heap(&block, 1);
    return block;
}

static void a_free_run_goes_back_when_its_time_has_come(void **state)
{
    char *run = free_run(MIB);

    (void)state;
    let_ticks_pass(TICKS - 2);
    assert_int_equal(page_heap_decay(TICKS - 1, SIZE_MAX), 0);
    assert_int_equal(resident_pages(run, MIB), MIB / PAGE);
    let_ticks_pass(1);
    assert_true(page_heap_decay(TICKS - 1, SIZE_MAX) >= MIB);
    assert_int_equal(resident_pages(run, MIB), 0);
    assert_int_equal(page_heap_decay(TICKS - 1, SIZE_MAX), 0);
    page_heap_check();
}

static void what_is_in_use_again_stays(void **state)
{
    char *run = free_run(MIB);

    (void)state;
    let_ticks_pass(TICKS);
    char *again = filled(MIB);

    assert_ptr_equal(again, run);
    (void)page_heap_decay(0, SIZE_MAX);
    assert_true(is_all(again, MIB, PATTERN));
    /* Freed now: its time begins anew. */
    heap_free(again);
    assert_int_equal(page_heap_decay(1, SIZE_MAX), 0);
}

static void no_more_goes_back_at_once_than_was_asked_for(void **state)
{
    char *run = free_run(4 * MIB);

    (void)state;
    let_ticks_pass(TICKS);
    assert_int_equal(page_heap_decay(TICKS, MIB), MIB);
    assert_in_range(resident_pages(run, 4 * MIB), 1, 3 * MIB / PAGE);
    assert_int_equal(page_heap_decay(TICKS, SIZE_MAX), 3 * MIB);
    assert_int_equal(resident_pages(run, 4 * MIB), 0);
}

/* Of a MiB, free for long enough, with others in between. */
static void make_due_runs(char **runs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        runs[i] = filled(MIB);
        (void)filled(SMALL_MAX_BYTES + 1);
    }
    free_to_page_heap(runs, count);
    let_ticks_pass(TICKS);
}

/* Where the look for what is due stopped, it goes on, whatever becomes of the run that was next. */
static void a_look_that_stopped_half_way_goes_on(void **state)
{
    enum { RUNS = 6 };
    char *runs[RUNS];
    char *again[RUNS];
    size_t pages = 0;

    (void)state;
    make_due_runs(runs, RUNS);
    assert_int_equal(page_heap_decay(TICKS, MIB), MIB);
    for (size_t i = 0; i < RUNS; i++) {
        again[i] = filled(MIB);
    }
    assert_int_equal(page_heap_decay(TICKS, SIZE_MAX), 0);
    free_to_page_heap(again, RUNS);
    /* For less time it looks at all of them again. */
    let_ticks_pass(TICKS);
    assert_int_equal(page_heap_decay(1, 2 * MIB), 2 * MIB);
    assert_int_equal(page_heap_decay(TICKS, MIB), MIB);
    assert_int_equal(page_heap_decay(0, MIB), MIB);
    assert_int_equal(page_heap_decay(1, SIZE_MAX), 2 * MIB);
    for (size_t i = 0; i < RUNS; i++) {
        pages += resident_pages(runs[i], MIB);
    }
    assert_int_equal(pages, 0);
    page_heap_check();
}

static void a_look_does_not_go_on_in_a_run_that_is_in_use(void **state)
{
    enum { RUNS = 3 };
    char *runs[RUNS];

    (void)state;
    make_due_runs(runs, RUNS);
    assert_int_equal(page_heap_decay(TICKS, MIB / 2), MIB / 2);
    /* Whoever has them has not said yet what for. */
    for (size_t i = 0; i < RUNS; i++) {
        struct span *span = page_heap_alloc(&(struct run_request){
            .units = MIB / UNIT_BYTES, .align_units = 1, .state = SPAN_LARGE, .grow = false});

        assert_non_null(span);
        runs[i] = (char *)span_address(span);
        memset(runs[i], PATTERN, MIB);
    }
    assert_int_equal(page_heap_decay(TICKS, SIZE_MAX), 0);
    for (size_t i = 0; i < RUNS; i++) {
        assert_true(is_all(runs[i], MIB, PATTERN));
    }
    page_heap_check();
}

/* A run that is free since a tick, shorter than another that has been for TICKS and the rest of
 * which is still to go, as all of a third: a look for the latter has passed it. */
static void look_half_way(char **recent, char **long_free)
{
    char *blocks[3];

    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = filled(MIB << i);
        (void)filled(SMALL_MAX_BYTES + 1);
    }
    *recent = blocks[0];
    *long_free = blocks[1];
    free_to_page_heap(&blocks[1], 2);
    let_ticks_pass(TICKS);
    free_to_page_heap(&blocks[0], 1);
    let_ticks_pass(1);
    assert_int_equal(page_heap_decay(TICKS, MIB / 2), MIB / 2);
    assert_true(resident_pages(*recent, MIB) == MIB / PAGE);
}

/* So many ticks later a look for what has been free for `ticks` finds all. */
static void assert_the_next_look_finds_all(unsigned later, unsigned ticks)
{
    char *recent;
    char *long_free;

    look_half_way(&recent, &long_free);
    let_ticks_pass(later);
    assert_int_equal(page_heap_decay(ticks, SIZE_MAX), 6 * MIB + MIB / 2);
    assert_int_equal(resident_pages(recent, MIB) + resident_pages(long_free, 2 * MIB), 0);
}

static void a_look_for_less_time_begins_anew(void **state)
{
    (void)state;
    assert_the_next_look_finds_all(0, 1);
}

static void a_look_in_another_pass_begins_anew(void **state)
{
    (void)state;
    assert_the_next_look_finds_all(TICKS, TICKS);
}

static void a_look_goes_on_in_the_middle_of_a_run(void **state)
{
    char *recent;
    char *long_free;

    (void)state;
    look_half_way(&recent, &long_free);
    assert_int_equal(page_heap_decay(TICKS, SIZE_MAX), 5 * MIB + MIB / 2);
    assert_int_equal(resident_pages(long_free, 2 * MIB), 0);
    page_heap_check();
}

static void of_many_free_runs_no_more_goes_back_than_was_asked_for(void **state)
{
    char *runs[4];
    size_t pages = 0;

    (void)state;
    /* Two lengths of runs, two of each. */
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
        runs[i] = filled((1 + i % 2) * MIB);
        (void)filled(SMALL_MAX_BYTES + 1);
    }
    free_to_page_heap(runs, ARRAY_SIZE(runs));
    let_ticks_pass(TICKS);
    assert_int_equal(page_heap_decay(TICKS, MIB / 2), MIB / 2);
    assert_int_equal(page_heap_decay(TICKS, MIB), MIB);
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
        pages += resident_pages(runs[i], (1 + i % 2) * MIB);
    }
    assert_int_equal(pages, (6 * MIB - MIB / 2 - MIB) / PAGE);
    assert_int_equal(page_heap_decay(TICKS, SIZE_MAX), 6 * MIB - MIB / 2 - MIB);
    page_heap_check();
}

static void memory_that_went_back_reads_as_zero_and_can_be_used(void **state)
{
    char *run = free_run(MIB);

    (void)state;
    let_ticks_pass(TICKS);
    (void)page_heap_decay(TICKS, SIZE_MAX);
    char *again = (char *)heap_alloc_zeroed(MIB);

    assert_ptr_equal(again, run);
    assert_true(is_all(again, MIB, 0));
    memset(again, PATTERN, MIB);
    heap_free(again);
    page_heap_check();
}

/* Blocks of SIZE bytes, of which all but each 64th are freed to their slabs. */
static void thin_out(char **blocks)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = filled(SIZE);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        if (i % 64 != 0) {
            heap_free(blocks[i]);
        }
    }
    cache_flush_all(cache_self);
    reclaim_all();
}

static size_t resident_pages_of(char *const *blocks)
{
    size_t pages = 0;

    for (size_t i = 0; i < BLOCKS; i++) {
        pages += resident_pages((char *)align_down((uintptr_t)blocks[i], PAGE), PAGE);
    }
    return pages;
}

static void check_survivors(char *const *blocks)
{
    for (size_t i = 0; i < BLOCKS; i += 64) {
        assert_true(is_all(blocks[i], SIZE, PATTERN));
    }
}

static size_t idle_pages_purged(unsigned ticks, size_t budget)
{
    return reclaim_idle_pages(ticks, &budget);
}

static void free_pages_of_slabs_in_use_go_back_too(void **state)
{
    static char *blocks[BLOCKS];

    (void)state;
    thin_out(blocks);
    assert_int_equal(idle_pages_purged(SLAB_TICKS, SIZE_MAX), 0);
    let_ticks_pass(SLAB_TICKS);
    assert_true(idle_pages_purged(SLAB_TICKS, SIZE_MAX) > BLOCKS * SIZE / 2);
    (void)page_heap_decay(SLAB_TICKS, SIZE_MAX);
    /* Of 8 blocks a page: a survivor in each 64, and so in each 8th page. */
    assert_in_range(resident_pages_of(blocks), BLOCKS / 64, BLOCKS / 64 * 10);
    check_survivors(blocks);
    assert_int_equal(idle_pages_purged(0, SIZE_MAX), 0);
    for (size_t i = 0; i < BLOCKS; i++) {
        if (i % 64 != 0) {
            blocks[i] = filled(SIZE);
        }
    }
    check_survivors(blocks);
    for (size_t i = 0; i < BLOCKS; i++) {
        heap_free(blocks[i]);
    }
    cache_flush_all(cache_self);
    reclaim_all();
    arena_check(arena_by_index(0));
    page_heap_check();
}

/* As malloc_trim() gives them back; others may want blocks of the class meanwhile. */
static void where_pages_go_back_slowly_a_lock_is_held_for_few(void **state)
{
    enum { SLOW_NS = 16000, LEAST = BLOCKS * SIZE / 2 };
    static char *blocks[BLOCKS];

    (void)state;
    thin_out(blocks);
    const struct lock *lock = &arena_bin(cache_self->arena, size_class_of(SIZE))->lock;
    uint64_t before = lock->acquisitions;

    set_pace(SLOW_NS);
    assert_true(idle_pages_purged(0, SIZE_MAX) > LEAST);
    assert_true(lock->acquisitions - before > LEAST / PACE_BYTES_LEAST);
    check_survivors(blocks);
}

static void free_pages_of_a_fresh_slab_wait_as_long(void **state)
{
    (void)state;
    (void)filled(SIZE);
    let_ticks_pass(SLAB_TICKS);
    (void)idle_pages_purged(0, SIZE_MAX);
    (void)filled(3 * SIZE);
    assert_int_equal(idle_pages_purged(SLAB_TICKS, SIZE_MAX), 0);
    let_ticks_pass(SLAB_TICKS);
    assert_true(idle_pages_purged(SLAB_TICKS, SIZE_MAX) > UNIT_BYTES / 2);
}

static void grow_heap(void)
{
    (void)filled(MIB);
}

static size_t resident_pages_of_every_second(char *const *blocks, size_t count, size_t bytes)
{
    size_t pages = 0;

    for (size_t i = 0; i < count; i += 2) {
        pages += resident_pages(blocks[i], bytes);
    }
    return pages;
}

/* As much of them as the heap grows by. */
static void free_runs_that_are_too_short_make_up_for_growth(void **state)
{
    enum { RUNS = 8 };
    char *blocks[RUNS];
    const size_t bytes = 2 * MIB;
    const size_t free_pages = RUNS / 2 * bytes / PAGE;

    (void)state;
    for (size_t i = 0; i < RUNS; i++) {
        blocks[i] = filled(bytes);
    }
    for (size_t i = 0; i < RUNS; i += 2) {
        heap_free(blocks[i]);
    }
    (void)filled(bytes + MIB);
    assert_int_equal(resident_pages_of_every_second(blocks, RUNS, bytes), free_pages);
    let_ticks_pass(1);
    (void)filled(bytes + MIB);
    assert_in_range(resident_pages_of_every_second(blocks, RUNS, bytes), 1,
                    free_pages - (bytes + MIB) / PAGE);
    (void)filled(8 * bytes);
    assert_int_equal(resident_pages_of_every_second(blocks, RUNS, bytes), 0);
    page_heap_check();
}

/* Which lie in huge pages. */
static void where_huge_pages_are_asked_for_nothing_makes_up_for_growth(void **state)
{
    const size_t bytes = 2 * MIB;

    (void)state;
    heap_free(filled(1));
    conf.thp = THP_ALWAYS;
    char *run = free_run(bytes);

    let_ticks_pass(1);
    (void)filled(8 * bytes);
    assert_int_equal(resident_pages(run, bytes), bytes / PAGE);
}

/* Instead of the clock that a step looks at, whose time would be up early on a slow machine: it
 * goes on by so much at each look, and with let_clock_move(). */
static uint64_t ns_a_look = 1;
static _Atomic uint64_t step_clock_ns;

uint64_t __real_os_clock_ns(void);
uint64_t __wrap_os_clock_ns(void);

/* In this thread, both clocks. */
static _Thread_local bool clock_fails;

uint64_t __wrap_os_clock_ns(void)
{
    if (clock_fails) {
        errno = EPERM;
        return 0;
    }
    return atomic_fetch_add(&step_clock_ns, ns_a_look);
}

/* The coarse clock moves at each of the kernel's ticks. */
static void let_clock_move(void)
{
    enum { PAUSE_US = 12000 };

    (void)usleep(PAUSE_US);
    step_clock_ns = __real_os_clock_ns();
}

void __real_vdso_clock(clockid_t which, struct timespec *now);
void __wrap_vdso_clock(clockid_t which, struct timespec *now);

/* As libc's may where it is asked. */
void __wrap_vdso_clock(clockid_t which, struct timespec *now)
{
    if (clock_fails) {
        errno = EPERM;
        return;
    }
    __real_vdso_clock(which, now);
}

/* While a purge is behind, each swap looks at the clock. */
static void a_clock_that_fails_does_not_show_in_errno(void **state)
{
    enum { ROUNDS = 1000, HELD = 3 };
    void *blocks[HELD] = {NULL};

    (void)state;
    for (size_t i = 0; i < ROUNDS; i++) {
        purge_left = true;
        errno = 0;
        clock_fails = true;
        heap_free(blocks[i % HELD]);
        blocks[i % HELD] = heap_alloc(SIZE);
        clock_fails = false;
        assert_non_null(blocks[i % HELD]);
        assert_int_equal(errno, 0);
    }
}

/* Of 16 MiB that are due, who frees as much lets all go back. */
static void who_frees_much_lets_much_go_back(void **state)
{
    const size_t bytes = 16 * MIB;

    (void)state;
    conf.decay_ms = 0;
    char *run = free_run(bytes);
    char *other = filled(bytes);

    (void)filled(SMALL_MAX_BYTES + 1);
    run = run == other ? free_run(bytes + MIB) : run;
    let_ticks_pass(TICKS);
    let_clock_move();
    heap_free(other);
    assert_int_equal(resident_pages(run, bytes), 0);
    page_heap_check();
}

/* A block for which there is memory, so that the heap does not grow. */
static void who_gets_much_lets_much_go_back(void **state)
{
    enum { RUNS = 16 };
    char *runs[RUNS];
    size_t pages = 0;

    (void)state;
    conf.decay_ms = 0;
    for (size_t i = 0; i < RUNS; i++) {
        runs[i] = filled(MIB);
        (void)filled(SMALL_MAX_BYTES + 1);
    }
    char *room = free_run(RUNS * MIB);

    assert_true(heap_trim(0));
    free_to_page_heap(runs, RUNS);
    let_ticks_pass(TICKS);
    let_clock_move();
    assert_ptr_equal(heap_alloc(RUNS * MIB), room);
    for (size_t i = 0; i < RUNS; i++) {
        pages += resident_pages(runs[i], MIB);
    }
    assert_int_equal(pages, 0);
    page_heap_check();
}

static void a_class_in_no_demand_makes_up_for_growth(void **state)
{
    enum { QUICK_NS = 100 };
    static char *blocks[BLOCKS];

    (void)state;
    thin_out(blocks);
    size_t before = resident_pages_of(blocks);

    set_pace(QUICK_NS);
    /* Blocks of the class were asked for since the heap grew last. */
    grow_heap();
    assert_int_equal(resident_pages_of(blocks), before);
    grow_heap();
    assert_in_range(before - resident_pages_of(blocks), BLOCKS / 2, BLOCKS - BLOCKS / 64);
    check_survivors(blocks);
}

static void a_class_in_demand_keeps_its_pages_as_the_heap_grows(void **state)
{
    static char *blocks[BLOCKS];

    (void)state;
    thin_out(blocks);
    size_t before = resident_pages_of(blocks);

    for (size_t i = 0; i < 4; i++) {
        (void)filled(SIZE);
        cache_flush_all(cache_self);
        grow_heap();
    }
    assert_int_equal(resident_pages_of(blocks), before);
    check_survivors(blocks);
}

static void a_class_that_holds_little_of_the_heap_keeps_its_pages(void **state)
{
    static char *blocks[BLOCKS];

    (void)state;
    assert_non_null(heap_alloc(32 * MIB));
    thin_out(blocks);
    size_t before = resident_pages_of(blocks);

    for (size_t i = 0; i < 4; i++) {
        grow_heap();
    }
    assert_int_equal(resident_pages_of(blocks), before);
}

static void of_many_slabs_no_more_goes_back_at_once_than_was_asked_for(void **state)
{
    static char *blocks[BLOCKS];

    (void)state;
    thin_out(blocks);
    let_ticks_pass(SLAB_TICKS);
    size_t budget = PAGE;
    size_t bytes = reclaim_idle_pages(SLAB_TICKS, &budget);

    /* The first slab that had any. */
    assert_in_range(bytes, PAGE, UNIT_BYTES);
    assert_int_equal(budget, 0);
    assert_true(idle_pages_purged(SLAB_TICKS, SIZE_MAX) > 0);
    check_survivors(blocks);
}

static void a_purge_of_all_that_stops_half_way_does_not_hurry_the_decay(void **state)
{
    static char *blocks[BLOCKS];
    size_t budget = PAGE;

    (void)state;
    thin_out(blocks);
    assert_true(reclaim_idle_pages(0, &budget) > 0);
    assert_int_equal(idle_pages_purged(SLAB_TICKS, SIZE_MAX), 0);
    let_ticks_pass(SLAB_TICKS);
    assert_true(idle_pages_purged(SLAB_TICKS, SIZE_MAX) > 0);
    check_survivors(blocks);
}

static void free_pages_of_slabs_wait_where_somebody_forks(void **state)
{
    static char *blocks[BLOCKS];

    (void)state;
    thin_out(blocks);
    gate_close(NULL);
    assert_int_equal(idle_pages_purged(0, SIZE_MAX), 0);
    gate_open();
    assert_true(gate_is_open());
    assert_true(idle_pages_purged(0, SIZE_MAX) > 0);
    check_survivors(blocks);
}

static void pages_used_again_go_back_again(void **state)
{
    static char *blocks[BLOCKS];

    (void)state;
    thin_out(blocks);
    assert_true(idle_pages_purged(0, SIZE_MAX) > 0);
    char *again[64];

    for (size_t i = 0; i < ARRAY_SIZE(again); i++) {
        again[i] = filled(SIZE);
    }
    for (size_t i = 0; i < ARRAY_SIZE(again); i++) {
        heap_free(again[i]);
    }
    cache_flush_all(cache_self);
    assert_true(idle_pages_purged(0, SIZE_MAX) >= PAGE);
    assert_int_equal(idle_pages_purged(0, SIZE_MAX), 0);
    check_survivors(blocks);
}

static void polling_purges_after_the_decay_time(void **state)
{
    char *run;

    (void)state;
    conf.decay_ms = 0;
    run = free_run(MIB);
    for (unsigned poll = 0; poll < 2 * TICKS; poll++) {
        let_clock_move();
        purge_poll();
    }
    assert_int_equal(resident_pages(run, MIB), 0);
}

enum { TICK_MS = 400, MUCH = 12 * MIB, STEP_NS = PACE_STEP_US * 1000 };

/* The first step of a purge of MUCH, long after it was due, with which a tick begins; each look at
 * the clock is so late. */
static char *purge_begun(uint64_t late_ns)
{
    conf.decay_ms = 0;
    char *run = free_run(MUCH);

    let_ticks_pass(TICKS);
    /* By more than purge.c's SELDOM_MS, however coarse the clock is. */
    let_clock_move();
    let_clock_move();
    conf.decay_ms = 4 * TICK_MS;
    ns_a_look = late_ns;
    assert_true(purge_poll());
    return run;
}

static size_t gone_of(const char *run)
{
    return MUCH - resident_pages(run, MUCH) * PAGE;
}

static void let_step_clock_move(unsigned ms)
{
    step_clock_ns += (uint64_t)ms * 1000 * 1000;
}

static void a_step_ends_when_its_time_is_up(void **state)
{
    (void)state;
    assert_int_equal(gone_of(purge_begun(2 * (uint64_t)STEP_NS)), PACE_BYTES_LEAST);
}

static void a_step_that_has_time_looks_at_the_clock_in_between(void **state)
{
    (void)state;
    assert_int_equal(gone_of(purge_begun(STEP_NS)), 2 * PACE_BYTES_LEAST);
}

static void a_step_that_takes_no_time_gives_4_MiB_back(void **state)
{
    (void)state;
    assert_int_equal(gone_of(purge_begun(1)), 4 * MIB);
}

/* Who seldom comes by has twice the time. */
static void a_step_soon_after_the_last_has_half_the_time(void **state)
{
    enum { SOON_MS = 2 };

    (void)state;
    char *run = purge_begun(STEP_NS);

    /* From the second step on they go by one clock. */
    let_step_clock_move(SOON_MS);
    assert_true(purge_poll());
    size_t gone = gone_of(run);

    let_step_clock_move(SOON_MS);
    assert_true(purge_poll());
    assert_int_equal(gone_of(run), gone + PACE_BYTES_LEAST);
}

/* As long as there is something to do. */
static void who_seldom_comes_by_takes_a_step_each_time(void **state)
{
    enum { WARM = 100, TURNS = 2 * MUCH / PACE_BYTES_LEAST, PAUSE_MS = 2 };

    (void)state;
    conf.decay_ms = 0;
    for (unsigned i = 0; i < WARM; i++) {
        heap_free(heap_alloc(SIZE));
    }
    char *run = purge_begun(STEP_NS);

    for (unsigned i = 0; i < TURNS; i++) {
        let_step_clock_move(PAUSE_MS);
        heap_free(heap_alloc(SIZE));
    }
    assert_int_equal(gone_of(run), MUCH);
}

/* The next one begins a tick after the first step, not after the last. */
static void a_tick_is_no_longer_for_its_purge(void **state)
{
    (void)state;
    char *run = purge_begun(STEP_NS);

    let_step_clock_move(TICK_MS * 3 / 4);
    while (purge_go_on()) {
    }
    assert_int_equal(resident_pages(run, MUCH), 0);
    assert_in_range(purge_interval_ms(), 0, TICK_MS);
}

static void ticks_go_by_while_a_purge_goes_on(void **state)
{
    (void)state;
    char *run = purge_begun(STEP_NS);
    uint8_t tick = tick_now();
    uint8_t pass = pass_now();

    let_step_clock_move(TICK_MS - 100);
    assert_true(purge_go_on());
    assert_int_equal(tick_now(), tick);
    let_step_clock_move(101);
    assert_true(purge_go_on());
    assert_int_equal(tick_now(), (uint8_t)(tick + 1));
    assert_int_equal(pass_now(), pass);
    assert_false(purge_go_on());
    assert_int_equal(tick_now(), (uint8_t)(tick + 1));
    assert_int_equal(pass_now(), (uint8_t)(pass + 1));
    assert_int_equal(resident_pages(run, MUCH), 0);
}

/* Or what is free would wait for as many steps as there are ticks in a decay time. But what was
 * freed just before ages too. */
static void after_a_long_time_two_ticks_go_by_at_once(void **state)
{
    (void)state;
    (void)purge_begun(STEP_NS);
    uint8_t tick = tick_now();

    let_step_clock_move(2 * TICK_MS - 100);
    (void)purge_go_on();
    assert_int_equal(tick_now(), (uint8_t)(tick + 1));
    let_step_clock_move(100 * TICK_MS);
    (void)purge_go_on();
    assert_int_equal(tick_now(), (uint8_t)(tick + 3));
}

/* As where a process goes on on another machine, or a call fails. */
static void a_clock_that_was_ahead_once_does_not_stop_the_decay(void **state)
{
    enum { AHEAD_MS = 1000 * 1000 };

    (void)state;
    char *run = purge_begun(STEP_NS);

    let_step_clock_move(AHEAD_MS);
    assert_true(purge_poll());
    step_clock_ns -= (uint64_t)AHEAD_MS * 1000 * 1000;
    assert_in_range(purge_interval_ms(), 0, TICK_MS);
    assert_true(purge_is_due());
    while (purge_poll()) {
        let_step_clock_move(2);
    }
    assert_int_equal(resident_pages(run, MUCH), 0);
}

/* Rounds of which each ends with a swap: no miss lets time pass. */
static void time_passes_where_every_request_is_a_hit(void **state)
{
    enum { AT_ONCE = 8, WARM = 2000, ROUNDS = 3000, A_WHILE = 100 };
    char *run = NULL;
    uint64_t misses = 0;

    (void)state;
    conf.decay_ms = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        void *blocks[AT_ONCE];

        if (round == WARM) {
            run = free_run(MIB);
            misses = cache_self->misses;
        }
        if (round >= WARM && round % A_WHILE == 0) {
            let_clock_move();
        }
        for (size_t i = 0; i < AT_ONCE; i++) {
            blocks[i] = heap_alloc(SIZE);
        }
        for (size_t i = 0; i < AT_ONCE; i++) {
            heap_free(blocks[i]);
        }
    }
    assert_int_equal(cache_self->misses, misses);
    assert_int_equal(resident_pages(run, MIB), 0);
}

/* Blocks whose runs are kept: neither call asks the page heap. */
/* What is kept for the next who needs it: a run, and an empty slab. */
static void polling_gives_up_what_is_kept(void **state)
{
    (void)state;
    heap_free(filled(3 * UNIT_BYTES));
    use_class(SIZE);
    cache_flush_all(cache_self);
    assert_int_equal(run_cache_bytes_all(), 3 * UNIT_BYTES);
    struct bin *bin = arena_bin(cache_self->arena, size_class_of(SIZE));

    assert_int_equal(bin->empty_slabs, 1);
    conf.decay_ms = 0;
    for (unsigned poll = 0; poll < 2 * TICKS; poll++) {
        let_clock_move();
        purge_poll();
    }
    assert_int_equal(run_cache_bytes_all(), 0);
    assert_int_equal(bin->empty_slabs, 0);
}

static void time_passes_where_only_large_blocks_come_and_go(void **state)
{
    char *run;

    (void)state;
    conf.decay_ms = 0;
    heap_free(heap_alloc(5 * UNIT_BYTES));
    run = free_run(MIB);
    for (unsigned round = 0; round < 2 * TICKS; round++) {
        let_clock_move();
        heap_free(heap_alloc(5 * UNIT_BYTES));
    }
    assert_int_equal(resident_pages(run, MIB), 0);
}

enum { REMOTE_FREES = 8 * 2 * TICKS, TOO_LONG_TO_COLLECT = 40000 };

static void *free_blocks_of_another_arena(void *argument)
{
    void **blocks = (void **)argument;

    heap_free(heap_alloc(1));
    assert_int_not_equal(cache_self->arena->index, 0);
    for (size_t i = 0; i < REMOTE_FREES; i++) {
        if (i % 8 == 0) {
            let_clock_move();
        }
        heap_free(blocks[i]);
    }
    return NULL;
}

static void time_passes_for_a_thread_that_only_frees_what_others_got(void **state)
{
    static void *blocks[REMOTE_FREES];
    char *run;

    (void)state;
    heap_free(heap_alloc(1));
    assert_true(life_limit_arenas(2));
    for (size_t i = 0; i < REMOTE_FREES; i++) {
        blocks[i] = filled(TOO_LONG_TO_COLLECT);
    }
    run = free_run(MIB);
    conf.decay_ms = 0;
    run_threads(1, free_blocks_of_another_arena, blocks);
    assert_int_equal(resident_pages(run, MIB), 0);
}

static void time_passes_for_a_thread_that_only_frees_what_it_got(void **state)
{
    static char *blocks[BLOCKS];

    (void)state;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = filled(SIZE);
    }
    char *run = free_run(MIB);

    conf.decay_ms = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        if (i % (BLOCKS / (4 * TICKS)) == 0) {
            let_clock_move();
        }
        heap_free(blocks[i]);
    }
    assert_int_equal(resident_pages(run, MIB), 0);
}

static void time_passes_for_a_thread_without_a_cache(void **state)
{
    char *run;

    (void)state;
    conf.decay_ms = 0;
    conf.checked = true;
    run = free_run(MIB);
    assert_false(cache_is_real(cache_self));
    for (unsigned round = 0; round < TICKS; round++) {
        let_clock_move();
        heap_free(heap_alloc(SIZE));
    }
    assert_int_equal(resident_pages(run, MIB), 0);
}

enum { EMERGENCY_BYTES = 100 * 4096 };

static char *freed_emergency_block(void)
{
    char *block = (char *)emergency_alloc(EMERGENCY_BYTES, 16);

    assert_non_null(block);
    memset(block, 0x5a, EMERGENCY_BYTES);
    bw_free(block);
    return block;
}

/* Blocks that were handed out during a fork are freed at any time after it. */
static void emergency_memory_goes_back_as_time_goes_by(void **state)
{
    char *block = freed_emergency_block();

    (void)state;
    assert_int_equal(resident_pages(block, EMERGENCY_BYTES), EMERGENCY_BYTES / os_page_bytes());
    while (purge_go_on()) {
    }
    assert_int_equal(resident_pages(block, EMERGENCY_BYTES), 0);
}

/* Less than a unit of a piece is left for runs then. */
static void a_page_of_emergency_memory_does_not_keep_runs_to_the_next_pass(void **state)
{
    char *run = free_run(MIB);
    char *block = (char *)emergency_alloc(PAGE, 16);

    (void)state;
    conf.decay_ms = 0;
    block[0] = PATTERN;
    let_ticks_pass(TICKS);
    bw_free(block);
    let_clock_move();
    (void)purge_poll();
    assert_int_equal(resident_pages(run, MIB), 0);
}

static void emergency_memory_goes_back_with_all_other(void **state)
{
    char *block = freed_emergency_block();

    (void)state;
    assert_true(purge_all(0) >= EMERGENCY_BYTES);
    assert_int_equal(resident_pages(block, EMERGENCY_BYTES), 0);
}

static void who_does_nothing_else_takes_no_step_without_a_rest(void **state)
{
    enum { MS_LEAST = 5 };

    (void)state;
    assert_true(purge_is_due());
    assert_int_equal(purge_interval_ms(), MS_LEAST);
    while (purge_go_on()) {
    }
    assert_true(purge_interval_ms() >= MS_LEAST);
}

static void address_space_goes_back_after_its_memory(void **state)
{
    char *low = filled(8 * MIB);
    char *high = filled(24 * MIB);

    (void)state;
    heap_free(high);
    run_cache_empty_all();
    size_t units = page_heap_stats().total_units;

    page_heap_give_up_clean();
    assert_int_equal(page_heap_stats().total_units, units);
    (void)page_heap_decay(0, SIZE_MAX);
    page_heap_give_up_clean();
    assert_in_range(page_heap_stats().total_units, 8 * MIB / UNIT_BYTES + 1,
                    units - 16 * MIB / UNIT_BYTES);
    /* But for what the heap would grow by next. */
    assert_in_range(page_heap_stats().top_free_units, MIB / UNIT_BYTES, 64);
    units = page_heap_stats().total_units;
    page_heap_give_up_clean();
    assert_int_equal(page_heap_stats().total_units, units);
    assert_true(is_all(low, 8 * MIB, PATTERN));
    page_heap_check();
}

static void as_time_goes_by_the_break_is_lowered(void **state)
{
    enum { STEPS_MOST = 200 };

    (void)state;
    conf.decay_ms = 0;
    (void)filled(8 * MIB);
    heap_free(filled(24 * MIB));
    run_cache_empty_all();
    size_t units = page_heap_stats().total_units;
    unsigned steps = 0;

    while (page_heap_stats().total_units == units && steps < STEPS_MOST) {
        let_clock_move();
        (void)purge_poll();
        steps++;
    }
    assert_in_range(page_heap_stats().total_units, 8 * MIB / UNIT_BYTES + 1,
                    units - 16 * MIB / UNIT_BYTES);
    assert_true(steps > 1);
    page_heap_check();
}

/* What grew and went is not counted twice. */
static void growth_is_counted_from_where_the_heap_was_lowered_to(void **state)
{
    (void)state;
    (void)filled(MIB);
    heap_free(filled(24 * MIB));
    (void)page_heap_take_growth();
    (void)heap_trim(0);
    assert_int_equal(page_heap_take_growth(), 0);
    (void)filled(8 * MIB);
    assert_in_range(page_heap_take_growth(), 8 * MIB, 10 * MIB);
}

static void a_mapped_region_goes_after_its_memory(void **state)
{
    (void)state;
    heap_free(filled(1));
    block_break();
    char *block = filled(24 * MIB);

    unblock_break();
    heap_free(block);
    run_cache_empty_all();
    page_heap_give_up_clean();
    assert_int_equal(bw_mallinfo2().hblks, 1);
    (void)page_heap_decay(0, SIZE_MAX);
    page_heap_give_up_clean();
    assert_int_equal(bw_mallinfo2().hblks, 0);
    page_heap_check();
}

static void purge_after(unsigned ticks)
{
    let_ticks_pass(ticks);
    while (purge_go_on()) {
    }
}

/* But the kernel must not give any, nor fill up in the background what has gone back: pages are
 * counted here. */
static void ask_for_huge_pages(void)
{
    assert_int_equal(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
    conf.thp = THP_ALWAYS;
}

static void huge_pages_go_back_whole_and_their_parts_later(void **state)
{
    enum { RUN = 5 * MIB };

    (void)state;
    ask_for_huge_pages();
    char *run = free_run(RUN);
    uintptr_t first = align_up((uintptr_t)run, HUGE);
    size_t whole = align_down((uintptr_t)run + RUN, HUGE) - first;

    purge_after(2 * TICKS);
    assert_int_equal(resident_pages((char *)first, whole), 0);
    assert_int_equal(resident_pages(run, RUN), (RUN - whole) / PAGE);
    page_heap_check();
    purge_after(2 * TICKS);
    assert_int_equal(resident_pages(run, RUN), 0);
    page_heap_check();
}

static void no_more_huge_pages_go_back_at_once_than_were_asked_for(void **state)
{
    (void)state;
    (void)free_run(7 * MIB);
    assert_int_equal(page_heap_decay_huge(1, SIZE_MAX), 0);
    let_ticks_pass(1);
    assert_int_equal(page_heap_decay_huge(1, 1), HUGE);
    assert_in_range(page_heap_decay_huge(1, SIZE_MAX), HUGE, 2 * HUGE);
    assert_int_equal(page_heap_decay_huge(1, SIZE_MAX), 0);
    page_heap_check();
}

static void pages_of_slabs_wait_longer_where_huge_pages_are_asked_for(void **state)
{
    static char *blocks[BLOCKS];

    (void)state;
    ask_for_huge_pages();
    thin_out(blocks);
    size_t before = resident_pages_of(blocks);

    for (size_t i = 0; i < 8; i++) {
        grow_heap();
    }
    purge_after(2 * SLAB_TICKS);
    assert_int_equal(resident_pages_of(blocks), before);
    purge_after(SLAB_TICKS);
    assert_in_range(resident_pages_of(blocks), BLOCKS / 64, BLOCKS / 64 * 10);
    check_survivors(blocks);
}

static void with_a_long_decay_time_polling_does_nothing(void **state)
{
    char *run;

    (void)state;
    conf.decay_ms = DECAY_MS_LONG;
    run = free_run(MIB);
    for (unsigned poll = 0; poll < 100; poll++) {
        purge_poll();
    }
    assert_int_equal(resident_pages(run, MIB), MIB / PAGE);
}

static pthread_barrier_t steps;

static void *cache_blocks(void *size_of_cache)
{
    void *blocks[50];

    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = bw_malloc(SIZE);
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        bw_free(blocks[i]);
    }
    pthread_barrier_wait(&steps);
    pthread_barrier_wait(&steps);
    /* Another class: a miss. */
    bw_free(bw_malloc(5 * SIZE));
    cache_count(cache_self, &((size_t *)size_of_cache)[0], &((size_t *)size_of_cache)[1]);
    return NULL;
}

static void a_purge_reaches_other_threads_at_their_next_miss(void **state)
{
    pthread_t thread;
    size_t cached[2] = {0, 0};

    (void)state;
    assert_int_equal(pthread_barrier_init(&steps, NULL, 2), 0);
    assert_int_equal(pthread_create(&thread, NULL, cache_blocks, cached), 0);
    pthread_barrier_wait(&steps);
    (void)bw_purge();
    pthread_barrier_wait(&steps);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_in_range(cached[0], 0, 2);
    assert_int_equal(bw_mallinfo2().uordblks, 0);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_free_run_goes_back_when_its_time_has_come),
        ISOLATED(what_is_in_use_again_stays),
        ISOLATED(no_more_goes_back_at_once_than_was_asked_for),
        ISOLATED(a_look_that_stopped_half_way_goes_on),
        ISOLATED(a_look_does_not_go_on_in_a_run_that_is_in_use),
        ISOLATED(a_look_for_less_time_begins_anew),
        ISOLATED(a_look_in_another_pass_begins_anew),
        ISOLATED(a_look_goes_on_in_the_middle_of_a_run),
        ISOLATED(of_many_free_runs_no_more_goes_back_than_was_asked_for),
        ISOLATED(memory_that_went_back_reads_as_zero_and_can_be_used),
        ISOLATED(free_pages_of_slabs_in_use_go_back_too),
        ISOLATED(where_pages_go_back_slowly_a_lock_is_held_for_few),
        ISOLATED(free_pages_of_a_fresh_slab_wait_as_long),
        ISOLATED(free_runs_that_are_too_short_make_up_for_growth),
        ISOLATED(where_huge_pages_are_asked_for_nothing_makes_up_for_growth),
        ISOLATED(a_clock_that_fails_does_not_show_in_errno),
        ISOLATED(who_frees_much_lets_much_go_back),
        ISOLATED(who_gets_much_lets_much_go_back),
        ISOLATED(a_class_in_no_demand_makes_up_for_growth),
        ISOLATED(a_class_in_demand_keeps_its_pages_as_the_heap_grows),
        ISOLATED(a_class_that_holds_little_of_the_heap_keeps_its_pages),
        ISOLATED(of_many_slabs_no_more_goes_back_at_once_than_was_asked_for),
        ISOLATED(a_purge_of_all_that_stops_half_way_does_not_hurry_the_decay),
        ISOLATED(free_pages_of_slabs_wait_where_somebody_forks),
        ISOLATED(pages_used_again_go_back_again),
        ISOLATED(polling_purges_after_the_decay_time),
        ISOLATED(a_step_ends_when_its_time_is_up),
        ISOLATED(a_step_that_has_time_looks_at_the_clock_in_between),
        ISOLATED(a_step_that_takes_no_time_gives_4_MiB_back),
        ISOLATED(a_step_soon_after_the_last_has_half_the_time),
        ISOLATED(who_seldom_comes_by_takes_a_step_each_time),
        ISOLATED(a_tick_is_no_longer_for_its_purge),
        ISOLATED(ticks_go_by_while_a_purge_goes_on),
        ISOLATED(after_a_long_time_two_ticks_go_by_at_once),
        ISOLATED(a_clock_that_was_ahead_once_does_not_stop_the_decay),
        ISOLATED(time_passes_where_every_request_is_a_hit),
        ISOLATED(polling_gives_up_what_is_kept),
        ISOLATED(time_passes_where_only_large_blocks_come_and_go),
        ISOLATED(time_passes_for_a_thread_that_only_frees_what_others_got),
        ISOLATED(time_passes_for_a_thread_that_only_frees_what_it_got),
        ISOLATED(time_passes_for_a_thread_without_a_cache),
        ISOLATED(emergency_memory_goes_back_as_time_goes_by),
        ISOLATED(a_page_of_emergency_memory_does_not_keep_runs_to_the_next_pass),
        ISOLATED(emergency_memory_goes_back_with_all_other),
        ISOLATED(who_does_nothing_else_takes_no_step_without_a_rest),
        ISOLATED(address_space_goes_back_after_its_memory),
        ISOLATED(as_time_goes_by_the_break_is_lowered),
        ISOLATED(growth_is_counted_from_where_the_heap_was_lowered_to),
        ISOLATED(a_mapped_region_goes_after_its_memory),
        ISOLATED(huge_pages_go_back_whole_and_their_parts_later),
        ISOLATED(no_more_huge_pages_go_back_at_once_than_were_asked_for),
        ISOLATED(pages_of_slabs_wait_longer_where_huge_pages_are_asked_for),
        ISOLATED(with_a_long_decay_time_polling_does_nothing),
        ISOLATED(a_purge_reaches_other_threads_at_their_next_miss),
    };

    conf.decay_ms = DECAY_MS_LONG;
    return run_isolated(tests, ARRAY_SIZE(tests));
}
