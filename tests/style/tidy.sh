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
work=$(mktemp -d "${TMPDIR:-/tmp}/breakwater-tidy.XXXXXX")
trap 'rm -rf "$work"' EXIT

python3 "$(dirname "$0")/compiled.py" "$build" "$work" >"$work/files"
xargs -P "$(nproc)" -n 1 clang-tidy -p "$work" --quiet --config-file="$root/.clang-tidy" \
    --warnings-as-errors='*' <"$work/files" 2> >(grep -v 'warnings\? generated' >&2)
