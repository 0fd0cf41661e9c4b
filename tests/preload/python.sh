#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# python.sh - Python computes, threads and forks as under glibc. With the argument "malloc", its
# small objects come from malloc too.
. "$(dirname "$0")/lib.sh"

if [[ ${1:-} == malloc ]]; then
    export PYTHONMALLOC=malloc
fi
require python3
export PYTHONHASHSEED=1 PYTHONDONTWRITEBYTECODE=1
same_result python3 "$here/workload.py"
taken_by_breakwater malloc python3 -c 'import sqlite3'
