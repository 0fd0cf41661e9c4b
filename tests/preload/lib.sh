# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# lib.sh - what every preload test shares. Sourced first by each of them.
#
# A test compares a program under Breakwater with the same program under glibc:
#   same_result COMMAND...   both runs, in empty directories of one name: exit status, output and
#                            files left behind must agree
#   taken_by_breakwater      the dynamic linker really gives the program Breakwater's functions
#   start_server, stop_server, wait_until, free_port    for programs that stay
# A missing program is a failure, never a skip: tests/run installs them all.
#
# Takes BREAKWATER_LIBRARY, the shared library's path, from the environment. Everything is written
# below $work, which goes away with the servers when the script ends, however it ends.
set -euo pipefail

: "${BREAKWATER_LIBRARY:?the path of libbreakwater.so}"
readonly SCRIPT_SECONDS=110 SERVER_STOP_SECONDS=10 POLLS_PER_SECOND=20

# Starts the script again under a limit of its own, so that its cleanup still runs.
if [[ -z ${PRELOAD_LIMITED:-} ]]; then
    PRELOAD_LIMITED=1 exec timeout --kill-after=10 "$SCRIPT_SECONDS" bash "$0" "$@"
fi

# shellcheck disable=SC2034 # Not every test has a workload file.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/breakwater-preload.XXXXXX")
chmod 755 "$work"
servers=()
# The distribution's programs, not those of a version manager earlier in PATH.
export PATH="/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH" LC_ALL=C TZ=UTC HOME="$work"
unset LD_PRELOAD

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

show() {
    printf -- '--- %s\n' "$1" >&2
    tail -n 40 "$1" >&2
}

clean_up() {
    local status=$?
    trap - EXIT
    local pid
    for pid in "${servers[@]}"; do
        kill -INT -- "-$pid" 2>/dev/null || continue
        wait_until_gone "$pid" 3 || kill -KILL -- "-$pid" 2>/dev/null || true
    done
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 143' TERM INT HUP

# A copy, so that programs of other users can read it, and so that a rebuild cannot replace it
# while it is mapped.
[[ -f $BREAKWATER_LIBRARY ]] || fail "no library at $BREAKWATER_LIBRARY"
library=$work/libbreakwater.so
cp "$BREAKWATER_LIBRARY" "$library"
chmod 755 "$library"
breakwater=(env "LD_PRELOAD=$library")
# shellcheck disable=SC2034 # Not every test runs something under glibc by itself.
glibc=(env -u LD_PRELOAD)

require() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || fail "$program is not installed"
    done
}

# Both runs of same_result. $1 names the allocator, the rest is the command.
run_and_record() {
    local name=$1 status=0
    shift
    rm -rf "$work/run"
    mkdir "$work/run"
    (cd "$work/run" && "$@") >"$work/$name.out" 2>"$work/$name.err" </dev/null || status=$?
    printf '%s\n' "$status" >"$work/$name.status"
    rm -rf "$work/$name.files"
    mv "$work/run" "$work/$name.files"
}

same_result() {
    run_and_record glibc "${glibc[@]}" "$@"
    if [[ $(<"$work/glibc.status") != 0 ]]; then
        show "$work/glibc.out"
        show "$work/glibc.err"
        fail "under glibc already: $*"
    fi
    [[ -s $work/glibc.out || -n $(ls -A "$work/glibc.files") ]] || fail "no result to compare: $*"
    run_and_record breakwater "${breakwater[@]}" "$@"
    local part
    for part in status out err files; do
        if ! diff -r "$work/glibc.$part" "$work/breakwater.$part" >"$work/diff" 2>&1; then
            show "$work/diff"
            show "$work/breakwater.err"
            fail "$part differs from glibc's: $*"
        fi
    done
}

# Whether the dynamic linker binds symbol $1, as some object of the command's processes asks for it,
# to Breakwater, and for none of them to the C or C++ library. (In a program built without PIE the
# others' requests are bound to the program, and the program's to Breakwater.)
taken_by_breakwater() {
    local symbol=$1 bindings=$work/bindings
    shift
    rm -f "$bindings".*
    "${breakwater[@]}" LD_DEBUG=bindings "LD_DEBUG_OUTPUT=$bindings" LD_BIND_NOW=1 "$@" \
        >"$work/bindings-output" 2>&1 </dev/null || {
        show "$work/bindings-output"
        fail "does not run: $*"
    }
    grep -hF " normal symbol \`$symbol'" "$bindings".* >"$work/bound" || true
    grep -qF " to $library " "$work/bound" || fail "$symbol is not Breakwater's in: $*"
    ! grep -E ' to [^ ]*/lib(c|stdc\+\+)\.so' "$work/bound" || fail "$symbol is not taken in: $*"
}

# Whether running process $1 has the library mapped.
library_is_mapped() {
    grep -qF "$library" "/proc/$1/maps" || fail "the library is not in process $1"
}

# wait_until SECONDS COMMAND...: polls until the command succeeds.
wait_until() {
    local polls=$(($1 * POLLS_PER_SECOND))
    shift
    while ! "$@" >/dev/null 2>&1; do
        ((polls-- > 0)) || return 1
        sleep 0.05
    done
}

is_gone() {
    ! kill -0 "$1" 2>/dev/null || [[ $(ps -o stat= -p "$1") == Z* ]]
}

wait_until_gone() {
    wait_until "$2" is_gone "$1"
}

# Runs a command in the background as the leader of a process group; its id is $server afterwards.
start_server() {
    local log=$1
    shift
    setsid "$@" >"$log" 2>&1 </dev/null &
    server=$!
    servers+=("$server")
}

# Stops server $1 with signal $2 and checks that it ends with status 0.
stop_server() {
    local pid=$1 status=0
    kill "-$2" "$pid"
    wait_until_gone "$pid" "$SERVER_STOP_SECONDS" || fail "server $pid ignores SIG$2"
    wait "$pid" || status=$?
    ((status == 0)) || fail "server $pid ended with status $status"
}

port_is_open() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# A loopback port nobody listens on, below the range the kernel hands out by itself. Somebody may
# still take it first: callers try again.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)); do
        port_is_open "$port" || break
    done
    printf '%s\n' "$port"
}
