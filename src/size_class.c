/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* size_class.c - the tables of size_class.h.
 *
 * Owns         size_classes: written once by size_class_init(), then constant; the codes, which
 *              change as sizes are asked for.
 * Concurrency  readers need no lock; life.c runs the initialisation before it publishes anything.
 * Called by    every layer.
 */
#include "size_class.h"

enum {
    LINEAR_STEP = 16,
    LINEAR_MAX = 256,
    STEPS_PER_DOUBLING = 16,
    STEPS_MAX = 16384, /* from here on the sizes of big_sizes */
    BIG_SIZES = 22,
    FIRST_BIG = CLASS_COUNT - BIG_SIZES,
    FIRST_MEDIUM = CLASS_COUNT - MEDIUM_CLASS_COUNT,
    MEDIUM_ASKS = 32,            /* for a size, before it has a class */
    CAPACITY_BYTES = 24 * 1024,  /* a stack's blocks should stay in a first-level cache */
    BIG_BLOCK_BYTES = 1024,      /* from here on, more in a stack than such a cache holds, */
    BIG_STACK_BYTES = 64 * 1024, /* of what was freed, */
    BIG_BATCH_BYTES = 32 * 1024, /* of what is fetched at once, */
    BIG_CAPACITY_MAX = 61,       /* but not many blocks, */
    FEW_BLOCKS = 8,              /* but more where a slab holds so few that it is soon used up */
    FEW_BLOCKS_CAPACITY = 29,
    MEDIUM_CAPACITY = 13, /* above SMALL_MAX_BYTES, as far as a cache's share allows */
    INITIAL_BATCH_BYTES = 512,
};

/* Of the sizes in slabs of one unit, which hold three, two or one of them, a finer one would save
 * no memory: what a block does not use of its place is never touched. Those in between keep short
 * what a block may have of pages that an earlier one touched. Slabs of several units hold at least
 * four blocks, so that a lock of the page heap is for several, and begin at different lines of a
 * processor's cache. Of equal sizes the one that serves when there is much of it comes first. */
static const struct big_size {
    uint32_t size;
    uint16_t units;
} big_sizes[BIG_SIZES] = {
    {17408, 1},       {18432, 1},       {21840, 1},      {24576, 3},       {24576, 1},
    {28672, 4},       {28672, 1},       {32768, 4},      {32768, 1},       {40 * 1024, 5},
    {48 * 1024, 6},   {56 * 1024, 7},   {65536, 8},      {65536, 1},       {80 * 1024, 5},
    {96 * 1024, 6},   {112 * 1024, 7},  {128 * 1024, 8}, {160 * 1024, 10}, {192 * 1024, 12},
    {224 * 1024, 14}, {256 * 1024, 16},
};

struct size_class size_classes[CLASS_COUNT];
_Atomic uint16_t size_class_codes[SMALL_MAX_BYTES / BLOCK_ALIGN + 1];
_Atomic uint16_t size_class_medium_codes[MEDIUM_MAX_BYTES / MEDIUM_STEP];
_Atomic bool size_class_is_worn[CLASS_COUNT];

static _Atomic uint32_t medium_asks[MEDIUM_CLASS_COUNT];

static size_t next_size(size_t size)
{
    if (size < LINEAR_MAX) {
        return size + LINEAR_STEP;
    }
    size_t power = (size_t)1 << (63 - __builtin_clzll(size));

    return size + power / STEPS_PER_DOUBLING;
}

/* Magazines are 64 bytes times a power of two, of which three words are the header. */
static uint16_t capacity_of(size_t size)
{
    size_t wanted = CAPACITY_BYTES / size;
    size_t capacity = CLASS_CAPACITY_MIN;

    if (size > SMALL_MAX_BYTES) {
        wanted = MEDIUM_CAPACITY;
    } else if (UNIT_BYTES / size < FEW_BLOCKS) {
        wanted = FEW_BLOCKS_CAPACITY;
    } else if (size >= BIG_BLOCK_BYTES) {
        wanted = size_min(BIG_STACK_BYTES / size, BIG_CAPACITY_MAX);
    }
    while (capacity < CLASS_CAPACITY_MAX && capacity * 2 < wanted + wanted / 2) {
        capacity = capacity * 2 + 3;
    }
    return (uint16_t)capacity;
}

/* What was freed may well be needed again; what is only fetched would lie idle in a stack: half of
 * one, counted with its header, which is a power of two, as the bits of a bitmap word are. */
static uint16_t batch_max_of(size_t size)
{
    size_t capacity = capacity_of(size);
    size_t wanted = size >= BIG_BLOCK_BYTES ? BIG_BATCH_BYTES / size : (capacity + 3) / 2;

    return (uint16_t)size_min(capacity, size_max(1, wanted));
}

static struct size_class describe(size_t size, size_t units)
{
    size_t blocks = units * UNIT_BYTES / size;

    return (struct size_class){
        .reciprocal = ((UINT64_C(1) << RECIPROCAL_SHIFT) + size - 1) / size,
        .size = (uint32_t)size,
        .bytes = (uint32_t)(blocks * size),
        .units = (uint16_t)units,
        .blocks = (uint16_t)blocks,
        .words = (uint16_t)((blocks + BITS_PER_WORD - 1) / BITS_PER_WORD),
        .capacity = capacity_of(size),
        .batch_max = batch_max_of(size),
        .batch_initial =
            (uint16_t)size_min(CLASS_CAPACITY_MIN - 1, size_max(1, INITIAL_BATCH_BYTES / size)),
        /* As slabs are aligned to units. */
        .align_mask = (uint32_t)(size_min(size & -size, UNIT_BYTES) - 1),
    };
}

