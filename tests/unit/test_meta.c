/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_meta.c - descriptors are zeroed, aligned, reused by size, and add up. */
#include "support.h"

#include <stdatomic.h>
#include <string.h>

#include "meta.h"
#include "os.h"

enum { OBJECTS = 200, THREADS = 4, ROUNDS = 300 };

#define BIG_BYTES ((size_t)20000) /* mapped one by one */

static void objects_are_zeroed_and_aligned_to_a_cache_line(void **state)
{
    (void)state;
    for (size_t bytes = 1; bytes <= BIG_BYTES; bytes = bytes * 3 + 1) {
        void *object = meta_alloc(bytes);

        assert_non_null(object);
        assert_int_equal((uintptr_t)object % CACHE_LINE_BYTES, 0);
        assert_true(is_all(object, bytes, 0));
        memset(object, 0x5a, bytes);
    }
    meta_check();
}

static void live_objects_never_overlap(void **state)
{
    char *objects[OBJECTS];

    (void)state;
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = (char *)meta_alloc(1 + i * 7);
        assert_non_null(objects[i]);
        memset(objects[i], (int)i, 1 + i * 7);
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        assert_true(is_all(objects[i], 1 + i * 7, (unsigned char)i));
    }
    meta_check();
}

static void a_freed_object_is_reused_for_its_size_and_zeroed_again(void **state)
{
    char *object = (char *)meta_alloc(100);
    void *other = meta_alloc(1000);

    (void)state;
    memset(object, 0x5a, 100);
    meta_free(object, 100);
    /* A size of another number of lines does not get it. */
    assert_ptr_not_equal(meta_alloc(129), object);
    /* 65 to 128 bytes are the same two lines. */
    assert_ptr_equal(meta_alloc(128), object);
    assert_true(is_all(object, 128, 0));
    meta_free(other, 1000);
    meta_check();
}

/* Nothing more can be mapped, and what is left of the newest chunk is used up. */
static void use_up_all_memory(void)
{
    os_fail_calls(1, UINT64_MAX);
    while (meta_alloc(CACHE_LINE_BYTES) != NULL) {
    }
}

static void without_memory_a_larger_freed_object_is_split(void **state)
{
    char *large = (char *)meta_alloc(640);

    (void)state;
    memset(large, 0x5a, 640);
    use_up_all_memory();
    meta_free(large, 640);
    char *small = (char *)meta_alloc(100);

    assert_ptr_equal(small, large);
    assert_true(is_all(small, 128, 0));
    assert_ptr_equal(meta_alloc(512), large + 128);
    assert_null(meta_alloc(64));
    meta_check();
}

static void donated_memory_serves_and_is_accounted_for(void **state)
{
    static char donated[4096] __attribute__((aligned(64)));

    (void)state;
    use_up_all_memory();
    assert_null(meta_alloc(1000));
    size_t mapped = meta_stats().mapped_bytes;

    meta_donate(donated, sizeof(donated));
    assert_ptr_equal(meta_alloc(1000), donated);
    assert_int_equal(meta_stats().mapped_bytes, mapped + sizeof(donated));
    assert_int_equal(meta_stats().donated_bytes, sizeof(donated));
    meta_check();
}

static void what_is_left_of_a_chunk_serves_without_memory(void **state)
{
    enum { LINE = 64, DONATED = 4096 };
    static _Alignas(DONATED) char donated[DONATED];
    size_t objects = 0;

    (void)state;
    assert_non_null(meta_alloc(LINE));
    size_t left = meta_stats().mapped_bytes - LINE;

    meta_donate(donated, DONATED);
    os_fail_calls(1, UINT64_MAX);
    while (meta_alloc(LINE) != NULL) {
        objects++;
    }
    os_fail_calls(0, 0);
    assert_int_equal(objects * LINE, left + DONATED);
    meta_check();
}

