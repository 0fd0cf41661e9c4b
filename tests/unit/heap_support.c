/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "heap_support.h"

#include <string.h>

#include "break.h"
#include "emergency.h"
#include "gate.h"
#include "life.h"
#include "meta.h"
#include "os.h"
#include "page_heap.h"
#include "reclaim.h"
#include "resize.h"
#include "stats.h"

void check_all(void)
{
    heap_check();
}

char *filled(size_t size)
{
    char *block = (char *)heap_alloc(size);

    assert_non_null(block);
    memset(block, PATTERN, size);
    return block;
}

size_t usable(void *block)
{
    return heap_usable_size(block, "invalid");
}

void use_up_all_memory(void)
{
    reclaim_all();
    while (page_heap_alloc(&(struct run_request){
               .units = 1, .align_units = 1, .state = SPAN_LARGE, .grow = false}) != NULL) {
    }
    os_fail_calls(1, UINT64_MAX);
}

void assert_nothing_is_used(void)
{
    (void)heap_trim(0);
    check_all();
    assert_int_equal(stats_memory().used_bytes, 0);
}

void make_medium(size_t size)
{
    heap_free(heap_alloc(1));
    while (size_class_code_of_any(size) == 0) {
        size_class_ask_medium(size);
    }
}

static bool do_nothing(void *unused)
{
    (void)unused;
    return true;
}

void open_gate(void)
{
    gate_open();
    assert_true(gate_is_open());
    /* At the end of a fork what was put off is done. */
    assert_works_in_child(do_nothing, NULL);
}

void use_class(size_t size)
{
    enum { SINGLES = 16 };
    void *blocks[SINGLES];

    for (size_t i = 0; i < SINGLES; i++) {
        blocks[i] = filled(size);
    }
    for (size_t i = 0; i < SINGLES; i++) {
        heap_free(blocks[i]);
    }
}

size_t usable_after_a_move(void)
{
    const size_t size = 9 * MIB;
    char *block = filled(size);

    /* Right behind it, so that it cannot grow in place. */
    while ((char *)heap_alloc(SMALL_MAX_BYTES + 1) < block + size) {
    }
    char *moved = (char *)heap_resize(block, size + 1);

    assert_ptr_not_equal(moved, block);
    return usable(moved);
}
