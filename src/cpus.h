/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cpus.h - how many processors the process may use. */
#ifndef BREAKWATER_CPUS_H
#define BREAKWATER_CPUS_H

#include "util.h"

/* From the affinity masks of the first thread and the caller, together, and the cgroup's quota,
 * rounded up; at least 1. Some system calls. */
uint32_t cpus_usable(void);

#endif
