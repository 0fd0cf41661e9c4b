#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# limits.sh - a program starts within small limits on address space and data.
. "$(dirname "$0")/lib.sh"

require prlimit
mkdir "$work/listed"
touch "$work"/listed/{one,two,three}
expected=$(printf 'one\nthree\ntwo')

# Runs the rest under Breakwater; the limit is set first, by a process that is not preloaded.
lists_the_directory() {
    local listed
    listed=$("$@" "${breakwater[@]}" ls "$work/listed") || fail "ls failed under: $*"
    [[ $listed == "$expected" ]] || fail "ls printed '$listed' under: $*"
}

with_ulimit() (
    ulimit -v 16384
    exec "$@"
)

lists_the_directory with_ulimit
lists_the_directory prlimit --as=6291456
lists_the_directory prlimit --as=4194304
lists_the_directory prlimit --data=3145728
lists_the_directory prlimit --data=2097152
taken_by_breakwater malloc ls "$work/listed"
