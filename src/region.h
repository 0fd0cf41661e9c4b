/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* region.h - which memory is the heap's, and the tables that describe it, a row a unit.
 *
 * The primary region is the break: one range from its base up, with tables reserved for all it may
 * ever grow to. When the break cannot grow, mapped regions join it, which never grow, with
 * tables of their own; only the primary region is known to the fast path.
 */
#ifndef BREAKWATER_REGION_H
#define BREAKWATER_REGION_H

#include <stdatomic.h>

#include "size_class.h"
#include "util.h"

enum span_state {
    SPAN_NONE =
        0, /* no run starts or ends at this unit, or it is an inner unit of one that is no slab's */
    SPAN_FREE,  /* first and last unit of a free run */
    SPAN_SLAB,  /* each unit of a slab */
    SPAN_LARGE, /* first unit of a large block */
    SPAN_META,  /* given to meta.c, for good */
    SPAN_GAP,   /* below the top and not ours: a foreign sbrk() took it, or lowered the break */
};

/* What may lie in a unit's memory. Units in use and gaps are never UNIT_FREED. While a unit that is
 * not clean is free, the bits above UNIT_HISTORY_BITS hold the tick (tick.h) at which it was freed.
 */
enum unit_history {
    UNIT_CLEAN = 0, /* reads as zero */
    UNIT_USED,      /* was handed out since it was last clean */
    UNIT_FREED,     /* was handed out, and a block that began here, or a slab, was freed */
    UNIT_HISTORY_BITS = 2,
    UNIT_HISTORY_MASK = (1 << UNIT_HISTORY_BITS) - 1,
};

/* A row of a region's span table. Written under the page heap's lock, or by the run's owner. Where
 * the state is SPAN_NONE, nothing else in it means anything: it may never have been written. */
struct span {
    struct span *next; /* free runs: the shelf's list */
    struct span *prev;
    union {
        struct slab *slab; /* SPAN_SLAB */
        /* SPAN_LARGE: what was asked for; the rest is room to grow into; 0: none, the run is kept
         * (run_cache.h). */
        size_t used_units;
        /* SPAN_FREE, first unit: what purges know of the run, all 0 when it is new. */
        struct {
            uint32_t clean_units; /* so many of its first units are; */
            bool was_looked_at;   /* at this tick nothing had been free for so many ticks */
            uint8_t looked_tick;
            uint8_t looked_ticks;
        };
    };
    uint32_t units; /* length of the run, at its first unit; for free runs also at its last */
    uint8_t state;  /* enum span_state */
    uint8_t region; /* index of the region the span is of */
    uint8_t arena;  /* SPAN_LARGE: whose run cache keeps it when it is freed */
};

struct region {
    _Atomic uintptr_t base; /* written once */
    _Atomic size_t units;   /* rows in use; grows only, but a region that was unmapped has 0 */
    struct span *spans;
    uint8_t *history; /* enum unit_history and a tick, a byte a unit */
    void *mapping;    /* of a mapped region: the memory, before it is aligned */
    uint8_t index;
};

/* The break. units stays 0 until the first memory, so that no address is in it. */
extern struct region region_primary;

/* Set when the break gave nothing at the first call: then mapped regions are all there is. */
extern bool region_primary_disabled;

/* Note memory got from the break: its rows are SPAN_NONE and clean afterwards, those below it that
 * are new GAP. The first call fixes the base and reserves the tables. False if there is no room in
 * the tables. */
bool region_add_break(uintptr_t start, size_t bytes);

/* Give up the tables of units that the process may no longer have, where it has limited itself
 * since they were reserved: they count against a limit on address space. False if there are none.
 * Needs the page heap's lock. */
bool region_give_up_rows(void);

/* Map a new region of `units`; NULL if the kernel has none. */
struct region *region_map(size_t units);

/* Unmap a mapped region none of whose units is in use, nor on a shelf; its place is the next's. */
void region_unmap(struct region *region);

/* A tag table, two bytes for each unit that the primary region may have from now on, for one more
 * arena. NULL without memory. Needs the page heap's lock, and region_add_break() to have run. */
_Atomic uint16_t *region_tags_create(void);

/* The region `address` lies in, or NULL. Any thread, no lock; what it gives is to be relied on as
 * long as something in the region is in use (see region.c). */
struct region *region_of(uintptr_t address);

/* Was the block at this address, in a unit that is free now, freed before? */
bool region_was_freed(uintptr_t address);

/* By index, or NULL. Any thread, no lock. */
struct region *region_by_index(unsigned index);

/* The region after `region` (NULL: the first), or NULL; one without units has been unmapped. Any
 * thread, no lock. */
struct region *region_next(const struct region *region);

/* Regions other than the break, and their bytes. */
void region_mapped(size_t *count, size_t *bytes);

/* Panics unless each region is found by its addresses and no other's, its rows have memory, and all
 * are accounted for. The caller holds the page heap's lock, or is alone. */
void region_check(void);

static inline uintptr_t region_base(const struct region *region)
{
    /* Relaxed: it means something to who knows that the region has units. Who does not yet may read
     * it while it is written, and finds that no unit is below 0. */
    return atomic_load_explicit(&region->base, memory_order_relaxed);
}

static inline size_t region_units(const struct region *region)
{
    /* Acquire: pairs with the release in region_add_break(); the rows below it are initialised. */
    return atomic_load_explicit(&region->units, memory_order_acquire);
}

/* Rows of the break that there is address space for; it only falls. Whoever got an arena's tag
 * table and asks then has no more than its rows. */
size_t region_units_max(void);

static inline size_t region_unit_of(const struct region *region, uintptr_t address)
{
    return (address - region_base(region)) >> UNIT_SHIFT;
}

static inline size_t span_unit(const struct span *span)
{
    return (size_t)(span - region_by_index(span->region)->spans);
}

static inline uintptr_t span_address(const struct span *span)
{
    const struct region *region = region_by_index(span->region);

    return region_base(region) + ((size_t)(span - region->spans) << UNIT_SHIFT);
}

/* Does a large block start at `address`, in the run of `span`? */
static inline bool span_is_large_block(const struct span *span, uintptr_t address)
{
    return span->state == SPAN_LARGE && span->used_units != 0 && span_address(span) == address;
}

static inline uint8_t *span_history(const struct span *span)
{
    const struct region *region = region_by_index(span->region);

    return region->history + (span - region->spans);
}

/* span_of() for an address that is not in the primary region. */
struct span *span_of_mapped(uintptr_t address);

/* The row of the unit that `address` lies in, or NULL if it is not in the primary region. */
static inline struct span *span_of_primary(uintptr_t address)
{
    size_t units = region_units(&region_primary); /* before the base, which it says is there */
    size_t unit = region_unit_of(&region_primary, address);

    return likely(unit < units) ? &region_primary.spans[unit] : NULL;
}

/* The same, or NULL if the heap does not reach there. */
static inline struct span *span_of(uintptr_t address)
{
    struct span *span = span_of_primary(address);

    return likely(span != NULL) ? span : span_of_mapped(address);
}

#endif
