/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* region.c - ranges of the heap and their tables.
 *
 * The span and history tables are reserved without memory behind them and committed as the heap
 * grows, a page of rows at a time, so that the library runs within a few MiB of address space and
 * under strict overcommit. They are sized by the process's limits and the machine's memory; of a
 * process that limits itself later they are cut down when the heap cannot grow.
 *
 * Rows are written only where a run starts or ends, or for a slab: those of a long run's inner
 * units cost no memory.
 *
 * Owns         the regions, their span and history tables.
 * Invariants   a region never moves; the primary one never goes away, others when nothing in them
 *              is in use; descriptors stay, for the next region of their index; rows below
 *              region->units are committed in every table before units is raised, and stay; those
 *              above may go; base is fixed before units leaves 0.
 * Concurrency  writers hold the page heap's lock; readers need none, see region_units() and, for
 *              regions that go away, below. src/model/region.pml checks these, with mutants that it
 *              catches.
 * Called by    growth.c and page_heap.c, and by every layer above for lookups.
 */
#include "region.h"

#include "meta.h"
#include "os.h"

enum {
    REGIONS_MAX = 256,
    UNITS_LEAST = 64, /* the smallest break worth tables */
};

/* 8 TiB of break: the most that tables are reserved for. */
#define UNITS_MOST ((size_t)1 << 27)

/* A row that nobody has written reads as zero: no run, and clean. */
_Static_assert(SPAN_NONE == 0 && UNIT_CLEAN == 0, "what a fresh row says");
_Static_assert(REGIONS_MAX <= UINT8_MAX + 1, "an index fits in a span");

/* Where each mapped region lies, to be looked up without a lock: the number of its first unit, and
 * above it how many units it has; 0: there is no region. It is one word, so that the end of one
 * region is never seen with the start of the next one of the same index.
 *
 * A reader that has found a region goes on to its tables, which might be unmapped meanwhile. A
 * correct program does not meet that: a live block, a slab, a kept run or anything else in use
 * keeps its region mapped. A program that frees an address of a region that has gone is stopped
 * with a line, as for any unknown address, unless the region goes during the look-up itself: then
 * the invalid free may end by SIGSEGV. If other memory takes the region's place, an address in it
 * came from the kernel after the word was made 0.
 */
static _Atomic uint64_t extents[REGIONS_MAX];

enum { EXTENT_SHIFT = 36 };

/* Units are numbered up to 52 bits of address: more than any kernel gives unasked on the machines
 * that were tried. */
#define UNIT_NUMBERS_END (UINT64_C(1) << EXTENT_SHIFT)

_Static_assert(UNITS_MOST < (size_t)1 << (64 - EXTENT_SHIFT), "a region's length fits");

/* Committed as the region grows. Tag tables are small enough to be mapped whole. */
struct table {
    char *rows;
    size_t row_bytes;
    size_t reserved_bytes;
    size_t committed_bytes;
};

struct region region_primary;
bool region_primary_disabled;

static struct table span_table = {.row_bytes = sizeof(struct span)};
static struct table history_table = {.row_bytes = sizeof(uint8_t)};
static _Atomic(struct region *) regions[REGIONS_MAX] = {&region_primary};
static _Atomic unsigned index_last; /* the highest that a region has had */
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

static bool table_reserve(struct table *table, size_t units)
{
    table->reserved_bytes = align_up(units * table->row_bytes, os_page_bytes());
    table->rows = (char *)os_reserve(table->reserved_bytes);
    return table->rows != NULL;
}

static _Atomic size_t units_max;

size_t region_units_max(void)
{
    /* Relaxed: a tag table that is made under the page heap's lock is as long as it is then, and
     * whoever has got the table sees it no larger. */
    return atomic_load_explicit(&units_max, memory_order_relaxed);
}

static void units_max_set(size_t units)
{
    atomic_store_explicit(&units_max, units, memory_order_relaxed);
}

/* Reserve the tables of the primary region for `units`. */
static bool tables_reserve(size_t units)
{
    units_max_set(units);
    if (!table_reserve(&span_table, units)) {
        return false;
    }
    if (!table_reserve(&history_table, units)) {
        os_unmap(span_table.rows, span_table.reserved_bytes);
        return false;
    }
    region_primary.spans = (struct span *)(void *)span_table.rows;
    region_primary.history = (uint8_t *)history_table.rows;
    return true;
}

