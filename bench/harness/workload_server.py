# SPDX-License-Identifier: LGPL-2.1-or-later
"""bench_server.c: threads that allocate as a multithreaded server would."""
import json
import os
from dataclasses import dataclass

import metrics
from process import Failure, run

RUN_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class ProgramTest:
    """A program of ours that prints one line of JSON with ops_per_second and peak_rss_bytes."""
    name: str
    about: str
    program: str
    arguments: tuple

    group = "own"

    @property
    def probe(self):
        return (self.program, "--help")

    def run(self, allocator, _context):
        before = metrics.children_usage()
        output = run([self.program, *self.arguments], timeout=RUN_TIMEOUT_SECONDS,
                     variables=allocator.preload())
        usage = metrics.usage_between(before, metrics.children_usage())
        try:
            result = json.loads(output)
            return {"throughput": result["ops_per_second"],
                    "peak_rss_bytes": result["peak_rss_bytes"], **usage}
        except (ValueError, KeyError, TypeError):
            raise Failure(f"{os.path.basename(self.program)} printed no result") from None


def tests(build_directory):
    program = os.path.join(build_directory, "bench", "bench_server")
    return (ProgramTest("server", "4 threads, mixed sizes, a share freed by other threads",
                        program, ("--threads", "4", "--ops", "4000000")),)
