/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_stats.c - the numbers add up, follow what the program does, and are printed. */
#include "heap_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "break.h"
#include "breakwater/breakwater.h"
#include "emergency.h"
#include "gate.h"
#include "life.h"
#include "meta.h"
#include "page_heap.h"
#include "resize.h"
#include "stats.h"

/* Every byte got from the kernel for blocks is used or free. */
static struct stats_memory balanced_memory(void)
{
    struct stats_memory memory = stats_memory();

    assert_int_equal(memory.used_bytes + memory.free_bytes,
                     memory.break_bytes + memory.mapped_bytes + memory.fork_bytes);
    return memory;
}

static void nothing_is_counted_before_the_first_call(void **state)
{
    struct stats_memory memory = balanced_memory();

    (void)state;
    assert_int_equal(memory.break_bytes, 0);
    assert_int_equal(memory.free_bytes, 0);
    assert_int_equal(memory.cached_blocks, 0);
    assert_int_equal(memory.free_runs, 0);
}

static void used_bytes_follow_the_blocks(void **state)
{
    void *small = heap_alloc(100);
    size_t before = balanced_memory().used_bytes;
    void *large = heap_alloc(10 * UNIT_BYTES);

    (void)state;
    assert_int_equal(before, heap_usable_size(small, "invalid"));
    assert_int_equal(balanced_memory().used_bytes, before + 10 * UNIT_BYTES);
    heap_free(large);
    assert_int_equal(balanced_memory().used_bytes, before);
    heap_free(small);
    assert_int_equal(balanced_memory().used_bytes, 0);
    (void)heap_trim(0);
    assert_int_equal(balanced_memory().used_bytes, 0);
}

static void blocks_in_the_own_cache_are_free_and_counted(void **state)
{
    (void)state;
    use_class(64);
    struct stats_memory memory = balanced_memory();

    assert_true(memory.cached_blocks >= 1);
    assert_int_equal(memory.cached_bytes, memory.cached_blocks * 64);
    (void)heap_trim(0);
    assert_int_equal(balanced_memory().cached_blocks, 0);
}

enum { HANDED_ON = 20, HANDED_BYTES = 4096 };

static void allocate_for_another_arena(void **blocks)
{
    (void)life_cache();
    assert_true(life_limit_arenas(2));
    for (size_t i = 0; i < HANDED_ON; i++) {
        blocks[i] = heap_alloc(HANDED_BYTES);
    }
}

static void *free_all_of_them(void *blocks)
{
    for (size_t i = 0; i < HANDED_ON; i++) {
        heap_free(((void **)blocks)[i]);
    }
    return NULL;
}

/* Its arena is another, and nobody has taken in what it freed. */
static void what_another_thread_has_freed_is_free(void **state)
{
    void *blocks[HANDED_ON];

    (void)state;
    allocate_for_another_arena(blocks);
    run_threads(1, free_all_of_them, blocks);
    assert_true(remote_queue_has_slabs(&arena_by_index(0)->queue));
    assert_int_equal(balanced_memory().used_bytes, 0);
}

static void *free_all_of_them_and_ask(void *blocks)
{
    (void)free_all_of_them(blocks);
    assert_true(cache_self->remote->count > 0);
    assert_int_equal(balanced_memory().used_bytes, 0);
    return NULL;
}

static void what_the_caller_has_freed_of_other_arenas_is_free(void **state)
{
    void *blocks[HANDED_ON];

    (void)state;
    allocate_for_another_arena(blocks);
    heap_trim(0);
    run_threads(1, free_all_of_them_and_ask, blocks);
}

static void units_that_descriptors_were_given_are_neither_used_nor_free(void **state)
{
    (void)state;
    assert_non_null(heap_alloc(100));
    size_t used = balanced_memory().used_bytes;
    struct span *span = page_heap_alloc(&(struct run_request){
        .units = 1, .align_units = 1, .state = SPAN_META, .grow = true, .zero = true});

    assert_non_null(span);
    page_heap_zero(span, UNIT_BYTES);
    meta_donate((void *)span_address(span), UNIT_BYTES);
    struct stats_memory memory = stats_memory();

    assert_int_equal(memory.used_bytes, used);
    assert_int_equal(memory.used_bytes + memory.free_bytes + UNIT_BYTES,
                     memory.break_bytes + memory.mapped_bytes);
}

static void mapped_regions_are_counted(void **state)
{
    (void)state;
    block_break();
    void *block = heap_alloc(5 * UNIT_BYTES);
    struct stats_memory memory = balanced_memory();

    assert_int_equal(memory.break_bytes, 0);
    assert_true(memory.mapped_regions >= 1);
    assert_true(memory.mapped_bytes >= 5 * UNIT_BYTES);
    assert_int_equal(memory.used_bytes, 5 * UNIT_BYTES);
    heap_free(block);
    assert_int_equal(balanced_memory().used_bytes, 0);
    unblock_break();
}

