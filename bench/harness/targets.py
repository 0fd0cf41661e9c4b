# SPDX-License-Identifier: LGPL-2.1-or-later
"""targets.md: the project's targets with the figure of a run beside each. Needs a run of --full; what
a run did not measure says so."""
import math
import statistics

from allocators import BREAKWATER, REFERENCE
from metrics import PEAK

HARDLY_ALLOCATES = ("redis", "servers", "programs")
EQUAL = 1.02  # counts as equal where the program hardly allocates
BANDS = (math.inf, 2.0, 1.5, 1.3, 1.2, 1.1, 1.05, 1.0)


class Results:
    """What the targets ask of a results.json. Times are those of one operation."""

    def __init__(self, results):
        self.rows = {(row["test"], row["allocator"]): row for row in results["summary"]}
        self.group = {test["name"]: test["group"] for test in results["tests"]}
        self.allocators = [allocator["name"] for allocator in results["allocators"]]
        self.peers = [name for name in self.allocators if name != BREAKWATER]

    def value(self, test, allocator, metric):
        row = self.rows.get((test, allocator))
        return row["metrics"].get(metric) if row and not row["error"] else None

    def time(self, test, allocator):
        throughput = self.value(test, allocator, "throughput")
        return 1 / throughput if throughput else None

    def best(self, test, metric=None):
        """The least time, or the least of a metric, of all peers."""
        values = [self.value(test, peer, metric) if metric else self.time(test, peer)
                  for peer in self.peers]
        return min((value for value in values if value is not None), default=None)

    def time_ratio(self, test, peer=None):
        return ratio(self.time(test, BREAKWATER),
                     self.time(test, peer) if peer else self.best(test))

    def tests(self):
        return [test for test in self.group if "@" not in test]

    def passed(self):
        """Tests that no allocator failed."""
        return [test for test in self.tests()
                if all(self.time(test, name) for name in self.allocators)]

    def mean(self, allocator, of):
        values = [of(test, allocator) for test in self.passed()]
        return geometric_mean(values)


def ratio(value, base):
    return value / base if value is not None and base else None


def geometric_mean(values):
    known = [value for value in values if value]
    return math.exp(statistics.fmean(map(math.log, known))) if known else None


def mean_time(run):
    peers = {peer: run.mean(peer, run.time) for peer in run.peers}
    known = {peer: value for peer, value in peers.items() if value}
    if not known:
        return None
    return ratio(run.mean(BREAKWATER, run.time), min(known.values()))


def mean_memory(run, allocator):
    return geometric_mean([ratio(run.value(test, BREAKWATER, PEAK), run.value(test, allocator, PEAK))
                           for test in run.passed()])


def worst(run, names, of, limit_of):
    """The tests over their limits, worst first, as a list of (figure, name)."""
    over = [(of(name), name) for name in names
            if of(name) is not None and of(name) > limit_of(name)]
    return sorted(over, reverse=True)


def time_limit(run):
    return lambda test: EQUAL if run.group[test] in HARDLY_ALLOCATES else 1.0


def memory_over_smallest(run):
    return lambda test: ratio(run.value(test, BREAKWATER, PEAK), run.best(test, PEAK))


def drop_over_threads(run):
    """The most that throughput falls from one number of threads to any larger one, 2 to 64."""
    series = {}
    for test in run.group:
        name, has_threads, threads = test.partition("@")
        throughput = run.value(test, BREAKWATER, "throughput")
        if has_threads and throughput and 2 <= int(threads) <= 64:
            series.setdefault(name, []).append((int(threads), throughput))
    drops = [1 - later / earlier for points in series.values()
             for i, (_, earlier) in enumerate(sorted(points))
             for _, later in sorted(points)[i + 1:]]
    return max(drops, default=None)


