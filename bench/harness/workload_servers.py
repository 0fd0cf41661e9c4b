# SPDX-License-Identifier: LGPL-2.1-or-later
"""Servers other than redis: memcached, nginx, PostgreSQL, each driven by the client that belongs to
it. A fresh server per run, pinned to one processor, its client to another.

Memory is what the server's processes together hold in anonymous pages: what allocators answer for,
without the files and the shared memory that several processes map. It is sampled while the client
runs, so that a short peak may be missed."""
import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Callable

import metrics
from allocators import check_mapped
from process import Child, Failure, describe_exit, last_line, run
from workload_redis import free_port

START_TIMEOUT_SECONDS = 20
STOP_TIMEOUT_SECONDS = 20
RUN_TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Service:
    """A server that is to be started: its command, a command that succeeds once it answers, and the
    signal that ends it in order."""
    command: list
    ready: list
    stop: signal.Signals
    fill: tuple = ()  # a command that is not measured


@dataclass(frozen=True)
class ServerTest:
    name: str
    about: str
    probe: tuple
    set_up: Callable  # (directory) -> Service
    drive: Callable   # (service, directory, cpu) -> throughput

    group = "servers"
    quick = False

    def run(self, allocator, context):
        directory = os.path.join(context.temporary_directory, self.name)
        # Servers give up root's rights.
        os.chmod(context.temporary_directory, 0o755)
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        service = self.set_up(directory)
        with running(service, allocator, directory, context.server_cpu) as pid:
            if service.fill:
                run(service.fill, timeout=RUN_TIMEOUT_SECONDS, cpu=context.client_cpu, directory="/")
            before = tree_usage(pid)
            with MemorySampler(pid) as sampler:
                throughput = self.drive(service, directory, context.client_cpu)
            usage = metrics.usage_between(before, sampler.usage)
            end_bytes = anonymous_bytes(pid)
        return {"throughput": throughput, "peak_rss_bytes": sampler.peak_bytes,
                "end_rss_bytes": end_bytes, **usage}


@contextlib.contextmanager
def running(service, allocator, directory, cpu):
    log_path = os.path.join(directory, "log")
    with open(log_path, "wb") as log, Child(service.command, allocator.preload(), cpu, stdout=log,
                                            stderr=log, cwd=directory) as child:
        wait_until_up(service, child, log_path)
        check_mapped(allocator, child.popen.pid)
        yield child.popen.pid
        fail_if_dead(child, log_path)
        child.popen.send_signal(service.stop)
        try:
            status = child.popen.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure(f"{service.command[-1]} did not shut down") from None
        if status != 0:
            fail_if_dead(child, log_path)


def fail_if_dead(child, log_path):
    status = child.popen.poll()
    if status is not None:
        with open(log_path, encoding="utf-8", errors="replace") as log:
            raise Failure(f"{child.name} {describe_exit(status)}: {last_line(log.read())}")


def wait_until_up(service, child, log_path):
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        with contextlib.suppress(Failure):
            run(service.ready, timeout=START_TIMEOUT_SECONDS)
            return
        fail_if_dead(child, log_path)
        if time.monotonic() > deadline:
            raise Failure(f"{child.name} did not answer within {START_TIMEOUT_SECONDS} s")
        time.sleep(POLL_SECONDS)


