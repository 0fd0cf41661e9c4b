#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# self_test.sh - the checks of lib.sh fail when they should: on a library that does not define
# malloc, on different output, status or files, on a server that crashes, on a missing program.
. "$(dirname "$0")/lib.sh"

must_fail() {
    if ("$@") >"$work/self.log" 2>&1; then
        fail "passes and must not: $*"
    fi
    grep -q '^FAILED: ' "$work/self.log" || fail "fails without a message: $*"
}

# A program whose result depends on whether a library is preloaded.
# shellcheck disable=SC2016 # Expanded by the program under test.
differs_in() {
    case $1 in
    output) same_result bash -c 'echo "preloaded: ${LD_PRELOAD:-nothing}"' ;;
    error) same_result bash -c 'echo same; echo "${LD_PRELOAD:-nothing}" >&2' ;;
    status) same_result bash -c 'echo same; [[ -z ${LD_PRELOAD:-} ]]' ;;
    files) same_result bash -c 'echo "${LD_PRELOAD:-nothing}" >file' ;;
    esac
}

crashing_server() {
    start_server "$work/crash.log" bash -c 'trap "kill -SEGV $$" TERM; while :; do sleep 0.05; done'
    wait_until 5 grep -q bash "/proc/$server/cmdline"
    sleep 0.2
    stop_server "$server" TERM
}

for part in output error status files; do
    must_fail differs_in "$part"
done
must_fail same_result false
must_fail same_result true
must_fail require breakwater-no-such-program
must_fail library_is_mapped $$
must_fail crashing_server
must_fail taken_by_breakwater malloc false

gcc -shared -o "$work/empty.so" -x c /dev/null
cp "$work/empty.so" "$library"
must_fail taken_by_breakwater malloc bash -c 'exit 0'
rm "$library"
must_fail same_result bash -c 'echo the dynamic linker complains'
