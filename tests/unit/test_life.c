/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_life.c - the first call, threads that come and go, fork. test_late.c has what comes after a
 * thread's end. */
#include "heap_support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "break.h"
#include "breakwater/breakwater.h"
#include "conf.h"
#include "cpus.h"
#include "deferred.h"
#include "emergency.h"
#include "gate.h"
#include "heap.h"
#include "life.h"
#include "meta.h"
#include "os.h"
#include "page_heap.h"
#include "scavenge.h"
#include "spread.h"
#include "stacks.h"
#include "stats.h"
#include "tick.h"
#include "upkeep.h"

enum { THREADS = 2000, BLOCKS = 50, FORKS = 20, WORKERS = 3, LARGE = 200000 };

static void *use_a_little(void *unused)
{
    void *blocks[BLOCKS];

    (void)unused;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = bw_malloc(i * 100);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        bw_free(blocks[i]);
    }
    return NULL;
}

static void run_one_after_another(unsigned count, void *(*body)(void *argument), void *argument)
{
    for (unsigned i = 0; i < count; i++) {
        run_threads(1, body, argument);
    }
}

/* The kernel has a thread for a while after it can be joined. */
static void join_until_gone(pthread_t thread, const struct os_thread *self)
{
    assert_int_equal(pthread_join(thread, NULL), 0);
    while (!os_thread_has_ended(*self)) {
        (void)sched_yield();
    }
}

static void *use_a_little_and_tell(void *self)
{
    *(struct os_thread *)self = os_thread_self();
    return use_a_little(NULL);
}

/* The first call */

static void arenas_can_be_limited_before_the_first_call(void **state)
{
    (void)state;
    assert_true(life_limit_arenas(1));
    run_threads(4, use_a_little, NULL);
    assert_int_equal(life_stats().arenas, 1);
    check_all();
}

static void without_a_key_threads_work_and_their_caches_are_found_again(void **state)
{
    pthread_key_t ignored;

    (void)state;
    while (pthread_key_create(&ignored, NULL) == 0) {
    }
    bw_free(bw_malloc(100));
    life_watch_first_thread();
    for (unsigned i = 0; i < 20; i++) {
        pthread_t thread;
        struct os_thread self;

        assert_int_equal(pthread_create(&thread, NULL, use_a_little_and_tell, &self), 0);
        join_until_gone(thread, &self);
    }
    assert_in_range(life_stats().threads, 2, 4);
    check_all();
}

/* Though there are more looks than caches. */
static void the_only_cache_is_found_once(void **state)
{
    pthread_key_t ignored;

    (void)state;
    while (pthread_key_create(&ignored, NULL) == 0) {
    }
    for (unsigned i = 0; i < 3; i++) {
        pthread_t thread;
        struct os_thread self;

        assert_int_equal(pthread_create(&thread, NULL, use_a_little_and_tell, &self), 0);
        join_until_gone(thread, &self);
    }
    assert_int_equal(life_stats().threads, 1);
    assert_int_equal(life_stats().caches_created, 1);
    life_check();
}

static pthread_barrier_t together;
static pthread_barrier_t apart;

static void *use_a_little_together(void *self)
{
    (void)use_a_little_and_tell(self);
    (void)pthread_barrier_wait(&together);
    (void)pthread_barrier_wait(&apart);
    return NULL;
}

/* The cache that is looked at first is the one that was made last. */
static void so_are_those_behind_the_cache_of_a_thread_that_goes_on(void **state)
{
    enum { MANY = 10, ROUNDS = 5 };
    pthread_key_t ignored;
    pthread_t threads[MANY];
    struct os_thread selves[MANY];

    (void)state;
    while (pthread_key_create(&ignored, NULL) == 0) {
    }
    assert_int_equal(pthread_barrier_init(&together, NULL, MANY + 1), 0);
    assert_int_equal(pthread_barrier_init(&apart, NULL, MANY + 1), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < MANY; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, use_a_little_together, &selves[i]),
                             0);
        }
        (void)pthread_barrier_wait(&together);
        bw_free(bw_malloc(100));
        (void)pthread_barrier_wait(&apart);
        for (size_t i = 0; i < MANY; i++) {
            join_until_gone(threads[i], &selves[i]);
        }
    }
    assert_in_range(life_stats().caches_created, MANY + 1, 3 * MANY);
    check_all();
}

/* The names that the linker's --wrap gives. */
bool __real_os_thread_has_ended(struct os_thread thread);
bool __wrap_os_thread_has_ended(struct os_thread thread);

static void (*before_next_look)(void);

bool __wrap_os_thread_has_ended(struct os_thread thread)
{
    void (*hook)(void) = before_next_look;

    before_next_look = NULL;
    if (hook != NULL) {
        hook();
    }
    return __real_os_thread_has_ended(thread);
}

static pthread_t closer;
static pthread_t ending;
static struct os_thread ending_self;

static void *close_and_open(void *unused)
{
    gate_close(NULL);
    gate_open();
    life_take_back_ended();
    return unused;
}

/* Inside the gate, so that it is closing until the caller has left. */
static void let_it_end_while_the_gate_closes(void)
{
    assert_int_equal(pthread_create(&closer, NULL, close_and_open, NULL), 0);
    while (gate_is_open()) {
        (void)sched_yield();
    }
    (void)pthread_barrier_wait(&apart);
    join_until_gone(ending, &ending_self);
}

/* It is found gone, and had an owner a moment before; but it is left to who opens the gate. */
static void a_cache_that_is_left_to_the_opener_is_not_found_as_well(void **state)
{
    (void)state;
    assert_int_equal(pthread_barrier_init(&together, NULL, 2), 0);
    assert_int_equal(pthread_barrier_init(&apart, NULL, 2), 0);
    assert_int_equal(pthread_create(&ending, NULL, use_a_little_together, &ending_self), 0);
    (void)pthread_barrier_wait(&together);
    before_next_look = let_it_end_while_the_gate_closes;
    bw_free(bw_malloc(100));
    assert_null(before_next_look);
    assert_int_equal(pthread_join(closer, NULL), 0);
    assert_int_equal(life_stats().threads, 1);
    assert_int_equal(life_stats().caches_created, 2);
    check_all();
}

