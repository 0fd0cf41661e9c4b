#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# tidy.sh ROOT BUILD - clang-tidy, with ROOT/.clang-tidy, finds nothing in the files that BUILD
# compiles, each once.
. "$(dirname "$0")/files.sh"

build=$2
[[ -f $build/compile_commands.json ]] || {
    echo "$build/compile_commands.json: configure with -DCMAKE_EXPORT_COMPILE_COMMANDS=ON" >&2
    exit 1
}
# One line a file that is compiled, and still there.
compiled() {
    python3 - "$build/compile_commands.json" <<'SCRIPT'
import json, os, sys
commands = json.load(open(sys.argv[1]))
files = {os.path.normpath(os.path.join(entry["directory"], entry["file"])) for entry in commands}
print("\n".join(sorted(files)))
SCRIPT
}
compiled >/dev/null
[[ -n $(compiled) ]] || { echo "$build compiles nothing" >&2; exit 1; }
compiled | xargs -P "$(nproc)" -n 1 clang-tidy -p "$build" --quiet \
    --config-file="$root/.clang-tidy" --warnings-as-errors='*' 2> >(grep -v 'warnings\? generated' >&2)
