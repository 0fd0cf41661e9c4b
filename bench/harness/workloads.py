# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tests there are. A new workload is a module workload_<name>.py and a line in all_tests().

A test has `name`, `about` (a line for --list), `group` (also a name for --only; so is its name up to
the first "-"), `quick` (is it part of --quick?), `probe` (a command that starts its program and does
little, for check_bindings) and `run(allocator, context) -> {metric: number}`, which raises Failure if anything goes wrong."""
import os
from dataclasses import dataclass
from typing import Optional

import workload_own
import workload_programs
import workload_redis
import workload_servers


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


def all_tests(build_directory, threads=None):
    return (*workload_redis.TESTS, *workload_servers.TESTS, *workload_programs.TESTS,
            *workload_own.tests(build_directory, threads))


def names_of(test):
    return (test.name, test.group, test.name.partition("-")[0], test.name.partition("@")[0])


def select_tests(tests, text):
    """`text` is names of tests or groups, separated by commas. Raises ValueError."""
    wanted = text.split(",")
    for name in wanted:
        if not any(name in names_of(test) for test in tests):
            raise ValueError(f'unknown test "{name}" (see --list)')
    return [test for test in tests if any(name in wanted for name in names_of(test))]
