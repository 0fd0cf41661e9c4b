/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* os.h - every call by which memory comes from, or goes back to, the kernel.
 *
 * The seam of the fault tests: the dev and sanitizer presets can make the N-th call that asks for
 * memory fail. Nothing above this layer calls sbrk, mmap, mprotect, madvise or munmap itself.
 */
#ifndef BREAKWATER_OS_H
#define BREAKWATER_OS_H

#include <sys/uio.h>

#include "util.h"

/* Move the break by `bytes`; the old break, or NULL. Callers hold the break lock. */
void *os_sbrk(intptr_t bytes);

/* The break as the C library knows it; costs no system call. */
uintptr_t os_break(void);

/* Fresh zeroed memory, page aligned; NULL if there is none, or if the kernel takes it for more than
 * the machine can hold. */
void *os_map(size_t bytes);

/* Address space without memory behind it: not counted as committed. NULL if there is none. */
void *os_reserve(size_t bytes);

/* Make part of a reservation, page aligned, readable and writable: zeroed. */
bool os_commit(void *start, size_t bytes);

/* Where the kernel refuses, the memory goes back without its addresses. */
void os_unmap(void *start, size_t bytes);

/* Give the memory behind whole pages back; they read as zero from now on. Before Linux 5.18 the
 * kernel refuses where one of them is locked; where it has refused many in a row, it is not asked
 * each time. Always false where the kernel is found to do nothing and say yes. */
bool os_purge(void *start, size_t bytes);

/* The same for several ranges. The length of a range that the kernel refuses becomes 0. */
void os_purge_ranges(struct iovec *ranges, size_t count);

/* Let it be one call from now on, process_madvise(), where the kernel knows it: Linux 6.15, and
 * from 6.16 on for the price of little more than one range. Only if the program wishes so: a filter
 * that it or its service manager loads may kill for a call that no other allocator makes. */
void os_use_process_madvise(void);

/* Get memory behind the range at once, instead of by a page fault for each page: several times as
 * fast. A wish, of Linux 5.14 and later: nothing depends on it. */
void os_populate(void *start, size_t bytes);

/* Ask for huge pages behind the range, or decline them. A wish: nothing depends on it. */
void os_advise_huge_pages(void *start, size_t bytes, bool wanted);

/* A thread's number, and its process's. */
struct os_thread {
    int process;
    int thread;
};

/* The calling thread's; and whether such a thread has ended, which only its own process can tell.
 * Change errno. */
struct os_thread os_thread_self(void);
bool os_thread_has_ended(struct os_thread thread);

/* Threads of the process; the first one counts until the last has ended. 0 if the kernel does not
 * say. errno may change. */
size_t os_thread_count(void);

/* A clock that only goes forward; mostly no system call. */
uint64_t os_clock_ns(void);

/* Let time pass, roughly so much. No cancellation point; errno is not kept. */
void os_sleep_us(unsigned microseconds);

/* The memory of the machine. */
size_t os_memory_bytes(void);

/* The granule of os_commit() and os_purge(). */
size_t os_page_bytes(void);

/* The most the process may map, from its limits and the machine's memory; a bound for tables. */
size_t os_address_space_bytes(void);

/* Let the calls that ask for memory fail from the `first`-th one from now, `count` of them in a
 * row; 0 ends it. No effect where checks are off. */
void os_fail_calls(uint64_t first, uint64_t count);

/* Calls that asked for memory since the last os_fail_calls(); 0 where checks are off. */
uint64_t os_call_count(void);

#endif
