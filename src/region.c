/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* region.c - ranges of the heap and their tables.
 *
 * The span and history tables are reserved without memory behind them and committed as the heap
 * grows, a page of rows at a time, so that the library runs within a few MiB of address space and
 * under strict overcommit. They are sized by the process's limits and the machine's memory.
 *
 * Rows are written only where a run starts or ends, or for a slab: those of a long run's inner units
 * cost no memory.
 *
 * Owns         the regions, their span and history tables.
 * Invariants   a region never moves or goes away; rows below region->units are committed in every
 *              table before units is raised; base is fixed before units leaves 0.
 * Concurrency  writers hold the page heap's lock; readers need none, see region_units().
 * Called by    page_heap.c and runs.c, and by every layer above for lookups.
 */
#include "region.h"

#include "meta.h"
#include "os.h"

enum {
    REGIONS_MAX = 256,
    TABLES_MAX = 2,   /* spans and history; tag tables are small enough to be mapped whole */
    UNITS_LEAST = 64, /* the smallest break worth tables */
};

/* 8 TiB of break: the most that tables are reserved for. */
#define UNITS_MOST ((size_t)1 << 27)

/* Rows that nobody has written say it. */
_Static_assert(SPAN_NONE == 0 && UNIT_CLEAN == 0, "what a fresh row says");

struct table {
    char *rows;
    size_t row_bytes;
    size_t committed_bytes;
};

struct region region_primary;
bool region_primary_disabled;

static struct table tables[TABLES_MAX];
static size_t table_count;
static _Atomic(struct region *) regions[REGIONS_MAX] = {&region_primary};
/* Relaxed: statistics. */
static _Atomic size_t mapped_count;
static _Atomic size_t mapped_bytes;

static bool table_cover(struct table *table, size_t units)
{
    size_t needed = align_up(units * table->row_bytes, os_page_bytes());

    if (needed <= table->committed_bytes) {
        return true;
    }
    if (!os_commit(table->rows + table->committed_bytes, needed - table->committed_bytes)) {
        return false;
    }
    table->committed_bytes = needed;
    return true;
}

static struct table *table_create(size_t row_bytes)
{
    size_t bytes = align_up(region_primary.units_max * row_bytes, os_page_bytes());
    char *rows = table_count < TABLES_MAX ? (char *)os_reserve(bytes) : NULL;

    if (rows == NULL) {
        return NULL;
    }
    tables[table_count] = (struct table){.rows = rows, .row_bytes = row_bytes};
    return &tables[table_count++];
}

static void tables_destroy(void)
{
    while (table_count > 0) {
        struct table *table = &tables[--table_count];

        os_unmap(table->rows,
                 align_up(region_primary.units_max * table->row_bytes, os_page_bytes()));
    }
}

/* Reserve the tables of the primary region for `units`. */
static bool tables_reserve(size_t units)
{
    region_primary.units_max = units;
    struct table *spans = table_create(sizeof(struct span));
    struct table *history = spans != NULL ? table_create(sizeof(uint8_t)) : NULL;

    if (history == NULL) {
        tables_destroy();
        return false;
    }
    region_primary.spans = (struct span *)(void *)spans->rows;
    region_primary.history = (uint8_t *)history->rows;
    return true;
}

static bool primary_init(uintptr_t base)
{
    size_t units = size_min(os_address_space_bytes() / UNIT_BYTES, UNITS_MOST);

    for (units = size_max(units, UNITS_LEAST); units >= UNITS_LEAST; units /= 2) {
        if (tables_reserve(units)) {
            region_primary.base = base;
            return true;
        }
    }
    return false;
}

static bool tables_cover(size_t units)
{
    for (size_t i = 0; i < table_count; i++) {
        if (!table_cover(&tables[i], units)) {
            return false;
        }
    }
    return true;
}

bool region_add_break(uintptr_t start, size_t bytes)
{
    if (region_primary.base == 0 && !primary_init(start)) {
        return false;
    }
    size_t first = region_unit_of(&region_primary, start);
    size_t last = first + bytes / UNIT_BYTES;
    size_t covered = region_units(&region_primary);

    if (start < region_primary.base || last > region_primary.units_max || !tables_cover(last)) {
        return false;
    }
    for (size_t unit = covered; unit < first; unit++) {
        region_primary.spans[unit].state = SPAN_GAP;
    }
    /* Rows that are new to the region are zero, which says the same, and cost no memory yet. */
    for (size_t unit = first; unit < size_min(last, covered); unit++) {
        region_primary.spans[unit] = (struct span){.state = SPAN_NONE};
        region_primary.history[unit] = UNIT_CLEAN;
    }
    /* Release: pairs with the acquire in region_units(). */
    atomic_store_explicit(&region_primary.units, size_max(covered, last), memory_order_release);
    return true;
}

static unsigned free_index(void)
{
    unsigned index = 1;

    while (index < REGIONS_MAX && region_by_index(index) != NULL) {
        index++;
    }
    return index;
}

struct region *region_map(size_t units)
{
    unsigned index = free_index();
    size_t bytes = units * UNIT_BYTES;

    if (index == REGIONS_MAX || units > UNITS_MOST) {
        return NULL;
    }
    struct region *region = (struct region *)meta_alloc(sizeof(*region));
    struct span *spans = (struct span *)meta_alloc(units * sizeof(*spans));
    uint8_t *history = (uint8_t *)meta_alloc(units);
    char *memory = region && spans && history ? (char *)os_map(bytes + UNIT_BYTES) : (char *)NULL;

    if (memory == NULL) {
        meta_free(history, units);
        meta_free(spans, units * sizeof(*spans));
        meta_free(region, sizeof(*region));
        return NULL;
    }
    *region = (struct region){
        .base = align_up((uintptr_t)memory, UNIT_BYTES),
        .units_max = units,
        .spans = spans,
        .history = history,
        .index = (uint8_t)index,
    };
    atomic_fetch_add_explicit(&mapped_count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&mapped_bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&region->units, units, memory_order_release);
    /* Release: pairs with the acquire in region_by_index(); the region is seen whole. */
    atomic_store_explicit(&regions[index], region, memory_order_release);
    return region;
}

_Atomic uint16_t *region_tags_create(void)
{
    size_t bytes = region_primary.units_max * sizeof(_Atomic uint16_t);

    return (_Atomic uint16_t *)os_map(align_up(bytes, os_page_bytes()));
}

struct region *region_by_index(unsigned index)
{
    /* Acquire: pairs with the release in region_map(). */
    return atomic_load_explicit(&regions[index], memory_order_acquire);
}

static bool region_contains(const struct region *region, uintptr_t address)
{
    return region_unit_of(region, address) < region_units(region);
}

struct region *region_of(uintptr_t address)
{
    for (unsigned index = 0; index < REGIONS_MAX; index++) {
        struct region *region = region_by_index(index);

        if (region == NULL) {
            return NULL;
        }
        if (region_contains(region, address)) {
            return region;
        }
    }
    return NULL;
}

struct region *region_next(const struct region *region)
{
    unsigned index = region == NULL ? 0 : region->index + 1U;

    return index < REGIONS_MAX ? region_by_index(index) : NULL;
}

void region_mapped(size_t *count, size_t *bytes)
{
    *count = atomic_load_explicit(&mapped_count, memory_order_relaxed);
    *bytes = atomic_load_explicit(&mapped_bytes, memory_order_relaxed);
}

struct span *span_of_mapped(uintptr_t address)
{
    struct region *region = region_of(address);

    return region != NULL ? &region->spans[region_unit_of(region, address)] : NULL;
}
