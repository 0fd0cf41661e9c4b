#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# cppcheck.sh ROOT - cppcheck finds nothing in the C files of the library and its programs.
. "$(dirname "$0")/files.sh"

here=$(cd "$(dirname "$0")" && pwd)
options=(
    --quiet "--enable=warning,performance,portability" --error-exitcode=1 --inline-suppr --std=c11
    -j "$(nproc)" -I include -I src
    --library=posix --library=gnu "--library=$here/cppcheck.cfg"
    # What the compiler would define, so that only this configuration is looked at.
    -D_GNU_SOURCE -D__GNUC__ -D__x86_64__ -D__linux__ -D__SIZEOF_POINTER__=8 -DBREAKWATER_CHECKS=1
    # The system's headers are described by the libraries above.
    --suppress=missingIncludeSystem --suppress=unknownMacro
    # os.c hands mappings to its callers through a conditional, which cppcheck does not follow.
    '--suppress=memleak:*/src/os.c'
)

cd "$root"
find_sources '.*\.c' src tests stress bench | xargs -0 cppcheck "${options[@]}"
