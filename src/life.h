/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* life.h - the first call, threads that come and go. */
#ifndef BREAKWATER_LIFE_H
#define BREAKWATER_LIFE_H

#include "cache.h"

/* Give the calling thread a cache, and initialise the allocator if this is the first call of all.
 * Returns the thread's cache: cache_none if there is no memory, the gate is closed, the thread's
 * cache has been taken back, or nobody is to have one (checked:true). */
struct cache *life_attach_thread(void);

/* The thread's cache, attached if it has had none. */
static inline struct cache *life_cache(void)
{
    return cache_is_real(cache_self) ? cache_self : life_attach_thread();
}

/* Give the thread's cache back, and bind it to another arena, where fewer threads are: one that
 * exists, or a new one as long as there are not more than four a processor. False, and nothing is
 * changed, if there is none. Inside the gate, with no lock held. */
bool life_change_arena(struct cache *cache);

/* Give it back, and bind it to that one. As above. */
void life_join_arena(struct cache *cache, struct arena *arena);

/* Has the allocator been initialised? */
bool life_started(void);

/* Initialise the allocator if this is the first call of all. False if a fork by another thread does
 * not end, or there is no memory. */
bool life_start_patiently(void);

/* For the first thread: note its end even if it has no cache, as with checked:true. */
void life_watch_first_thread(void);

/* Has the process's first thread ended, by pthread_exit() in main()? Of one that had a cache, or is
 * watched. */
bool life_first_thread_has_ended(void);

/* Are there caches of threads that ended while the gate was closed? A hint. */
bool life_ended_wait(void);

/* After a fork, in the parent: take back the caches of threads that ended meanwhile. Outside the
 * gate. */
void life_take_back_ended(void);

/* In the child: its thread's cache and the idle ones are all that there are. */
void life_reset_in_child(void);

struct life_stats {
    uint32_t threads;     /* with a cache */
    uint32_t idle_caches; /* kept for threads to come */
    uint32_t idle_stacks; /* empty, that these keep, */
    uint32_t idle_groups; /* and groups of classes: for who sums up descriptors (stress/) */
    uint32_t caches_created;
    uint32_t arenas;  /* that exist */
    uint64_t changes; /* of threads from one arena to another */
};

struct life_stats life_stats(void);

/* Panics unless threads and idle caches add up. At rest. */
void life_check(void);

/* Let at most `count` arenas be used by threads started from now on; 0: from the CPUs. False, and
 * nothing is changed, if a fork does not end, or there is no memory to begin with. */
bool life_limit_arenas(uint32_t count);

#endif
