#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# node.sh - Node.js with worker threads, large arrays and JSON works as under glibc.
. "$(dirname "$0")/lib.sh"

require node
same_result node "$here/workload.js"
taken_by_breakwater malloc node --version
