# SPDX-License-Identifier: LGPL-2.1-or-later
"""The workloads in C (bench_<name>.c): each prints one line of JSON."""
import json
import os
from dataclasses import dataclass

import metrics
from process import Failure, run

RUN_TIMEOUT_SECONDS = 120

# Workload: its variants, and whether the quick comparison has them. test_run.py holds this table
# against what the programs list.
ALL, NONE = True, False
WORKLOADS = {
    "pair": {"16": NONE, "64": ALL, "256": NONE, "1024": NONE},
    "burst": {"lifo-64": ALL, "fifo-64": NONE, "shuffled-64": NONE,
              "lifo-1000": NONE, "fifo-1000": NONE, "shuffled-1000": NONE,
              "lifo-100000": NONE, "fifo-100000": NONE, "shuffled-100000": ALL,
              "lifo-1000000": NONE, "fifo-1000000": NONE, "shuffled-1000000": NONE},
    "replace": {"small": NONE, "mixed": ALL, "mid": NONE},
    "larson": {"server": ALL},
    "prodcons": {"1to1": ALL, "Nto1": NONE, "1toN": NONE},
    "threadtest": {"8": NONE, "64": NONE},
    "shbench": {"mixed": NONE},
    "cachescratch": {"8": NONE},
    "cachethrash": {"8": NONE},
    "mstress": {"graph": NONE},
    "exchange": {"small": NONE, "mid": NONE},
    "drift": {"queue": NONE, "random": NONE},
    "churn": {"threads": NONE},
    "large": {"touch": NONE, "fill": NONE},
    "buffers": {"fixed": NONE, "mixed": NONE},
    "vectors": {"half": NONE},
    "hugebuf": {"alone": NONE, "mixed": NONE},
    "aligned": {"mixed": NONE},
    "calloc": {"mixed": NONE},
    "tree": {"binary": NONE},
    "trace": {"left": NONE, "trimmed": NONE},
    "idle": {"40-sizes": NONE},
    "sparse": {"decay": NONE, "trim": NONE},
    "freeonly": {"turns": NONE},
    "latency": {"mixed": NONE},
    "server": {"mixed": ALL},
}
# Whose number of threads is part of what they are.
FIXED_THREADS = ("hugebuf", "trace", "idle", "sparse", "freeonly", "server")
# Idle memory goes back with the help of a thread, where an allocator has one and it is off.
BACKGROUND = {"BREAKWATER_CONF": "background_thread:true",
              "MALLOC_CONF": "background_thread:true"}
VARIABLES = {"sparse-decay": BACKGROUND, "trace-left": BACKGROUND}
MEASURED = ("peak_rss_bytes", "end_rss_bytes", "minor_faults", "user_seconds", "system_seconds")


@dataclass(frozen=True)
class ProgramTest:
    """A program of ours that prints one line of JSON with ops_per_second and peak_rss_bytes."""
    name: str
    about: str
    program: str
    arguments: tuple
    quick: bool

    group = "own"

    @property
    def probe(self):
        return (self.program, "--smoke", "--ops", "1")

    def run(self, allocator, _context):
        before = metrics.children_usage()
        output = run([self.program, *self.arguments], timeout=RUN_TIMEOUT_SECONDS,
                     variables={**allocator.preload(), **VARIABLES.get(self.name, {})})
        usage = metrics.usage_between(before, metrics.children_usage())
        try:
            return {**usage, **metrics_of(json.loads(output))}
        except (ValueError, KeyError, TypeError):
            raise Failure(f"{os.path.basename(self.program)} printed no result") from None


def metrics_of(result):
    found = {"throughput": result["ops_per_second"]}
    found.update({name: result[name] for name in MEASURED if name in result})
    if "user_seconds" in result:
        found["cpu_seconds"] = result["user_seconds"] + result["system_seconds"]
    for call, latencies in result.get("latency_ns", {}).items():
        found.update({f"{call}_{part}_ns": value for part, value in latencies.items()})
    found.update(result.get("extra", {}))
    return found


def tests(build_directory, threads):
    """`threads`: a list of numbers of threads to run each workload with, or None for its own."""
    return tuple(own_test(build_directory, name, variant, quick, count)
                 for name, variants in WORKLOADS.items() for variant, quick in variants.items()
                 for count in (threads if threads and name not in FIXED_THREADS else [None]))


def own_test(build_directory, name, variant, quick, count):
    program = os.path.join(build_directory, "bench", f"bench_{name}")
    arguments = ("--variant", variant, *(() if count is None else ("--threads", str(count))))
    suffix = "" if count is None else f"@{count}"
    about = f"bench_{name} {' '.join(arguments)}"
    return ProgramTest(f"{name}-{variant}{suffix}", about, program, arguments, quick)
