/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* magazine.h - the memory of one stack of block addresses.
 *
 * A thread cache has two magazines a class; full ones change hands whole between threads through
 * an arena's depot. A magazine belongs to whoever holds its pointer; it has no lock.
 */
#ifndef BREAKWATER_MAGAZINE_H
#define BREAKWATER_MAGAZINE_H

#include "size_class.h"

struct magazine {
    struct magazine *next; /* in a depot */
    uint32_t capacity;     /* slots */
    uint32_t count;        /* blocks in it; kept up only while no thread cache uses it */
    void *floor;           /* always NULL: what a pop from an empty stack finds */
    void *slots[];
};

/* The sizes a magazine comes in: 64 bytes times a power of two, header included. */
#define MAGAZINE_HEADER_SLOTS 3
#define MAGAZINE_SMALLEST     CLASS_CAPACITY_MIN
#define MAGAZINE_LARGEST      CLASS_CAPACITY_MAX
#define MAGAZINE_DOUBLINGS    5

_Static_assert(sizeof(struct magazine) == MAGAZINE_HEADER_SLOTS * sizeof(void *),
               "capacities count the header in slots");
_Static_assert((MAGAZINE_SMALLEST + MAGAZINE_HEADER_SLOTS) << MAGAZINE_DOUBLINGS ==
                   MAGAZINE_LARGEST + MAGAZINE_HEADER_SLOTS,
               "the smallest grows into the largest");

static inline uint32_t magazine_next_capacity(uint32_t capacity)
{
    return capacity * 2 + MAGAZINE_HEADER_SLOTS;
}

/* The floor, from which the slots may be reached: of slots[] itself nothing below may be. */
static inline void **magazine_floor(struct magazine *magazine)
{
    return (void **)((char *)magazine + offsetof(struct magazine, floor));
}

/* An empty magazine, or NULL without memory. */
struct magazine *magazine_create(uint32_t capacity);
void magazine_destroy(struct magazine *magazine);

#endif
