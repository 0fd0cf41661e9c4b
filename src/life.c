/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* life.c - initialisation, thread start and end.
 *
 * The first allocation of the process may come from ld.so, before any constructor: everything that
 * allocation needs is set up on the first slow path, in start_locked().
 *
 * A thread's cache is taken back by a key destructor. Whatever the thread frees or allocates later,
 * in other destructors, goes past the cache (has_ended): slower, and nothing is left behind.
 *
 * Owns         the lists of idle and of ended caches, and of all; the key; the count of forks.
 * Concurrency  life_lock, of rank LIFE, the first: taken inside the gate, with no other lock held.
 * Called by    balance.c, fork.c, heap.c, stats.c, background.c and api.c.
 */
#include "life.h"

#include <errno.h>
#include <pthread.h>

#include "conf.h"
#include "emergency.h"
#include "limit.h"
#include "meta.h"
#include "os.h"
#include "scavenge.h"
#include "spread.h"

/* A process limited to less than this, in address space or data, has no room for every class. */
#define TIGHT_BYTES    ((size_t)16 * 1024 * 1024)
#define TIGHTEST_BYTES ((size_t)5 * 1024 * 1024)

/* Size classes a doubling: there, and everywhere until a class fills some slabs (refill.c). */
enum { TIGHTEST_STEPS = 0, TIGHT_STEPS = 1, FIRST_STEPS = 2 };

enum { ORPHAN_LOOKS = 2 /* caches, before another is made */ };

static struct lock life_lock = LOCK_INITIALIZER(LOCK_RANK_LIFE);
static _Atomic bool started;
static bool key_created;
static pthread_key_t key;
static struct cache *idle_caches;
static struct cache *made_caches;
static struct cache *next_look; /* for caches whose thread is gone; NULL: at the first */
static struct __cds_lfs_stack ended_caches; /* of threads that ended while the gate was closed */
static struct life_stats stats;

/* How many forks this process descends from, since the library was loaded. */
static _Atomic uint64_t forks;
static _Atomic bool first_thread_has_ended;

/* The thread's cache has been taken back, and it gets no other. */
static _Thread_local bool has_ended __attribute__((tls_model("initial-exec")));

/* Relaxed: only a child's only thread counts. */
static uint64_t forks_now(void)
{
    return atomic_load_explicit(&forks, memory_order_relaxed);
}

static void recount_in_child(void);

/* The end of what changes the counts and lists. If a handler of a signal that interrupted it has
 * forked since `before`, and this is the child, they were reset in the middle. Inside the gate. */
static void settle(uint64_t before)
{
    while (unlikely(forks_now() != before)) {
        before = forks_now();
        recount_in_child();
    }
}

bool life_started(void)
{
    /* Acquire: pairs with the release in start_locked(); every table is seen filled. */
    return atomic_load_explicit(&started, memory_order_acquire);
}

/* Arenas */

/* The thread counts as one of `arena` already. */
static void rebind(struct cache *cache, struct arena *arena)
{
    cache_flush_all(cache);
    cache_bind(cache, arena);
}

static void move_thread_locked(struct arena *from, struct arena *to)
{
    ASSERT(lock_is_held(&life_lock));
    spread_unbind_locked(from);
    spread_bind_locked(to);
    stats.changes++;
}

COLD bool life_change_arena(struct cache *cache)
{
    uint64_t forks_before = forks_now();

    lock_acquire(&life_lock);
    struct arena *arena = spread_choose_other_locked(cache->arena);

    if (arena != NULL) {
        move_thread_locked(cache->arena, arena);
    }
    lock_release(&life_lock);
    if (arena != NULL) {
        rebind(cache, arena);
    }
    settle(forks_before);
    return arena != NULL;
}

COLD void life_join_arena(struct cache *cache, struct arena *arena)
{
    uint64_t forks_before = forks_now();

    lock_acquire(&life_lock);
    move_thread_locked(cache->arena, arena);
    lock_release(&life_lock);
    rebind(cache, arena);
    settle(forks_before);
}

COLD bool life_start_patiently(void)
{
    if (!life_started() && gate_enter_patiently(NULL)) {
        gate_leave(NULL);
        (void)life_cache();
    }
    return life_started();
}

COLD bool life_limit_arenas(uint32_t count)
{
    /* The start takes over what BREAKWATER_CONF says. */
    bool started_before = life_start_patiently();
    struct gate_slot *slot = cache_gate(cache_self);

    if (!started_before || !gate_enter_patiently(slot)) {
        return false;
    }
    lock_acquire(&life_lock);
    spread_limit_locked(count);
    lock_release(&life_lock);
    gate_leave(slot);
    return true;
}

/* Start */

/* A fault has been found, perhaps with a lock held, or on the thread's own stacks: what handlers of
 * SIGABRT allocate comes from elsewhere. */
COLD static void leave_to_handlers(void)
{
    /* Which also keeps the thread from getting another cache. */
    gate_close_for_good();
    cache_self = &cache_none;
}

