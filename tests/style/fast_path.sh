#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# fast_path.sh - the fast paths of malloc, free and operator new, counted in the built library.
#
#   fast_path.sh LIBRARY
#
# From the entry to the first ret, which is where a hit ends, there are at most 20 instructions, and
# none of them a call, a locked one or an exchange. That the check can fail is seen on a function
# that calls and locks.
set -euo pipefail

library=$1
most=20

# The instructions of a function up to its first ret. By its address: it may have several names.
path_of() {
    local start
    start=$(nm --defined-only -D "$library" | awk -v name="$1" '$3 == name { print "0x" $1 }')
    objdump -d --no-show-raw-insn --start-address="$start" --stop-address=$((start + 256)) \
        "$library" | awk '/^ +[0-9a-f]+:/ { $1 = ""; print; if ($2 ~ /^ret/) exit }'
}

# check NAME: prints what is wrong, and fails if anything is.
check() {
    local path count
    path=$(path_of "$1")
    count=$(grep -c . <<<"$path")
    if ((count > most)); then
        echo "$1: $count instructions to the first ret, more than $most"
        return 1
    fi
    if grep -E '^ *(call|lock|xchg)' <<<"$path"; then
        echo "$1: a call or an atomic operation on the fast path"
        return 1
    fi
    echo "$1: $count instructions"
}

if [[ $(uname -m) != x86_64 ]]; then
    echo "the limit is for x86-64 only; this is $(uname -m)" >&2
    exit 1
fi
for name in malloc free bw_malloc bw_free _Znwm _ZdlPv; do
    check "$name"
done
# The other operators go on to the basic ones at once.
for name in _Znam _ZdaPv _ZdlPvm _ZdaPvm; do
    path_of "$name" | head -n 1 | grep -q '^ jmp' || {
        echo "$name: no jump"
        exit 1
    }
done
if check bw_malloc_trim >/dev/null; then
    echo "the check does not see calls"
    exit 1
fi
