/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cgroup.h - what the process's control groups limit. */
#ifndef BREAKWATER_CGROUP_H
#define BREAKWATER_CGROUP_H

#include "util.h"

enum { CGROUP_FILE_BYTES = 512 };

/* The least that `parse` makes of the file `name` ("cpu.max") of every group from the process's own
 * up to the root, which has such files where it is a container's; UINT64_MAX if there is none.
 * cgroup v2. */
uint64_t cgroup_least(const char *name, uint64_t (*parse)(const char *text));

/* The same below the directory `root`, of the group with the path `group`, which is written over;
 * each of them is shorter than CGROUP_FILE_BYTES / 2. */
uint64_t cgroup_least_under(const char *root, char *group, const char *name,
                            uint64_t (*parse)(const char *text));

/* A small file's text; false if it cannot be read. */
bool cgroup_read_file(const char *path, char text[CGROUP_FILE_BYTES]);

/* The decimal number at the start of `text`, and what follows it. */
const char *cgroup_parse_number(const char *text, uint64_t *number);

/* The memory that the process's control groups leave it; UINT64_MAX if they set no limit. */
uint64_t cgroup_memory_bytes(void);

#endif
