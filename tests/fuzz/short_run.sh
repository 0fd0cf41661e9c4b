#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# short_run.sh TARGET RUNS - the seed corpus and RUNS inputs made from it, the same ones every time.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/breakwater-fuzz.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 "$here/make_corpus.py" "$work/corpus"
"$1" -seed=1 -runs="$2" -max_len=1200 -timeout=60 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$work/" "$work/corpus"
