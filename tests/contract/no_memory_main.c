/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* no_memory_main.c - no_memory.cpp as part of a program. */
#include "no_memory.h"

int main(void)
{
    return check_no_memory();
}
