#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# stress_ng.sh - stress-ng's allocation, break and fork stressors, with their verification.
#   stress_ng.sh [SECONDS]
. "$(dirname "$0")/../preload/lib.sh"

require stress-ng prlimit
seconds=${1:-5}

# bigheap takes all that there is; the limit is what it finds.
prlimit --as=4294967296 "${breakwater[@]}" stress-ng --temp-path "$work" --malloc 2 \
    --malloc-pthreads 4 --bigheap 1 --brk 1 --fork 2 --verify --timeout "$seconds" \
    >"$work/output" 2>&1 || { show "$work/output"; fail "stress-ng found something"; }
grep -q 'successful run completed' "$work/output" ||
    { show "$work/output"; fail "stress-ng did not complete"; }
taken_by_breakwater malloc stress-ng --version
