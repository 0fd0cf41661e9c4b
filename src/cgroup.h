/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cgroup.h - what the process's control groups limit. */
#ifndef BREAKWATER_CGROUP_H
#define BREAKWATER_CGROUP_H

#include "util.h"

enum { CGROUP_FILE_BYTES = 64, CGROUP_PATH_BYTES = 512 };

/* The least that `limit_of` makes of the directories of the process's groups, open, each from its
 * own up to the root, which has files of limits where it is a container's: of its group of cgroup
 * v2, and of the one of v1 that has `controller` ("cpu"). UINT64_MAX if there is no limit. */
uint64_t cgroup_least(const char *controller, uint64_t (*limit_of)(int directory));

/* The same of the group with the path `group`, below the directory `root`. */
uint64_t cgroup_least_under(const char *root, const char *group,
                            uint64_t (*limit_of)(int directory));

/* The path of the group that has `controller`, "" for cgroup v2, in `groups`, what
 * /proc/self/cgroup says: lines "ID:CONTROLLER,CONTROLLER:PATH". False if there is none, or if it
 * is too long. */
bool cgroup_path(const char *groups, const char *controller, char path[CGROUP_PATH_BYTES]);

/* The text of a small file in the directory; false if it cannot be read. */
bool cgroup_read_file(int directory, const char *name, char text[CGROUP_FILE_BYTES]);

/* The number that the file begins with; UINT64_MAX if there is none. */
uint64_t cgroup_read_number(int directory, const char *name);

/* The decimal number at the start of `text`, UINT64_MAX if it is more, and what follows it. */
const char *cgroup_parse_number(const char *text, uint64_t *number);

/* The memory that the group of this directory leaves its processes; UINT64_MAX for no limit. */
uint64_t cgroup_memory_of_one(int directory);

/* The memory that the process's control groups leave it; UINT64_MAX if they set no limit. */
uint64_t cgroup_memory_bytes(void);

#endif
