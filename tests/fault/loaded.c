/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* loaded.c - a library for dynamic.c: allocates when it is loaded, keeps a block in a thread-local
 * variable, and frees when it is unloaded. */
#include <stdlib.h>
#include <string.h>

static void *kept;
static _Thread_local void *kept_by_thread;

__attribute__((visibility("default"))) void *loaded_allocate(size_t size);

void *loaded_allocate(size_t size)
{
    free(kept_by_thread);
    kept_by_thread = malloc(size);
    return malloc(size);
}

__attribute__((constructor)) static void load(void)
{
    kept = calloc(1, 12345);
}

__attribute__((destructor)) static void unload(void)
{
    free(kept_by_thread);
    free(kept);
}