static void *outlive_first(void *unused)
{
    (void)unused;
    /* Of this one nothing is to be noted. */
    life_watch_first_thread();
    while (!life_first_thread_has_ended()) {
        (void)sched_yield();
    }
    _exit(EXIT_SUCCESS);
}

/* In a child that is `checked`, so that nobody has a cache, or is not. */
static bool end_of_first_is_seen(bool checked)
{
    enum { PATIENCE_S = 60 };
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        pthread_t thread;

        conf.checked = checked;
        bw_free(bw_malloc(1));
        life_watch_first_thread();
        (void)alarm(PATIENCE_S);
        if (life_first_thread_has_ended() || cache_is_real(cache_self) == checked ||
            pthread_create(&thread, NULL, outlive_first, NULL) != 0) {
            _exit(EXIT_FAILURE);
        }
        pthread_exit(NULL);
    }
    return waitpid(child, &status, 0) == child && status == 0;
}

static void the_end_of_the_first_thread_is_seen(void **state)
{
    (void)state;
    assert_true(end_of_first_is_seen(false));
    assert_true(end_of_first_is_seen(true));
}

static void the_first_call_starts_the_allocator(void **state)
{
    (void)state;
    assert_false(life_started());
    assert_ptr_equal(cache_self, &cache_none);
    void *block = bw_malloc(1);

    assert_non_null(block);
    assert_true(life_started());
    assert_true(cache_is_real(cache_self));
    assert_int_equal(life_stats().threads, 1);
    assert_int_equal(life_stats().arenas, 1);
    assert_int_equal(life_stats().caches_created, 1);
    check_all();
    bw_free(block);
}

static void the_first_call_may_be_a_free_of_null(void **state)
{
    (void)state;
    bw_free(NULL);
    assert_non_null(bw_malloc(1));
}

static void without_memory_the_first_call_fails_and_the_next_may_work(void **state)
{
    (void)state;
    os_fail_calls(1, UINT64_MAX);
    errno = 0;
    assert_null(bw_malloc(1));
    assert_int_equal(errno, ENOMEM);
    os_fail_calls(0, 0);
    void *block = bw_malloc(1);

    assert_non_null(block);
    assert_true(cache_is_real(cache_self));
    check_all();
    bw_free(block);
}

static void *use_the_first_arena(void *unused)
{
    void *block = bw_malloc(1);

    assert_non_null(block);
    assert_false(cache_is_real(cache_self));
    bw_free(block);
    return unused;
}

static void without_memory_for_descriptors_a_thread_uses_the_first_arena(void **state)
{
    (void)state;
    bw_free(bw_malloc(1));
    os_fail_calls(1, UINT64_MAX);
    while (meta_alloc(CACHE_LINE_BYTES) != NULL) {
    }
    run_threads(1, use_the_first_arena, NULL);
    os_fail_calls(0, 0);
    assert_int_equal(life_stats().arenas, 1);
    assert_int_equal(life_stats().caches_created, 1);
    check_all();
}

static bool first_call_with_failures(void *argument)
{
    const uint64_t *first_and_count = (const uint64_t *)argument;
    void *blocks[BLOCKS];

    os_fail_calls(first_and_count[0], first_and_count[1]);
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = bw_malloc(100 + i * 400);
    }
    os_fail_calls(0, 0);
    for (size_t i = 0; i < BLOCKS; i++) {
        bw_free(blocks[i]);
        blocks[i] = bw_malloc(100 + i * 400);
        if (blocks[i] == NULL) {
            return false;
        }
        memset(blocks[i], 0x5a, 100 + i * 400);
    }
    check_all();
    for (size_t i = 0; i < BLOCKS; i++) {
        bw_free(blocks[i]);
    }
    check_all();
    return true;
}

static void whichever_of_the_first_calls_fails_the_allocator_starts(void **state)
{
    (void)state;
    for (uint64_t first = 1; first <= 14; first++) {
        uint64_t one[2] = {first, 1};
        uint64_t rest[2] = {first, UINT64_MAX};

        assert_works_in_child(first_call_with_failures, one);
        assert_works_in_child(first_call_with_failures, rest);
    }
}

static void with_a_blocked_break_it_starts_on_mapped_regions(void **state)
{
    void *block;

    (void)state;
    block_break();
    block = bw_malloc(1000);
    assert_non_null(block);
    memset(block, 0x5a, 1000);
    assert_int_equal(break_stats().bytes, 0);
    check_all();
    bw_free(block);
    check_all();
    unblock_break();
}

static void free_block(void *block)
{
    bw_free(block);
}

static void checked_mode_has_no_caches_and_finds_every_double_free(void **state)
{
    void *blocks[BLOCKS];

    (void)state;
    assert_int_equal(setenv("BREAKWATER_CONF", "checked:true", 1), 0);
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = bw_malloc(64);
        assert_non_null(blocks[i]);
    }
    assert_ptr_equal(cache_self, &cache_none);
    for (size_t i = 0; i < BLOCKS; i++) {
        bw_free(blocks[i]);
    }
    for (size_t i = 0; i < BLOCKS; i += 7) {
        assert_dies_at(free_block, blocks[i], "double free of", (uintptr_t)blocks[i]);
    }
    check_all();
}

/* It may be the thread's stacks that are not whole. */
static void assert_served_from_elsewhere(int signal)
{
    void *block = bw_malloc(100);

    (void)signal;
    _exit(emergency_owns((uintptr_t)block) && !cache_is_real(cache_self) ? EXIT_SUCCESS
                                                                         : EXIT_FAILURE);
}

