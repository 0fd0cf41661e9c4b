# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is measured of a run, and how it is shown.

A new metric is a line of METRICS and, in the workloads that know it, an entry of the dictionary
they return. A workload may leave any metric out but `throughput`."""
import os
import resource
from dataclasses import dataclass
from typing import Callable


PEAK = "peak_rss_bytes"


@dataclass(frozen=True)
class Metric:
    name: str     # key in results.json
    heading: str  # column of the table
    show: Callable[[float], str]


def show_rate(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


METRICS = (
    Metric("throughput", "ops/s", show_rate),
    Metric("p99_ms", "p99 ms", lambda value: f"{value:.2f}"),
    Metric(PEAK, "peak MiB", lambda value: f"{value / 2**20:.1f}"),
    Metric("cpu_seconds", "cpu s", lambda value: f"{value:.2f}"),
    Metric("minor_faults", "faults", lambda value: f"{value:,.0f}"),
)


def peak_rss_bytes(pid):
    """The most memory that was ever resident. (ru_maxrss will not do: across exec it keeps the
    peak of the process that forked, which here is Python.)"""
    return status_bytes(pid, "VmHWM")


def status_bytes(pid, name):
    """What proc(5) calls VmHWM (peak), VmRSS or RssAnon (now)."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    raise OSError(f"process {pid} has no {name}")


def process_usage(pid):
    """User and system time, and page faults without I/O, of all threads until now."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()  # from the 3rd field of proc(5) on
    tick = os.sysconf("SC_CLK_TCK")
    return usage_of(int(fields[11]) / tick, int(fields[12]) / tick, int(fields[7]))


def children_usage():
    """As process_usage, of all the children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage_of(usage.ru_utime, usage.ru_stime, usage.ru_minflt)


def usage_of(user_seconds, system_seconds, minor_faults):
    return {"user_seconds": user_seconds, "system_seconds": system_seconds,
            "cpu_seconds": user_seconds + system_seconds, "minor_faults": minor_faults}


def usage_between(before, after):
    return {name: after[name] - before[name] for name in before}
