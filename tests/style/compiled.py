#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""compiled.py BUILD OUT - writes BUILD's compile commands to OUT, each file once, and lists the files.

clang-tidy would look at a file once for each target that compiles it. A C++ file whose command names
no standard gets gcc's default, which clang's differs from.
"""
import json
import os
import pathlib
import sys

CXX_DEFAULT = "-std=gnu++17"


def by_file(commands):
    """The first command of each file."""
    first = {}
    for entry in commands:
        path = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
        first.setdefault(path, dict(entry, file=path))
    return first


def main():
    build, out = (pathlib.Path(argument) for argument in sys.argv[1:])
    first = by_file(json.loads((build / "compile_commands.json").read_text()))
    if not first:
        sys.exit(f"{build} compiles nothing")
    for path, entry in first.items():
        if path.endswith(".cpp") and "-std=" not in entry["command"]:
            entry["command"] = entry["command"].replace(" -c ", f" {CXX_DEFAULT} -c ", 1)
    (out / "compile_commands.json").write_text(json.dumps(list(first.values())))
    print("\n".join(sorted(first)))


if __name__ == "__main__":
    main()
