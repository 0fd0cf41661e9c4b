/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fatal.h - how the process is told of a fault, and stopped. */
#ifndef BREAKWATER_FATAL_H
#define BREAKWATER_FATAL_H

#include <stddef.h>
#include <stdint.h>

/* Of a function that few processes call, or at faults only: short code, apart from the rest, whose
 * pages are resident in every process (layout.ld). */
#define COLD __attribute__((cold))

/* Write "breakwater: <fault>" as one line to standard error and abort. Handlers of SIGABRT may
 * allocate, whatever the fault was found in the middle of. */
_Noreturn void fatal(const char *fault);

/* The faults of blocks, each before an address. */
#define FAULT_DOUBLE_FREE     "double free of"
#define FAULT_INVALID_FREE    "invalid free of"
#define FAULT_INVALID_REALLOC "invalid realloc of"
#define FAULT_USABLE_SIZE     "invalid malloc_usable_size of"

/* As fatal(), with the address in hexadecimal after the fault. */
_Noreturn void fatal_at(const char *fault, uintptr_t address);

/* What lets them: called after the line. Set once, at the start. */
void fatal_on_stop(void (*act)(void));

/* Write one line, put together from a NULL-terminated list of strings, to standard error. */
void warn_line(const char *const parts[]);

#endif
