#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check.sh MODEL [MUTANT] - search every state of src/model/MODEL.pml with spin.
#
# Without MUTANT both searches must be complete and free of errors: one for violated claims and
# deadlocks, one (of the model with -DCYCLES) for runs that never end. With MUTANT spin must
# report the claim that the model's table of mutants names for it.
# SPIN and CC name other programs than spin and cc.
set -euo pipefail

readonly memory_mib=1500
readonly hash_bits=22
readonly depth=20000
readonly endless_run='non-progress cycle'
optimization=-O1

fail()
{
    echo "$0: $*" >&2
    exit 1
}

# build KIND DEFINITION...: a verifier ./pan for claims and deadlocks, or for cycles.
build()
{
    local kind=$1 flags=(-DCOLLAPSE -DNOFAIR "-DMEMLIM=$memory_mib")
    shift
    if [ "$kind" = cycles ]; then
        flags+=(-DNP)
        set -- -DCYCLES "$@"
    else
        flags+=(-DSAFETY)
    fi
    rm -f pan pan.?
    "${SPIN:-spin}" -a "$@" "$model"
    "${CC:-cc}" "$optimization" -w "${flags[@]}" -o pan pan.c
}

# first_error KIND REGEX OPTION...
first_error()
{
    local kind=$1 regex=$2
    shift 2
    search "$kind" "$@" | grep -m 1 "^pan:[0-9]*: .*$regex" || true
}

# search KIND OPTION...
search()
{
    local kind=$1
    shift
    [ "$kind" = claims ] || set -- -l "$@"
    stdbuf -oL ./pan "-m$depth" "-w$hash_bits" "$@"
}

# A search that ran out of depth or memory, or that met an error, proves nothing; nor does one of
# a model with parts that nothing reaches.
require_complete_search()
{
    local kind=$1
    local report=$kind.txt
    build "$kind"
    search "$kind" >"$report" || fail "$name: pan failed: $(tail -n 5 "$report")"
    grep -v '^Depth=' "$report"
    grep -q 'errors: 0$' "$report" || fail "$name: spin reports an error ($kind)"
    if grep -Eiq 'search not completed|max search depth too small|out of memory' \
        "$report"; then
        fail "$name: the search is not exhaustive ($kind)"
    fi
    if grep -Eq '\([1-9][0-9]* of [0-9]+ states\)' "$report"; then
        fail "$name: part of the model is never reached ($kind)"
    fi
}

# Errors of other kinds that come first are passed over (-c0): each claim has to notice for itself.
# Mostly the first error of all is the one; then the search stops there.
require_error()
{
    local mutant=$1 expected kind=claims found
    expected=$(sed -n "s/^ \*   mutant $mutant: //p" "$model")
    [ -n "$expected" ] || fail "$name: has no mutant $mutant"
    [ "$expected" != "$endless_run" ] || kind=cycles
    grep -q "MUTANT_$mutant\>" "$model" ||
        fail "$name: nothing depends on MUTANT_$mutant"
    build "$kind" "-DMUTANT_$mutant"
    found=$(first_error "$kind" "$expected" -c1)
    [ -n "$found" ] || found=$(first_error "$kind" "$expected" -c0)
    [ -n "$found" ] || fail "$name: mutant $mutant goes unnoticed, expected: $expected"
    echo "$found"
}

[ $# -ge 1 ] && [ $# -le 2 ] || fail "usage: $0 MODEL [MUTANT]"
name=$1
model=$(cd "$(dirname "$0")/../../src/model" && pwd)/$name.pml
[ -r "$model" ] || fail "no model $model"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

if [ $# -eq 2 ]; then
    # An error shows soon, mostly before the compiler would be through.
    optimization=-O0
    require_error "$2"
else
    require_complete_search claims
    require_complete_search cycles
fi
