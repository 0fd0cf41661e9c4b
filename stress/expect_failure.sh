#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# expect_failure.sh REGEX COMMAND... - the command must fail, and say something that REGEX matches.
set -euo pipefail

regex=$1
shift
status=0
output=$("$@" 2>&1) || status=$?
head -n 20 <<<"$output"
if ((status == 0)); then
    echo "expect_failure.sh: did not fail: $*" >&2
    exit 1
fi
if ! grep -Eq -- "$regex" <<<"$output"; then
    echo "expect_failure.sh: failed with status $status, but without '$regex': $*" >&2
    exit 1
fi
