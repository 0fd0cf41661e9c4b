#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# linkers.sh SOURCE - the shared library can be linked by whichever linkers there are beside bfd,
# by which everything else is, and works.
set -euo pipefail

source=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for linker in gold lld mold; do
    command -v "ld.$linker" >/dev/null || continue
    # Only of shared libraries: programs, as which CMake tries flags, have the default one.
    cmake -S "$source" -B "$work/build" -U BREAKWATER_LINKER_LAYS_OUT -DBUILD_TESTING=OFF \
        -DCMAKE_BUILD_TYPE=Release -DCMAKE_SHARED_LINKER_FLAGS="-fuse-ld=$linker" >"$work/log"
    cmake --build "$work/build" --parallel --target breakwater_shared >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; echo "FAILED: linked by $linker" >&2; exit 1; }
    LD_PRELOAD=$work/build/libbreakwater.so BREAKWATER_CONF=stats_print:true sort /dev/null 2>&1 |
        grep '^breakwater [0-9.]* statistics' >/dev/null ||
        { echo "FAILED: sort with the library that $linker linked" >&2; exit 1; }
done
