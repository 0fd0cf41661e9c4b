#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""make_corpus.py DIRECTORY - the seed corpus: one input for each thing a program does.

An operation of fuzz_api.c is three bytes: what (thread << 6 | kind << 3 | function), where, size."""
import pathlib
import sys

ALLOCATE, RESIZE, FREE, IMPOSSIBLE, OTHER = 0, 3, 4, 6, 7
FAIL_CALLS, END_FAILURES, END_THREAD = 0xff, 0xfe, 0xfd
SLOTS, SIZES = 64, 64


def operation(kind, where=0, size=0, function=0, thread=0):
    return bytes((thread << 6 | kind << 3 | function, where, size))


def fill_and_empty(function, thread=0):
    return (b"".join(operation(ALLOCATE, slot, slot, function, thread) for slot in range(SLOTS))
            + b"".join(operation(FREE, slot, 0, 0, thread) for slot in range(SLOTS)))


def seeds():
    for function in range(8):
        yield f"function-{function}", fill_and_empty(function)
    yield "one-slot", b"".join(operation(ALLOCATE, 1, size) for size in range(2 * SIZES))
    yield "grow", operation(ALLOCATE, 1, 1) + b"".join(operation(RESIZE, 1, size)
                                                      for size in range(SIZES))
    yield "shrink", operation(ALLOCATE, 1, SIZES - 1) + b"".join(
        operation(RESIZE, 1, size) for size in reversed(range(SIZES)))
    yield "handed-over", b"".join(
        operation(ALLOCATE, slot, 20 + slot % 3, 0, slot % 4) for slot in range(SLOTS)) + b"".join(
        operation(FREE, slot, 0, 0, (slot + 1) % 4) for slot in range(SLOTS))
    yield "threads-end", b"".join(
        operation(ALLOCATE, slot, 30, 0, 1 + slot % 3) + bytes((END_THREAD, 1 + slot % 3, 0))
        for slot in range(SLOTS))
    yield "no-memory", bytes((FAIL_CALLS, 0, 15)) + fill_and_empty(0) + bytes(
        (END_FAILURES, 0, 0)) + fill_and_empty(2)
    yield "impossible", b"".join(operation(IMPOSSIBLE, 0, size, size % 4) for size in range(16))
    yield "trim", fill_and_empty(0) + operation(OTHER) + fill_and_empty(3, 2) + operation(OTHER)
    yield "fork", fill_and_empty(0, 1)[:90] + operation(OTHER, 0, 7, 1) + operation(OTHER, 0, 0, 2)
    yield "same-size", b"".join(
        operation(ALLOCATE, slot, 14, 0, thread) for thread in range(4) for slot in range(SLOTS))


def main():
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in seeds():
        (directory / name).write_bytes(data)


if __name__ == "__main__":
    main()