static void after_a_fault_handlers_leave_the_threads_cache_alone(void **state)
{
    (void)state;
    use_class(100);
    bw_free(bw_malloc(100));
    assert_true(stacks_held(cache_self, size_class_of(100)) > 0);
    pid_t child = fork();

    if (child == 0) {
        (void)signal(SIGABRT, assert_served_from_elsewhere);
        bw_free(&child);
        _exit(EXIT_FAILURE);
    }
    assert_child_succeeds(child);
}

/* Threads */

struct meeting {
    pthread_barrier_t all_here;
    _Atomic uint32_t threads_of_arena[ARENAS_MAX];
};

static void *meet(void *argument)
{
    struct meeting *meeting = (struct meeting *)argument;

    bw_free(bw_malloc(1));
    atomic_fetch_add(&meeting->threads_of_arena[cache_self->arena->index], 1);
    (void)pthread_barrier_wait(&meeting->all_here);
    return NULL;
}

static void meet_in(struct meeting *meeting, unsigned count)
{
    assert_int_equal(pthread_barrier_init(&meeting->all_here, NULL, count), 0);
    run_threads(count, meet, meeting);
    assert_int_equal(pthread_barrier_destroy(&meeting->all_here), 0);
}

static void threads_that_live_together_spread_over_the_arenas(void **state)
{
    static struct meeting meeting;

    (void)state;
    bw_free(bw_malloc(1));
    life_limit_arenas(3);
    meet_in(&meeting, 8);
    /* With the first thread, three of nine for each. */
    assert_int_equal(meeting.threads_of_arena[0], 2);
    assert_int_equal(meeting.threads_of_arena[1], 3);
    assert_int_equal(meeting.threads_of_arena[2], 3);
    assert_null(arena_by_index(3));
    assert_int_equal(life_stats().arenas, 3);
    check_all();
}

static void the_options_are_read_at_the_first_call(void **state)
{
    static struct meeting meeting;

    (void)state;
    assert_int_equal(setenv("BREAKWATER_CONF", "arenas:3", 1), 0);
    bw_free(bw_malloc(1));
    meet_in(&meeting, 5);
    assert_int_equal(life_stats().arenas, 3);
}

/* Two pages go back though the other call is refused, where the kernel knows this one. */
static void process_madvise_is_used_if_it_is_asked_for(void **state)
{
    enum { PIDFD_OF_ITSELF = -10000 };
    size_t page = os_page_bytes();
    char *memory = (char *)os_map(3 * page);
    struct iovec ranges[] = {{memory, page}, {memory + 2 * page, page}};

    (void)state;
    assert_non_null(memory);
    bool is_known = syscall(SYS_process_madvise, PIDFD_OF_ITSELF, ranges, ARRAY_SIZE(ranges),
                            MADV_DONTNEED, 0) == 2 * (long)page;

    assert_int_equal(setenv("BREAKWATER_CONF", "process_madvise:true", 1), 0);
    bw_free(bw_malloc(1));
    memset(memory, 1, 3 * page);
    answer_call(SYS_madvise, EPERM);
    os_purge_ranges(ranges, ARRAY_SIZE(ranges));
    assert_int_equal(ranges[1].iov_len, is_known ? page : 0);
    assert_int_equal(memory[0], !is_known);
    assert_int_equal(memory[page], 1);
}

#define KEPT_BYTES STACKS_BYTES_MODEST

/* What the thread's cache holds after a look at its share. */
static size_t cached_after_a_look(void)
{
    enum { MISSES = 16 };
    size_t blocks;
    size_t bytes;

    cache_self->misses = MISSES;
    scavenge_cache(cache_self);
    cache_count(cache_self, &blocks, &bytes);
    return bytes;
}

/* Let the cache hold two blocks of KEPT_BYTES, and a little more. */
static void cache_two_blocks(void)
{
    for (unsigned singles = 0; singles <= SINGLES_MAX; singles += 2) {
        bw_free(bw_malloc(KEPT_BYTES));
    }
    void *blocks[] = {bw_malloc(KEPT_BYTES), bw_malloc(KEPT_BYTES)};

    bw_free(blocks[0]);
    bw_free(blocks[1]);
}

static bool keeps_both_blocks(void *unused)
{
    (void)unused;
    return cached_after_a_look() >= 2 * KEPT_BYTES;
}

static void *hold_what_a_half_allows(void *unused)
{
    cache_two_blocks();
    assert_works_in_child(keeps_both_blocks, NULL);
    assert_in_range(cached_after_a_look(), KEPT_BYTES, KEPT_BYTES * 3 / 2);
    return unused;
}

static void each_cache_holds_no_more_than_its_share_of_the_limit(void **state)
{
    (void)state;
    assert_int_equal(setenv("BREAKWATER_CONF", "cache_limit:48K", 1), 0);
    cache_two_blocks();
    assert_true(keeps_both_blocks(NULL));
    run_threads(1, hold_what_a_half_allows, NULL);
    assert_true(keeps_both_blocks(NULL));
    run_threads(1, hold_what_a_half_allows, NULL);
    check_all();
}

static void *note_cache(void *cache)
{
    bw_free(bw_malloc(1));
    *(struct cache **)cache = cache_self;
    return NULL;
}

/* In the child that is to die: a fork sets right what is wrong. */
static void check_with_a_thread_too_many(void *unused)
{
    (void)unused;
    atomic_fetch_add(&arena_by_index(0)->threads, 1);
    life_check();
}

static struct cache *idle_cache(void)
{
    struct cache *idle = NULL;

    run_threads(1, note_cache, &idle);
    life_check();
    return idle;
}

static void check_with_an_idle_cache_that_has_an_arena(void *unused)
{
    (void)unused;
    idle_cache()->arena = arena_by_index(0);
    life_check();
}