static bool primary_init(uintptr_t base)
{
    size_t units = size_min(os_address_space_bytes() / UNIT_BYTES, UNITS_MOST);

    for (units = size_max(units, UNITS_LEAST); units >= UNITS_LEAST; units /= 2) {
        if (tables_reserve(units)) {
            atomic_store_explicit(&region_primary.base, base, memory_order_relaxed);
            return true;
        }
    }
    return false;
}

static bool tables_cover(size_t units)
{
    return table_cover(&span_table, units) && table_cover(&history_table, units);
}

bool region_add_break(uintptr_t start, size_t bytes)
{
    if (region_base(&region_primary) == 0 && !primary_init(start)) {
        return false;
    }
    size_t first = region_unit_of(&region_primary, start);
    size_t last = first + bytes / UNIT_BYTES;
    size_t covered = region_units(&region_primary);

    /* Below the base units have numbers that no table has. */
    if (last > region_units_max() || !tables_cover(last)) {
        return false;
    }
    for (size_t unit = covered; unit < first; unit++) {
        region_primary.spans[unit].state = SPAN_GAP;
    }
    /* Rows that are new to the region are zero, which says the same, and cost no memory yet; so do
     * those of long runs that were there before. */
    for (size_t unit = first; unit < size_min(last, covered); unit++) {
        if (region_primary.spans[unit].state != SPAN_NONE) {
            region_primary.spans[unit] = (struct span){.state = SPAN_NONE};
        }
        region_primary.history[unit] = UNIT_CLEAN;
    }
    /* Release: pairs with the acquire in region_units(). */
    atomic_store_explicit(&region_primary.units, size_max(covered, last), memory_order_release);
    return true;
}

/* Rows that are committed stay, whoever may be reading them. */
static void table_cut(struct table *table, size_t units)
{
    size_t kept =
        size_max(align_up(units * table->row_bytes, os_page_bytes()), table->committed_bytes);

    if (kept < table->reserved_bytes) {
        os_unmap(table->rows + kept, table->reserved_bytes - kept);
        table->reserved_bytes = kept;
    }
}

COLD bool region_give_up_rows(void)
{
    size_t units = size_max(os_address_space_bytes() / UNIT_BYTES, region_units(&region_primary));

    if (units >= region_units_max()) {
        return false;
    }
    /* The tag tables stay as they are: threads have their old bound in cache->units, and free()
     * reads them without a lock. */
    units_max_set(units);
    table_cut(&span_table, units);
    table_cut(&history_table, units);
    return true;
}

/* Mapped regions */

static unsigned free_index(void)
{
    unsigned index = 1;

    while (index < REGIONS_MAX && region_by_index(index) != NULL &&
           region_units(region_by_index(index)) != 0) {
        index++;
    }
    return index;
}

/* Get memory and tables for `units`. False, and nothing has changed, if there are none. */
static bool region_fill(struct region *region, size_t units)
{
    struct span *spans = (struct span *)meta_alloc(units * sizeof(*spans));
    uint8_t *history = (uint8_t *)meta_alloc(units);
    void *memory = spans && history ? os_map((units + 1) * UNIT_BYTES) : NULL;

    if (memory != NULL && ((uintptr_t)memory >> UNIT_SHIFT) + units >= UNIT_NUMBERS_END) {
        os_unmap(memory, (units + 1) * UNIT_BYTES);
        memory = NULL;
    }
    if (memory == NULL) {
        meta_free(history, units);
        meta_free(spans, units * sizeof(*spans));
        return false;
    }
    region->mapping = memory;
    atomic_store_explicit(&region->base, align_up((uintptr_t)memory, UNIT_BYTES),
                          memory_order_relaxed);
    region->spans = spans;
    region->history = history;
    return true;
}

static void region_publish(struct region *region, size_t units)
{
    uint64_t first = region_base(region) >> UNIT_SHIFT;

    ASSERT(first < UNIT_NUMBERS_END);
    atomic_fetch_add_explicit(&mapped_count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&mapped_bytes, units * UNIT_BYTES, memory_order_relaxed);
    atomic_store_explicit(&region->units, units, memory_order_release);
    /* Release: pairs with the acquire in region_by_index(); the region is seen whole. */
    atomic_store_explicit(&regions[region->index], region, memory_order_release);
    /* Release: pairs with the acquire in region_of(), for the same of a region that is the second
     * of its index. */
    atomic_store_explicit(&extents[region->index], (uint64_t)units << EXTENT_SHIFT | first,
                          memory_order_release);
    if (region->index > atomic_load_explicit(&index_last, memory_order_relaxed)) {
        /* Release: the same. */
        atomic_store_explicit(&index_last, region->index, memory_order_release);
    }
}

