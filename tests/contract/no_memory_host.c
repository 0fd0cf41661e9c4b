/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* no_memory_host.c - no_memory.cpp as a plugin of a C program, which has no C++ library itself.
 *
 * Usage: no_memory_host PLUGIN [unloads]. With "unloads" no handle of the plugin may be left open;
 * one that brings a static libstdc++ stays for reasons of its own.
 */
#include <dlfcn.h>
#include <stdio.h>

#include "no_memory.h"

int main(int argc, char **argv)
{
    void *plugin = argc >= 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    __typeof__(check_no_memory) *check = NULL;

    if (plugin != NULL) {
        *(void **)&check = dlsym(plugin, "check_no_memory");
    }
    if (check == NULL) {
        (void)fprintf(stderr, "FAILED: no plugin\n");
        return 1;
    }

    int result = check();
    Dl_info info;

    if (dlclose(plugin) != 0 || (argc > 2 && dladdr(*(void **)&check, &info) != 0)) {
        (void)fprintf(stderr, "FAILED: the plugin stays loaded\n");
        return 1;
    }
    return result;
}