static void check_with_an_idle_cache_that_has_stacks(void *unused)
{
    (void)unused;
    idle_cache()->in_use[0] = 1;
    life_check();
}

static pthread_barrier_t both;

static void *note_cache_of_two(void *caches)
{
    static _Atomic unsigned next;

    bw_free(bw_malloc(1));
    (void)pthread_barrier_wait(&both);
    ((struct cache **)caches)[atomic_fetch_add(&next, 1)] = cache_self;
    return NULL;
}

/* Of two idle caches the one that is first on the list cuts the other off. */
static void check_with_an_idle_cache_that_is_lost(void *unused)
{
    struct cache *caches[2];

    (void)unused;
    (void)pthread_barrier_init(&both, NULL, 2);
    run_threads(2, note_cache_of_two, caches);
    caches[0]->next_idle = NULL;
    caches[1]->next_idle = NULL;
    life_check();
}

static void the_check_sees_what_does_not_add_up(void **state)
{
    const char *sums = "life: threads and caches do not add up";
    const char *idle = "life: an idle cache has an arena, or stacks";

    (void)state;
    bw_free(bw_malloc(1));
    life_check();
    assert_dies(check_with_a_thread_too_many, NULL, sums);
    assert_dies(check_with_an_idle_cache_that_has_an_arena, NULL, idle);
    assert_dies(check_with_an_idle_cache_that_has_stacks, NULL, idle);
    assert_dies(check_with_an_idle_cache_that_is_lost, NULL, sums);
}

/* Which sleeps then, and nobody else has what it holds. Frees that find room on their stacks are no
 * misses. */
static void *hold_what_was_freed(void *unused)
{
    enum { CLASSES = 20, COUNT = 12 };
    static void *blocks[CLASSES][COUNT];
    const size_t share = 2 * MIB; /* of 2 MiB, or an eighth of 16 MiB */
    size_t cached;
    size_t cached_bytes;
    size_t size = 8 * KIB;

    for (size_t i = 0; i < CLASSES && size <= SMALL_MAX_BYTES; i++, size += size / 8) {
        for (size_t j = 0; j < COUNT; j++) {
            blocks[i][j] = bw_malloc(size);
            assert_non_null(blocks[i][j]);
        }
    }
    for (size_t i = 0; i < CLASSES * COUNT; i++) {
        bw_free(blocks[i / COUNT][i % COUNT]);
    }
    cache_count(cache_self, &cached, &cached_bytes);
    /* The steps of classes that have just begun are not looked at yet. */
    assert_in_range(cached_bytes, 1, share + share / 2);
    return unused;
}

static void a_thread_that_frees_much_and_sleeps_keeps_to_its_share(void **state)
{
    (void)state;
    assert_int_equal(setenv("BREAKWATER_CONF", "cache_limit:2M", 1), 0);
    run_threads(1, hold_what_was_freed, NULL);
}

static void where_the_heap_is_limited_caches_hold_an_eighth_of_that(void **state)
{
    (void)state;
    assert_int_equal(setenv("BREAKWATER_CONF", "hard_limit:16M", 1), 0);
    run_threads(1, hold_what_was_freed, NULL);
}

/* The names that the linker's --wrap gives. */
uint32_t __real_cpus_usable(void);
uint32_t __wrap_cpus_usable(void);

static uint32_t cpus; /* 0: as many as there are */

uint32_t __wrap_cpus_usable(void)
{
    return cpus != 0 ? cpus : __real_cpus_usable();
}

static void use_one_processor(void)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
}

static void many_threads_have_as_many_arenas_as_processors(void **state)
{
    static struct meeting meeting;

    (void)state;
    use_one_processor();
    bw_free(bw_malloc(1));
    meet_in(&meeting, 50);
    assert_int_equal(life_stats().arenas, 1);
    check_all();
}

static void threads_that_live_together_have_as_many_arenas_as_processors(void **state)
{
    static struct meeting meeting;

    (void)state;
    cpus = 3;
    /* Who comes first does not ask how many there are, nor does who comes at the same time. */
    bw_free(bw_malloc(1));
    meet_in(&meeting, 7);
    assert_int_equal(life_stats().arenas, 3);
}

static void with_one_arena_all_threads_share_it(void **state)
{
    static struct meeting meeting;

    (void)state;
    bw_free(bw_malloc(1));
    life_limit_arenas(1);
    meet_in(&meeting, 5);
    assert_int_equal(meeting.threads_of_arena[0], 5);
    assert_null(arena_by_index(1));
}

/* Threads that wait for each other */

static pthread_barrier_t first_half;
static pthread_barrier_t second_half;

static void *stay_in_the_first_arena(void *unused)
{
    bw_free(bw_malloc(1));
    assert_int_equal(cache_self->arena->index, 0);
    (void)pthread_barrier_wait(&first_half);
    (void)pthread_barrier_wait(&second_half);
    return unused;
}

/* Run `body` while another thread stays in the first arena, the calling thread's. */
static void with_a_neighbour(void (*body)(void))
{
    pthread_t neighbour;

    bw_free(bw_malloc(1));
    life_limit_arenas(1);
    assert_int_equal(pthread_barrier_init(&first_half, NULL, 2), 0);
    assert_int_equal(pthread_barrier_init(&second_half, NULL, 2), 0);
    assert_int_equal(pthread_create(&neighbour, NULL, stay_in_the_first_arena, NULL), 0);
    (void)pthread_barrier_wait(&first_half);
    body();
    (void)pthread_barrier_wait(&second_half);
    assert_int_equal(pthread_join(neighbour, NULL), 0);
    check_all();
    (void)bw_malloc_trim(0);
    assert_int_equal(stats_memory().used_bytes, 0);
}

