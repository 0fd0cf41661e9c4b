# SPDX-License-Identifier: LGPL-2.1-or-later
"""redis-server on loopback, driven by redis-benchmark.

Each run has a server of its own, so that its peak memory belongs to one test and one allocator. A
run is some phases of requests, of which the last is measured. The counts of requests are fixed; the
keys are random (redis-benchmark takes no seed)."""
import contextlib
import csv
import os
import re
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass

import metrics
from allocators import check_mapped
from process import Child, Failure, describe_exit, last_line, run

CLIENTS = 16
START_TIMEOUT_SECONDS = 10
STOP_TIMEOUT_SECONDS = 10
RUN_TIMEOUT_SECONDS = 30
POLL_SECONDS = 0.005
LOG_LINE_PATTERN = re.compile(r"\d+:[XCSM] ")  # process and role


@dataclass(frozen=True)
class Phase:
    command: tuple  # redis-benchmark puts a random number below `keys` where __rand_int__ stands
    requests: int
    keys: int
    pipeline: int = 16


def set_values(size_bytes, requests, keys, pipeline=16):
    return Phase(("SET", "key:__rand_int__", "x" * size_bytes), requests, keys, pipeline)


def get_values(requests, keys):
    return Phase(("GET", "key:__rand_int__"), requests, keys)


def push_values(size_bytes, requests, lists):
    return Phase(("LPUSH", "list:__rand_int__", "x" * size_bytes), requests, lists)


def read_ranges(length, requests, lists):
    return Phase(("LRANGE", "list:__rand_int__", "0", str(length - 1)), requests, lists)


@dataclass(frozen=True)
class RedisTest:
    name: str
    about: str
    phases: tuple

    group = "redis"
    quick = True
    probe = ("redis-server", "--version")

    def run(self, allocator, context):
        with running_server(allocator, context) as server:
            for phase in self.phases[:-1]:
                drive(server, phase, context)
            before = metrics.process_usage(server.pid)
            result = drive(server, self.phases[-1], context)
            usage = metrics.usage_between(before, metrics.process_usage(server.pid))
            result.update(usage, peak_rss_bytes=metrics.peak_rss_bytes(server.pid),
                          end_rss_bytes=metrics.status_bytes(server.pid, "VmRSS"))
            server.shut_down()
        return result


TESTS = (
    RedisTest("redis-set-64", "SET of 64 bytes", (set_values(64, 240_000, 100_000),)),
    RedisTest("redis-set-1k", "SET of 1 KiB", (set_values(1024, 150_000, 50_000),)),
    RedisTest("redis-set-16k", "SET of 16 KiB", (set_values(16384, 40_000, 4_000),)),
    RedisTest("redis-set-resize", "SET of 300 bytes over values of 64 and 1000 bytes",
              (set_values(64, 100_000, 50_000), set_values(1000, 75_000, 50_000),
               set_values(300, 150_000, 50_000))),
    RedisTest("redis-set-single", "SET of 256 bytes, one request at a time (no pipelining)",
              (set_values(256, 30_000, 20_000, pipeline=1),)),
    RedisTest("redis-get-256", "GET of 256 bytes",
              (set_values(256, 100_000, 50_000), get_values(250_000, 50_000))),
    RedisTest("redis-lpush-100", "LPUSH of 100 bytes to 1000 lists",
              (push_values(100, 200_000, 1_000),)),
    RedisTest("redis-lrange-100", "LRANGE of the first 100 of about 150 values of 64 bytes",
              (push_values(64, 150_000, 1_000), read_ranges(100, 40_000, 1_000))),
)


class Server:
    """A redis-server that answers."""

    def __init__(self, child, port, log_path):
        self.child = child
        self.pid = child.popen.pid
        self.port = port
        self.log_path = log_path

    def fail_if_dead(self, meanwhile=None):
        status = self.child.popen.poll()
        if status is not None:
            detail = self.last_words()
            raise Failure(f"redis-server {describe_exit(status)}"
                          + (f": {detail}" if detail else ""))
        if meanwhile:
            raise meanwhile

    def last_words(self):
        """What the allocator or ld.so wrote: all that is no line of the server's own."""
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return last_line("".join(line for line in log if not LOG_LINE_PATTERN.match(line)))

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def wait_until_up(self):
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self.answers():
            self.fail_if_dead()
            if time.monotonic() > deadline:
                raise Failure(f"redis-server did not answer within {START_TIMEOUT_SECONDS} s")
            time.sleep(POLL_SECONDS)

    def shut_down(self):
        """In order, so that a crash on the way out counts."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"SHUTDOWN NOSAVE\r\n")
                status = self.child.popen.wait(STOP_TIMEOUT_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            self.fail_if_dead(Failure("redis-server did not shut down"))
        else:
            if status != 0:
                self.fail_if_dead()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running_server(allocator, context):
    port = free_port()
    with tempfile.TemporaryDirectory(dir=context.temporary_directory) as directory:
        log_path = os.path.join(directory, "log")
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "",
                   "--appendonly", "no", "--dir", directory, "--loglevel", "warning",
                   # Crash as a program does that has no handlers: with the allocator's own signal
                   # and message, and at once.
                   "--crash-log-enabled", "no", "--crash-memcheck-enabled", "no"]
        with open(log_path, "wb") as log, Child(command, allocator.preload(), context.server_cpu,
                                                stdout=log, stderr=log) as child:
            server = Server(child, port, log_path)
            server.wait_until_up()
            check_mapped(allocator, server.pid)
            yield server


def drive(server, phase, context):
    """Sends the phase's requests; returns their throughput and latency."""
    command = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(server.port), "--csv",
               "-c", str(CLIENTS), "-n", str(phase.requests), "-r", str(phase.keys),
               "-P", str(phase.pipeline), *phase.command]
    try:
        output = run(command, timeout=RUN_TIMEOUT_SECONDS, cpu=context.client_cpu)
    except Failure as failure:
        server.fail_if_dead(failure)
    rows = list(csv.DictReader(output.splitlines()))
    if len(rows) != 1:
        raise Failure("redis-benchmark printed no result")
    return {"throughput": float(rows[0]["rps"]), "p99_ms": float(rows[0]["p99_latency_ms"])}
