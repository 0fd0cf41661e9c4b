#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# sqlite3.sh - sqlite3 gives the same rows and writes the same database file as under glibc.
. "$(dirname "$0")/lib.sh"

require sqlite3
same_result sqlite3 -batch -init "$here/workload.sqlite" base.db .quit
taken_by_breakwater malloc sqlite3 -version
