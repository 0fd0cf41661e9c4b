/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fork.h - a fork leaves the parent as it was, and the child a heap that is whole. */
#ifndef BREAKWATER_FORK_H
#define BREAKWATER_FORK_H

/* What to do with each deferred block when a fork is over (deferred.h); set once by heap.c's
 * constructor. */
void fork_on_deferred(void (*release)(void *block));

/* For a thread on a slow path, no lock held: forks are to be prepared for from now on, if this is
 * the second thread of a process that has not come to our constructor. */
void fork_watch_threads(void);

#endif
