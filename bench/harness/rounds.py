# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs every test under every allocator, round after round.

The allocators take turns run by run, so that a change of the machine's speed meets all of them, and
each test starts with another one, and in each round with another one again, so that none is always
the first or the last."""
import sys
import time
from dataclasses import dataclass, field
from typing import Optional

from allocators import check_bindings
from process import Failure

MARGIN = 1.15  # how much longer than in the longest round so far a test may take


@dataclass
class Run:
    round: int
    test: str
    allocator: str
    metrics: dict = field(default_factory=dict)
    error: Optional[str] = None


class Progress:
    """Says on stderr what runs and how long it will take; on a terminal in one line."""

    def __init__(self, rounds, tests, allocators):
        self.rounds = rounds
        self.tests = tests
        self.per_test = len(allocators)
        self.durations = {test.name: [] for test in tests}
        self.done = 0
        self.rewrites = sys.stderr.isatty()

    def seconds_left(self):
        known = [seconds for taken in self.durations.values() for seconds in taken]
        if not known:
            return None
        mean = sum(known) / len(known)
        left = 0.0
        for taken in self.durations.values():
            runs_left = self.rounds * self.per_test - len(taken)
            left += runs_left * (sum(taken) / len(taken) if taken else mean)
        return left

    def starts(self, number, test, allocator):
        if not self.rewrites and self.done % self.per_test != 0:
            return  # one line for all allocators of a test
        left = self.seconds_left()
        total = self.rounds * len(self.tests) * self.per_test
        text = (f"[{self.done}/{total}] round {number + 1} of {self.rounds}  {test.name}"
                + (f"  {allocator.name}" if self.rewrites else "")
                + (f"  {int(left) // 60}:{int(left) % 60:02d} left" if left is not None else ""))
        print(f"\r{text}\x1b[K" if self.rewrites else text, file=sys.stderr, flush=True,
              end="" if self.rewrites else "\n")

    def ends(self, test, seconds):
        self.durations[test.name].append(seconds)
        self.done += 1

    def clear(self):
        if self.rewrites:
            print("\r\x1b[K", file=sys.stderr, end="", flush=True)

    def say(self, text):
        self.clear()
        print(text, file=sys.stderr, flush=True)


class Rounds:
    def __init__(self, tests, allocators, context, count):
        self.tests = tests
        self.allocators = allocators
        self.context = context
        self.count = count
        self.progress = Progress(count, tests, allocators)
        self.runs = []
        self.longest = {test.name: 0.0 for test in tests}  # seconds under all allocators
        self.failed = {}  # (test, allocator) -> error: not tried again, a hang takes too long

    def run(self, deadline=None):
        """Runs up to `count` rounds. With a deadline (time.monotonic()) it stops, but not in the
        first round, before a test that would be likely to end after it. Returns the number of
        whole rounds; some tests may have been run once more, under every allocator."""
        self.check_bindings()
        for number in range(self.count):
            for place, test in enumerate(self.tests):
                begin = time.monotonic()
                if number and deadline and begin + self.longest[test.name] * MARGIN > deadline:
                    self.progress.say(f"stopping in round {number + 1} to stay within the time")
                    return number
                self.run_test(number, test, (number + place) % len(self.allocators))
                self.longest[test.name] = max(self.longest[test.name], time.monotonic() - begin)
        self.progress.clear()
        return self.count

    def drop_begun_round(self):
        """After an interrupt: forgets a round that is not over. Returns the number of whole ones."""
        self.progress.clear()
        count = len(self.runs) // (len(self.tests) * len(self.allocators))
        self.runs = [run for run in self.runs if run.round < count]
        return count

    def check_bindings(self):
        errors = {}
        for test in self.tests:
            for allocator in self.allocators:
                key = (test.probe, allocator.name)
                if key not in errors:
                    errors[key] = self.binding_error(test, allocator)
                if errors[key]:
                    self.fail(test, allocator, errors[key])

    @staticmethod
    def binding_error(test, allocator):
        try:
            check_bindings(allocator, test.probe)
        except Failure as failure:
            return str(failure)
        return None

    def fail(self, test, allocator, error):
        self.failed[test.name, allocator.name] = error
        self.progress.say(f"FAILED  {test.name}  {allocator.name}: {error}")

    def run_test(self, number, test, first):
        for allocator in self.allocators[first:] + self.allocators[:first]:
            self.progress.starts(number, test, allocator)
            self.run_one(number, test, allocator)

    def run_one(self, number, test, allocator):
        begin = time.monotonic()
        result = Run(number, test.name, allocator.name)
        result.error = self.failed.get((test.name, allocator.name))
        if not result.error:
            try:
                result.metrics = test.run(allocator, self.context)
            except (Failure, OSError) as failure:
                result.error = str(failure)
                self.fail(test, allocator, result.error)
        self.runs.append(result)
        self.progress.ends(test, time.monotonic() - begin)
