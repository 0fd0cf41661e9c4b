/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fork.h - a fork leaves the parent as it was, and the child a heap that is whole. */
#ifndef BREAKWATER_FORK_H
#define BREAKWATER_FORK_H

/* Free a block that was put off while the process forked (deferred.h). It is heap_free.c's, which
 * stands above: a fork must find it even before any constructor of ours has run. */
void heap_free_deferred(void *block);

/* For a thread on a slow path, no lock held: what is left of a fork by a handler of a signal that
 * had interrupted the allocator, which must not do it. */
void fork_take_in_left(void);

/* For a thread on a slow path, no lock held: forks are to be prepared for from now on, if this is
 * the second thread of a process that has not come to our constructor. */
void fork_watch_threads(void);

#endif
