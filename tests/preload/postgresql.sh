#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# postgresql.sh - PostgreSQL creates a cluster, keeps a benchmark's accounts balanced, and answers
# queries as under glibc.
. "$(dirname "$0")/lib.sh"

readonly START_SECONDS=30
installed=(/usr/lib/postgresql/*/bin)
bin=${installed[-1]}
for program in initdb postgres psql pgbench; do
    [[ -x $bin/$program ]] || fail "$program is not installed"
done

# The server refuses to run as root.
as_user=()
if ((EUID == 0)); then
    as_user=(setpriv --reuid postgres --regid postgres --init-groups)
fi

query() {
    "${as_user[@]}" "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$directory" -d postgres "$@"
}

is_ready() {
    query -c 'select 1'
}

# Creates a cluster in $directory and starts its server; the arguments are the command prefix.
start_postgres() {
    "${as_user[@]}" "$@" "$bin/initdb" -D "$directory/data" --no-sync -A trust -E UTF8 \
        --locale=C >"$work/initdb.log" 2>&1 || { show "$work/initdb.log"; fail "initdb failed"; }
    start_server "$work/postgres.log" "${as_user[@]}" "$@" "$bin/postgres" -D "$directory/data" \
        -k "$directory" -c listen_addresses= -c fsync=off -c shared_buffers=32MB \
        -c max_parallel_workers_per_gather=2 -c min_parallel_table_scan_size=0 \
        -c parallel_setup_cost=0
    wait_until "$START_SECONDS" is_ready && return
    show "$work/postgres.log"
    fail "the server does not start"
}

benchmark() {
    "${as_user[@]}" "$@" "$bin/pgbench" -h "$directory" -i -q -s 2 postgres >"$work/pgbench.log" 2>&1
    "${as_user[@]}" "$@" "$bin/pgbench" -h "$directory" -c 8 -j 2 -t 100 postgres \
        >"$work/pgbench.log" 2>&1 || { show "$work/pgbench.log"; fail "pgbench failed"; }
    grep -q 'transactions actually processed: 800/800' "$work/pgbench.log" || fail "lost transactions"
    [[ $(query -c 'select count(*), sum(delta) = (select sum(abalance) from pgbench_accounts),
            sum(delta) = (select sum(bbalance) from pgbench_branches) from pgbench_history') == \
        '800|t|t' ]] || fail "the accounts do not balance"
}

# $1 names the allocator, the rest is the command prefix.
answers_under() {
    directory=$work/$1
    mkdir "$directory"
    ((EUID != 0)) || chown postgres "$directory"
    shift
    start_postgres "$@"
    benchmark "$@"
    query -f - <"$here/workload.sql" >"$directory/answers" 2>&1 || {
        show "$directory/answers"
        fail "a query failed"
    }
}

answers_under glibc "${glibc[@]}"
stop_server "$server" INT
answers_under breakwater "${breakwater[@]}"
library_is_mapped "$server"
[[ $(query -c "select pg_read_file('/proc/self/maps') like '%$library%'") == t ]] ||
    fail "the library is not in a backend"
stop_server "$server" INT
# The logical replication launcher ends with exit code 1 at every shutdown.
! grep -E 'terminated by signal|PANIC|server process .* exited with exit code' "$work/postgres.log" ||
    fail "a server process crashed"
[[ $(wc -l <"$work/glibc/answers") -gt 50 ]] || fail "too few answers to compare"
diff "$work/glibc/answers" "$work/breakwater/answers" || fail "the answers differ"
taken_by_breakwater malloc "$bin/postgres" --version
