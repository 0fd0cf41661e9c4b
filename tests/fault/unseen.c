/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* unseen.c - fault: /proc is not there, for whoever asks with stat(). Linked into a program of this
 * folder. */
#include <errno.h>
#include <sys/stat.h>

__attribute__((visibility("default"))) int stat(const char *restrict path,
                                                struct stat *restrict status)
{
    (void)path;
    (void)status;
    errno = ENOENT;
    return -1;
}
