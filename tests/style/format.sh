#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# format.sh ROOT - clang-format would change no C or C++ file.
. "$(dirname "$0")/files.sh"

cd "$root"
find_sources '.*\.(c|h|cpp)' src include tests stress bench |
    xargs -0 clang-format --dry-run -Werror --style=file
