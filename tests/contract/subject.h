/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* subject.h - the allocator that a contract test is run against.
 *
 * The tests call through this table only, so that one source is a test of the bw_ names (linked to
 * subject_bw.c) and of the standard names (linked to subject_plain.c), which belong to the C
 * library or to whatever is preloaded. A call through the table is opaque to the compiler: it
 * neither removes pairs of malloc and free nor objects to impossible sizes.
 */
#ifndef BREAKWATER_TESTS_CONTRACT_SUBJECT_H
#define BREAKWATER_TESTS_CONTRACT_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* The fields of struct mallinfo2, and of struct mallinfo widened. */
struct subject_usage {
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

/* A function the C library under test does not have is NULL; Breakwater has them all. */
struct subject {
    bool is_breakwater;
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void (*free_sized)(void *, size_t);
    void (*free_aligned_sized)(void *, size_t, size_t);
    void *(*reallocarray)(void *, size_t, size_t);
    void *(*memalign)(size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    size_t (*malloc_usable_size)(void *);
    int (*malloc_trim)(size_t);
    size_t (*purge)(void); /* Breakwater's own: NULL elsewhere */
    int (*mallopt)(int, int);
    struct subject_usage (*mallinfo)(void);
    struct subject_usage (*mallinfo2)(void);
    int (*malloc_info)(int, FILE *);
    void (*malloc_stats)(void);
    void (*cfree)(void *);
};

extern struct subject tested;

/* Fill the table. The first argument of the program, if there is one, must be part of the name of
 * the object that defines malloc, or the program exits with a message: a library that could not be
 * preloaded must not pass for one that was tested. */
void subject_open(int argc, char **argv);

#endif /* BREAKWATER_TESTS_CONTRACT_SUBJECT_H */
