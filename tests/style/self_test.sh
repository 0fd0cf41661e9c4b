#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# self_test.sh ROOT - each style check accepts a good example and rejects a broken one.
# shellcheck disable=SC2016 # The examples hold dollar signs.
set -euo pipefail

root=$1
here=$root/tests/style
work=$(mktemp -d "${TMPDIR:-/tmp}/breakwater-style.XXXXXX")
trap 'rm -rf "$work"' EXIT

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# A tree that every check accepts.
good_tree() {
    rm -rf "$work/tree"
    mkdir -p "$work"/tree/{src,build}
    cd "$work/tree"
    cp "$root"/.clang-format "$root"/.clang-tidy .
    local spdx='/* SPDX-License-Identifier: LGPL-2.1-or-later */'
    printf '%s\nint low(int n);\n' "$spdx" >src/low.h
    printf '%s\n%s\n#include "low.h"\n\nint low(int n)\n{\n    return n + 1;\n}\n' "$spdx" \
        $'/* low.c - one more.\n *\n * Called by    high.c.\n */' >src/low.c
    printf '%s\n%s\n#include <stdio.h>\n\n#include "low.h"\n\n%s\n' "$spdx" \
        $'/* high.c - low, once.\n *\n * Called by    the program.\n */' \
        $'int high(void);\nint high(void)\n{\n    return low(1);\n}' >src/high.c
    printf '%s\nextern int side;\nint side;\n' "$spdx" >src/side.c
    printf '%s\nextern int side;\n' "$spdx" >src/side.h
    printf '# The layers.\nlow\nhigh side\n' >layers.txt
    printf '#!/usr/bin/env bash\n# SPDX-License-Identifier: LGPL-2.1-or-later\necho "$1"\n' >script.sh
    printf '[{"directory": "%s", "file": "src/low.c", "command": "cc -Isrc -c src/low.c"}]\n' \
        "$PWD" >build/compile_commands.json
}

run_check() {
    case $1 in
    layers) python3 "$here/layers.py" src layers.txt ;;
    callers | locked) python3 "$here/$1.py" src ;;
    tidy) bash "$here/tidy.sh" "$PWD" "$PWD/build" ;;
    *) bash "$here/$1.sh" "$PWD" ;;
    esac
}

accepts() {
    run_check "$1" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "$1 rejects: $2"; }
}

# $3: what the complaint must contain, so that no check passes for failing otherwise.
rejects() {
    if run_check "$1" >"$work/log" 2>&1; then
        fail "$1 accepts: $2"
    fi
    grep -qE "$3" "$work/log" || { cat "$work/log" >&2; fail "$1 rejects for another reason: $2"; }
    good_tree
}

good_tree
for check in layers callers format spdx scripts cppcheck tidy; do
    accepts "$check" "a good tree"
done

echo '#include "high.h"' >>src/low.c
touch src/high.h
rejects layers "a low file that includes a high one" 'low.c:[0-9]+: "high.h" is not below low'
echo '#include "side.h"' >>src/high.c
rejects layers "modules of one rank that include one another" '"side.h" is not below high'
echo '#include "../src/low.h"' >>src/high.c
rejects layers "an include by way of a directory" 'leaves src'
echo '#include "unknown.h"' >>src/high.c
rejects layers "an include of an unknown file" 'no known module'
echo '#include <low.h>' >>src/side.c
rejects layers "a module in angle brackets" 'use quotes'
touch src/stray.c
rejects layers "a module that is not listed" 'stray is not in the list'
echo 'gone' >>layers.txt
rejects layers "a listed module without a file" 'gone is in the list'
echo 'low' >>layers.txt
rejects layers "a module listed twice" 'low is listed twice'
rm src/*
rejects layers "a tree without source files" 'no source files'

sed -i 's/low(1)/1/' src/high.c
rejects callers "a caller that does not call" 'low.c: high.c does not call it'
printf 'int side_plus(void)\n{\n    return low(1);\n}\n' >>src/side.c
rejects callers "a caller that is not named" 'low.c: side.c calls it'
sed -i 's/Called by    high.c/Called by    nobody/' src/low.c
rejects callers "a list without names" 'low.c: high.c calls it'
sed -i '/Called by/d' src/low.c
rejects callers "no list" 'low.c: does not say who calls it'
printf '/* side.c - another low.\n *\n * Called by    high.c.\n */\nint low(int n)\n{\n    return n;\n}\n' \
    >src/side.c
accepts callers "a function that two files define, of which one is linked"
good_tree

printf 'void low_locked(void)\n{\n    ASSERT(lock_is_held(&lock));\n}\n' >>src/low.c
accepts locked "a function that asserts"
sed -i '/ASSERT/d' src/low.c
rejects locked "a function that does not assert" 'low.c: low_locked\(\) does not assert'
rejects locked "a tree without such functions" 'no function ends in _locked'

echo 'int  badly_spaced;' >>src/low.c
rejects format "bad spacing" 'clang-format-violations'
printf '/* %098d */\n' 0 >>src/low.c
rejects format "a long comment" 'longer than 100 columns'
rm src/*
rejects format "no files" 'no file matches'
printf '/* A comment. */\n' >src/low.h
rejects spdx "a C file without a licence line" 'src/low.h: no '
printf '#!/bin/sh\n\n\n\n# SPDX-License-Identifier: LGPL-2.1-or-later\n' >script.sh
rejects spdx "a licence line too far down" 'script.sh: no '
: >src/low.h
rejects spdx "an empty file" 'src/low.h: no '
echo 'echo $1' >>script.sh
rejects scripts "an unquoted variable" 'SC2086'
printf 'int low2(void);\nint low2(void)\n{\n    int a[2];\n    return a[2];\n}\n' >>src/low.c
rejects cppcheck "an index out of bounds" 'arrayIndexOutOfBounds'
printf 'int low2(int *p);\nint low2(int *p)\n{\n    if (!p)\n        return *p;\n    return 0;\n}\n' >>src/low.c
rejects tidy "a null pointer used" 'clang-analyzer-core.NullDereference'
printf 'int low2(void)\n{\n    int n = 0;\n    return n;;\n' >>src/low.c
rejects tidy "a file that does not compile" 'clang-diagnostic-error'
rm build/compile_commands.json
rejects tidy "a tree without compile commands" 'CMAKE_EXPORT_COMPILE_COMMANDS'
