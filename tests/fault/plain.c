/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* plain.c - a small program for the scripts: allocates, frees, and says how the heap was made.
 *
 * Prints "break" or "mapped" after where the memory came from, then "done". */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "fault.h"

static void *work(void *argument)
{
    void *blocks[400];

    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = fault_block(i * i);
    }
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        fault_free(blocks[i], i * i);
    }
    return argument;
}

int main(void)
{
    pthread_t id;

    (void)work(NULL);
    CHECK(pthread_create(&id, NULL, work, NULL) == 0);
    CHECK(pthread_join(id, NULL) == 0);
    puts(mallinfo2().hblks > 0 ? "mapped" : "break");
    puts("done");
    return EXIT_SUCCESS;
}