static void thread_ends(void *unused);

static unsigned first_steps(void)
{
    size_t room = os_address_space_bytes();

    if (room < TIGHTEST_BYTES) {
        return TIGHTEST_STEPS;
    }
    return room < TIGHT_BYTES ? TIGHT_STEPS : FIRST_STEPS;
}

static bool start_locked(void)
{
    ASSERT(lock_is_held(&life_lock));
    size_class_init();
    size_class_coarsen(first_steps());
    conf_load();
    if (conf.process_madvise) {
        os_use_process_madvise();
    }
    limit_set(conf.soft_limit, conf.hard_limit);
    spread_limit_locked(conf.arenas);
    if (!spread_start_locked()) {
        return false;
    }
    fatal_on_stop(leave_to_handlers);
    key_created = pthread_key_create(&key, thread_ends) == 0;
    atomic_store_explicit(&started, true, memory_order_release);
    return true;
}

/* A cache whose thread ended is idle now, emptied. */
static void make_idle_locked(struct cache *cache)
{
    ASSERT(lock_is_held(&life_lock));
    spread_unbind_locked(cache->arena);
    cache->arena = NULL;
    cache->next_idle = idle_caches;
    idle_caches = cache;
    stats.idle_caches++;
    stats.threads--;
    scavenge_share_among(stats.threads);
}

/* No destructor of a key runs any more for a thread that first calls in the last round of them.
 * Such caches are looked for before another is made, a few each time. */
static void find_orphans_locked(void)
{
    ASSERT(lock_is_held(&life_lock));
    for (unsigned look = 0; look < ORPHAN_LOOKS; look++) {
        struct cache *cache = next_look != NULL ? next_look : made_caches;

        if (cache == NULL) {
            return;
        }
        next_look = cache->next_made;
        /* Acquire, and once more when the thread is gone: it may have given the cache back before,
         * and left it to whoever opens the gate. Pairs with the release in thread_ends(). Of a
         * thread that has not, the kernel says that it is gone after the last that it wrote. */
        if (atomic_load_explicit(&cache->has_owner, memory_order_relaxed) &&
            os_thread_has_ended(cache->owner) &&
            atomic_load_explicit(&cache->has_owner, memory_order_acquire)) {
            atomic_store_explicit(&cache->has_owner, false, memory_order_relaxed);
            cache_flush_all(cache);
            make_idle_locked(cache);
        }
    }
}

static struct cache *cache_get_locked(void)
{
    ASSERT(lock_is_held(&life_lock));
    if (idle_caches == NULL) {
        find_orphans_locked();
    }
    struct cache *cache = idle_caches;

    if (cache != NULL) {
        idle_caches = cache->next_idle;
        stats.idle_caches--;
        return cache;
    }
    cache = (struct cache *)meta_alloc(sizeof(*cache));
    if (cache != NULL) {
        stats.caches_created++;
        cache->next_made = made_caches;
        made_caches = cache;
        gate_register(&cache->gate);
        run_cache_register(&cache->runs);
    }
    return cache;
}

static struct cache *attach_locked(void)
{
    ASSERT(lock_is_held(&life_lock));
    if (!life_started() && !start_locked()) {
        return NULL;
    }
    /* Without caches a block is either with the program or in a bitmap: every fault shows. */
    struct arena *arena = conf.checked ? NULL : spread_choose_locked();
    struct cache *cache = arena != NULL ? cache_get_locked() : NULL;

    if (cache == NULL) {
        return NULL;
    }
    spread_bind_locked(arena);
    stats.threads++;
    scavenge_share_among(stats.threads);
    /* The cache may have been another thread's. */
    cache->fetched_bytes = 0;
    cache->balance = (struct cache_balance){0};
    cache_bind(cache, arena);
    scavenge_bind(cache);
    cache->owner = os_thread_self();
    atomic_store_explicit(&cache->has_owner, true, memory_order_relaxed);
    return cache;
}

struct cache *life_attach_thread(void)
{
    int saved_errno = errno;

    if (cache_is_real(cache_self) || has_ended || !gate_enter(NULL)) {
        return cache_self;
    }
    uint64_t forks_before = forks_now();

    /* The first thread never asks. */
    if (life_started()) {
        spread_find_cpus();
    }
    lock_acquire(&life_lock);
    struct cache *cache = attach_locked();

    lock_release(&life_lock);
    /* Inside the gate, as all that makes it. */
    cache_self = cache != NULL ? cache : cache_self;
    settle(forks_before);
    gate_leave(NULL);
    if (cache != NULL && key_created) {
        /* May allocate, which works from here on. Where it fails, the cache is taken back only when
         * another thread looks for such ones: there is no memory now. */
        (void)pthread_setspecific(key, cache);
    }
    errno = saved_errno;
    return cache_self;
}

/* End */

/* A cache whose thread has ended: for the next one. Inside the gate. */
static void take_back(struct cache *cache, uint64_t forks_before)
{
    cache_flush_all(cache);
    lock_acquire(&life_lock);
    make_idle_locked(cache);
    lock_release(&life_lock);
    settle(forks_before);
}

