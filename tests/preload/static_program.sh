#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# static_program.sh - a static program linked with libbreakwater.a gets its malloc from there.
# Takes BREAKWATER_ARCHIVE, the archive's path, from the environment.
. "$(dirname "$0")/lib.sh"

require gcc
: "${BREAKWATER_ARCHIVE:?the path of libbreakwater.a}"
[[ -f $BREAKWATER_ARCHIVE ]] || fail "no archive at $BREAKWATER_ARCHIVE"
gcc -std=c17 -O1 -Wall -Wextra -Werror -D_GNU_SOURCE -I"$here/../../include" -pthread -static \
    "$here/static_program.c" "$BREAKWATER_ARCHIVE" -o "$work/static_program"
! readelf -l "$work/static_program" | grep INTERP >/dev/null || fail "the program is not static"
"$work/static_program"
