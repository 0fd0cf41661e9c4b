/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_entry_points.c - which names the preloaded library defines: all of the family, so that no
 * block of another allocator ever reaches it, and no others. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static const char *library;

/* Also the names of the prefixed family, without the prefix. */
static const char *const c_names[] = {
    "malloc",       "calloc",    "realloc",        "free",    "aligned_alloc",
    "free_sized",   "memalign",  "posix_memalign", "valloc",  "free_aligned_sized",
    "reallocarray", "pvalloc",   "malloc_trim",    "mallopt", "malloc_usable_size",
    "mallinfo",     "mallinfo2", "malloc_info",    "cfree",   "malloc_stats",
};

static const char *const operators[] = {
    "_Znwm",
    "_Znam",
    "_ZnwmRKSt9nothrow_t",
    "_ZnamRKSt9nothrow_t",
    "_ZnwmSt11align_val_t",
    "_ZnamSt11align_val_t",
    "_ZnwmSt11align_val_tRKSt9nothrow_t",
    "_ZnamSt11align_val_tRKSt9nothrow_t",
    "_ZdlPv",
    "_ZdaPv",
    "_ZdlPvRKSt9nothrow_t",
    "_ZdaPvRKSt9nothrow_t",
    "_ZdlPvm",
    "_ZdaPvm",
    "_ZdlPvSt11align_val_t",
    "_ZdaPvSt11align_val_t",
    "_ZdlPvSt11align_val_tRKSt9nothrow_t",
    "_ZdaPvSt11align_val_tRKSt9nothrow_t",
    "_ZdlPvmSt11align_val_t",
    "_ZdaPvmSt11align_val_t",
};

static bool library_defines(const char *name)
{
    void *address = dlsym(RTLD_DEFAULT, name);
    Dl_info object = {0};

    return address && dladdr(address, &object) && strstr(object.dli_fname, library);
}

static void assert_library_defines(const char *name)
{
    if (!library_defines(name)) {
        fail_msg("%s does not define %s", library, name);
    }
}

static void the_library_defines_every_name_of_the_c_family(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(c_names); i++) {
        assert_library_defines(c_names[i]);
    }
}

static void the_library_defines_every_form_of_new_and_delete(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
        assert_library_defines(operators[i]);
    }
}

static void the_library_defines_the_prefixed_family(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(c_names); i++) {
        char prefixed[64] = "bw_";

        assert_library_defines(strcat(prefixed, c_names[i]));
    }
}

static void both_families_share_one_heap(void **state)
{
    void *(*prefixed_malloc)(size_t);
    void (*prefixed_free)(void *);
    void *address;

    (void)state;
    assert_non_null(address = dlsym(RTLD_DEFAULT, "bw_malloc"));
    memcpy(&prefixed_malloc, &address, sizeof(address));
    assert_non_null(address = dlsym(RTLD_DEFAULT, "bw_free"));
    memcpy(&prefixed_free, &address, sizeof(address));
    for (size_t size = 1; size < 4 * 1024 * 1024; size *= 2) {
        void *volatile block = malloc(size);

        prefixed_free(block);
        block = prefixed_malloc(size);
        free(block);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_library_defines_every_name_of_the_c_family),
        cmocka_unit_test(the_library_defines_every_form_of_new_and_delete),
        cmocka_unit_test(the_library_defines_the_prefixed_family),
        cmocka_unit_test(both_families_share_one_heap),
    };

    library = argc > 1 ? argv[1] : "libbreakwater";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