/* A thread does not wait for the gate to end: who forks may wait for the thread. The push is
 * sequentially consistent: see gate_is_open(). */
static void leave_to_opener(struct cache *cache)
{
    (void)cds_lfs_push(&ended_caches, &cache->ended_node);
}

/* Whether it was taken back. */
static bool take_back_or_leave(struct cache *cache, uint64_t forks_before)
{
    /* Not by the cache's slot: it is the next thread's as soon as the cache is. */
    if (!gate_enter(NULL)) {
        leave_to_opener(cache);
        return false;
    }
    take_back(cache, forks_before);
    gate_leave(NULL);
    return true;
}

bool life_ended_wait(void)
{
    return !cds_lfs_empty(&ended_caches);
}

/* The fork may have ended between our look at the gate and the push: whoever finds the gate open
 * takes all of them. */
COLD void life_take_back_ended(void)
{
    uint64_t forks_before = forks_now();
    struct cds_lfs_head *head;

    while (gate_is_open() && (head = __cds_lfs_pop_all(&ended_caches)) != NULL) {
        for (struct cds_lfs_node *node = &head->node, *next; node != NULL; node = next) {
            next = node->next;
            (void)take_back_or_leave(caa_container_of(node, struct cache, ended_node),
                                     forks_before);
        }
    }
}

/* The argument is not to be relied on: a copy of the C library in another namespace (dlmopen())
 * counts its keys from the start too, and keeps their values in the same places. */
static void thread_ends(void *unused)
{
    uint64_t forks_before = forks_now();
    struct cache *cache = cache_self;
    int saved_errno = errno;

    (void)unused;
    struct os_thread self = cache_is_real(cache) ? cache->owner : os_thread_self();

    if (self.thread == self.process) {
        /* Relaxed: a hint. */
        atomic_store_explicit(&first_thread_has_ended, true, memory_order_relaxed);
    }
    if (!cache_is_real(cache)) {
        return;
    }
    has_ended = true;
    cache_self = &cache_none;
    /* Release: pairs with the acquire in find_orphans_locked(). */
    atomic_store_explicit(&cache->has_owner, false, memory_order_release);
    if (!take_back_or_leave(cache, forks_before)) {
        life_take_back_ended();
    }
    errno = saved_errno;
}

COLD void life_watch_first_thread(void)
{
    struct os_thread self = os_thread_self();

    if (key_created && self.thread == self.process && pthread_getspecific(key) == NULL) {
        (void)pthread_setspecific(key, &cache_none);
    }
}

bool life_first_thread_has_ended(void)
{
    return atomic_load_explicit(&first_thread_has_ended, memory_order_relaxed);
}

/* Fork */

/* A child's only thread knows of its own cache, if it has one, and of idle ones. Those of other
 * threads, and the blocks in them, are lost: they may have been copied in the middle of a fast
 * path. */
COLD static void recount_in_child(void)
{
    bool attached = cache_is_real(cache_self);

    spread_keep_only(attached ? cache_self->arena : NULL);
    gate_keep_only(cache_gate(cache_self));
    made_caches = NULL;
    next_look = NULL;
    stats.idle_caches = 0;
    for (struct cache *cache = idle_caches; cache != NULL; cache = cache->next_idle) {
        cache->next_made = made_caches;
        made_caches = cache;
        gate_register(&cache->gate);
        stats.idle_caches++;
    }
    if (attached) {
        cache_self->next_made = made_caches;
        cache_self->owner = os_thread_self();
        made_caches = cache_self;
    }
    stats.threads = attached;
    stats.caches_created = attached + stats.idle_caches;
    scavenge_share_among(stats.threads);
}

COLD void life_reset_in_child(void)
{
    atomic_store_explicit(&forks, forks_now() + 1, memory_order_relaxed);
    atomic_store_explicit(&first_thread_has_ended, false, memory_order_relaxed);
    __cds_lfs_init(&ended_caches);
    recount_in_child();
}

COLD struct life_stats life_stats(void)
{
    lock_acquire(&life_lock);
    struct life_stats result = stats;

    result.arenas = spread_arenas_locked();
    for (const struct cache *cache = idle_caches; cache != NULL; cache = cache->next_idle) {
        result.idle_stacks += cache->spare_count;
        result.idle_groups += stacks_count_groups(cache);
    }
    lock_release(&life_lock);
    return result;
}

void life_check(void)
{
    uint32_t idle = 0;

    lock_acquire(&life_lock);
    for (const struct cache *cache = idle_caches; cache != NULL; cache = cache->next_idle) {
        idle++;
        if (cache->arena != NULL || stacks_next_in_use(cache, 0) != CLASS_COUNT) {
            fatal("life: an idle cache has an arena, or stacks");
        }
    }
    if (spread_threads_locked() != stats.threads || idle != stats.idle_caches) {
        fatal("life: threads and caches do not add up");
    }
    lock_release(&life_lock);
}
