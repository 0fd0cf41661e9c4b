#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# configuration.sh - BREAKWATER_CONF with faults: one line each, and the program runs as without.
#   configuration.sh PROGRAM SETUID-PROGRAM      both plain.c's; the second has the archive linked in
. "$(dirname "$0")/../preload/lib.sh"

require setpriv
program=$1

run_with() {
    BREAKWATER_CONF=$1 "${breakwater[@]}" "$program" >"$work/output" 2>"$work/errors" ||
        fail "the program failed with BREAKWATER_CONF='$1'"
    [[ $(tail -n 1 "$work/output") == 'done' ]] || fail "no output with BREAKWATER_CONF='$1'"
}

# warns VALUE LINE...: each fault is told in one line, and nothing else.
warns() {
    local value=$1
    shift
    run_with "$value"
    printf '%s\n' "$@" >"$work/expected"
    diff "$work/expected" "$work/errors" >&2 || fail "wrong warnings for BREAKWATER_CONF='$value'"
}

is_silent() {
    run_with "$1"
    [[ ! -s $work/errors ]] || { show "$work/errors"; fail "BREAKWATER_CONF='$1' gave a warning"; }
}

prefix='breakwater: BREAKWATER_CONF:'
is_silent ''
is_silent ,
is_silent arenas:2
is_silent arenas:1,checked:true
is_silent background_thread:true,decay_ms:20
is_silent decay_ms:0
is_silent thp:auto,soft_limit:0,hard_limit:0
is_silent cache_limit:0
is_silent cache_limit:auto
is_silent cache_limit:1
is_silent cache_limit:1%
is_silent thp:always
is_silent thp:never
is_silent soft_limit:1G,hard_limit:90%
warns thp:maybe "$prefix bad value in 'thp:maybe', ignored"
warns hard_limit:101% "$prefix bad value in 'hard_limit:101%', ignored"
warns hard_limit:0% "$prefix bad value in 'hard_limit:0%', ignored"
warns hard_limit:10T "$prefix bad value in 'hard_limit:10T', ignored"
warns soft_limit:-1 "$prefix bad value in 'soft_limit:-1', ignored"
warns soft_limit:99999999999G "$prefix bad value in 'soft_limit:99999999999G', ignored"
warns cache_limit:K "$prefix bad value in 'cache_limit:K', ignored"
warns nonsense "$prefix no ':' in 'nonsense', ignored"
warns colour:red "$prefix unknown key in 'colour:red', ignored"
warns arenas:many "$prefix bad value in 'arenas:many', ignored"
warns arenas: "$prefix bad value in 'arenas:', ignored"
warns arenas:-1 "$prefix bad value in 'arenas:-1', ignored"
warns arenas:65 "$prefix bad value in 'arenas:65', ignored"
warns arenas:99999999999999999999 "$prefix bad value in 'arenas:99999999999999999999', ignored"
warns checked:TRUE "$prefix bad value in 'checked:TRUE', ignored"
warns :true "$prefix unknown key in ':true', ignored"
warns a:b,arenas:2,c "$prefix unknown key in 'a:b', ignored" "$prefix no ':' in 'c', ignored"
long=$(printf 'x%.0s' {1..70})
warns "$long:1" "$prefix option too long: '${long:0:63}', ignored"
warns "$(printf 'arenas:1,%.0s' {1..200})" "$prefix over 1023 bytes long, ignored"
warns $'\xff\x01:\n' "$prefix unknown key in '"$'\xff?:?'"', ignored"

# GNU's programs close standard error before the end of the process.
LD_PRELOAD=$BREAKWATER_LIBRARY BREAKWATER_CONF=stats_print:true sort /dev/null 2>"$work/errors" ||
    fail "sort failed"
grep -q statistics "$work/errors" || fail "no statistics of a program that closes standard error"

# A daemon closes every descriptor, and may have a file of its own where standard error was.
# shellcheck disable=SC2016 # The shell that is tested expands it.
LD_PRELOAD=$BREAKWATER_LIBRARY BREAKWATER_CONF=stats_print:true bash -c '
    for descriptor in /proc/self/fd/*; do
        ((${descriptor##*/} <= 2)) || eval "exec ${descriptor##*/}>&-"
    done
    exec 2>"$0"
    printf data >&2' "$work/data" || fail "the daemon failed"
[[ $(<"$work/data") == data ]] || fail "statistics in a file of the program"

# What prints in a program that users may run as somebody else must not be theirs to choose.
trusted=$work/trusted
cp "$2" "$trusted"
chown root "$trusted"
chmod 4755 "$trusted"
export BREAKWATER_CONF=stats_print:true
"$trusted" >/dev/null 2>"$work/errors" || fail "the trusted program failed"
grep -q statistics "$work/errors" || fail "BREAKWATER_CONF has no effect without setuid"
setpriv --reuid=65534 --regid=65534 --clear-groups "$trusted" >/dev/null 2>"$work/errors" ||
    fail "the setuid program failed"
[[ ! -s $work/errors ]] || fail "a setuid program follows BREAKWATER_CONF"