COLD struct region *region_map(size_t units)
{
    unsigned index = free_index();

    if (index == REGIONS_MAX || units > UNITS_MOST) {
        return NULL;
    }
    struct region *former = region_by_index(index);
    struct region *region = former != NULL ? former : (struct region *)meta_alloc(sizeof(*region));

    if (region == NULL || !region_fill(region, units)) {
        meta_free(former == NULL ? region : NULL, sizeof(*region));
        return NULL;
    }
    region->index = (uint8_t)index;
    region_publish(region, units);
    return region;
}

COLD void region_unmap(struct region *region)
{
    size_t units = region_units(region);

    ASSERT(region != &region_primary && units != 0);
    /* Release, and before the memory goes: see extents. */
    atomic_store_explicit(&extents[region->index], 0, memory_order_release);
    /* Relaxed: of mapped regions this is read under the page heap's lock only. */
    atomic_store_explicit(&region->units, 0, memory_order_relaxed);
    atomic_fetch_sub_explicit(&mapped_count, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&mapped_bytes, units * UNIT_BYTES, memory_order_relaxed);
    os_unmap(region->mapping, (units + 1) * UNIT_BYTES);
    meta_free(region->history, units);
    meta_free(region->spans, units * sizeof(*region->spans));
}

_Atomic uint16_t *region_tags_create(void)
{
    size_t bytes = region_units_max() * sizeof(_Atomic uint16_t);
    void *tags = os_map(bytes);

    /* Where the program has all that it maps locked (mlockall()), the kernel has brought every
     * page. */
    if (tags != NULL) {
        (void)os_purge(tags, bytes);
    }
    return (_Atomic uint16_t *)tags;
}

struct region *region_by_index(unsigned index)
{
    /* Acquire: pairs with the release in region_publish(). */
    return atomic_load_explicit(&regions[index], memory_order_acquire);
}

static bool extent_contains(uint64_t extent, uintptr_t address)
{
    uint64_t first = extent & ((UINT64_C(1) << EXTENT_SHIFT) - 1);

    return (address >> UNIT_SHIFT) - first < extent >> EXTENT_SHIFT;
}

/* The latest first: as each is as large as all that were there before, as long as that is not too
 * much, most addresses are in it. */
static struct region *mapped_of(uintptr_t address)
{
    /* Acquire, here and below: pairs with the releases in region_publish(). */
    unsigned index = atomic_load_explicit(&index_last, memory_order_acquire);

    for (; index > 0; index--) {
        if (extent_contains(atomic_load_explicit(&extents[index], memory_order_acquire), address)) {
            return region_by_index(index);
        }
    }
    return NULL;
}

struct region *region_of(uintptr_t address)
{
    size_t units = region_units(&region_primary); /* as in span_of() */

    return region_unit_of(&region_primary, address) < units ? &region_primary : mapped_of(address);
}

/* The unit's span row need not know of the region. */
COLD bool region_was_freed(uintptr_t address)
{
    const struct region *region = region_of(address);

    return region != NULL &&
           (region->history[region_unit_of(region, address)] & UNIT_HISTORY_MASK) == UNIT_FREED;
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
    struct region *region = mapped_of(address);

    return region != NULL ? &region->spans[region_unit_of(region, address)] : NULL;
}

static void table_check(const struct table *table)
{
    if (table->committed_bytes < region_units(&region_primary) * table->row_bytes ||
        table->committed_bytes > table->reserved_bytes) {
        fatal("region: rows of the break have no memory");
    }
}

static void mapped_check(struct region *region)
{
    uintptr_t last = region_base(region) + region_units(region) * UNIT_BYTES - 1;

    if (region_of(region_base(region)) != region || region_of(last) != region ||
        region_base(region) - (uintptr_t)region->mapping >= UNIT_BYTES) {
        fatal("region: a mapped one is not where its addresses are looked for");
    }
}

void region_check(void)
{
    size_t count = 0;
    size_t bytes = 0;
    size_t noted_count;
    size_t noted_bytes;

    table_check(&span_table);
    table_check(&history_table);
    for (struct region *region = region_next(&region_primary); region;
         region = region_next(region)) {
        if (region_units(region) != 0) {
            mapped_check(region);
            count++;
            bytes += region_units(region) * UNIT_BYTES;
        }
    }
    region_mapped(&noted_count, &noted_bytes);
    if (count != noted_count || bytes != noted_bytes ||
        region_units(&region_primary) > region_units_max()) {
        fatal("region: units and regions do not add up");
    }
}
