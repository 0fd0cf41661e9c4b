/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* util.h - the few words every layer uses; no state. */
#ifndef BREAKWATER_UTIL_H
#define BREAKWATER_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fatal.h"

#define likely(condition)   __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

#define CACHE_LINE_BYTES 64
#define BITS_PER_WORD    64

#ifdef BREAKWATER_CHECKS
#define CHECKS_ENABLED 1
#else
#define CHECKS_ENABLED 0
#endif

/* Our constructors, in this order and before the program's; destructors run the other way round.
 * 101 is the first that is not the C library's. Those of one step need nothing of each other. */
#define CONSTRUCT_LAYERS     101 /* handlers of forks */
#define CONSTRUCT_BACKGROUND 102 /* the thread, which forks know of: it ends before all else does */
#define CONSTRUCT_STATISTICS 103 /* by then the options have been read */

/* An assertion is documentation that the dev preset executes. */
#define ASSERT(condition)                                                                          \
    do {                                                                                           \
        if (CHECKS_ENABLED && unlikely(!(condition))) {                                            \
            fatal("assertion failed: " #condition);                                                \
        }                                                                                          \
    } while (0)

static inline size_t align_up(size_t value, size_t power_of_two)
{
    return (value + power_of_two - 1) & ~(power_of_two - 1);
}

static inline size_t align_down(size_t value, size_t power_of_two)
{
    return value & ~(power_of_two - 1);
}

static inline bool is_power_of_two(size_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

/* The smallest power of two that is no less than `value`, from 2 to 2^63. */
static inline size_t power_of_two_up(size_t value)
{
    return (size_t)1 << (BITS_PER_WORD - (unsigned)__builtin_clzll(value - 1));
}

static inline size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

static inline unsigned bit_lowest(uint64_t word)
{
    return (unsigned)__builtin_ctzll(word);
}

/* Sums of 2, 4 and 8 bits, side by side; then one multiplication adds the bytes up. The builtin is
 * a call where the processor is not known to count bits itself. */
static inline unsigned bit_count(uint64_t word)
{
    word -= (word >> 1) & UINT64_C(0x5555555555555555);
    word = (word & UINT64_C(0x3333333333333333)) + ((word >> 2) & UINT64_C(0x3333333333333333));
    word = (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (unsigned)((word * UINT64_C(0x0101010101010101)) >> 56);
}

/* The first bit set at or after `from` in a bitmap of `bits` bits, or `bits`. */
static inline unsigned bitmap_next(const uint64_t *words, unsigned bits, unsigned from)
{
    for (unsigned at = from; at < bits; at = (at / BITS_PER_WORD + 1) * BITS_PER_WORD) {
        uint64_t rest = words[at / BITS_PER_WORD] >> (at % BITS_PER_WORD);

        if (rest != 0) {
            return at + bit_lowest(rest);
        }
    }
    return bits;
}

#endif