static void the_accounts_return_to_where_they_were(void **state)
{
    void *objects[OBJECTS];

    (void)state;
    meta_free(meta_alloc(1), 1);
    size_t used = meta_stats().used_bytes;

    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = meta_alloc(1 + i * 100);
        assert_non_null(objects[i]);
        meta_check();
    }
    assert_true(meta_stats().used_bytes > used);
    for (size_t i = 0; i < OBJECTS; i++) {
        meta_free(objects[i], 1 + i * 100);
        meta_check();
    }
    assert_int_equal(meta_stats().used_bytes, used);
}

static void a_big_object_is_mapped_and_unmapped_by_itself(void **state)
{
    size_t mapped = meta_stats().mapped_bytes;
    char *object = (char *)meta_alloc(BIG_BYTES);

    (void)state;
    assert_non_null(object);
    assert_true(meta_stats().mapped_bytes >= mapped + BIG_BYTES);
    meta_free(object, BIG_BYTES);
    assert_false(is_readable(object));
    assert_int_equal(meta_stats().mapped_bytes, mapped);
    meta_check();
}

static void freeing_null_does_nothing(void **state)
{
    struct meta_stats before = meta_stats();

    (void)state;
    meta_free(NULL, 100);
    meta_free(NULL, BIG_BYTES);
    assert_int_equal(meta_stats().used_bytes, before.used_bytes);
    assert_int_equal(meta_stats().mapped_bytes, before.mapped_bytes);
    meta_check();
}

static void without_memory_it_gives_null_and_nothing_changes(void **state)
{
    (void)state;
    os_fail_calls(1, UINT64_MAX);
    assert_null(meta_alloc(64));
    assert_null(meta_alloc(BIG_BYTES));
    os_fail_calls(0, 0);
    assert_int_equal(meta_stats().used_bytes, 0);
    meta_check();
    assert_non_null(meta_alloc(64));
    meta_check();
}

static void where_a_chunk_cannot_be_had_a_page_does(void **state)
{
    (void)state;
    os_fail_calls(1, 1);
    assert_non_null(meta_alloc(64));
    assert_int_equal(os_call_count(), 2);
    os_fail_calls(0, 0);
    assert_int_equal(meta_stats().mapped_bytes, os_page_bytes());
    meta_check();
}

static void a_free_object_serves_when_the_kernel_does_not(void **state)
{
    void *object = meta_alloc(640);

    (void)state;
    meta_free(object, 640);
    os_fail_calls(1, UINT64_MAX);
    assert_ptr_equal(meta_alloc(640), object);
    assert_int_equal(os_call_count(), 0);
    os_fail_calls(0, 0);
    meta_check();
}

static void *fill_and_free(void *failed)
{
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t bytes = 64 + round % 7 * 300;
        char *object = (char *)meta_alloc(bytes);

        if (object == NULL || !is_all(object, bytes, 0)) {
            atomic_store((_Atomic bool *)failed, true);
            break;
        }
        memset(object, 0x5a, bytes);
        if (round % 3 != 0) {
            meta_free(object, bytes);
        }
    }
    return NULL;
}

static void threads_get_objects_of_their_own(void **state)
{
    _Atomic bool failed = false;

    (void)state;
    run_threads(THREADS, fill_and_free, &failed);
    assert_false(failed);
    meta_check();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(objects_are_zeroed_and_aligned_to_a_cache_line),
        ISOLATED(live_objects_never_overlap),
        ISOLATED(a_freed_object_is_reused_for_its_size_and_zeroed_again),
        ISOLATED(without_memory_a_larger_freed_object_is_split),
        ISOLATED(donated_memory_serves_and_is_accounted_for),
        ISOLATED(what_is_left_of_a_chunk_serves_without_memory),
        ISOLATED(the_accounts_return_to_where_they_were),
        ISOLATED(a_big_object_is_mapped_and_unmapped_by_itself),
        ISOLATED(freeing_null_does_nothing),
        ISOLATED(without_memory_it_gives_null_and_nothing_changes),
        ISOLATED(where_a_chunk_cannot_be_had_a_page_does),
        ISOLATED(a_free_object_serves_when_the_kernel_does_not),
        ISOLATED(threads_get_objects_of_their_own),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
