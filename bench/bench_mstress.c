/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench_mstress.c - threads build groups of objects of random sizes and pass some of them to each
 * other through shared places, where whoever comes next frees them. After "mstress" of D. Leijen,
 * B. Zorn, L. de Moura, "Mimalloc: Free List Sharding in Action" (2019). An operation is one
 * object. */
#include "bench_common.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { OBJECTS = 400, PLACES = 1000, MOST_BYTES = 4096, PASSED_ONE_IN = 4, KEPT_ONE_IN = 3 };

struct object {
    size_t size;
    uint64_t tag;
};

static _Atomic(struct object *) places[PLACES];

static struct object *make(struct bench_thread *self)
{
    size_t size = bench_skewed_size(&self->random, MOST_BYTES);
    struct object *object = (struct object *)bench_not_null(malloc(size), size);

    object->size = size;
    if (size > sizeof(*object)) {
        ((unsigned char *)object)[size - 1] = (unsigned char)size;
    }
    return object;
}

static void destroy(struct object *object)
{
    if (object == NULL) {
        return;
    }
    if (object->size > sizeof(*object) &&
        ((const unsigned char *)object)[object->size - 1] != (unsigned char)object->size) {
        bench_fail("an object was overwritten");
    }
    free(object);
}

static void pass(struct bench_thread *self, struct object *object)
{
    size_t place = bench_below(&self->random, PLACES);

    /* Both ways: the object is seen filled, and the one taken out was. */
    destroy(atomic_exchange_explicit(&places[place], object, memory_order_acq_rel));
}

static void setup(struct bench_thread *self)
{
    self->state = bench_memory(OBJECTS * sizeof(struct object *));
}

static uint64_t step(struct bench_thread *self)
{
    struct object **objects = (struct object **)self->state;

    for (size_t i = 0; i < OBJECTS; i++) {
        if (objects[i] == NULL) {
            objects[i] = make(self);
        }
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        if (bench_below(&self->random, PASSED_ONE_IN) == 0) {
            pass(self, objects[i]);
        } else if (bench_below(&self->random, KEPT_ONE_IN) == 0) {
            continue;
        } else {
            destroy(objects[i]);
        }
        objects[i] = NULL;
    }
    return OBJECTS;
}

static void teardown(struct bench_thread *self)
{
    struct object **objects = (struct object **)self->state;

    for (size_t i = 0; i < OBJECTS; i++) {
        destroy(objects[i]);
    }
    for (size_t i = 0; self->index == 0 && i < PLACES; i++) {
        destroy(atomic_exchange_explicit(&places[i], NULL, memory_order_acq_rel));
    }
}

const struct bench_workload bench_workload = {
    .name = "mstress",
    .about = "Builds groups of objects and passes some to other threads",
    .variants = (const struct bench_variant[]){{"graph", 15000000, 0}, {NULL, 0, 0}},
    .threads = 4,
    .threads_least = 1,
    .setup = setup,
    .step = step,
    .teardown = teardown,
};
