/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_prefix.c - a program linked to the prefixed names alone keeps its own malloc. */
#include <breakwater/breakwater.h>

#include <dlfcn.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define MIB ((size_t)1024 * 1024)

/* The names that the C library has. */
static const char *const names[] = {
    "malloc",
    "calloc",
    "realloc",
    "free",
    "aligned_alloc",
    "posix_memalign",
    "reallocarray",
    "valloc",
    "memalign",
    "pvalloc",
    "malloc_usable_size",
    "malloc_trim",
    "mallopt",
    "malloc_info",
    "mallinfo2",
    "malloc_stats",
};

static const char *object_of(const char *name)
{
    Dl_info object = {0};

    assert_int_not_equal(dladdr(dlsym(RTLD_DEFAULT, name), &object), 0);
    return object.dli_fname;
}

static void every_standard_name_is_still_the_c_librarys(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_non_null(strstr(object_of(names[i]), "libc.so"));
    }
}

static void malloc_takes_nothing_from_the_prefixed_heap(void **state)
{
    (void)state;
    bw_free(bw_malloc(1));

    struct bw_mallinfo2 before = bw_mallinfo2();
    void *volatile large = malloc(10 * MIB);
    void *volatile small = malloc(100);
    struct bw_mallinfo2 after = bw_mallinfo2();

    assert_non_null(large);
    assert_non_null(small);
    assert_memory_equal(&before, &after, sizeof(before));
    free(large);
    free(small);
}

static void bw_malloc_takes_nothing_from_the_c_librarys_heap(void **state)
{
    (void)state;

    struct mallinfo2 before = mallinfo2();
    void *large = bw_malloc(10 * MIB);
    void *small = bw_malloc(100);
    struct mallinfo2 after = mallinfo2();

    assert_non_null(large);
    assert_non_null(small);
    assert_int_equal(before.uordblks, after.uordblks);
    assert_int_equal(before.hblkhd, after.hblkhd);
    bw_free(large);
    bw_free(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_standard_name_is_still_the_c_librarys),
        cmocka_unit_test(malloc_takes_nothing_from_the_prefixed_heap),
        cmocka_unit_test(bw_malloc_takes_nothing_from_the_c_librarys_heap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
