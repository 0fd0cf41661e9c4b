/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bin_support.h"

#include <string.h>

#include "page_heap.h"

struct bin bin;
struct remote_queue queue;
unsigned class_of_bin;

void new_bin_of_class(unsigned class)
{
    size_class_init();
    class_of_bin = class;
    remote_queue_init(&queue);
    bin_init(&bin, class_of_bin, 0);
    lock_acquire(&bin.lock);
}

void new_bin_of(size_t size)
{
    size_class_init();
    new_bin_of_class(size_class_of(size));
}

void new_bin(void)
{
    new_bin_of(SIZE);
}

unsigned blocks_of_slab(void)
{
    return size_classes[class_of_bin].blocks;
}

struct slab *add_slab(void)
{
    /* The page heap is called with no bin locked. */
    lock_release(&bin.lock);
    struct span *span =
        page_heap_alloc(&(struct run_request){.units = size_classes[class_of_bin].units,
                                              .align_units = 1,
                                              .state = SPAN_SLAB,
                                              .grow = true});

    assert_non_null(span);
    struct slab *slab = slab_create(span, class_of_bin, 0, &queue);

    assert_non_null(slab);
    lock_acquire(&bin.lock);
    bin_add_locked(&bin, slab);
    return slab;
}

void add_slabs(unsigned count)
{
    for (; count > 0; count--) {
        (void)add_slab();
    }
}

void *take(void)
{
    void *block = bin_take_one_locked(&bin);

    assert_non_null(block);
    memset(block, PATTERN, size_classes[class_of_bin].size);
    return block;
}

void take_slab(void **blocks)
{
    for (size_t i = 0; i < blocks_of_slab(); i++) {
        blocks[i] = take();
    }
}

void put(void **blocks, size_t count)
{
    struct slab *released = NULL;

    bin_put_locked(&bin, blocks, count, false, &released);
    assert_null(released);
    bin_check_locked(&bin);
}
