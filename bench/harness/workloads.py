# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tests there are. A new workload is a module workload_<name>.py and a line in all_tests().

A test has `name`, `about` (a line for --list), `group` (also a name for --only), `probe` (a command
that starts its program and does little, for check_bindings) and
`run(allocator, context) -> {metric: number}`, which raises Failure if anything goes wrong."""
import os
from dataclasses import dataclass
from typing import Optional

import workload_redis
import workload_server


@dataclass(frozen=True)
class Context:
    temporary_directory: str
    server_cpu: Optional[int]
    client_cpu: Optional[int]


def context(temporary_directory):
    """Server and client never share a processor if there are two."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return Context(temporary_directory, None, None)
    return Context(temporary_directory, cpus[0], cpus[1])


def all_tests(build_directory):
    return (*workload_redis.TESTS, *workload_server.tests(build_directory))


def select_tests(tests, text):
    """`text` is names of tests or groups, separated by commas. Raises ValueError."""
    wanted = text.split(",")
    for name in wanted:
        if not any(name in (test.name, test.group) for test in tests):
            raise ValueError(f'unknown test "{name}" (see --list)')
    return [test for test in tests if test.name in wanted or test.group in wanted]
