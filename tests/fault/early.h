/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* early.h - see early.c. */
#ifndef BREAKWATER_TESTS_FAULT_EARLY_H
#define BREAKWATER_TESTS_FAULT_EARLY_H

/* What is called before each fork(), when the allocator has prepared for it already. */
__attribute__((visibility("default"))) void early_set_prepare(void (*handler)(void));

#endif
