/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* size_class.h - which sizes exist, and all that follows from a size alone.
 *
 * Sizes step by 16 bytes up to 256 and by a sixteenth of a power of two up to 16 KiB: a block is at
 * most 16 bytes or a sixteenth larger than what was asked for, whichever is more, once there is
 * much of its size; until then only two sizes a doubling serve. Above there are two kinds. Those
 * whose slabs are one unit serve where there is little of a size: any unit will do, and is soon
 * another slab's. Those whose slabs are several units serve where there is much of it.
 *
 * A class is known by its index, or by its code (see SIZE_CLASS_CODE), the form the fast path uses.
 */
#ifndef BREAKWATER_SIZE_CLASS_H
#define BREAKWATER_SIZE_CLASS_H

#include <stdatomic.h>

#include "util.h"

/* Memory is handed from the break to slabs and large blocks in units. */
#define UNIT_SHIFT 16
#define UNIT_BYTES ((size_t)1 << UNIT_SHIFT)

/* The units that hold `size` bytes. */
static inline size_t units_for(size_t size)
{
    return (size >> UNIT_SHIFT) + (size % UNIT_BYTES != 0);
}

#define BLOCK_ALIGN     ((size_t)16)
#define SMALL_MAX_BYTES UNIT_BYTES
#define CLASS_COUNT     134

/* Larger blocks have classes too, up to this size. They serve malloc once it has asked for enough
 * of them; before, and where a block is to be zeroed, aligned to more than its class or likely to
 * grow, it is a run of its own. */
#define MEDIUM_MAX_BYTES   (4 * UNIT_BYTES)
#define MEDIUM_STEP        (UNIT_BYTES / 4)
#define MEDIUM_CLASS_COUNT 8

/* A class's code is the offset of its bin in a thread cache, in steps of 8 bytes: one x86-64
 * addressing mode turns it into an address. Code 0 belongs to no class. */
#define CODE_STEP              3
#define SIZE_CLASS_CODE(class) ((uint16_t)(((class) + 1) * CODE_STEP))

/* The most blocks that one stack of a class may hold lies between the slots of a magazine of one
 * cache line and those of one of 2 KiB (magazine.h). */
#define CLASS_CAPACITY_MIN 5
#define CLASS_CAPACITY_MAX 253

#define RECIPROCAL_SHIFT 40

struct size_class {
    uint64_t reciprocal;    /* ceil(2^40 / size): offset to block index without a division */
    uint32_t size;          /* bytes of a block, */
    uint32_t bytes;         /* and of all the blocks in a slab */
    uint16_t units;         /* of a slab; if they are several, a block is whole pages */
    uint16_t blocks;        /* in a slab */
    uint16_t words;         /* of a slab's bitmap */
    uint16_t capacity;      /* the most blocks one stack of a thread cache holds */
    uint16_t batch_initial; /* blocks of the first refill of a thread */
    uint16_t batch_max;     /* blocks of its later ones, at most */
    uint32_t align_mask;    /* bits that are 0 in the address of every block */
};

extern struct size_class size_classes[CLASS_COUNT];

/* Codes by (size + 15) / 16. All zero until size_class_init(): the first call meets code 0.
 * Relaxed accesses: a thread that reads 0 too late only takes the slow path, which synchronises. */
extern _Atomic uint16_t size_class_codes[SMALL_MAX_BYTES / BLOCK_ALIGN + 1];

/* The same by (size - 1) / MEDIUM_STEP, for sizes above SMALL_MAX_BYTES; all zero until there is
 * demand. */
extern _Atomic uint16_t size_class_medium_codes[MEDIUM_MAX_BYTES / MEDIUM_STEP];

/* Fill the tables. Called once, before any other layer. */
void size_class_init(void);

/* Let sizes be served only by the classes that split a doubling into `steps` equal steps, a power
 * of two, or 0 for a class every second doubling: each class that is used costs a slab and stacks,
 * which a small heap does not win back.
 * After size_class_init(), before the first block. */
