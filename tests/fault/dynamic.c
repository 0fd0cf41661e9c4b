/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* dynamic.c - faults of the dynamic linker's doing.
 *
 *   plugin LIBRARY     a library that allocates is loaded and unloaded 200 times, with threads
 *   itself BREAKWATER  the allocator is loaded by dlopen() into a program that uses glibc's: its
 * bw_ functions work beside it, from threads too, also when it was closed and loaded again
 *   namespace LIBRARY  the library in a namespace of its own (dlmopen), with a C library of its own
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"

enum { LOADS = 200, BLOCKS = 500 };

typedef void *allocate_function(size_t size);
typedef void free_function(void *block);

static allocate_function *allocate;
static free_function *release;

/* POSIX lets a pointer to a function be an object pointer; ISO C has no words for it. */
static void *symbol(void *library, const char *name)
{
    void *address = dlsym(library, name);

    CHECK(address != NULL);
    return address;
}

static void *use_functions(void *argument)
{
    static _Thread_local void *blocks[BLOCKS];

    for (size_t i = 0; i < BLOCKS; i++) {
        free(fault_block(1 + i));
        blocks[i] = allocate(1 + i * 97);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], (int)i, 1 + i * 97);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(*(unsigned char *)blocks[i] == (unsigned char)i);
        release(blocks[i]);
    }
    return argument;
}

static void use_from_threads(void)
{
    pthread_t ids[4];

    (void)use_functions(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        CHECK(pthread_create(&ids[i], NULL, use_functions, NULL) == 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        CHECK(pthread_join(ids[i], NULL) == 0);
    }
}

static void *open_library(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
    }
    CHECK(library != NULL);
    return library;
}

static void load_plugin(const char *path)
{
    fault_start();
    release = free;
    for (int i = 0; i < LOADS; i++) {
        void *library = open_library(path);

        *(void **)&allocate = symbol(library, "loaded_allocate");
        use_from_threads();
        CHECK(dlclose(library) == 0);
    }
}

static void load_itself(const char *path)
{
    for (int i = 0; i < 3; i++) {
        void *library = open_library(path);

        *(void **)&allocate = symbol(library, "bw_malloc");
        *(void **)&release = symbol(library, "bw_free");
        use_from_threads();
        free(malloc(100));
        CHECK(dlclose(library) == 0);
    }
}

static void load_in_namespace(const char *path)
{
    void *library = dlmopen(LM_ID_NEWLM, path, RTLD_NOW | RTLD_LOCAL);

    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
    }
    CHECK(library != NULL);
    *(void **)&allocate = symbol(library, "bw_malloc");
    *(void **)&release = symbol(library, "bw_free");
    /* Whose threads use the program's allocator too, which may be another copy. */
    for (int i = 0; i < 20; i++) {
        use_from_threads();
        free(fault_block(100000));
    }
}

int main(int count, char **arguments)
{
    CHECK(count == 3);
    if (strcmp(arguments[1], "plugin") == 0) {
        load_plugin(arguments[2]);
    } else if (strcmp(arguments[1], "itself") == 0) {
        load_itself(arguments[2]);
    } else {
        CHECK(strcmp(arguments[1], "namespace") == 0);
        load_in_namespace(arguments[2]);
    }
    return EXIT_SUCCESS;
}
