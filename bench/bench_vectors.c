/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_vectors.c - vectors that grow by realloc, as std::vector or a string builder would: half as
 * large again each time, 100 of them in turns, from 64 bytes to 256 KiB, then all are freed. After
 * the realloc experiments of P. Wilson, M. Johnstone, M. Neely, D. Boles, "Dynamic Storage
 * Allocation" (1995). An operation is one realloc. */
#include "bench_common.h"

#include <stdlib.h>

enum { VECTORS = 100, FIRST_BYTES = 64, LAST_BYTES = 256 * 1024 };

struct vector {
    void *block;
    size_t size;
};

static void setup(struct bench_thread *self)
{
    self->state = bench_memory(VECTORS * sizeof(struct vector));
}

static void verify(const struct vector *vector, size_t tag)
{
    bench_untag(vector->block, vector->size, tag);
}

static uint64_t step(struct bench_thread *self)
{
    struct vector *vectors = (struct vector *)self->state;

    for (size_t i = 0; i < VECTORS; i++) {
        size_t at = bench_below(&self->random, VECTORS);
        struct vector *vector = &vectors[at];

        if (vector->size > LAST_BYTES) {
            verify(vector, at);
            free(vector->block);
            *vector = (struct vector){NULL, 0};
        }
        size_t size = vector->size == 0 ? FIRST_BYTES : vector->size + vector->size / 2;
        unsigned char end =
            vector->size > 0 ? ((const unsigned char *)vector->block)[vector->size - 1] : 0;

        vector->block = bench_not_null(realloc(vector->block, size), size);
        if (vector->size > 0 && ((const unsigned char *)vector->block)[vector->size - 1] != end) {
            bench_fail("realloc lost the end of %zu bytes", vector->size);
        }
        vector->size = size;
        bench_tag(vector->block, size, at);
    }
    return VECTORS;
}

static void teardown(struct bench_thread *self)
{
    for (size_t i = 0; i < VECTORS; i++) {
        free(((struct vector *)self->state)[i].block);
    }
}

const struct bench_workload bench_workload = {
    .name = "vectors",
    .about = "Grows vectors by realloc",
    .variants = (const struct bench_variant[]){{"half", 2000000, 0}, {NULL, 0, 0}},
    .threads = 1,
    .threads_least = 1,
    .setup = setup,
    .step = step,
    .teardown = teardown,
};
