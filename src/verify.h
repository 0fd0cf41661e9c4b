/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* verify.h - double and invalid frees among blocks of one class: each function stops the process.
 */
#ifndef BREAKWATER_VERIFY_H
#define BREAKWATER_VERIFY_H

#include "util.h"

/* If a block is twice among the `count`, or does not start where a block of the class may. */
void verify_stack(unsigned class, void *const *blocks, size_t count);

/* If one of them does not start where a block of the class may. Quick, where free() has seen all that
 * there is to see. */
void verify_starts(unsigned class, void *const *blocks, size_t count);

/* If `block` is among the `count` blocks. */
void verify_not_among(void *const *blocks, size_t count, void *block);

/* If `block` is no block of a slab of the class. */
void verify_block(unsigned class, uintptr_t block);

#endif
