#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# lua.sh - Lua's tables, strings, coroutines and collector work as under glibc.
. "$(dirname "$0")/lib.sh"

require lua5.4
same_result lua5.4 "$here/workload.lua"
taken_by_breakwater realloc lua5.4 -v
