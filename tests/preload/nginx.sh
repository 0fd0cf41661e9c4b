#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# nginx.sh - nginx under load serves the files it was given, reloads, and its workers end cleanly.
. "$(dirname "$0")/lib.sh"

require nginx wrk curl
readonly START_ATTEMPTS=5 START_SECONDS=10

mkdir "$work/site" "$work/temporary"
seq 1 1000000 >"$work/text"
for size in 0 1 1000 50000 3000000; do
    head -c "$size" "$work/text" >"$work/site/$size.txt"
done

configuration() {
    cat <<CONFIG
daemon off;
worker_processes 2;
user root;
pid $work/nginx.pid;
error_log $work/error.log notice;
events { worker_connections 256; }
http {
    access_log $work/access.log;
    default_type text/plain;
    client_body_temp_path $work/temporary/body;
    proxy_temp_path $work/temporary/proxy;
    fastcgi_temp_path $work/temporary/fastcgi;
    uwsgi_temp_path $work/temporary/uwsgi;
    scgi_temp_path $work/temporary/scgi;
    gzip on;
    gzip_types text/plain;
    server {
        listen 127.0.0.1:$port;
        root $work/site;
        location /proxied/ { proxy_pass http://127.0.0.1:$port/; }
    }
}
CONFIG
}

start_nginx() {
    local attempt
    for ((attempt = 0; attempt < START_ATTEMPTS; attempt++)); do
        port=$(free_port)
        configuration >"$work/nginx.conf"
        start_server "$work/nginx.log" "${breakwater[@]}" nginx -p "$work" -c "$work/nginx.conf" \
            -e "$work/error.log"
        wait_until "$START_SECONDS" port_is_open "$port" && ! is_gone "$server" && return
    done
    show "$work/nginx.log"
    fail "nginx does not start"
}

serves_what_it_was_given() {
    local file prefix option
    for file in "$work"/site/*.txt; do
        for prefix in '' proxied/; do
            for option in --no-buffer --compressed; do
                curl -sS --fail --max-time 20 --noproxy '*' "$option" -o "$work/fetched" \
                    "http://127.0.0.1:$port/$prefix${file##*/}"
                # curl writes no file for an empty answer.
                [[ -e $work/fetched ]] || : >"$work/fetched"
                cmp "$file" "$work/fetched" || fail "$prefix${file##*/} differs, $option"
                rm "$work/fetched"
            done
        done
    done
}

workers() {
    ps -o pid= --ppid "$server"
}

load() {
    wrk -t2 -c40 -d2s -H 'Accept-Encoding: gzip' "http://127.0.0.1:$port/$1" >"$work/wrk.$2"
}

start_nginx
library_is_mapped "$server"
for worker in $(workers); do
    library_is_mapped "$worker"
done
serves_what_it_was_given
load 50000.txt first
load proxied/1000.txt second &
loader=$!
sleep 0.5
kill -HUP "$server"
wait "$loader"
serves_what_it_was_given
for report in "$work"/wrk.*; do
    grep -Eq '^ +[1-9][0-9]* requests in' "$report" || { show "$report"; fail "no request served"; }
    ! grep -q 'Non-2xx' "$report" || { show "$report"; fail "requests failed under load"; }
done
stop_server "$server" QUIT
! grep -E 'exited on signal|exited with (fatal )?code [1-9]|\[(alert|emerg|crit)\]' "$work/error.log" ||
    fail "a worker did not end cleanly"
taken_by_breakwater malloc nginx -v
