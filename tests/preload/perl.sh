#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# perl.sh - Perl's hashes, regular expressions, threads and processes work as under glibc.
. "$(dirname "$0")/lib.sh"

require perl
export PERL_HASH_SEED=0
same_result perl "$here/workload.pl"
taken_by_breakwater malloc perl -e 1
