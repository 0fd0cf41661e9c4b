/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vdso.h - the kernel's clock, past whoever stands before libc's clock_gettime(). */
#ifndef BREAKWATER_VDSO_H
#define BREAKWATER_VDSO_H

#include <time.h>

/* As clock_gettime(); where that fails, *now stays as it is, and errno may change. Any thread, at
 * any time. */
void vdso_clock(clockid_t which, struct timespec *now);

#endif
