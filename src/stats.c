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
#include "deferred.h"
#include "emergency.h"
#include "life.h"
#include "meta.h"
#include "page_heap.h"
#include "remote_buffer.h"

/* Everything that is printed but for the bins, which are printed one by one. */
struct snapshot {
    struct stats_memory memory;
    struct break_stats break_;
    struct page_heap_stats page_heap;
    struct meta_stats meta;
    struct life_stats life;
    struct emergency_stats emergency;
    struct deferred_stats deferred;
};

struct bin_snapshot {
    struct bin_stats stats;
    uint64_t free_blocks;
    uint64_t depot_blocks;
    uint64_t lock_acquisitions;
};

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
    snapshot->deferred = deferred_stats();
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

static void arena_drains(struct arena *arena, uint64_t *drains, uint64_t *slabs)
{
    *drains = 0;
    *slabs = 0;
    if (!gate_enter(cache_gate(cache_self))) {
        return;
    }
    lock_acquire(&arena->drain_lock);
    *drains = arena->drains;
    *slabs = arena->drained_slabs;
    lock_release(&arena->drain_lock);
    gate_leave(cache_gate(cache_self));
}

struct stats_memory stats_memory(void)
{
    struct snapshot snapshot;

    (void)take_snapshot(&snapshot);
    return snapshot.memory;
}

/* Text */

static void print_counter(FILE *stream, const char *name, uint64_t value)
{
    (void)fprintf(stream, "  %-28s %14llu\n", name, (unsigned long long)value);
}

static void print_memory(FILE *stream, const struct stats_memory *memory)
{
    (void)fprintf(stream, "memory (bytes)\n");
    print_counter(stream, "break", memory->break_bytes);
    print_counter(stream, "mapped regions", memory->mapped_bytes);
    print_counter(stream, "used", memory->used_bytes);
    print_counter(stream, "free", memory->free_bytes);
    print_counter(stream, "cached by this thread", memory->cached_bytes);
    print_counter(stream, "free at the top", memory->top_free_bytes);
    print_counter(stream, "metadata", memory->metadata_bytes);
}

static void print_layers(FILE *stream, const struct snapshot *snapshot)
{
    (void)fprintf(stream, "break\n");
    print_counter(stream, "raised", snapshot->break_.grown);
    print_counter(stream, "lowered", snapshot->break_.lowered);
    print_counter(stream, "could not be raised", snapshot->break_.failed);
    print_counter(stream, "moved by others", snapshot->break_.foreign_moves);
    print_counter(stream, "bytes lost to gaps", snapshot->break_.gap_bytes);
    print_counter(stream, "lock acquisitions", snapshot->break_.lock_acquisitions);
    (void)fprintf(stream, "page heap\n");
    print_counter(stream, "runs handed out", snapshot->page_heap.allocs);
    print_counter(stream, "runs taken back", snapshot->page_heap.frees);
    print_counter(stream, "runs resized", snapshot->page_heap.resizes);
    print_counter(stream, "free runs", snapshot->page_heap.free_runs);
    print_counter(stream, "units", snapshot->page_heap.total_units);
    print_counter(stream, "free units", snapshot->page_heap.free_units);
    print_counter(stream, "units held", snapshot->page_heap.held_units);
    print_counter(stream, "refused for the limit", snapshot->page_heap.refused);
    print_counter(stream, "bytes purged", snapshot->page_heap.purged_bytes);
    print_counter(stream, "lock acquisitions", snapshot->page_heap.lock_acquisitions);
    print_counter(stream, "of those, waited for", snapshot->page_heap.lock_waits);
    (void)fprintf(stream, "life\n");
    print_counter(stream, "threads with a cache", snapshot->life.threads);
    print_counter(stream, "idle caches", snapshot->life.idle_caches);
    print_counter(stream, "arenas", snapshot->life.arenas);
    print_counter(stream, "changes of arena", snapshot->life.changes);
    print_counter(stream, "blocks served during forks", snapshot->emergency.allocs);
    print_counter(stream, "frees deferred during forks", snapshot->deferred.count);
    print_counter(stream, "blocks lost during forks", snapshot->deferred.lost);
}

static void print_bin(FILE *stream, unsigned class, const struct bin_snapshot *bin)
{
    const struct bin_stats *stats = &bin->stats;

    if (bin->lock_acquisitions == 0) {
        return;
    }
    (void)fprintf(
        stream, "  %6u %9llu %9llu %9llu %9llu %9llu %9llu %9llu %7llu %7llu %9llu %7llu %7llu\n",
        size_classes[class].size, (unsigned long long)stats->refills,
        (unsigned long long)stats->refill_blocks, (unsigned long long)stats->flushes,
        (unsigned long long)stats->flush_blocks, (unsigned long long)stats->depot_exchanges,
        (unsigned long long)stats->remote_batches, (unsigned long long)stats->remote_blocks,
        (unsigned long long)stats->slabs_created, (unsigned long long)stats->slabs_released,
        (unsigned long long)bin->lock_acquisitions, (unsigned long long)bin->free_blocks,
        (unsigned long long)bin->depot_blocks);
}

