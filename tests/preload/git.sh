#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# git.sh - git imports, clones, repacks with threads and verifies a repository as under glibc.
. "$(dirname "$0")/lib.sh"

require git
cat >"$HOME/.gitconfig" <<'CONFIG'
[user]
    name = Tester
    email = tester@localhost
[init]
    defaultBranch = main
[gc]
    auto = 0
[pack]
    threads = 2
CONFIG

# A history of $1 commits over 40 files, as git fast-import reads it.
history() {
    local commit file
    for ((commit = 1; commit <= $1; commit++)); do
        file=$((commit % 40))
        printf 'commit refs/heads/main\ncommitter T <t@localhost> %d +0000\n' $((1700000000 + commit))
        printf 'data <<END\nchange %d\nEND\n' "$commit"
        printf 'M 100644 inline dir%d/file%d\ndata <<END\n' $((file % 7)) "$file"
        seq "$file" $((file + commit * 3))
        printf 'END\n\n'
    done
}
history 300 >"$work/history"

cat >"$work/script.sh" <<'SCRIPT'
set -eu
git init -q --bare origin.git
git -C origin.git fast-import --quiet <"$1"
git clone -q --no-local origin.git clone
cd clone
git log --stat -p | sha256sum
git checkout -q -b topic HEAD~50
seq 1 2000 >new
git add new
GIT_AUTHOR_DATE='1800000000 +0000' GIT_COMMITTER_DATE='1800000000 +0000' git commit -q -m new
GIT_AUTHOR_DATE='1800000001 +0000' GIT_COMMITTER_DATE='1800000001 +0000' git merge -q -m merged main
git repack -q -a -d -f --depth=20 --window=20
git gc -q --prune=now
git fsck --full --strict --no-progress
git rev-list --objects --all | sort | sha256sum
git rev-parse HEAD
git grep -c 77 | sha256sum
git blame dir1/file1 | sha256sum
git archive HEAD | sha256sum
git status --short
# What is left must not depend on how two threads shared the work.
cd ..
rm -rf origin.git clone
SCRIPT
same_result bash "$work/script.sh" "$work/history"
taken_by_breakwater malloc git --version
