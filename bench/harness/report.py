# SPDX-License-Identifier: LGPL-2.1-or-later
"""From single runs to the table and results.json (its fields: bench/README.md)."""
import json
import math
import os
import statistics
from dataclasses import dataclass, field
from typing import Optional

from allocators import BREAKWATER, REFERENCE
from metrics import METRICS, show_rate

SCHEMA = "breakwater-bench/2"
NOTHING = "-"


@dataclass
class Row:
    """One allocator in one test: medians over the rounds, or the first failure."""
    test: str
    allocator: str
    error: Optional[str] = None
    metrics: dict = field(default_factory=dict)
    spread: dict = field(default_factory=dict)  # metric: [least, most]
    vs_best_peer: Optional[float] = None
    memory_vs_glibc: Optional[float] = None


@dataclass
class Overall:
    """One allocator over the tests of a group that no allocator failed: geometric means."""
    group: str
    tests: int
    excluded: list  # tests that some allocator failed
    allocator: str
    throughput: Optional[float] = None
    vs_best_peer: Optional[float] = None
    memory_vs_glibc: Optional[float] = None


def ratio(value, base):
    return value / base if value is not None and base else None


def geometric_mean(values):
    """Of positive numbers; nothing if there are none or one is unknown."""
    if not values or not all(values):
        return None
    return math.exp(statistics.fmean(math.log(value) for value in values))


def best_peer(rows):
    """`rows` have allocator and throughput; the best throughput but Breakwater's."""
    return max((row_throughput(row) or 0 for row in rows if row.allocator != BREAKWATER), default=0)


def row_throughput(row):
    return row.metrics.get("throughput") if isinstance(row, Row) else row.throughput


def summarise_test(test, allocators, runs):
    rows = [summarise_runs(test, allocator, [run for run in runs if run.test == test.name and
                                             run.allocator == allocator.name])
            for allocator in allocators]
    peer = best_peer(rows)
    reference = next((row.metrics.get("peak_rss_bytes") for row in rows
                      if row.allocator == REFERENCE), None)
    for row in rows:
        row.vs_best_peer = ratio(row_throughput(row), peer)
        row.memory_vs_glibc = ratio(row.metrics.get("peak_rss_bytes"), reference)
    return rows


def summarise_runs(test, allocator, runs):
    row = Row(test.name, allocator.name)
    row.error = next((run.error for run in runs if run.error), None)
    if not row.error:
        row.metrics = {name: statistics.median(run.metrics[name] for run in runs)
                       for name in runs[0].metrics}
        row.spread = {name: [min(run.metrics[name] for run in runs),
                             max(run.metrics[name] for run in runs)] for name in runs[0].metrics}
    return row


def summarise_groups(tests, allocators, rows):
    """A line for each allocator over the tests of each group, and over all of them."""
    groups = {test.group: None for test in tests}
    result = []
    for group in [*groups, *(["all"] if len(groups) > 1 else [])]:
        names = [test.name for test in tests if group in (test.group, "all")]
        failed = {row.test for row in rows if row.error}
        result += summarise_overall(group, [name for name in names if name not in failed],
                                    [name for name in names if name in failed], allocators, rows)
    return result


def summarise_overall(group, names, excluded, allocators, rows):
    result = []
    for allocator in allocators:
        own = [row for row in rows if row.allocator == allocator.name and row.test in names]
        result.append(Overall(group, len(names), excluded, allocator.name,
                              geometric_mean([row_throughput(row) for row in own]),
                              None, geometric_mean([row.memory_vs_glibc for row in own])))
    peer = best_peer(result)
    for overall in result:
        overall.vs_best_peer = ratio(overall.throughput, peer)
    return result


def show_number(value, show="{:.2f}".format):
    return NOTHING if value is None else show(value)


def print_groups(overall):
    layout = "  {:<12}{:>12}{:>11}{:>11}"
    group = None
    for line in overall:
        if line.group != group:
            group = line.group
            print(f"\nall {group} tests ({line.tests}), geometric means" if group != "all" else
                  f"\nall tests ({line.tests}), geometric means")
            if line.excluded:
                print(f"  without {', '.join(line.excluded)}: not every allocator passed")
            print(layout.format("", "ops/s", "vs peer", "mem/glibc"))
        print(layout.format(line.allocator, show_number(line.throughput, show_rate),
                            show_number(line.vs_best_peer), show_number(line.memory_vs_glibc)))


def print_table(tests, rows, overall, rounds):
    headings = [metric.heading for metric in METRICS]
    layout = "  {:<12}" + "{:>12}" + "{:>9}" * (len(headings) - 1) + "{:>11}{:>11}"
    for test in tests:
        print(f"\n{test.name}: {test.about}")
        print(layout.format("", *headings, "vs peer", "mem/glibc"))
        for row in (row for row in rows if row.test == test.name):
            if row.error:
                print(f"  {row.allocator:<12}FAILED: {row.error}")
                continue
            cells = [metric.show(row.metrics[metric.name]) if metric.name in row.metrics
                     else NOTHING for metric in METRICS]
            print(layout.format(row.allocator, *cells, show_number(row.vs_best_peer),
                                show_number(row.memory_vs_glibc)))
    print_groups(overall)
    print(f"\nMedians of {rounds} interleaved rounds. vs peer: throughput in relation to the best "
          f"allocator\nother than {BREAKWATER}. mem/glibc: peak resident memory in relation to "
          f"{REFERENCE}'s.")


def machine():
    model = "unknown"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"cpus": len(os.sched_getaffinity(0)), "cpu_model": model,
            "kernel": os.uname().release, "architecture": os.uname().machine}


def write_results(path, started, seconds, rounds, tests, allocators, runs, rows, overall):
    """In one step: a reader finds the old file or the new one."""
    results = {
        "schema": SCHEMA,
        "started": started,
        "seconds": round(seconds, 1),
        "rounds": rounds,
        "machine": machine(),
        "tests": [{"name": test.name, "about": test.about, "group": test.group} for test in tests],
        "allocators": [vars(allocator) for allocator in allocators],
        "runs": [vars(run) for run in runs],
        "summary": [vars(row) for row in rows],
        "overall": [vars(line) for line in overall],
    }
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "w", encoding="utf-8") as output:
            json.dump(results, output, indent=1)
            output.write("\n")
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