static void print_arena(FILE *stream, struct arena *arena)
{
    uint64_t drains;
    uint64_t slabs;

    arena_drains(arena, &drains, &slabs);
    /* Relaxed: a count. */
    (void)fprintf(stream, "arena %u: %llu drains of %llu slabs, %u waits for small blocks\n",
                  arena->index, (unsigned long long)drains, (unsigned long long)slabs,
                  atomic_load_explicit(&arena->waits, memory_order_relaxed));
    (void)fprintf(stream, "  %6s %9s %9s %9s %9s %9s %9s %9s %7s %7s %9s %7s %7s\n", "size",
                  "refills", "fetched", "flushes", "returned", "exchanged", "words", "remote",
                  "slabs+", "slabs-", "locks", "free", "depot");
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        struct bin_snapshot bin = bin_snapshot(arena_bin(arena, class));

        print_bin(stream, class, &bin);
    }
}

static void print_text(FILE *stream)
{
    struct snapshot snapshot;
    bool known = take_snapshot(&snapshot);

    (void)fprintf(stream, "breakwater statistics\n");
    print_memory(stream, &snapshot.memory);
    print_layers(stream, &snapshot);
    for (unsigned index = 0; known && arena_by_index(index) != NULL; index++) {
        print_arena(stream, arena_by_index(index));
    }
}

/* XML */

static void print_element(FILE *stream, const char *name, uint64_t value)
{
    (void)fprintf(stream, "  <%s>%llu</%s>\n", name, (unsigned long long)value, name);
}

static void print_bin_xml(FILE *stream, unsigned class, const struct bin_snapshot *bin)
{
    const struct bin_stats *stats = &bin->stats;

    if (bin->lock_acquisitions == 0) {
        return;
    }
    (void)fprintf(stream,
                  "    <bin size=\"%u\" free=\"%llu\" depot=\"%llu\" refills=\"%llu\" "
                  "flushes=\"%llu\" remote=\"%llu\" slabs=\"%llu\" locks=\"%llu\"/>\n",
                  size_classes[class].size, (unsigned long long)bin->free_blocks,
                  (unsigned long long)bin->depot_blocks, (unsigned long long)stats->refills,
                  (unsigned long long)stats->flushes, (unsigned long long)stats->remote_blocks,
                  (unsigned long long)(stats->slabs_created - stats->slabs_released),
                  (unsigned long long)bin->lock_acquisitions);
}

static void print_arena_xml(FILE *stream, struct arena *arena)
{
    (void)fprintf(stream, "  <arena nr=\"%u\">\n", arena->index);
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        struct bin_snapshot bin = bin_snapshot(arena_bin(arena, class));

        print_bin_xml(stream, class, &bin);
    }
    (void)fprintf(stream, "  </arena>\n");
}

static void print_xml(FILE *stream)
{
    struct snapshot snapshot;
    bool known = take_snapshot(&snapshot);
    const struct stats_memory *memory = &snapshot.memory;

    (void)fprintf(stream, "<malloc version=\"1\" allocator=\"breakwater\">\n");
    print_element(stream, "break", memory->break_bytes);
    print_element(stream, "mapped", memory->mapped_bytes);
    print_element(stream, "used", memory->used_bytes);
    print_element(stream, "free", memory->free_bytes);
    print_element(stream, "cached", memory->cached_bytes);
    print_element(stream, "metadata", memory->metadata_bytes);
    print_element(stream, "break_moves", snapshot.break_.grown + snapshot.break_.lowered);
    print_element(stream, "threads", snapshot.life.threads);
    for (unsigned index = 0; known && arena_by_index(index) != NULL; index++) {
        print_arena_xml(stream, arena_by_index(index));
    }
    (void)fprintf(stream, "</malloc>\n");
}

/* stdio's functions are cancellation points, ours are not. Nobody else's lines come between. */
static void print_whole(void (*print)(FILE *stream), FILE *stream)
{
    int state;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    flockfile(stream);
    print(stream);
    funlockfile(stream);
    (void)pthread_setcancelstate(state, &state);
}

void stats_print_text(FILE *stream)
{
    print_whole(print_text, stream);
}

void stats_print_xml(FILE *stream)
{
    print_whole(print_xml, stream);
}
