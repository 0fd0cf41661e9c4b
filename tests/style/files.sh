# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# files.sh - which files the style checks look at. Sourced by them, with ROOT as first argument.
set -euo pipefail

root=$1

# Prints the paths below the given directories of $root, or in $root itself for ".", that match a
# regular expression, each ended by a zero byte; fails when there is none, so that no check passes
# for want of something to check.
find_sources() {
    local expression=$1 directory
    shift
    local found=()
    for directory in "$@"; do
        [[ -d $root/$directory ]] || continue
        mapfile -d '' -t -O "${#found[@]}" found < <(
            find "$root/$directory" -regextype posix-extended \
                \( -path "$root/./build" -o -path "$root/./results" -o -name .git \) -prune -o \
                -type f -regex "$expression" -print0 | sort -z)
    done
    if ((${#found[@]} == 0)); then
        echo "no file matches $expression in: $*" >&2
        return 1
    fi
    printf '%s\0' "${found[@]}"
}
