/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stats.c - the counters that the layers keep under their own locks, summed and printed.
 *
 * Nothing is counted on the fast path. Numbers are gathered inside the gate, a lock at a time, into
 * a snapshot; it is printed outside, since stdio allocates.
 *
 * Owns         nothing.
 * Concurrency  any thread, no lock held.
 * Called by    api.c.
 */
#include "stats.h"

#include <pthread.h>

#include "break.h"
#include "breakwater/breakwater.h"
#include "deferred.h"
#include "emergency.h"
#include "life.h"
#include "meta.h"
#include "page_heap.h"
#include "remote_buffer.h"

#define TEXT_OF(number)             #number
#define DOTTED(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)
#define VERSION                     DOTTED(BW_VERSION_MAJOR, BW_VERSION_MINOR, BW_VERSION_PATCH)

/* Everything that is printed but for the bins, which are printed one by one. */
struct snapshot {
    struct stats_memory memory;
    struct break_stats break_;
    struct page_heap_stats page_heap;
    struct meta_stats meta;
    struct life_stats life;
    struct emergency_stats emergency;
    uint64_t deferred;
};

struct bin_snapshot {
    struct bin_stats stats;
    uint64_t free_blocks;
    uint64_t depot_blocks;
    uint64_t lock_acquisitions;
};

struct arena_snapshot {
    unsigned index;
    unsigned long long drains;
    unsigned long long drained_slabs;
    unsigned long long waits;
};

/* What was handed out during forks, and is free again, of memory that the page heap knows nothing
 * of. */
static void add_emergency(struct stats_memory *memory, const struct emergency_stats *emergency)
{
    memory->fork_bytes = emergency->block_bytes;
    memory->used_bytes += emergency->used_bytes;
    memory->free_bytes += emergency->block_bytes - emergency->used_bytes;
}

static void fill_memory(struct snapshot *snapshot)
{
    struct stats_memory *memory = &snapshot->memory;
    struct arena_totals totals = arena_totals();
    size_t total = snapshot->page_heap.total_units * UNIT_BYTES;

    cache_count(cache_self, &memory->cached_blocks, &memory->cached_bytes);
    region_mapped(&memory->mapped_regions, &memory->mapped_bytes);
    /* Of two moments: a region may come or go in between. */
    memory->break_bytes = total - size_min(total, memory->mapped_bytes);
    memory->free_runs = snapshot->page_heap.free_runs;
    memory->top_free_bytes = snapshot->page_heap.top_free_units * UNIT_BYTES;
    memory->metadata_bytes = snapshot->meta.used_bytes;
    memory->free_bytes = snapshot->page_heap.free_units * UNIT_BYTES + totals.free_bytes +
                         totals.tail_bytes + totals.run_bytes + memory->cached_bytes;
    memory->used_bytes = total - size_min(total, memory->free_bytes + snapshot->meta.donated_bytes);
    add_emergency(memory, &snapshot->emergency);
}

/* False, and all 0, while the process forks, if that takes long or waits for the caller. */
static bool take_snapshot(struct snapshot *snapshot)
{
    *snapshot = (struct snapshot){0};
    if (!gate_enter_patiently(cache_gate(cache_self))) {
        return false;
    }
    /* What other threads have freed is free, and what this one has of other arenas. */
    remote_buffer_publish(cache_self);
    arena_drain_all();
    snapshot->break_ = break_stats();
    snapshot->page_heap = page_heap_stats();
    snapshot->meta = meta_stats();
    snapshot->life = life_stats();
    snapshot->emergency = emergency_stats();
    snapshot->deferred = deferred_count();
    fill_memory(snapshot);
    gate_leave(cache_gate(cache_self));
    return true;
}

static struct bin_snapshot bin_snapshot(struct bin *bin)
{
    if (bin == NULL || !gate_enter(cache_gate(cache_self))) {
        return (struct bin_snapshot){.free_blocks = 0};
    }
    lock_acquire(&bin->lock);
    struct bin_snapshot result = {
        .stats = bin->stats,
        .free_blocks = bin->free_blocks,
        .depot_blocks = depot_blocks(&bin->depot),
        .lock_acquisitions = bin->lock.acquisitions,
    };

    lock_release(&bin->lock);
    gate_leave(cache_gate(cache_self));
    return result;
}

static struct arena_snapshot arena_snapshot(struct arena *arena)
{
    /* Relaxed: a count. */
    struct arena_snapshot result = {
        .index = arena->index,
        .waits = atomic_load_explicit(&arena->waits, memory_order_relaxed),
    };

