/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_fork.c - a handler of a signal forks in the middle of what changes the counts and lists of
 * threads, or a fork ends there: linked with --wrap=os_thread_self and --wrap=mmap, where such a
 * handler may come, and --wrap=gate_enter, where another thread's fork may end.
 */
#include "heap_support.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "breakwater/breakwater.h"
#include "deferred.h"
#include "gate.h"
#include "life.h"
#include "os.h"
#include "stats.h"

static struct {
    bool at_identity;
    bool at_mmap;
    bool at_flush;
    bool is_child;
    int status; /* of the child, in the parent */
} handler;

/* The next who wants in is refused: a fork of another thread ends right after that. */
static bool fork_ends;

static void fork_in_handler(bool *at)
{
    *at = false;
    pid_t child = fork();

    handler.is_child = child == 0;
    if (child > 0) {
        (void)waitpid(child, &handler.status, 0);
    }
}

/* --wrap gives them these names. */
struct os_thread __wrap_os_thread_self(void);
struct os_thread __real_os_thread_self(void);
void *__wrap_mmap(void *start, size_t bytes, int protection, int flags, int file, off_t offset);
void *__real_mmap(void *start, size_t bytes, int protection, int flags, int file, off_t offset);
void __wrap_cache_flush_all(struct cache *cache);
void __real_cache_flush_all(struct cache *cache);
bool __wrap_gate_enter(struct gate_slot *slot);
bool __real_gate_enter(struct gate_slot *slot);

struct os_thread __wrap_os_thread_self(void)
{
    if (handler.at_identity) {
        fork_in_handler(&handler.at_identity);
    }
    return __real_os_thread_self();
}

void *__wrap_mmap(void *start, size_t bytes, int protection, int flags, int file, off_t offset)
{
    if (handler.at_mmap) {
        fork_in_handler(&handler.at_mmap);
    }
    return __real_mmap(start, bytes, protection, flags, file, offset);
}

void __wrap_cache_flush_all(struct cache *cache)
{
    if (handler.at_flush) {
        fork_in_handler(&handler.at_flush);
    }
    __real_cache_flush_all(cache);
}

bool __wrap_gate_enter(struct gate_slot *slot)
{
    if (fork_ends) {
        fork_ends = false;
        return false;
    }
    return __real_gate_enter(slot);
}

static void check_gate(void *unused)
{
    (void)unused;
    gate_check();
}

/* Whatever the fork came in the middle of is done. */
static void assert_child_is_whole(void)
{
    if (!handler.is_child) {
        assert_int_equal(handler.status, 0);
        heap_check();
        return;
    }
    assert_int_equal(life_stats().threads, 1);
    assert_int_equal(cache_self->arena->threads, 1);
    /* The gate is open again for who enters next, and the thread's slot is one of those that a fork
     * waits for. */
    assert_true(gate_enter(cache_gate(cache_self)));
    assert_dies(check_gate, NULL, "gate: closed, or somebody inside, where all should be at rest");
    gate_leave(cache_gate(cache_self));
    bw_free(filled(100));
    heap_check();
    _exit(EXIT_SUCCESS);
}

static void *call_first(void *unused)
{
    handler.at_identity = true;
    bw_free(bw_malloc(100));
    assert_false(handler.at_identity);
    assert_child_is_whole();
    return unused;
}

static void in_the_first_call_of_a_thread(void **state)
{
    (void)state;
    bw_free(bw_malloc(100));
    run_threads(1, call_first, NULL);
}

/* The cache has been another thread's. */
static void *call(void *unused)
{
    bw_free(bw_malloc(100));
    return unused;
}

static void in_the_first_call_of_a_thread_that_gets_an_idle_cache(void **state)
{
    (void)state;
    bw_free(bw_malloc(100));
    run_threads(3, call, NULL);
    run_threads(1, call_first, NULL);
}

static void in_the_very_first_call(void **state)
{
    (void)state;
    (void)call_first(NULL);
}

static void *change_arena(void *unused)
{
    bw_free(bw_malloc(100));
    assert_true(life_limit_arenas(2));
    assert_true(gate_enter(cache_gate(cache_self)));
    handler.at_mmap = true;
    assert_true(life_change_arena(cache_self));
    assert_false(handler.at_mmap);
    gate_leave(cache_gate(cache_self));
    assert_child_is_whole();
    return unused;
}

static void while_a_thread_changes_its_arena(void **state)
{
    (void)state;
    /* Two threads in the first arena. */
    assert_true(life_limit_arenas(1));
    run_threads(1, change_arena, NULL);
}

