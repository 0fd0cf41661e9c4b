/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* support.h - what the unit tests share: isolation, death tests, and the break's surroundings.
 *
 * The allocator is state of the process, so every test runs in a child of its own, in which the
 * allocator has not been used yet. A test asserts with cmocka as usual.
 */
#ifndef BREAKWATER_TESTS_UNIT_SUPPORT_H
#define BREAKWATER_TESTS_UNIT_SUPPORT_H

/* cmocka.h needs the four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <sys/types.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)

struct isolated_test {
    const char *name;
    void (*run)(void **state);
};

#define ISOLATED(function)                                                                         \
    {                                                                                              \
#function, (function)                                                                      \
    }

/* Run each test in a child; the exit status for main(). */
int run_isolated(const struct isolated_test *tests, size_t count);

/* In a child, `act` writes the one line "breakwater: <fault>", and nothing else, to standard error
 * and dies by SIGABRT. `act` must not assert. */
void assert_dies(void (*act)(void *argument), void *argument, const char *fault);

/* As assert_dies(), with the address in hexadecimal after the fault. */
void assert_dies_at(void (*act)(void *argument), void *argument, const char *fault,
                    uintptr_t address);

/* In a child, `act` comes to its end. `act` returns whether all was well, and must not assert. */
void assert_works_in_child(bool (*act)(void *argument), void *argument);

/* The caller's child ends, with success. */
void assert_child_succeeds(pid_t child);

/* `act` writes exactly `text` to standard error, and goes on. */
void assert_warns(void (*act)(void *argument), void *argument, const char *text);

/* Let `count` threads run `body` with the same argument, and wait for their ends. */
void run_threads(unsigned count, void *(*body)(void *argument), void *argument);

/* Each with its pass (tick.h). */
void let_ticks_pass(unsigned ticks);

/* The break, asked of the kernel. */
uintptr_t current_break(void);

/* Move the break as a program might that knows nothing of the allocator. */
void move_break_to(uintptr_t address);

/* Put a mapping right above the break: it cannot grow until unblock_break(). */
void block_break(void);
void unblock_break(void);

/* Pages of [start, start + bytes) that have memory behind them; one that is not mapped has none. */
size_t resident_pages(const void *start, size_t bytes);

/* Let the kernel decide by this program what becomes of system calls, until the test ends. */
struct sock_filter;
void filter_calls(struct sock_filter *filter, size_t length);

/* Let the kernel do nothing in this call, and answer with this error, 0 for success. */
void answer_call(uint32_t call, uint32_t error);

/* As if the kernel had taken so long for each page that went back lately: pace.h. */
void set_pace(uint64_t page_ns);

/* Lock whole pages into memory, and let the kernel refuse to purge such, as before Linux 5.18. By
 * the system call, as sanitizers let mlock() do nothing. */
void lock_pages(void *start, size_t bytes);
void unlock_pages(void *start, size_t bytes);

/* Does the kernel know MADV_POPULATE_WRITE (Linux 5.14)? */
bool kernel_populates(void);

/* Has the mapping that `address` lies in this one of proc(5)'s VmFlags? */
bool mapping_has_flag(const void *address, const char *flag);

/* Can the byte at `address` be read? */
bool is_readable(const void *address);

bool is_all(const void *start, size_t bytes, unsigned char value);

/* The file `name` of a directory that exists, with this text and no other. */
void write_file(const char *directory, const char *name, const char *text);

#endif