def performance(run):
    yield "geometric mean of time, against the best single peer", 0.85, mean_time(run)
    for size in (16, 64, 256):
        yield f"pair-{size}, against mimalloc", 0.95, run.time_ratio(f"pair-{size}", "mimalloc")
    for order in ("lifo", "fifo", "shuffled"):
        yield (f"burst-{order}-64, against mimalloc", 0.95,
               run.time_ratio(f"burst-{order}-64", "mimalloc"))
    for order in ("lifo", "fifo", "shuffled"):
        yield (f"burst-{order}-100000, against mimalloc", 1.00,
               run.time_ratio(f"burst-{order}-100000", "mimalloc"))
    for variant in ("1to1", "Nto1", "1toN"):
        yield (f"prodcons-{variant}, against the best peer", 0.50,
               run.time_ratio(f"prodcons-{variant}"))
    yield "larson-server, against the best peer", 0.80, run.time_ratio("larson-server")
    for variant in ("touch", "fill"):
        yield (f"large-{variant}, against the best peer", 0.80,
               run.time_ratio(f"large-{variant}"))
    for variant in ("alone", "mixed"):
        yield (f"hugebuf-{variant}, against mimalloc", 0.10,
               run.time_ratio(f"hugebuf-{variant}", "mimalloc"))
    yield "throughput lost from 2 to 64 threads, at most", 0.05, drop_over_threads(run)
    for call in ("malloc", "free"):
        metric = f"{call}_p9999_ns"
        yield (f"p99.99 of {call}, against the best peer", 1.00,
               ratio(run.value("latency-mixed", BREAKWATER, metric),
                     run.best("latency-mixed", metric)))
    yield "churn-threads, against glibc", 1.05, run.time_ratio("churn-threads", REFERENCE)
    yield "geometric mean of peak memory, against glibc", 1.00, mean_memory(run, REFERENCE)


def memory(run):
    yield "geometric mean of peak memory, against glibc", 0.95, mean_memory(run, REFERENCE)
    for peer in run.peers:
        if peer != REFERENCE:
            yield f"geometric mean of peak memory, against {peer}", 1.00, mean_memory(run, peer)
    for variant in ("decay", "trim"):
        yield (f"sparse-{variant}, resident over pages with a live block", 1.02,
               run.value(f"sparse-{variant}", BREAKWATER, "resident_over_live_pages"))
    yield ("freeonly-turns, resident over live peak", 1.30,
           run.value("freeonly-turns", BREAKWATER, "resident_over_live_peak"))
    trace = run.value("trace-left", BREAKWATER, "resident_over_live")
    yield "trace-left, resident over live", 1.25, trace
    yield ("trace-left, resident over live, against the best peer", 1.00,
           ratio(trace, run.best("trace-left", "resident_over_live")))
    yield ("idle-40-sizes, resident bytes a thread", 8192,
           run.value("idle-40-sizes", BREAKWATER, "resident_bytes_per_thread"))


def table(lines):
    yield "| target | at most | measured | met |"
    yield "|---|---|---|---|"
    for about, limit, value in lines:
        shown = "not measured" if value is None else f"{value:,.3f}"
        met = "" if value is None else "yes" if value <= limit else "no"
        yield f"| {about} | {limit:,} | {shown} | {met} |"


def over(title, tests):
    """The tests that worst() gives, a row for each band of their figures that has any."""
    yield ""
    yield f"{title}: {len(tests)}"
    yield from ("", "| figure | tests |", "|---|---|") if tests else ()
    for above, band in zip(BANDS, BANDS[1:]):
        row = [f"{name} {value:.2f}" for value, name in tests if band <= value < above]
        if row:
            yield f"| from {band:.2f} on | {', '.join(row)} |"


def left_out(tests):
    yield ""
    yield f"Left out of the means, since some allocator failed: {', '.join(tests) or 'none'}"


def write_targets(path, results):
    run = Results(results)
    excluded = [test for test in run.tests() if test not in run.passed()]
    lines = ["## Performance", "", *table(performance(run))]
    lines += over("Tests slower than the best peer (over 1.02 where the program hardly allocates)",
                  worst(run, run.tests(), run.time_ratio, time_limit(run)))
    lines += ["", "## Memory", "", *table(memory(run))]
    lines += over("Tests with a higher peak than 1.10 of the smallest peer's",
                  worst(run, run.tests(), memory_over_smallest(run), lambda _test: 1.10))
    lines += left_out(excluded)
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