void size_class_coarsen(unsigned steps);

/* Set where there is so much of a class that a finer one, if there is any, would pay. */
extern _Atomic bool size_class_is_worn[CLASS_COUNT];

/* There is so much of the class. Any thread. */
void size_class_wear(unsigned class);

/* Let `size`, which the class serves, be served by the smallest class that holds it from now on,
 * and set size_class_is_worn back. Blocks that exist stay what they are. Any thread. */
void size_class_refine(unsigned class, size_t size);

/* malloc has found no run of `size` bytes kept, a size above SMALL_MAX_BYTES, or many. Where that
 * has happened often, the size has a class from now on, if there is one. Any thread. */
void size_class_ask_medium(size_t size);

/* The code of the smallest class that holds `size` <= SMALL_MAX_BYTES bytes. */
static inline uint16_t size_class_code(size_t size)
{
    return atomic_load_explicit(&size_class_codes[(size + BLOCK_ALIGN - 1) / BLOCK_ALIGN],
                                memory_order_relaxed);
}

/* How large a block may be that serves in place of one of the class: slabs of several units are too
 * long for each class to have free blocks of its own. */
static inline size_t size_class_near_bytes(unsigned class)
{
    size_t size = size_classes[class].size;

    return size_classes[class].units > 1 ? size + size / 2 : size;
}

/* The class of slabs of one unit that serves where one of several units does not; CLASS_COUNT if
 * there is none. */
unsigned size_class_single(unsigned class);

static inline unsigned size_class_of_code(uint16_t code)
{
    return code / CODE_STEP - 1U;
}

/* As size_class_code(), for any size; 0 if no class serves it, or none yet. */
static inline uint16_t size_class_code_of_any(size_t size)
{
    if (size <= SMALL_MAX_BYTES) {
        return size_class_code(size);
    }
    return size <= MEDIUM_MAX_BYTES
               ? atomic_load_explicit(&size_class_medium_codes[(size - 1) / MEDIUM_STEP],
                                      memory_order_relaxed)
               : 0;
}

static inline unsigned size_class_of(size_t size)
{
    return size_class_of_code(size_class_code(size));
}

/* The smallest class of at least `size` bytes whose blocks are all aligned to `alignment`, a power
 * of two; CLASS_COUNT if there is none. */
unsigned size_class_of_aligned(size_t size, size_t alignment);

/* Is `offset` a multiple of the size that the reciprocal is of? Then *index is the quotient. Exact
 * for every offset in a slab: the reciprocal's error is below size / 2^40. The fraction is below
 * the reciprocal exactly if nothing is left over (Lemire, Kaser and Kurz, "Faster remainder by
 * direct computation", 2019). */
static inline bool size_class_divides(uint64_t reciprocal, size_t offset, unsigned *index)
{
    uint64_t quotient = (uint64_t)offset * reciprocal;
    uint64_t fraction = quotient & ((UINT64_C(1) << RECIPROCAL_SHIFT) - 1);

    *index = (unsigned)(quotient >> RECIPROCAL_SHIFT);
    return fraction < reciprocal;
}

/* `offset * multiplier`, modulo 2^64, is below the multiplier exactly if the class's size divides
 * the offset: the same fraction, with its integer part shifted out. */
static inline uint64_t size_class_multiplier(const struct size_class *class)
{
    return class->reciprocal << (64 - RECIPROCAL_SHIFT);
}

/* The index of the block at `offset` in its slab, or blocks if no block starts there. */
static inline unsigned size_class_index(const struct size_class *class, size_t offset)
{
    unsigned index;

    return size_class_divides(class->reciprocal, offset, &index) && index < class->blocks
               ? index
               : class->blocks;
}

/* Panics unless each size has a class that holds it; above SMALL_MAX_BYTES it may have none. */
void size_class_check(void);

#endif