static void blocks_of_a_fork_are_used_and_then_free(void **state)
{
    (void)state;
    heap_free(heap_alloc(100));
    size_t used = balanced_memory().used_bytes;

    assert_int_equal(balanced_memory().fork_bytes, 0);
    gate_close(cache_gate(cache_self));
    void *small = heap_alloc(1000);
    void *large = heap_alloc(3 * UNIT_BYTES);

    gate_open();
    size_t bytes = heap_usable_size(small, "invalid") + heap_usable_size(large, "invalid");
    struct stats_memory memory = balanced_memory();

    assert_true(emergency_owns((uintptr_t)small) && emergency_owns((uintptr_t)large));
    assert_int_equal(memory.used_bytes, used + bytes);
    assert_true(memory.fork_bytes >= bytes);
    heap_free(small);
    heap_free(large);
    assert_int_equal(balanced_memory().used_bytes, used);
    assert_int_equal(balanced_memory().fork_bytes, memory.fork_bytes);
}

static void numbers_of_the_layers_are_passed_on(void **state)
{
    (void)state;
    heap_free(heap_alloc(10 * UNIT_BYTES));
    struct stats_memory memory = balanced_memory();
    struct page_heap_stats page_heap = page_heap_stats();

    assert_int_equal(memory.break_bytes, break_stats().bytes);
    assert_int_equal(memory.free_runs, page_heap.free_runs);
    assert_int_equal(memory.top_free_bytes, page_heap.top_free_units * UNIT_BYTES);
    assert_true(memory.top_free_bytes > 0);
    assert_int_equal(memory.metadata_bytes, meta_stats().used_bytes);
}

static void *ask(void *unused)
{
    (void)unused;
    heap_free(heap_alloc(3000));
    (void)stats_memory();
    return NULL;
}

static void threads_may_ask_at_once(void **state)
{
    (void)state;
    run_threads(8, ask, NULL);
    assert_int_equal(balanced_memory().used_bytes, 0);
}

/* Printing */

static char *printed(void (*print)(FILE *stream))
{
    char *text = NULL;
    size_t length;
    FILE *stream = open_memstream(&text, &length);

    assert_non_null(stream);
    print(stream);
    assert_false(gate_has_caller(cache_gate(cache_self)));
    assert_int_equal(fclose(stream), 0);
    assert_non_null(text);
    return text;
}

/* The number after `name`, which must be in the text. */
static unsigned long long number_after(const char *text, const char *name)
{
    const char *found = strstr(text, name);

    assert_non_null(found);
    return strtoull(found + strlen(name), NULL, 10);
}

static void the_text_has_the_numbers(void **state)
{
    void *block = heap_alloc(10 * UNIT_BYTES);
    char *text = printed(stats_print_text);

    (void)state;
    int major;
    int minor;
    int patch;

    assert_int_equal(sscanf(text, "breakwater %d.%d.%d statistics\n", &major, &minor, &patch), 3);
    assert_int_equal(major, BW_VERSION_MAJOR);
    assert_int_equal(minor, BW_VERSION_MINOR);
    assert_int_equal(patch, BW_VERSION_PATCH);
    assert_int_equal(number_after(text, "  break "), break_stats().bytes);
    assert_int_equal(number_after(text, "  used "), 10 * UNIT_BYTES);
    assert_int_equal(number_after(text, "threads with a cache "), 1);
    assert_int_equal(number_after(text, "arena "), 0);
    free(text);
    heap_free(block);
}

static void only_bins_in_use_are_listed(void **state)
{
    (void)state;
    heap_free(heap_alloc(10 * UNIT_BYTES));
    (void)heap_trim(0);
    heap_free(heap_alloc(48));
    char *text = printed(stats_print_text);
    char *xml = printed(stats_print_xml);

    assert_non_null(strstr(text, "\n         48 "));
    assert_non_null(strstr(xml, "<bin size=\"48\""));
    free(text);
    free(xml);
}

static void the_xml_is_closed_and_has_the_same_numbers(void **state)
{
    void *block = heap_alloc(10 * UNIT_BYTES);
    char *xml = printed(stats_print_xml);
    static const char end[] = "</malloc>\n";

    (void)state;
    assert_int_equal(strncmp(xml, "<malloc version=\"1\"", 19), 0);
    assert_string_equal(xml + strlen(xml) - strlen(end), end);
    assert_int_equal(number_after(xml, "<break>"), break_stats().bytes);
    assert_int_equal(number_after(xml, "<used>"), 10 * UNIT_BYTES);
    assert_int_equal(number_after(xml, "<threads_with_a_cache>"), 1);
    free(xml);
    heap_free(block);
}

/* The element that the XML has for a line of the text, "  <name>  <number>". */
static void element_of(const char *line, char *element, size_t size)
{
    size_t length = 0;

    line += strspn(line, " ");
    element[length++] = '<';
    while (strncmp(line, "  ", 2) != 0) {
        assert_true(length < size - 2);
        element[length++] = *line == ' ' ? '_' : *line;
        line++;
    }
    element[length++] = '>';
    element[length] = '\0';
}