    if (gate_enter(cache_gate(cache_self))) {
        lock_acquire(&arena->drain_lock);
        result.drains = arena->drains;
        result.drained_slabs = arena->drained_slabs;
        lock_release(&arena->drain_lock);
        gate_leave(cache_gate(cache_self));
    }
    return result;
}

struct stats_memory stats_memory(void)
{
    struct snapshot snapshot;

    (void)take_snapshot(&snapshot);
    return snapshot.memory;
}

/* What is printed, whatever its form */

enum { COLUMN_WIDTH = 10 };

struct counter {
    const char *name;
    unsigned long long value;
};

/* The columns of a bin, in the order of bin_row()'s values. No pointers, which every process would
 * have to relocate. */
static const char columns[][COLUMN_WIDTH] = {
    "size",   "refills", "fetched",  "flushes", "returned", "exchanged", "words",
    "remote", "created", "released", "locks",   "free",     "depot",
};

enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };

struct bin_row {
    unsigned long long values[COLUMNS];
};

static struct bin_row bin_row(unsigned class, const struct bin_snapshot *bin)
{
    const struct bin_stats *stats = &bin->stats;

    return (struct bin_row){{
        size_classes[class].size,
        stats->refills,
        stats->refill_blocks,
        stats->flushes,
        stats->flush_blocks,
        stats->depot_exchanges,
        stats->remote_batches,
        stats->remote_blocks,
        stats->slabs_created,
        stats->slabs_released,
        bin->lock_acquisitions,
        bin->free_blocks,
        bin->depot_blocks,
    }};
}

struct form {
    const char *begin;
    const char *end;
    const char *arena_end;
    void (*section)(FILE *stream, const char *name, const struct counter *counters, size_t count);
    void (*arena_begin)(FILE *stream, const struct arena_snapshot *arena);
    void (*bin)(FILE *stream, const struct bin_row *row);
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static void print_memory(FILE *stream, const struct form *form, const struct snapshot *snapshot)
{
    const struct stats_memory *memory = &snapshot->memory;
    const struct counter counters[] = {
        {"break", memory->break_bytes},
        {"mapped regions", memory->mapped_bytes},
        {"mapped for forks", memory->fork_bytes},
        {"used", memory->used_bytes},
        {"free", memory->free_bytes},
        {"cached by this thread", memory->cached_bytes},
        {"free at the top", memory->top_free_bytes},
        {"metadata", memory->metadata_bytes},
    };

    form->section(stream, "memory in bytes", counters, COUNT_OF(counters));
}

static void print_break(FILE *stream, const struct form *form, const struct snapshot *snapshot)
{
    const struct break_stats *stats = &snapshot->break_;
    const struct counter counters[] = {
        {"raised", stats->grown},
        {"lowered", stats->lowered},
        {"could not be raised", stats->failed},
        {"moved by others", stats->foreign_moves},
        {"bytes lost to gaps", stats->gap_bytes},
        {"lock acquisitions", stats->lock_acquisitions},
    };

    form->section(stream, "break", counters, COUNT_OF(counters));
}

static void print_page_heap(FILE *stream, const struct form *form, const struct snapshot *snapshot)
{
    const struct page_heap_stats *stats = &snapshot->page_heap;
    const struct counter counters[] = {
        {"runs handed out", stats->allocs},
        {"runs taken back", stats->frees},
        {"runs resized", stats->resizes},
        {"free runs", stats->free_runs},
        {"units", stats->total_units},
        {"free units", stats->free_units},
        {"units held", stats->held_units},
        {"refused for the limit", stats->refused},
        {"bytes purged", stats->purged_bytes},
        {"lock acquisitions", stats->lock_acquisitions},
        {"waits for the lock", stats->lock_waits},
    };

    form->section(stream, "page heap", counters, COUNT_OF(counters));
}

static void print_life(FILE *stream, const struct form *form, const struct snapshot *snapshot)
{
    const struct life_stats *stats = &snapshot->life;
    const struct counter counters[] = {
        {"threads with a cache", stats->threads},
        {"idle caches", stats->idle_caches},
        {"arenas", stats->arenas},
        {"changes of arena", stats->changes},
        {"blocks served during forks", snapshot->emergency.allocs},
        {"frees deferred during forks", snapshot->deferred},
    };

    form->section(stream, "life", counters, COUNT_OF(counters));
}

static void print_arena(FILE *stream, const struct form *form, struct arena *arena)
{
    struct arena_snapshot snapshot = arena_snapshot(arena);

    form->arena_begin(stream, &snapshot);
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        struct bin_snapshot bin = bin_snapshot(arena_bin(arena, class));
        struct bin_row row = bin_row(class, &bin);

        if (bin.lock_acquisitions > 0) {
            form->bin(stream, &row);
        }
    }
    (void)fputs(form->arena_end, stream);
}

