#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# launch.sh - a program started in ways that leave the break elsewhere, or nowhere to go.
#   launch.sh PROGRAM       PROGRAM is plain.c's
. "$(dirname "$0")/../preload/lib.sh"

require setarch valgrind
program=$1

# prints WHERE COMMAND...: the command's output says that the heap is WHERE, and that it came to its end.
prints() {
    local output expected
    expected=$1$'\n''done'
    shift
    output=$("$@" 2>"$work/errors") || { show "$work/errors"; fail "failed: $*"; }
    # shellcheck disable=SC2053 # WHERE may be a pattern.
    [[ $output == $expected ]] || fail "printed '$output', not '$expected': $*"
}

linker=$(ldd "$program" | grep -o '/[^ ]*ld-linux[^ ]*')
prints break "${breakwater[@]}" "$program"
prints '@(break|mapped)' "$linker" --preload "$library" "$program"
prints break setarch -R "${breakwater[@]}" "$program"
# Its break ends after 8 MiB.
prints mapped valgrind --quiet --tool=none --trace-children=yes "${breakwater[@]}" "$program"