static void change_arena_with_blocks(void)
{
    void *blocks[BLOCKS];

    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = bw_malloc(i * 100);
        memset(blocks[i], (int)i, i * 100);
    }
    bw_free(blocks[0]);
    assert_false(life_change_arena(cache_self));
    life_limit_arenas(2);
    assert_true(life_change_arena(cache_self));
    assert_int_equal(cache_self->arena->index, 1);
    assert_int_equal(life_stats().arenas, 2);
    assert_int_equal(life_stats().changes, 1);
    /* Each has an arena to itself now. */
    life_limit_arenas(3);
    assert_false(life_change_arena(cache_self));
    check_all();
    for (size_t i = 1; i < BLOCKS; i++) {
        for (size_t byte = 0; byte < i * 100; byte++) {
            assert_int_equal(((unsigned char *)blocks[i])[byte], i);
        }
        bw_free(blocks[i]);
        blocks[i] = bw_malloc(i * 100);
        assert_non_null(blocks[i]);
    }
    check_all();
    for (size_t i = 1; i < BLOCKS; i++) {
        bw_free(blocks[i]);
    }
}

static void a_thread_can_change_to_an_arena_of_its_own(void **state)
{
    (void)state;
    with_a_neighbour(change_arena_with_blocks);
}

static void *change_beside_another(void *changed)
{
    bw_free(bw_malloc(1));
    assert_int_equal(cache_self->arena->index, 0);
    life_limit_arenas(2);
    *(bool *)changed = life_change_arena(cache_self);
    return NULL;
}

static void change_where_nothing_is_won(void)
{
    bool changed;

    life_limit_arenas(2);
    assert_true(life_change_arena(cache_self));
    life_limit_arenas(1);
    /* Where the new thread starts are two then, where it could go is one. */
    run_threads(1, change_beside_another, &changed);
    assert_false(changed);
    assert_int_equal(life_stats().changes, 1);
}

static void a_thread_goes_only_where_fewer_are(void **state)
{
    (void)state;
    with_a_neighbour(change_where_nothing_is_won);
}

static void the_emptiest_arena_that_exists_is_taken(void **state)
{
    enum { NEIGHBOURS = 3 };
    pthread_t neighbours[NEIGHBOURS];

    (void)state;
    bw_free(bw_malloc(1));
    life_limit_arenas(2);
    run_threads(1, use_a_little, NULL);
    assert_int_equal(life_stats().arenas, 2);
    life_limit_arenas(1);
    assert_int_equal(pthread_barrier_init(&first_half, NULL, NEIGHBOURS + 1), 0);
    assert_int_equal(pthread_barrier_init(&second_half, NULL, NEIGHBOURS + 1), 0);
    for (size_t i = 0; i < NEIGHBOURS; i++) {
        assert_int_equal(pthread_create(&neighbours[i], NULL, stay_in_the_first_arena, NULL), 0);
    }
    (void)pthread_barrier_wait(&first_half);
    /* Four threads are in the first arena, none in the second, which the limit forbids. */
    assert_false(life_change_arena(cache_self));
    life_limit_arenas(2);
    assert_true(life_change_arena(cache_self));
    assert_int_equal(cache_self->arena->index, 1);
    /* One is here, three are there: it would be no better off. */
    assert_false(life_change_arena(cache_self));
    assert_int_equal(life_stats().arenas, 2);
    (void)pthread_barrier_wait(&second_half);
    for (size_t i = 0; i < NEIGHBOURS; i++) {
        assert_int_equal(pthread_join(neighbours[i], NULL), 0);
    }
    check_all();
}

static void change_on_one_processor(void)
{
    life_limit_arenas(0);
    assert_true(life_change_arena(cache_self));
    assert_int_equal(life_stats().arenas, 2);
}

static void without_a_limit_there_are_more_arenas_than_processors(void **state)
{
    (void)state;
    use_one_processor();
    with_a_neighbour(change_on_one_processor);
}

static void bind_many(struct arena *to)
{
    enum { MANY = 10 };

    for (unsigned i = 0; i < MANY; i++) {
        spread_bind_locked(to);
    }
}

static void a_processor_has_four_arenas_at_most_and_uses_all_it_has(void **state)
{
    enum { MOST = 4 };
    static struct lock lock = LOCK_INITIALIZER(LOCK_RANK_LIFE);
    struct arena *arena = NULL;

    (void)state;
    use_one_processor();
    size_class_init();
    lock_acquire(&lock);
    assert_true(spread_start_locked());
    bind_many(arena_by_index(0));
    for (unsigned index = 1; index < MOST; index++) {
        arena = spread_choose_other_locked(arena_by_index(0));
        assert_ptr_equal(arena, arena_by_index(index));
        bind_many(arena);
    }
    assert_null(spread_choose_other_locked(arena));
    spread_unbind_locked(arena);
    assert_ptr_equal(spread_choose_locked(), arena);
    lock_release(&lock);
}

static void change_without_memory(void)
{
    life_limit_arenas(2);
    os_fail_calls(1, UINT64_MAX);
    while (meta_alloc(CACHE_LINE_BYTES) != NULL) {
    }
    assert_false(life_change_arena(cache_self));
    os_fail_calls(0, 0);
    assert_int_equal(cache_self->arena->index, 0);
    assert_int_equal(life_stats().changes, 0);
}

static void without_memory_for_another_arena_a_thread_stays(void **state)
{
    (void)state;
    with_a_neighbour(change_without_memory);
}

/* The arena that the thread has after a look, when it and its neighbour have waited so often. */
static unsigned arena_after(uint32_t waits)
{
    enum { MISSES = 256 };

    atomic_fetch_add(&cache_self->arena->waits, waits);
    cache_self->misses = MISSES;
    upkeep_after_miss(cache_self);
    return cache_self->arena->index;
}