static void print_all(FILE *stream, const struct form *form)
{
    struct snapshot snapshot;
    bool known = take_snapshot(&snapshot);

    (void)fputs(form->begin, stream);
    print_memory(stream, form, &snapshot);
    print_break(stream, form, &snapshot);
    print_page_heap(stream, form, &snapshot);
    print_life(stream, form, &snapshot);
    for (unsigned index = 0; known && arena_by_index(index) != NULL; index++) {
        print_arena(stream, form, arena_by_index(index));
    }
    (void)fputs(form->end, stream);
}

/* Text */

static void text_section(FILE *stream, const char *name, const struct counter *counters,
                         size_t count)
{
    (void)fprintf(stream, "%s\n", name);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(stream, "  %-28s %14llu\n", counters[i].name, counters[i].value);
    }
}

static void text_arena_begin(FILE *stream, const struct arena_snapshot *arena)
{
    (void)fprintf(stream, "arena %u: %llu drains of %llu slabs, %llu waits for small blocks\n",
                  arena->index, arena->drains, arena->drained_slabs, arena->waits);
    for (size_t i = 0; i < COLUMNS; i++) {
        (void)fprintf(stream, " %*s", COLUMN_WIDTH, columns[i]);
    }
    (void)fputs("\n", stream);
}

static void text_bin(FILE *stream, const struct bin_row *row)
{
    for (size_t i = 0; i < COLUMNS; i++) {
        (void)fprintf(stream, " %*llu", COLUMN_WIDTH, row->values[i]);
    }
    (void)fputs("\n", stream);
}

/* XML: names as in the text, with underscores */

static void xml_tag(FILE *stream, const char *opening, const char *name, const char *closing)
{
    (void)fputs(opening, stream);
    for (; *name != '\0'; name++) {
        (void)fputc(*name == ' ' ? '_' : *name, stream);
    }
    (void)fputs(closing, stream);
}

static void xml_section(FILE *stream, const char *name, const struct counter *counters,
                        size_t count)
{
    xml_tag(stream, "  <", name, ">\n");
    for (size_t i = 0; i < count; i++) {
        xml_tag(stream, "    <", counters[i].name, ">");
        (void)fprintf(stream, "%llu", counters[i].value);
        xml_tag(stream, "</", counters[i].name, ">\n");
    }
    xml_tag(stream, "  </", name, ">\n");
}

static void xml_arena_begin(FILE *stream, const struct arena_snapshot *arena)
{
    (void)fprintf(stream,
                  "  <arena nr=\"%u\" drains=\"%llu\" drained_slabs=\"%llu\" waits=\"%llu\">\n",
                  arena->index, arena->drains, arena->drained_slabs, arena->waits);
}

static void xml_bin(FILE *stream, const struct bin_row *row)
{
    (void)fputs("    <bin", stream);
    for (size_t i = 0; i < COLUMNS; i++) {
        (void)fprintf(stream, " %s=\"%llu\"", columns[i], row->values[i]);
    }
    (void)fputs("/>\n", stream);
}

/* stdio's functions are cancellation points, ours are not. Nobody else's lines come between. */
static void print_whole(FILE *stream, const struct form *form)
{
    int state;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    flockfile(stream);
    print_all(stream, form);
    funlockfile(stream);
    (void)pthread_setcancelstate(state, &state);
}

void stats_print_text(FILE *stream)
{
    /* Not static: it would be relocated in every process. */
    const struct form text = {
        .begin = "breakwater " VERSION " statistics\n",
        .end = "",
        .arena_end = "",
        .section = text_section,
        .arena_begin = text_arena_begin,
        .bin = text_bin,
    };

    print_whole(stream, &text);
}

void stats_print_xml(FILE *stream)
{
    const struct form xml = {
        .begin = "<malloc version=\"1\" allocator=\"breakwater\" release=\"" VERSION "\">\n",
        .end = "</malloc>\n",
        .arena_end = "  </arena>\n",
        .section = xml_section,
        .arena_begin = xml_arena_begin,
        .bin = xml_bin,
    };

    print_whole(stream, &xml);
}
