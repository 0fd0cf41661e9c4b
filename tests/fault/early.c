/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* early.c - a library that the program is linked with, and whose constructor runs before that of a
 * preloaded allocator: of handlers for fork() those registered first are called last before it. */
#include "early.h"

#include <pthread.h>
#include <stddef.h>

static void (*prepare)(void);

static void call_prepare(void)
{
    if (prepare != NULL) {
        prepare();
    }
}

__attribute__((constructor)) static void register_prepare(void)
{
    (void)pthread_atfork(call_prepare, NULL, NULL);
}

void early_set_prepare(void (*handler)(void))
{
    prepare = handler;
}
