#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# tidy.sh ROOT BUILD - clang-tidy, with ROOT/.clang-tidy, finds nothing in the files that BUILD
# compiles, each once; of its checks those that follow paths through a function, which take nine
# tenths of the time, look at what is installed: what tests and benchmarks do wrong, sanitizers see.
. "$(dirname "$0")/files.sh"

build=$2
[[ -f $build/compile_commands.json ]] || {
    echo "$build/compile_commands.json: configure with -DCMAKE_EXPORT_COMPILE_COMMANDS=ON" >&2
    exit 1
}
work=$(mktemp -d "${TMPDIR:-/tmp}/breakwater-tidy.XXXXXX")
trap 'rm -rf "$work"' EXIT

python3 "$(dirname "$0")/compiled.py" "$build" "$work" >"$work/files"

# tidy CHECKS <FILES: with CHECKS besides those of .clang-tidy.
tidy() {
    xargs -r -P "$(nproc)" -n 1 clang-tidy -p "$work" --quiet --config-file="$root/.clang-tidy" \
        --warnings-as-errors='*' --checks="$1" 2> >(grep -v 'warnings\? generated' >&2)
}

grep "^$root/src/" "$work/files" >"$work/installed" || {
    echo "$build: nothing in $root/src is compiled there" >&2
    exit 1
}
status=0
tidy '' <"$work/installed" || status=1
grep -v -x -F -f "$work/installed" "$work/files" >"$work/others" || true
tidy '-clang-analyzer-*' <"$work/others" || status=1
exit "$status"
