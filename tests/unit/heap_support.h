/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* heap_support.h - what the tests of whole blocks share. */
#ifndef BREAKWATER_TESTS_UNIT_HEAP_SUPPORT_H
#define BREAKWATER_TESTS_UNIT_HEAP_SUPPORT_H

#include "support.h"

#include "heap.h"

enum { PATTERN = 0x5a, ERRNO_BEFORE = 4711 };

void check_all(void);

/* A block that must be had, filled. */
char *filled(size_t size);

size_t usable(void *block);

/* All free memory is handed out and the kernel gives no more: the next block fails. */
void use_up_all_memory(void);

void assert_nothing_is_used(void);

/* As life.c opens it. */
void open_gate(void);

/* The thread has used the size's class enough that it keeps freed blocks of it on a stack. */
void use_class(size_t size);

/* The size has a class of its own from now on, of slabs of several units, though it is above
 * SMALL_MAX_BYTES. */
void make_medium(size_t size);

/* The usable size of a block of 9 MiB that has just grown by a byte, and had to move for it. */
size_t usable_after_a_move(void);

#endif
