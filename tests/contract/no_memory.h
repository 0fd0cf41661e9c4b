/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* no_memory.h - what is checked by the programs no_memory_main.c and no_memory_host.c. */
#ifndef NO_MEMORY_H
#define NO_MEMORY_H

#ifdef __cplusplus
extern "C" {
#endif

/* Do Breakwater's operators throw, and call the new-handler, where there is no memory? 0 if so;
 * else there is a line on standard error. */
__attribute__((visibility("default"))) int check_no_memory(void);

#ifdef __cplusplus
}
#endif

#endif
