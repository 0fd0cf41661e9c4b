#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# format.sh ROOT - clang-format would change no C or C++ file, and no line is longer than 100 columns:
# comments it leaves alone.
. "$(dirname "$0")/files.sh"

cd "$root"
find_sources '.*\.(c|h|cpp)' src include tests stress bench |
    xargs -0 clang-format --dry-run -Werror --style=file
long=$(find_sources '.*\.(c|h|cpp)' src include tests stress bench |
    xargs -0 awk 'length > 100 { print FILENAME ":" FNR ": longer than 100 columns" }')
[[ -z $long ]] || { printf '%s\n' "$long" >&2 && exit 1; }
