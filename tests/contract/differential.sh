#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# differential.sh PROGRAM LIBRARY - runs PROGRAM under the C library's malloc and with LIBRARY
# preloaded, and fails with a diff if the two do not print the same.
set -euo pipefail

program=$1
library=$2

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

"$program" libc.so > "$results/libc"

status=0
env LD_PRELOAD="$library" "$program" "$(basename "$library")" > "$results/breakwater" || status=$?

lines=$(wc -l < "$results/libc")
if [ "$lines" -lt 10000 ]; then
    echo "only $lines calls were made: the comparison would say nothing" >&2
    exit 1
fi

if ! diff --label libc --label breakwater -U0 "$results/libc" "$results/breakwater" \
        > "$results/diff"; then
    head -n 200 "$results/diff"
    echo "exit status with the library preloaded: $status"
    exit 1
fi
if [ "$status" -ne 0 ]; then
    echo "no difference, but the exit status with the library preloaded is $status"
    exit 1
fi
echo "$lines calls, no difference"
