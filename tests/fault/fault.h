/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fault.h - what the programs of this folder share: checks that end the program, filled blocks, and
 * what the process is made of.
 *
 * Most programs here call the standard names and run with the release library preloaded: they are
 * what a user's program is. fault_start() makes sure that it is there.
 */
#ifndef BREAKWATER_TESTS_FAULT_H
#define BREAKWATER_TESTS_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fault_fail(#condition, __FILE__, __LINE__);                                            \
        }                                                                                          \
    } while (0)

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define KIB               ((size_t)1024)
#define MIB               ((size_t)1024 * 1024)

/* End the program with a line that names the place. */
_Noreturn void fault_fail(const char *condition, const char *file, int line);

/* Every program calls this first: ends it unless malloc is Breakwater's. */
void fault_start(void);

/* malloc and a fill that fault_free() verifies; never NULL. */
void *fault_block(size_t size);
void fault_verify(const void *block, size_t size);
void fault_free(void *block, size_t size);

/* Resident memory of this process in bytes, now. */
size_t fault_resident_bytes(void);

/* Wait for `child`; the check fails unless it exits with status 0. */
void fault_wait(int child);

/* The number after `option` in the arguments, or `otherwise`. */
unsigned long fault_option(int count, char **arguments, const char *option,
                           unsigned long otherwise);

#endif
