#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# bash.sh - bash runs arrays, substitutions, pipelines and subshells as it does under glibc.
. "$(dirname "$0")/lib.sh"

cat >"$work/script.sh" <<'SCRIPT'
declare -A squares
for ((i = 0; i < 3000; i++)); do
    squares[key$i]=$((i * i))
    list+=("item-$i")
done
text=$(printf '%s,' "${list[@]}")
echo "${#squares[@]} ${squares[key77]} ${#text} ${text//item-/#}"
for i in {1..60}; do
    (echo "subshell $i: $(echo "${list[i]}" | tr a-z A-Z)")
done
while read -r number; do
    ((sum += number))
done < <(seq 1 5000)
echo "sum $sum"
for i in 1 2 3 4; do
    { printf 'part %s\n' "$i"; printf '%0500d\n' {1..200}; } >"file$i" &
done
wait
sort file? | uniq -c | head -n 5
mapfile -t lines <file1
printf '%s\n' "${#lines[@]}" "${lines[0]}"
printf 'z %s\n' {500..1} | sort -k2n | awk '{ s += $2 } END { print s }'
eval "$(printf 'f%s() { echo $((%s + $1)); }\n' $(for i in {1..300}; do echo "$i" "$i"; done))"
f299 1
SCRIPT
same_result bash "$work/script.sh"
taken_by_breakwater malloc bash -c 'exit 0'