static void the_xml_has_each_number_of_the_text(void **state)
{
    enum { COUNTERS = 31 };
    unsigned count = 0;

    (void)state;
    heap_free(heap_alloc(10 * UNIT_BYTES));
    char *text = printed(stats_print_text);
    char *xml = printed(stats_print_xml);

    for (char *line = strchr(text, '\n'); line != NULL && strncmp(line + 1, "arena ", 6) != 0;
         line = strchr(line + 1, '\n')) {
        char element[64];

        if (line[1] == ' ') {
            element_of(line + 1, element, sizeof(element));
            assert_non_null(strstr(xml, element));
            count++;
        }
    }
    assert_int_equal(count, COUNTERS);
    free(text);
    free(xml);
}

/* What is printed from `begin` on, up to the line's end; freed by the caller. */
static char *row_from(const char *text, const char *begin)
{
    const char *row = strstr(text, begin);

    assert_non_null(row);
    return strndup(row, strcspn(row, "\n"));
}

static void a_bin_has_each_number_in_its_column(void **state)
{
    (void)state;
    heap_free(heap_alloc(48));
    struct bin *bin = arena_bin(arena_by_index(0), size_class_of(48));

    bin->stats = (struct bin_stats){.refills = 1,
                                    .refill_blocks = 2,
                                    .flushes = 3,
                                    .flush_blocks = 4,
                                    .depot_exchanges = 5,
                                    .remote_batches = 6,
                                    .remote_blocks = 7,
                                    .slabs_created = 8,
                                    .slabs_released = 9};
    char *text = printed(stats_print_text);
    char *row = row_from(text, "         48 ");
    char expected[256];

    (void)snprintf(expected, sizeof(expected),
                   " %10d %10d %10d %10d %10d %10d %10d %10d %10d %10d %10llu %10llu %10d", 48, 1,
                   2, 3, 4, 5, 6, 7, 8, 9, (unsigned long long)bin->lock.acquisitions,
                   (unsigned long long)bin->free_blocks, 0);
    assert_string_equal(row, expected);
    free(row);
    free(text);
    bin->free_blocks += 100;
    atomic_fetch_add(&bin->depot.blocks, 1000);
    char *xml = printed(stats_print_xml);

    row = row_from(xml, "<bin size=\"48\"");
    (void)snprintf(expected, sizeof(expected),
                   "<bin size=\"48\" refills=\"1\" fetched=\"2\" flushes=\"3\" returned=\"4\" "
                   "exchanged=\"5\" words=\"6\" remote=\"7\" created=\"8\" released=\"9\" "
                   "locks=\"%llu\" free=\"%llu\" depot=\"1000\"/>",
                   (unsigned long long)bin->lock.acquisitions,
                   (unsigned long long)bin->free_blocks);
    assert_string_equal(row, expected);
    free(row);
    free(xml);
}

static void every_arena_is_printed(void **state)
{
    (void)state;
    heap_free(heap_alloc(1));
    life_limit_arenas(3);
    run_threads(1, ask, NULL);
    char *text = printed(stats_print_text);
    char *xml = printed(stats_print_xml);

    assert_non_null(strstr(text, "\narena 0: "));
    assert_non_null(strstr(text, "\narena 1: "));
    assert_null(strstr(text, "\narena 2: "));
    assert_non_null(strstr(xml, "<arena nr=\"1\" "));
    free(text);
    free(xml);
}

static void printing_before_the_first_call_works(void **state)
{
    (void)state;
    char *text = printed(stats_print_text);
    char *xml = printed(stats_print_xml);

    assert_int_equal(number_after(text, "  break "), 0);
    assert_int_equal(number_after(xml, "<used>"), 0);
    assert_false(life_started());
    free(text);
    free(xml);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(nothing_is_counted_before_the_first_call),
        ISOLATED(used_bytes_follow_the_blocks),
        ISOLATED(blocks_in_the_own_cache_are_free_and_counted),
        ISOLATED(what_another_thread_has_freed_is_free),
        ISOLATED(what_the_caller_has_freed_of_other_arenas_is_free),
        ISOLATED(units_that_descriptors_were_given_are_neither_used_nor_free),
        ISOLATED(mapped_regions_are_counted),
        ISOLATED(blocks_of_a_fork_are_used_and_then_free),
        ISOLATED(numbers_of_the_layers_are_passed_on),
        ISOLATED(threads_may_ask_at_once),
        ISOLATED(the_text_has_the_numbers),
        ISOLATED(only_bins_in_use_are_listed),
        ISOLATED(the_xml_is_closed_and_has_the_same_numbers),
        ISOLATED(the_xml_has_each_number_of_the_text),
        ISOLATED(a_bin_has_each_number_in_its_column),
        ISOLATED(every_arena_is_printed),
        ISOLATED(printing_before_the_first_call_works),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