static void *go_and_come_back(void *unused)
{
    bw_free(bw_malloc(100));
    struct arena *first = cache_self->arena;

    assert_true(life_limit_arenas(2));
    assert_true(gate_enter(cache_gate(cache_self)));
    handler.at_flush = true;
    assert_true(life_change_arena(cache_self));
    assert_false(handler.at_flush);
    if (!handler.is_child) {
        assert_int_equal(handler.status, 0);
        handler.at_flush = true;
        life_join_arena(cache_self, first);
        assert_false(handler.at_flush);
    }
    gate_leave(cache_gate(cache_self));
    assert_child_is_whole();
    return unused;
}

static void while_a_thread_gives_back_what_is_of_the_arena_that_it_leaves(void **state)
{
    (void)state;
    assert_true(life_limit_arenas(1));
    run_threads(1, go_and_come_back, NULL);
}

/* Runs after ours. */
static void assert_cache_is_idle(void *unused)
{
    (void)unused;
    assert_false(handler.at_flush);
    /* The gate is open again for who enters next. */
    assert_true(gate_enter(NULL));
    gate_leave(NULL);
    assert_int_equal(life_stats().threads, handler.is_child ? 0 : 1);
    assert_int_equal(life_stats().idle_caches, 1);
    heap_check();
    if (handler.is_child) {
        _exit(EXIT_SUCCESS);
    }
    assert_int_equal(handler.status, 0);
}

static void *end(void *key)
{
    bw_free(bw_malloc(100));
    assert_int_equal(pthread_setspecific(*(pthread_key_t *)key, key), 0);
    handler.at_flush = true;
    return NULL;
}

static void while_a_thread_ends(void **state)
{
    pthread_key_t key;

    (void)state;
    bw_free(bw_malloc(100));
    assert_int_equal(pthread_key_create(&key, assert_cache_is_idle), 0);
    run_threads(1, end, &key);
}

/* Handlers that were registered before ours */

static char *to_free;

/* After ours has closed the gate. */
static void free_in_prepare(void)
{
    bw_free(to_free);
    to_free = NULL;
}

/* Before the library's of the same priority, which is linked behind this file. */
__attribute__((constructor(101))) static void register_before_ours(void)
{
    (void)pthread_atfork(free_in_prepare, NULL, NULL);
}

static bool nothing_is_used(void *unused)
{
    (void)unused;
    (void)bw_malloc_trim(0);
    return stats_memory().used_bytes == 0;
}

static void what_a_handler_before_the_fork_frees_is_free_in_parent_and_child(void **state)
{
    (void)state;
    to_free = filled(2 * MIB);
    assert_works_in_child(nothing_is_used, NULL);
    assert_null(to_free);
    assert_int_equal(deferred_count(), 1);
    assert_nothing_is_used();
}

/* A fork of another thread ends */

static void *end_as_a_fork_ends(void *unused)
{
    bw_free(bw_malloc(100));
    fork_ends = true;
    return unused;
}

/* Who forked has not seen the cache. */
static void a_thread_that_ends_as_a_fork_does_gives_its_cache_back_itself(void **state)
{
    (void)state;
    bw_free(bw_malloc(100));
    run_threads(1, end_as_a_fork_ends, NULL);
    assert_false(fork_ends);
    assert_int_equal(life_stats().idle_caches, 1);
    assert_int_equal(life_stats().threads, 1);
    assert_nothing_is_used();
}

/* Who forked has not seen the block. */
static void what_is_freed_as_a_fork_ends_is_not_left_to_the_next(void **state)
{
    char *block = filled(2 * MIB);

    (void)state;
    fork_ends = true;
    bw_free(block);
    assert_false(fork_ends);
    assert_int_equal(deferred_count(), 1);
    assert_nothing_is_used();
}

static bool do_nothing(void *unused)
{
    (void)unused;
    return true;
}

/* As where a signal has interrupted the thread inside. */
static void what_a_handlers_fork_leaves_the_next_miss_takes_in(void **state)
{
    (void)state;
    to_free = filled(2 * MIB);
    assert_true(gate_enter(cache_gate(cache_self)));
    assert_works_in_child(do_nothing, NULL);
    gate_leave(cache_gate(cache_self));
    assert_null(to_free);
    assert_true(stats_memory().used_bytes >= 2 * MIB);
    bw_free(filled(3 * MIB));
    assert_nothing_is_used();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(in_the_first_call_of_a_thread),
        ISOLATED(in_the_first_call_of_a_thread_that_gets_an_idle_cache),
        ISOLATED(in_the_very_first_call),
        ISOLATED(while_a_thread_changes_its_arena),
        ISOLATED(while_a_thread_gives_back_what_is_of_the_arena_that_it_leaves),
        ISOLATED(while_a_thread_ends),
        ISOLATED(what_a_handler_before_the_fork_frees_is_free_in_parent_and_child),
        ISOLATED(a_thread_that_ends_as_a_fork_does_gives_its_cache_back_itself),
        ISOLATED(what_is_freed_as_a_fork_ends_is_not_left_to_the_next),
        ISOLATED(what_a_handlers_fork_leaves_the_next_miss_takes_in),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
