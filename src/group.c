/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* group.c - see group.h.
 *
 * Owns         the list of groups, and which of them has room.
 * Invariants   a place in a group is taken by the thread that counted up to it, and never again.
 *              A group is in the list before it is open.
 * Concurrency  lock-free throughout. Groups are only ever added to the list. Checked by
 *              src/model/group.pml, with mutants that it catches.
 * Called by    emergency.c.
 */
#include "group.h"

#include <stdatomic.h>

#include "os.h"

enum {
    GROUP_SHARE = 4, /* a group is this part of what is mapped, */
    GROUP_MOST = 64, /* or so many places */
};

/* One mapping: a page for this, then the places. */
struct group {
    struct group *next;
    uintptr_t start;
    size_t place_bytes;
    size_t places;
    _Atomic size_t taken; /* places, or more */
};

static _Atomic(struct group *) groups;
static _Atomic(struct group *) open_group; /* the one that has room; NULL: none */

/* Its first place is taken. */
COLD static struct group *group_create(size_t places, size_t place_bytes)
{
    size_t header = os_page_bytes();
    struct group *group = (struct group *)os_map(header + places * place_bytes);

    if (group == NULL) {
        return NULL;
    }
    group->start = (uintptr_t)group + header;
    group->place_bytes = place_bytes;
    group->places = places;
    atomic_store_explicit(&group->taken, 1, memory_order_relaxed);
    group->next = atomic_load_explicit(&groups, memory_order_relaxed);
    /* Release: pairs with the acquire in group_find(); the group is seen whole. */
    while (!atomic_compare_exchange_weak_explicit(&groups, &group->next, group,
                                                  memory_order_release, memory_order_relaxed)) {
    }
    return group;
}

/* Of two threads that open one at once, one leaves the rest of its own unused. */
COLD static struct group *group_open(size_t place_bytes, size_t mapped)
{
    size_t wish = size_min(mapped / GROUP_SHARE / place_bytes, GROUP_MOST);
    struct group *group = wish > 1 ? group_create(wish, place_bytes) : NULL;

    if (group == NULL) {
        group = group_create(1, place_bytes);
    }
    if (group != NULL) {
        /* Release: pairs with the acquire in group_memory(); the group is seen whole. */
        atomic_store_explicit(&open_group, group, memory_order_release);
    }
    return group;
}

static void *place_of(const struct group *group, size_t place)
{
    return group != NULL ? (void *)(group->start + place * group->place_bytes) : NULL;
}

COLD void *group_memory(size_t bytes, size_t usual_bytes, size_t mapped)
{
    if (bytes > usual_bytes) {
        return place_of(group_create(1, bytes), 0);
    }
    struct group *group = atomic_load_explicit(&open_group, memory_order_acquire);

    if (group != NULL) {
        /* Relaxed: nobody has been at the place before. */
        size_t place = atomic_fetch_add_explicit(&group->taken, 1, memory_order_relaxed);

        if (place < group->places) {
            return place_of(group, place);
        }
    }
    return place_of(group_open(usual_bytes, mapped), 0);
}

COLD void *group_find(uintptr_t address)
{
    /* Acquire: pairs with the release in group_create(). */
    struct group *group = atomic_load_explicit(&groups, memory_order_acquire);

    while (group != NULL && address - group->start >= group->places * group->place_bytes) {
        group = group->next;
    }
    return group != NULL ? (void *)(address - (address - group->start) % group->place_bytes) : NULL;
}

COLD void group_reset_in_child(void)
{
    /* Relaxed: the child has one thread. */
    atomic_store_explicit(&open_group, NULL, memory_order_relaxed);
}

COLD size_t group_count(void)
{
    size_t count = 0;

    for (const struct group *group = atomic_load_explicit(&groups, memory_order_acquire);
         group != NULL; group = group->next) {
        count++;
    }
    return count;
}
