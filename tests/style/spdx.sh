#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# spdx.sh ROOT - every source file names the project's licence in its first lines.
. "$(dirname "$0")/files.sh"

readonly LINES_LOOKED_AT=3
licence='SPDX-License-Identifier: LGPL-2.1-or-later'
missing=0
while IFS= read -r -d '' file; do
    if ! head -n "$LINES_LOOKED_AT" "$file" | grep -qF "$licence"; then
        echo "$file: no '$licence' in the first $LINES_LOOKED_AT lines"
        missing=$((missing + 1))
    fi
done < <(find_sources '.*(\.(c|h|cpp|inc|py|sh|pl|lua|js|sql|sqlite|pml|cmake)|/CMakeLists\.txt|/tests/run|/\.ci/run)' .)
((missing == 0))
