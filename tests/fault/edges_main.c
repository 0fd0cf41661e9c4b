/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* edges_main.c - see edges.c. */
#include "fault.h"

void edges_keep(void);

int main(void)
{
    fault_start();
    edges_keep();
    return 0;
}