void size_class_init(void)
{
    size_t size = 0;
    size_t slot = 0;

    for (unsigned class = 0; class < FIRST_BIG; class ++) {
        size = next_size(size);
        size_classes[class] = describe(size, 1);
    }
    ASSERT(size == STEPS_MAX);
    for (unsigned big = 0; big < BIG_SIZES; big++) {
        size_classes[FIRST_BIG + big] = describe(big_sizes[big].size, big_sizes[big].units);
    }
    for (unsigned class = 0; class < FIRST_MEDIUM; class ++) {
        for (; slot <= size_classes[class].size / BLOCK_ALIGN; slot++) {
            atomic_store_explicit(&size_class_codes[slot], SIZE_CLASS_CODE(class),
                                  memory_order_relaxed);
        }
    }
    ASSERT(size_classes[FIRST_MEDIUM - 1].size == SMALL_MAX_BYTES);
    ASSERT(size_classes[CLASS_COUNT - 1].size == MEDIUM_MAX_BYTES);
}

/* Is the class one of `steps` a doubling? Above STEPS_MAX each of one unit is. */
static bool is_coarse(unsigned class, size_t steps)
{
    size_t size = size_classes[class].size;
    unsigned log = 63U - (unsigned)__builtin_clzll(size);
    size_t power = (size_t)1 << log;

    if (size_classes[class].units > 1) {
        return false;
    }
    if (steps == 0) {
        return size == power && log % 2 == 0;
    }
    return size % size_max(power / steps, LINEAR_STEP) == 0 || (steps > 1 && size > STEPS_MAX);
}

void size_class_coarsen(unsigned steps)
{
    unsigned class = 0;

    for (size_t slot = 1; slot <= SMALL_MAX_BYTES / BLOCK_ALIGN; slot++) {
        while (size_classes[class].size < slot * BLOCK_ALIGN || !is_coarse(class, steps)) {
            class ++;
        }
        atomic_store_explicit(&size_class_codes[slot], SIZE_CLASS_CODE(class),
                              memory_order_relaxed);
    }
}

void size_class_wear(unsigned class)
{
    if (class < FIRST_MEDIUM) {
        /* Relaxed, as in size_class_refine(). */
        atomic_store_explicit(&size_class_is_worn[class], true, memory_order_relaxed);
    }
}

void size_class_refine(unsigned class, size_t size)
{
    unsigned finest = class;

    /* Another one was chosen for its alignment. */
    if (size_class_of(size) != class) {
        return;
    }
    /* Relaxed, here and below: a hint; and who reads an old code uses a class that is as good. */
    atomic_store_explicit(&size_class_is_worn[class], false, memory_order_relaxed);
    while (finest > 0 && size_classes[finest - 1].size >= size) {
        finest--;
    }
    if (finest == class) {
        return;
    }
    size_t first = finest > 0 ? size_classes[finest - 1].size / BLOCK_ALIGN + 1 : 1;

    for (size_t slot = first; slot <= size_classes[finest].size / BLOCK_ALIGN; slot++) {
        if (atomic_load_explicit(&size_class_codes[slot], memory_order_relaxed) ==
            SIZE_CLASS_CODE(class)) {
            atomic_store_explicit(&size_class_codes[slot], SIZE_CLASS_CODE(finest),
                                  memory_order_relaxed);
        }
    }
}

unsigned size_class_single(unsigned class)
{
    while (class < FIRST_MEDIUM && size_classes[class].units > 1) {
        class ++;
    }
    return class < FIRST_MEDIUM ? class : CLASS_COUNT;
}

void size_class_ask_medium(size_t size)
{
    unsigned class = FIRST_MEDIUM;

    if (size > MEDIUM_MAX_BYTES) {
        return;
    }
    while (size_classes[class].size < size) {
        class ++;
    }
    size_t first = size_classes[class - 1].size / MEDIUM_STEP;
    size_t end = size_classes[class].size / MEDIUM_STEP;
    _Atomic uint32_t *asks = &medium_asks[class - FIRST_MEDIUM];

    /* Relaxed: as in size_class_refine(). */
    if (atomic_fetch_add_explicit(asks, 1, memory_order_relaxed) + 1 < MEDIUM_ASKS) {
        return;
    }
    for (size_t slot = first; slot < end; slot++) {
        atomic_store_explicit(&size_class_medium_codes[slot], SIZE_CLASS_CODE(class),
                              memory_order_relaxed);
    }
}

unsigned size_class_of_aligned(size_t size, size_t alignment)
{
    if (size > SMALL_MAX_BYTES || alignment > SMALL_MAX_BYTES) {
        return CLASS_COUNT;
    }
    unsigned class = size_class_of(size_max(size, alignment));

    /* Slabs of several units only where there is much of the size. */
    while (size_classes[class].align_mask < alignment - 1 ||
           (size_classes[class].units > 1 && size_class_of(size_classes[class].size) != class)) {
        class ++;
    }
    return class;
}

void size_class_check(void)
{
    if (size_classes[0].size == 0) {
        return; /* before size_class_init() */
    }
    for (size_t size = BLOCK_ALIGN; size <= MEDIUM_MAX_BYTES; size += BLOCK_ALIGN) {
        uint16_t code = size_class_code_of_any(size);

        if (code == 0 && size > SMALL_MAX_BYTES) {
            continue;
        }
        unsigned class = size_class_of_code(code);

        if (code % CODE_STEP != 0 || class >= CLASS_COUNT || size_classes[class].size < size) {
            fatal("size class: a size is served by a class that does not hold it");
        }
    }
}
