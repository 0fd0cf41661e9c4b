#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# limits.sh - limits on address space and data: the heap is full for all threads, and free again.
#   limits.sh PROGRAM       PROGRAM is limit.c's
. "$(dirname "$0")/../preload/lib.sh"

require prlimit
program=$1

# recovers COMMAND...
recovers() {
    local output
    output=$("$@") || fail "failed: $*"
    [[ $output == "full and free again" ]] || fail "printed '$output': $*"
}

recovers prlimit --as=268435456 "${breakwater[@]}" "$program"
recovers prlimit --as=1073741824 "${breakwater[@]}" "$program"
# Which it sets itself, when the tables for all that the machine has are there.
recovers "${breakwater[@]}" "$program" 83886080
recovers "${breakwater[@]}" "$program" 1073741824
# Data counts mapped memory too, which thread stacks are.
recovers prlimit --data=134217728 "${breakwater[@]}" "$program"
