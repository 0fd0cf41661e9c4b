# SPDX-License-Identifier: LGPL-2.1-or-later
"""bench/run: options, and the order of things. See bench/README.md."""
import argparse
import json
import os
import sys
import tempfile
import time
from datetime import datetime, timezone

import baseline
import html_report as html
import prepare
import report
import targets
import workloads
from allocators import KNOWN_NAMES, check_present, parse_allocators
from process import Failure, Interrupted, handle_stop_signals
from rounds import Rounds

SOURCE_DIRECTORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD_DIRECTORY = os.path.join(SOURCE_DIRECTORY, "build", "release")
OUT_DIRECTORY = os.path.join(SOURCE_DIRECTORY, "build", "bench")

ROUNDS_DEFAULT = 5
FULL_ROUNDS = 3
THREADS_MAX = 256
ROUNDS_MAX = 1000
THRESHOLD_DEFAULT = "10"
TIME_LIMIT_SECONDS = 285  # of all, with the build; no test starts that would end later

EXIT_OK, EXIT_FAILED_ROWS, EXIT_ERROR, EXIT_SIGNAL_BASE = 0, 1, 2, 128


class Parser(argparse.ArgumentParser):
    def error(self, message):
        fail(message)


def fail(message):
    print(f"bench/run: {message}", file=sys.stderr)
    sys.exit(EXIT_ERROR)


def parser():
    result = Parser(prog="bench/run", allow_abbrev=False,
                    description="Compares memory allocators under redis and workloads of our own. "
                    "Installs missing Debian packages (as root) and builds the release preset.",
                    epilog="Exit status: 0; 1 if a row failed or is worse than the baseline; 2 for an error; 128 + signal.")
    result.add_argument("--quick", action="store_true",
                        help=f"up to {ROUNDS_DEFAULT} rounds in at most 5 minutes (the default)")
    result.add_argument("--full", action="store_true",
                        help=f"every test, {FULL_ROUNDS} rounds; about an hour")
    result.add_argument("--threads", metavar="LIST",
                        help="run our own workloads with these numbers of threads")
    result.add_argument("--baseline", metavar="FILE",
                        help="compare with this results.json; fail if Breakwater has become worse")
    result.add_argument("--threshold", metavar="PERCENT",
                        help="what --baseline allows in time and in memory "
                        f"(default: {THRESHOLD_DEFAULT})")
    result.add_argument("--only", metavar="NAME,..", help="only these tests or groups of tests")
    result.add_argument("--allocators", metavar="LIST", default=",".join(KNOWN_NAMES),
                        help="NAME or NAME=/path/lib.so, with commas (default: %(default)s)")
    result.add_argument("--repeat", metavar="N", help="N rounds, however long they take")
    result.add_argument("--out", metavar="DIR", default=OUT_DIRECTORY,
                        help="where results.json goes (default: build/bench)")
    result.add_argument("--no-build", action="store_true",
                        help="install and build nothing: use what is there")
    result.add_argument("--build-dir", metavar="DIR",
                        help="with --no-build: the build to use (default: build/release)")
    result.add_argument("--list", action="store_true", help="list tests and allocators")
    return result


def parse_options(arguments):
    options = parser().parse_args(arguments)
    if options.build_dir and not options.no_build:
        fail("--build-dir needs --no-build")
    options.build_dir = os.path.abspath(options.build_dir or BUILD_DIRECTORY)
    options.tests = list(workloads.all_tests(options.build_dir, parse_threads(options.threads)))
    try:
        if options.only is not None:
            options.tests = workloads.select_tests(options.tests, options.only)
        elif not options.full and not options.list:
            options.tests = [test for test in options.tests if test.quick]
    except ValueError as error:
        fail(f"--only: {error}")
    try:
        options.allocators = parse_allocators(options.allocators, options.build_dir)
    except ValueError as error:
        fail(f"--allocators: {error}")
    parse_comparison(options)
    if options.repeat is not None:
        options.repeat = parse_repeat(options.repeat)
        if options.quick:
            fail("--quick and --repeat exclude each other")
    if options.quick and options.full:
        fail("--quick and --full exclude each other")
    return options