static void wait_often(void)
{
    enum { CROWDED = 2 * 16 };
    struct arena *first = cache_self->arena;

    life_limit_arenas(2);
    assert_int_equal(arena_after(CROWDED - 1), 0);
    assert_int_equal(arena_after(1), 0);
    /* What was waited for before another thread left. */
    atomic_store(&first->waits_left, atomic_load(&first->waits) + 1);
    assert_int_equal(arena_after(CROWDED), 0);
    /* Waits of a time in which the thread hardly missed. */
    tick_advance();
    tick_advance();
    assert_int_equal(arena_after(CROWDED), 0);
    tick_advance();
    assert_int_equal(arena_after(CROWDED), 1);
    assert_int_equal(atomic_load(&first->waits_left), atomic_load(&first->waits));
}

static void a_thread_changes_its_arena_where_threads_often_wait(void **state)
{
    (void)state;
    with_a_neighbour(wait_often);
}

static void threads_one_after_another_use_as_few_arenas_as_two(void **state)
{
    (void)state;
    bw_free(bw_malloc(1));
    life_limit_arenas(8);
    run_one_after_another(20, use_a_little, NULL);
    assert_true(life_stats().arenas <= 2);
}

static _Atomic int stage;

static bool is_open(void *unused)
{
    (void)unused;
    return gate_is_open();
}

static void *end_when_told(void *unused)
{
    (void)use_a_little(NULL);
    stage = 1;
    while (stage != 2) {
        (void)sched_yield();
    }
    return unused;
}

static bool is_closed(void *unused)
{
    (void)unused;
    return !gate_is_open();
}

/* As in a handler of a signal that interrupts the allocator. */
static void a_fork_from_inside_leaves_what_waits_for_the_next(void **state)
{
    void *block = bw_malloc(2 * MIB);
    struct gate_slot *slot = cache_gate(cache_self);

    (void)state;
    gate_close(slot);
    bw_free(block);
    assert_false(life_limit_arenas(1));
    gate_open();
    assert_true(gate_is_open());
    assert_true(gate_enter(slot));
    assert_works_in_child(is_closed, NULL);
    gate_leave(slot);
    assert_true(stats_memory().used_bytes > 0);
    assert_works_in_child(is_open, NULL);
    (void)bw_malloc_trim(0);
    assert_int_equal(stats_memory().used_bytes, 0);
}

/* Who forks may wait for the thread to end. */
static void a_thread_that_ends_during_a_fork_leaves_its_cache_to_who_forks(void **state)
{
    pthread_t thread;

    (void)state;
    bw_free(bw_malloc(1));
    assert_int_equal(pthread_create(&thread, NULL, end_when_told, NULL), 0);
    while (stage != 1) {
        (void)sched_yield();
    }
    gate_close(cache_gate(cache_self));
    stage = 2;
    assert_int_equal(pthread_join(thread, NULL), 0);
    gate_open();
    assert_true(gate_is_open());
    assert_int_equal(life_stats().idle_caches, 0);
    assert_works_in_child(is_open, NULL);
    assert_int_equal(life_stats().idle_caches, 1);
    assert_int_equal(life_stats().threads, 1);
    (void)bw_malloc_trim(0);
    assert_int_equal(stats_memory().used_bytes, 0);
    check_all();
}

static void a_thread_that_ends_gives_back_blocks_and_cache(void **state)
{
    (void)state;
    bw_free(bw_malloc(1));
    run_threads(1, use_a_little, NULL);
    assert_int_equal(life_stats().threads, 1);
    assert_int_equal(life_stats().idle_caches, 1);
    assert_int_equal(life_stats().caches_created, 2);
    check_all();
    (void)bw_malloc_trim(0);
    assert_int_equal(stats_memory().used_bytes, 0);
}

static void *note_what_was_fetched(void *fetched)
{
    ((uint64_t *)fetched)[0] = life_attach_thread()->fetched_bytes;
    (void)use_a_little(NULL);
    ((uint64_t *)fetched)[1] = cache_self->fetched_bytes;
    return NULL;
}

/* By it a thread finds out how many blocks to fetch, and whether it exchanges some with others. */
static void what_a_thread_fetched_does_not_count_for_the_next(void **state)
{
    uint64_t fetched[2];

    (void)state;
    bw_free(bw_malloc(1));
    for (int i = 0; i < 2; i++) {
        run_threads(1, note_what_was_fetched, fetched);
        assert_int_equal(fetched[0], 0);
        assert_true(fetched[1] > 0);
    }
    assert_int_equal(life_stats().caches_created, 2);
}

static void thousands_of_threads_leave_nothing_behind(void **state)
{
    (void)state;
    bw_free(bw_malloc(1));
    run_one_after_another(10, use_a_little, NULL);
    size_t metadata = meta_stats().mapped_bytes;
    size_t units = page_heap_stats().total_units;

    run_one_after_another(THREADS, use_a_little, NULL);
    assert_int_equal(life_stats().caches_created, 2);
    assert_int_equal(life_stats().threads, 1);
    assert_int_equal(meta_stats().mapped_bytes, metadata);
    assert_int_equal(page_heap_stats().total_units, units);
    check_all();
    (void)bw_malloc_trim(0);
    assert_int_equal(stats_memory().used_bytes, 0);
}

static void *free_blocks(void *blocks)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        bw_free(((void **)blocks)[i]);
    }
    return NULL;
}

static void threads_that_only_free_leave_nothing_behind(void **state)
{
    void *blocks[BLOCKS];

    (void)state;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            blocks[i] = bw_malloc(64 + i);
        }
        run_threads(1, free_blocks, blocks);
    }
    (void)bw_malloc_trim(0);
    assert_int_equal(stats_memory().used_bytes, 0);
    assert_true(page_heap_stats().total_units < 100);
    check_all();
}

/* Fork */

static bool use_all_kinds(void)
{
    for (size_t size = 1; size < MIB; size = size * 2 + 1) {
        void *block = bw_malloc(size);

        if (block == NULL) {
            return false;
        }
        memset(block, 0x5a, size);
        bw_free(block);
    }
    return true;
}

