/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* tick.c - see tick.h. */
#include "tick.h"

_Atomic uint32_t tick_current;
_Atomic uint8_t pass_current;
