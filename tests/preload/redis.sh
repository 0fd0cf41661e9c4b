#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# redis.sh - redis serves a benchmark, forks to save, and reloads the same data; the data's digest
# is the same as under glibc. Debian's redis is linked to jemalloc: preloading still takes malloc.
. "$(dirname "$0")/lib.sh"

require redis-server redis-cli redis-benchmark
readonly START_ATTEMPTS=5 START_SECONDS=10 SAVE_SECONDS=20

redis() {
    redis-cli -h 127.0.0.1 -p "$port" "$@"
}

is_ready() {
    [[ $(redis ping) == PONG ]]
}

# Starts redis in directory $1 with the command prefix that follows.
start_redis() {
    local directory=$1 attempt
    shift
    for ((attempt = 0; attempt < START_ATTEMPTS; attempt++)); do
        port=$(free_port)
        start_server "$work/redis.log" "$@" redis-server --bind 127.0.0.1 --port "$port" \
            --dir "$directory" --save '' --daemonize no --enable-debug-command yes
        wait_until "$START_SECONDS" is_ready && ! is_gone "$server" && return
    done
    show "$work/redis.log"
    fail "redis does not start"
}

commands() {
    seq 1 20000 | awk '{
        printf "SET string:%d %0*d\n", $1, $1 % 400 + 1, $1
        printf "RPUSH list:%d %d\n", $1 % 300, $1
        printf "HSET hash:%d field:%d value-%d\n", $1 % 200, $1, $1
        printf "ZADD zset:%d %d member-%d\n", $1 % 100, $1, $1
        if ($1 % 3 == 0) printf "DEL string:%d\n", $1 - 1
        if ($1 % 5 == 0) printf "APPEND string:%d %0500d\n", $1, $1 }'
}

has_saved() {
    redis info persistence | grep '^rdb_bgsave_in_progress:0' >/dev/null
}

save() {
    redis bgsave | grep 'Background saving started' >/dev/null || fail "no background save"
    wait_until "$SAVE_SECONDS" has_saved || fail "the background save does not end"
    redis info persistence | grep '^rdb_last_bgsave_status:ok' >/dev/null || fail "the save failed"
}

contents() {
    printf '%s keys, digest %s\n' "$(redis dbsize)" "$(redis debug digest)"
}

# Fills, saves and reloads; prints what the server held. $1 a directory, then the command prefix.
contents_after_a_reload() {
    local directory=$1 before
    mkdir "$directory"
    start_redis "$@"
    [[ -z ${expect_library:-} ]] || library_is_mapped "$server"
    redis-benchmark -h 127.0.0.1 -p "$port" -q -c 20 -n 4000 -r 1000 -d 200 \
        -t set,get,lpush,lpop,hset,zadd,mset,lrange_100 >"$work/benchmark"
    redis flushall sync >/dev/null
    redis --pipe <"$work/commands" >"$work/piped"
    grep -q 'errors: 0,' "$work/piped" || fail "redis refused a command"
    save
    before=$(contents)
    stop_server "$server" TERM
    [[ -s $directory/dump.rdb ]] || fail "no dump"
    start_redis "$@"
    [[ $(contents) == "$before" ]] || fail "reloaded $(contents), saved $before"
    stop_server "$server" TERM
    result=$before
}

commands >"$work/commands"
contents_after_a_reload "$work/glibc" "${glibc[@]}"
expected=$result
expect_library=yes
contents_after_a_reload "$work/breakwater" "${breakwater[@]}"
[[ $result == "$expected" ]] || fail "holds $result, under glibc $expected"
[[ $result == 1*keys* ]] || fail "too little data: $result"
taken_by_breakwater malloc redis-server --version