def parse_threads(text):
    if text is None:
        return None
    for item in text.split(","):
        if not (item.isascii() and item.isdigit() and 1 <= int(item) <= THREADS_MAX):
            fail(f'--threads: "{item}" is not a number from 1 to {THREADS_MAX}')
    counts = [int(item) for item in text.split(",")]
    for count in counts:
        if counts.count(count) > 1:
            fail(f"--threads: {count} is named twice")
    return counts


def parse_comparison(options):
    given = options.threshold
    options.threshold = parse_threshold(THRESHOLD_DEFAULT if given is None else given)
    if given is not None and options.baseline is None:
        fail("--threshold needs --baseline")
    if options.baseline is not None:
        options.baseline = read_baseline(options.baseline, options.tests, options.allocators)


def parse_threshold(text):
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1000:
        fail(f'--threshold: "{text}" is not a percentage')
    return value


def read_baseline(path, tests, allocators):
    try:
        rows = baseline.read(path)
        baseline.check_comparable(rows, tests, allocators)
        return rows
    except KeyError as error:
        fail(f"--baseline: {path}: no {error}")
    except (OSError, ValueError, TypeError) as error:
        fail(f"--baseline: {path}: {getattr(error, 'strerror', None) or error}")


def parse_repeat(text):
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= ROUNDS_MAX):
        fail(f'--repeat: "{text}" is not a number from 1 to {ROUNDS_MAX}')
    return int(text)


def print_list(options):
    print("tests (group)")
    for test in options.tests:
        print(f"  {test.name + ' (' + test.group + ')':<26}{test.about}")
    print("allocators")
    for allocator in options.allocators:
        print(f"  {allocator.name:<26}{allocator.library}")


def prepare_all(options):
    try:
        os.makedirs(options.out, exist_ok=True)
        with tempfile.TemporaryFile(dir=options.out):
            pass
    except OSError as error:
        raise Failure(f"--out: {options.out}: {error.strerror}") from None
    if not options.no_build:
        prepare.install_packages()
        prepare.build(SOURCE_DIRECTORY)
    check_present(options.allocators)
    prepare.check_programs(["gnuplot", *(test.probe[0] for test in options.tests)])


def compare(options, begin):
    """Returns whether every row succeeded. Of a run that is stopped, what its whole rounds measured
    is written."""
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    tests, allocators = options.tests, options.allocators
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as directory:
        rounds = Rounds(tests, allocators, workloads.context(directory),
                        options.repeat or (FULL_ROUNDS if options.full else ROUNDS_DEFAULT))
        limited = not options.repeat and not options.full
        stop = None
        try:
            count = rounds.run(begin + TIME_LIMIT_SECONDS if limited else None)
        except Interrupted as interrupted:
            stop = interrupted
            count = rounds.drop_begun_round()
            if count == 0:
                raise
    rows = [row for test in tests for row in report.summarise_test(test, allocators, rounds.runs)]
    overall = report.summarise_groups(tests, allocators, rows)
    report.print_table(tests, rows, overall, count)
    path = os.path.join(options.out, "results.json")
    report.write_results(path, started, time.monotonic() - begin, count, tests, allocators,
                         rounds.runs, rows, overall)
    page = os.path.join(options.out, "report.html")
    html.write_report(page, path)
    with open(path, encoding="utf-8") as results:
        targets.write_targets(os.path.join(options.out, "targets.md"), json.load(results))
    print(f"Written: {path}, {page}, targets.md")
    worse = baseline.regressions(options.baseline, rows, options.threshold)
    for line in worse:
        print(f"WORSE than the baseline: {line}")
    if stop:
        raise stop
    return not worse and not any(row.error for row in rows)


def main():
    begin = time.monotonic()
    options = parse_options(sys.argv[1:])
    if options.list:
        print_list(options)
        return EXIT_OK
    handle_stop_signals()
    try:
        prepare_all(options)
        return EXIT_OK if compare(options, begin) else EXIT_FAILED_ROWS
    except Failure as failure:
        fail(failure)
    except Interrupted as interrupted:
        print(f"\nbench/run: stopped by {interrupted}: what is written is of whole rounds only",
              file=sys.stderr)
        return EXIT_SIGNAL_BASE + interrupted.number


sys.exit(main())
