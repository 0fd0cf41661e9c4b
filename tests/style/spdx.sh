#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# spdx.sh ROOT - every source file names the project's licence in its first lines.
. "$(dirname "$0")/files.sh"

sources='.*(\.(c|h|cpp|inc|py|sh|pl|lua|js|sql|sqlite|pml|cmake)|/CMakeLists\.txt|/tests/run|/\.ci/run)'
# An empty file has no line to match, but is among the arguments.
# shellcheck disable=SC2016
program='
    FNR <= 3 && index($0, "SPDX-License-Identifier: LGPL-2.1-or-later") { named[FILENAME] = 1 }
    END {
        for (i = 1; i < ARGC; i++)
            if (!(ARGV[i] in named)) { print ARGV[i] ": no licence in its first lines"; status = 1 }
        exit status
    }'
find_sources "$sources" . | xargs -0 awk "$program"
