/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* size_class.h - which sizes exist, and all that follows from a size alone.
 *
 * Sizes step by 16 bytes up to 256 and by a sixteenth of a power of two up to 16 KiB: a block is at
 * most 16 bytes or a sixteenth larger than what was asked for, whichever is more. Above there are
 * few, up to one unit; as many blocks fit into a slab as if there were one for every multiple
 * of 16.
 *
 * A class is known by its index, or by its
 * code (see SIZE_CLASS_CODE), the form the fast path uses.
 */
#ifndef BREAKWATER_SIZE_CLASS_H
#define BREAKWATER_SIZE_CLASS_H

#include <stdatomic.h>

#include "util.h"

/* Memory is handed from the break to slabs and large blocks in units. A slab is one unit. */
#define UNIT_SHIFT 16
#define UNIT_BYTES ((size_t)1 << UNIT_SHIFT)

/* The units that hold `size` bytes. */
static inline size_t units_for(size_t size)
{
    return (size + UNIT_BYTES - 1) >> UNIT_SHIFT;
}

#define BLOCK_ALIGN     ((size_t)16)
#define SMALL_MAX_BYTES UNIT_BYTES
#define CLASS_COUNT     119
#define SLAB_MAX_WORDS  (UNIT_BYTES / BLOCK_ALIGN / BITS_PER_WORD)

/* A class's code is the offset of its bin in a thread cache, in eighths of a bin's size: one x86-64
 * addressing mode turns it into an address. Code 0 belongs to no class. */
#define CODE_STEP              4
#define SIZE_CLASS_CODE(class) ((uint16_t)(((class) + 1) * CODE_STEP))

struct size_class {
    uint32_t size;          /* bytes of a block */
    uint32_t reciprocal;    /* ceil(2^32 / size): offset to block index without a division */
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

/* Fill both tables. Called once, before any other layer. */
void size_class_init(void);

/* Let sizes be served only by the classes that split a doubling into `steps` equal steps, a power
 * of two, or 0 for a class every second doubling: each class that is used costs a slab and stacks,
 * which a small heap does not win back.
 * After size_class_init(), before the first block. */
void size_class_coarsen(unsigned steps);

/* Set where there is so much of a class that a finer one would pay. */
extern _Atomic bool size_class_is_worn[CLASS_COUNT];

/* There is so much of the class. Sets it, where the class serves sizes that a finer one could. */
void size_class_wear(unsigned class);

/* Let `size`, which the class serves, be served by the smallest class that holds it from now on,
 * and set size_class_is_worn back. Blocks that exist stay what they are. Any thread. */
void size_class_refine(unsigned class, size_t size);

/* The code of the smallest class that holds `size` <= SMALL_MAX_BYTES bytes. */
static inline uint16_t size_class_code(size_t size)
{
    return atomic_load_explicit(&size_class_codes[(size + BLOCK_ALIGN - 1) / BLOCK_ALIGN],
                                memory_order_relaxed);
}

static inline unsigned size_class_of(size_t size)
{
    return size_class_code(size) / CODE_STEP - 1U;
}

/* The smallest class of at least `size` bytes whose blocks are all aligned to `alignment`, a power
 * of two; CLASS_COUNT if there is none. */
unsigned size_class_of_aligned(size_t size, size_t alignment);

/* The index of the block at `offset` in its slab, or blocks if no block starts there. */
static inline unsigned size_class_index(const struct size_class *class, size_t offset)
{
    /* Exact for every offset below UNIT_BYTES: the reciprocal's error is below size / 2^32. The
     * fraction is below the reciprocal exactly if nothing is left over (Lemire, Kaser and Kurz,
     * "Faster remainder by direct computation", 2019). */
    uint64_t quotient = (uint64_t)offset * class->reciprocal;
    unsigned index = (unsigned)(quotient >> 32);

    return (uint32_t)quotient < class->reciprocal && index < class->blocks ? index : class->blocks;
}

#endif