static bool child_lives(void *block_of_the_parent)
{
    if (life_stats().threads != 1) {
        return false;
    }
    check_all();
    bw_free(block_of_the_parent);
    if (!use_all_kinds()) {
        return false;
    }
    check_all();
    return bw_malloc_trim(0) >= 0;
}

static void a_child_can_allocate_and_free(void **state)
{
    void *block = bw_malloc(100);

    (void)state;
    assert_true(use_all_kinds());
    for (int i = 0; i < FORKS; i++) {
        assert_works_in_child(child_lives, block);
    }
    bw_free(block);
    check_all();
}

static bool child_without_a_cache_lives(void *unused)
{
    (void)unused;
    return !life_started() && use_all_kinds() && life_started();
}

static void a_child_of_a_process_that_has_not_started_can_start(void **state)
{
    (void)state;
    assert_works_in_child(child_without_a_cache_lives, NULL);
    assert_false(life_started());
}

/* The threads that a child starts have them, and so have its own children. */
static bool idle_caches_serve(void *generations)
{
    unsigned left = *(unsigned *)generations;
    struct life_stats before = life_stats();

    run_one_after_another(before.idle_caches, use_a_little, NULL);
    check_all();
    struct life_stats after = life_stats();

    if (before.idle_caches != 3 || after.caches_created != before.caches_created) {
        return false;
    }
    *(unsigned *)generations = left - 1;
    if (left > 0) {
        assert_works_in_child(idle_caches_serve, generations);
    }
    return true;
}

static void a_child_keeps_idle_caches(void **state)
{
    static struct meeting meeting;
    unsigned generations = 2;

    (void)state;
    (void)use_a_little(NULL);
    meet_in(&meeting, 3);
    assert_int_equal(life_stats().idle_caches, 3);
    assert_works_in_child(idle_caches_serve, &generations);
}

static bool owns_its_cache(void *unused)
{
    struct os_thread self = os_thread_self();

    (void)unused;
    return cache_self->owner.process == self.process && cache_self->owner.thread == self.thread;
}

/* Or it would seem to have ended, in a descendant that is given the parent's number again. */
static void the_thread_of_a_child_owns_its_cache(void **state)
{
    (void)state;
    bw_free(bw_malloc(1));
    assert_true(owns_its_cache(NULL));
    assert_works_in_child(owns_its_cache, NULL);
}

/* Whether a cache is made only where no thread has left one. */
static bool caches_are_found_again(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < 5; i++) {
        pthread_t thread;
        struct os_thread self;

        if (pthread_create(&thread, NULL, use_a_little_and_tell, &self) != 0) {
            return false;
        }
        join_until_gone(thread, &self);
    }
    life_check();
    return life_stats().caches_created <= 2;
}

/* In the parent the search has got to the middle of many, which the child does not have. */
static void a_child_looks_for_lost_caches_among_its_own(void **state)
{
    enum { MANY = 21 };
    pthread_key_t ignored;
    pthread_t threads[MANY];
    struct os_thread selves[MANY];

    (void)state;
    while (pthread_key_create(&ignored, NULL) == 0) {
    }
    bw_free(bw_malloc(1));
    assert_int_equal(pthread_barrier_init(&together, NULL, MANY + 1), 0);
    assert_int_equal(pthread_barrier_init(&apart, NULL, MANY + 1), 0);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, use_a_little_together, &selves[i]), 0);
    }
    (void)pthread_barrier_wait(&together);
    assert_works_in_child(caches_are_found_again, NULL);
    (void)pthread_barrier_wait(&apart);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

static void *check_gate_from_inside(void *idle)
{
    bw_free(bw_malloc(1));
    if (cache_self == (struct cache *)idle && gate_enter(&cache_self->gate)) {
        gate_check();
    }
    return NULL;
}

static void check_gate_in_a_thread(void *idle)
{
    run_threads(1, check_gate_from_inside, idle);
}

/* Or a child of the child might be forked while a thread holds a lock. */
static void in_a_child_the_gate_knows_threads_that_get_idle_caches(void **state)
{
    (void)state;
    bw_free(bw_malloc(1));
    assert_dies(check_gate_in_a_thread, idle_cache(),
                "gate: closed, or somebody inside, where all should be at rest");
}

static _Atomic bool workers_stop;
static _Atomic unsigned workers_running;

static void *work_until_stopped(void *unused)
{
    (void)unused;
    atomic_fetch_add(&workers_running, 1);
    while (!atomic_load(&workers_stop)) {
        (void)use_a_little(NULL);
        bw_free(bw_malloc(LARGE));
    }
    return NULL;
}

static bool child_of_workers_lives(void *unused)
{
    (void)unused;
    return life_stats().threads <= 1 && use_all_kinds() && use_all_kinds();
}

static void children_of_a_process_at_work_can_allocate(void **state)
{
    pthread_t workers[WORKERS];

    (void)state;
    for (size_t i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_create(&workers[i], NULL, work_until_stopped, NULL), 0);
    }
    while (atomic_load(&workers_running) < WORKERS) {
        (void)sched_yield();
    }
    for (int i = 0; i < FORKS; i++) {
        assert_works_in_child(child_of_workers_lives, NULL);
    }
    atomic_store(&workers_stop, true);
    for (size_t i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(workers[i], NULL), 0);
    }
    check_all();
    (void)bw_malloc_trim(0);
    assert_int_equal(stats_memory().used_bytes, 0);
}

static size_t released_count;

static void count_release(void *block)
{
    (void)block;
    released_count++;
}

static bool child_without_deferred_frees_lives(void *unused)
{
    (void)unused;
    deferred_release(count_release);
    check_all();
    return gate_is_open() && released_count == 0 && use_all_kinds();
}

static void *close_the_gate(void *unused)
{
    gate_close(NULL);
    return unused;
}

