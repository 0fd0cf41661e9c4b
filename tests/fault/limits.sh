#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# limits.sh - limits on address space and data: the heap is full for all threads, and free again.
#   limits.sh PROGRAM       PROGRAM is limit.c's
. "$(dirname "$0")/../preload/lib.sh"

require prlimit
program=$1

recovers() {
    local output
    output=$("$@" "${breakwater[@]}" "$program") || fail "failed under: $*"
    [[ $output == "full and free again" ]] || fail "printed '$output' under: $*"
}

recovers prlimit --as=268435456
recovers prlimit --as=1073741824
# Data counts mapped memory too, which thread stacks are.
recovers prlimit --data=134217728
