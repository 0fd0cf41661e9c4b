#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# scripts.sh ROOT - shellcheck finds nothing in the shell scripts.
. "$(dirname "$0")/files.sh"

# SC2015 objects to "check && check || fail", which is what is meant there.
find_sources '.*(\.sh|/tests/run|/\.ci/run)' . |
    xargs -0 shellcheck --exclude=SC2015 --external-sources --source-path=SCRIPTDIR