static void *open_the_gate(void *unused)
{
    gate_open();
    return unused;
}

static void a_child_forgets_what_its_parent_has_deferred(void **state)
{
    void *block = bw_malloc(LARGE);

    (void)state;
    /* As while another thread forks. */
    run_threads(1, close_the_gate, NULL);
    bw_free(block);
    assert_works_in_child(child_without_deferred_frees_lives, NULL);
    assert_false(gate_is_open());
    run_threads(1, open_the_gate, NULL);
    assert_true(gate_is_open());
    deferred_release(free_block);
    (void)bw_malloc_trim(0);
    assert_int_equal(stats_memory().used_bytes, 0);
}

/* The program's own handlers */

static void *blocks_of_handlers[3];

static void allocate_in(size_t handler)
{
    bw_free(blocks_of_handlers[handler]);
    blocks_of_handlers[handler] = bw_malloc(500 + handler);
    bw_free(bw_malloc(LARGE));
}

static void prepare(void)
{
    allocate_in(0);
}

static void parent(void)
{
    allocate_in(1);
}

static void child(void)
{
    allocate_in(2);
}

static bool handlers_had_memory(void *unused)
{
    (void)unused;
    return blocks_of_handlers[0] != NULL && blocks_of_handlers[2] != NULL && use_all_kinds();
}

static void handlers_of_the_program_may_allocate(void **state)
{
    (void)state;
    assert_int_equal(pthread_atfork(prepare, parent, child), 0);
    for (int i = 0; i < FORKS; i++) {
        assert_works_in_child(handlers_had_memory, NULL);
        assert_non_null(blocks_of_handlers[1]);
    }
    bw_free(blocks_of_handlers[0]);
    bw_free(blocks_of_handlers[1]);
    check_all();
    (void)bw_malloc_trim(0);
    assert_int_equal(stats_memory().used_bytes, 0);
}

static void a_thread_has_one_cache(void **state)
{
    (void)state;
    bw_free(bw_malloc(1));
    assert_true(cache_is_real(cache_self));
    assert_ptr_equal(life_attach_thread(), cache_self);
    assert_int_equal(life_stats().threads, 1);
    assert_int_equal(life_stats().caches_created, 1);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_thread_has_one_cache),
        ISOLATED(the_only_cache_is_found_once),
        ISOLATED(so_are_those_behind_the_cache_of_a_thread_that_goes_on),
        ISOLATED(a_cache_that_is_left_to_the_opener_is_not_found_as_well),
        ISOLATED(the_end_of_the_first_thread_is_seen),
        ISOLATED(the_first_call_starts_the_allocator),
        ISOLATED(the_first_call_may_be_a_free_of_null),
        ISOLATED(without_memory_the_first_call_fails_and_the_next_may_work),
        ISOLATED(without_memory_for_descriptors_a_thread_uses_the_first_arena),
        ISOLATED(whichever_of_the_first_calls_fails_the_allocator_starts),
        ISOLATED(with_a_blocked_break_it_starts_on_mapped_regions),
        ISOLATED(the_options_are_read_at_the_first_call),
        ISOLATED(process_madvise_is_used_if_it_is_asked_for),
        ISOLATED(checked_mode_has_no_caches_and_finds_every_double_free),
        ISOLATED(after_a_fault_handlers_leave_the_threads_cache_alone),
        ISOLATED(each_cache_holds_no_more_than_its_share_of_the_limit),
        ISOLATED(the_check_sees_what_does_not_add_up),
        ISOLATED(a_thread_that_frees_much_and_sleeps_keeps_to_its_share),
        ISOLATED(where_the_heap_is_limited_caches_hold_an_eighth_of_that),
        ISOLATED(threads_that_live_together_spread_over_the_arenas),
        ISOLATED(many_threads_have_as_many_arenas_as_processors),
        ISOLATED(threads_that_live_together_have_as_many_arenas_as_processors),
        ISOLATED(with_one_arena_all_threads_share_it),
        ISOLATED(a_thread_can_change_to_an_arena_of_its_own),
        ISOLATED(a_thread_goes_only_where_fewer_are),
        ISOLATED(the_emptiest_arena_that_exists_is_taken),
        ISOLATED(without_a_limit_there_are_more_arenas_than_processors),
        ISOLATED(a_processor_has_four_arenas_at_most_and_uses_all_it_has),
        ISOLATED(without_memory_for_another_arena_a_thread_stays),
        ISOLATED(a_thread_changes_its_arena_where_threads_often_wait),
        ISOLATED(threads_one_after_another_use_as_few_arenas_as_two),
        ISOLATED(a_fork_from_inside_leaves_what_waits_for_the_next),
        ISOLATED(a_thread_that_ends_during_a_fork_leaves_its_cache_to_who_forks),
        ISOLATED(a_thread_that_ends_gives_back_blocks_and_cache),
        ISOLATED(what_a_thread_fetched_does_not_count_for_the_next),
        ISOLATED(thousands_of_threads_leave_nothing_behind),
        ISOLATED(threads_that_only_free_leave_nothing_behind),
        ISOLATED(a_child_can_allocate_and_free),
        ISOLATED(a_child_of_a_process_that_has_not_started_can_start),
        ISOLATED(a_child_keeps_idle_caches),
        ISOLATED(the_thread_of_a_child_owns_its_cache),
        ISOLATED(a_child_looks_for_lost_caches_among_its_own),
        ISOLATED(in_a_child_the_gate_knows_threads_that_get_idle_caches),
        ISOLATED(children_of_a_process_at_work_can_allocate),
        ISOLATED(a_child_forgets_what_its_parent_has_deferred),
        ISOLATED(handlers_of_the_program_may_allocate),
        ISOLATED(arenas_can_be_limited_before_the_first_call),
        ISOLATED(without_a_key_threads_work_and_their_caches_are_found_again),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
