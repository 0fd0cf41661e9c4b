#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# cxx_program.sh - a C++ program with threads, containers and exceptions works as under glibc, and
# its operator new and delete are Breakwater's.
. "$(dirname "$0")/lib.sh"

require g++
g++ -std=c++17 -O1 -pthread "$here/cxx_program.cpp" -o "$work/cxx_program"
same_result "$work/cxx_program"
operators=(_Znwm _ZnamRKSt9nothrow_t _ZnwmSt11align_val_t _ZdlPvm _ZdaPv _ZdlPvmSt11align_val_t)
for operator in "${operators[@]}"; do
    taken_by_breakwater "$operator" "$work/cxx_program"
done
