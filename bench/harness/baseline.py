# SPDX-License-Identifier: LGPL-2.1-or-later
"""Is Breakwater worse than in an earlier results.json?

Machines differ from hour to hour, so both are compared by what does not: throughput in relation to
the best peer of the same run, and peak memory."""
import json

from allocators import BREAKWATER
from report import SCHEMA


def read(path):
    """Breakwater's rows by test. Raises ValueError, KeyError or TypeError for what is no result."""
    with open(path, encoding="utf-8") as file:
        results = json.load(file)
    if results["schema"] != SCHEMA:
        raise ValueError(f"schema {results['schema']}, not {SCHEMA}")
    rows = {row["test"]: row for row in results["summary"] if row["allocator"] == BREAKWATER}
    for row in rows.values():
        if not isinstance(row["metrics"], dict):
            raise TypeError(f"no metrics of {row['test']}")
        _ = row["error"], row["vs_best_peer"]
    return rows


def check_comparable(baseline, tests, allocators):
    """Raises ValueError where there would be nothing to compare."""
    if not any(allocator.name == BREAKWATER for allocator in allocators):
        raise ValueError(f"{BREAKWATER}, which it compares, is not among the allocators")
    if not any(test.name in baseline for test in tests):
        raise ValueError("has no row of the tests that are to run")


def regressions(baseline, rows, percent):
    """A line for each test that is worse by more than `percent`."""
    worse = []
    for row in rows:
        old = (baseline or {}).get(row.test)
        if row.allocator != BREAKWATER or old is None or row.error or old["error"]:
            continue
        for what, now, then in (("throughput against the best peer", row.vs_best_peer,
                                 old["vs_best_peer"]),
                                ("peak memory", inverse(row.metrics.get("peak_rss_bytes")),
                                 inverse(old["metrics"].get("peak_rss_bytes")))):
            if now and then and now < then * (1 - percent / 100):
                worse.append(f"{row.test}: {what} by {100 * (1 - now / then):.1f}%")
    return worse


def inverse(value):
    return 1 / value if value else None