def processes_of(pid):
    """The process and those below it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError), \
                open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as children:
            found += [int(child) for child in children.read().split()]
    return found


def anonymous_bytes(pid):
    """Of the process and those below it."""
    total = 0
    for process in processes_of(pid):
        with contextlib.suppress(OSError):
            total += metrics.status_bytes(process, "RssAnon")
    return total


def tree_usage(pid):
    total = metrics.usage_of(0.0, 0.0, 0)
    for process in processes_of(pid):
        with contextlib.suppress(OSError):
            for name, value in metrics.process_usage(process).items():
                total[name] += value
    return total


class MemorySampler:
    """Looks at a server's processes every now and then, in a thread of its own; processes that come
    and go with their connection are seen while they are there."""

    def __init__(self, pid):
        self.pid = pid
        self.peak_bytes = 0
        self.usage = tree_usage(pid)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        while not self.stopped.wait(POLL_SECONDS):
            self.sample()

    def sample(self):
        self.peak_bytes = max(self.peak_bytes, anonymous_bytes(self.pid))
        usage = tree_usage(self.pid)
        self.usage = {name: max(value, usage[name]) for name, value in self.usage.items()}

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_exception):
        self.stopped.set()
        self.thread.join()
        if self.peak_bytes == 0:
            self.sample()


def number_in(pattern, output, program):
    found = re.search(pattern, output)
    if not found:
        raise Failure(f"{program} printed no result")
    return float(found.group(1))


# memcached

MEMCACHED_ROUNDS = 1
MEMCACHED_REQUESTS = 40_000
MEMCACHED_CLIENTS = 4


def memcached(_directory):
    port = str(free_port())
    return Service(["memcached", "-u", "root", "-l", "127.0.0.1", "-p", port, "-t", "4", "-m", "512"],
                   ["memcping", f"--servers=127.0.0.1:{port}"], signal.SIGTERM)


def drive_memcached(service, _directory, cpu):
    server = service.ready[-1]
    begin = time.monotonic()
    for _ in range(MEMCACHED_ROUNDS):
        for test in ("set", "get"):
            run(["memcslap", server, f"--concurrency={MEMCACHED_CLIENTS}",
                 f"--execute-number={MEMCACHED_REQUESTS // MEMCACHED_CLIENTS}", f"--test={test}"],
                timeout=RUN_TIMEOUT_SECONDS, cpu=cpu)
    return 2 * MEMCACHED_ROUNDS * MEMCACHED_REQUESTS / (time.monotonic() - begin)


# nginx

NGINX_CONFIGURATION = """
daemon off; worker_processes 1; {user} pid {directory}/pid; error_log {directory}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off; keepalive_requests 1000000;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    gzip on; gzip_types text/plain; gzip_min_length 1; default_type text/plain;
    server {{
        listen 127.0.0.1:{port}; root {directory};
        location /proxied/ {{ proxy_pass http://127.0.0.1:{port}/; }}
    }}
}}
"""


def nginx(directory):
    port = free_port()
    path = os.path.join(directory, "conf")
    with open(path, "w", encoding="ascii") as file:
        file.write(NGINX_CONFIGURATION.format(directory=directory, port=port,
                                              user="user root;" if os.geteuid() == 0 else ""))
    with open(os.path.join(directory, "page.txt"), "w", encoding="ascii") as page:
        page.write("\n".join(str(i) for i in range(1500)))
    return Service(["nginx", "-p", directory, "-c", path, "-e", f"{directory}/error.log"],
                   ["curl", "-sSf", "--noproxy", "*", "-o", "/dev/null",
                    f"http://127.0.0.1:{port}/proxied/page.txt"], signal.SIGQUIT)


def drive_nginx(service, _directory, cpu):
    output = run(["wrk", "-t1", "-c32", "-d1s", "-H", "Accept-Encoding: gzip", service.ready[-1]],
                 timeout=RUN_TIMEOUT_SECONDS, cpu=cpu)
    if "Non-2xx" in output:
        raise Failure("nginx refused requests")
    return number_in(r"Requests/sec: *([0-9.]+)", output, "wrk")


# PostgreSQL

PGBENCH_CLIENTS = 4
PGBENCH_TRANSACTIONS = 600


def postgres_program(name):
    """Debian keeps them apart by version."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return found[-1] if found else name


def as_postgres(*command):
    """The server refuses to run as root."""
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups",
            "--pdeathsig", "KILL", "--", *command]


def postgres(directory):
    data = os.path.join(os.path.dirname(directory), "postgres-data")
    if os.geteuid() == 0:
        shutil.chown(directory, "postgres", "postgres")
    if not os.path.isdir(data):
        os.makedirs(data)
        if os.geteuid() == 0:
            shutil.chown(data, "postgres", "postgres")
        run(as_postgres(postgres_program("initdb"), "-D", data, "--no-sync", "-A", "trust",
                        "-E", "UTF8", "--locale=C"), timeout=RUN_TIMEOUT_SECONDS, directory="/")
    run(["cp", "-a", data, os.path.join(directory, "data")])
    return Service(as_postgres(postgres_program("postgres"), "-D", f"{directory}/data",
                               "-k", directory, "-c", "listen_addresses=", "-c", "fsync=off",
                               "-c", "shared_buffers=32MB"),
                   as_postgres(postgres_program("psql"), "-X", "-q", "-h", directory,
                               "-d", "postgres", "-c", "select 1"), signal.SIGINT,
                   as_postgres(postgres_program("pgbench"), "-h", directory, "-i", "-q", "-s", "2",
                               "postgres"))


def drive_postgres(_service, directory, cpu):
    output = run(as_postgres(postgres_program("pgbench"), "-h", directory,
                             "-c", str(PGBENCH_CLIENTS), "-j", "1",
                             "-t", str(PGBENCH_TRANSACTIONS), "postgres"),
                 timeout=RUN_TIMEOUT_SECONDS, cpu=cpu, directory="/")
    return number_in(r"tps = ([0-9.]+)", output, "pgbench")


TESTS = (
    ServerTest("memcached", "set and get of 32,000 values by memcslap, 4 connections",
               ("memcached", "--version"), memcached, drive_memcached),
    ServerTest("nginx", "a compressed page through a proxy, wrk with 32 connections",
               ("nginx", "-v"), nginx, drive_nginx),
    ServerTest("postgresql", "pgbench, 4 clients, accounts of 2 branches",
               (postgres_program("postgres"), "--version"), postgres, drive_postgres),
)
