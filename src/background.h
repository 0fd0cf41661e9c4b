/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* background.h - the optional thread that lets idle processes give memory back. */
#ifndef BREAKWATER_BACKGROUND_H
#define BREAKWATER_BACKGROUND_H

#include "util.h"

/* Start the thread, here and in every child forked from now on; without effect while it runs.
 * False, with a warning line, if it cannot be started. No lock held, outside the gate. */
bool background_start(void);

/* End it and wait until it is gone; without effect if none runs. */
void background_stop(void);

#endif
