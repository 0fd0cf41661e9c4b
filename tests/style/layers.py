#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""layers.py SRC LAYERS - a file of SRC includes only its own module's headers and lower ones.

LAYERS lists the modules, lowest first, one rank a line; modules of one line are of equal rank and
may not include one another. Every module found in SRC must be listed, and only such. Includes in
angle brackets and those of the public headers, in breakwater/, are free.
"""
import pathlib
import re
import sys

SUFFIXES = {".c", ".h", ".cpp", ".inc"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
PUBLIC = "breakwater/"


def read_ranks(path):
    """The rank of each module named in the file."""
    ranks = {}
    lines = (line.split("#")[0].split() for line in path.read_text().splitlines())
    for rank, modules in enumerate(line for line in lines if line):
        for module in modules:
            if module in ranks:
                sys.exit(f"{path}: {module} is listed twice")
            ranks[module] = rank
    return ranks


def includes(path):
    """The line, the kind of bracket and the name of each include."""
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1), match.group(2)


def fault(including, bracket, name, ranks):
    """What is wrong with one include of a module's file, or None."""
    module = pathlib.PurePath(name).stem
    if name.startswith(PUBLIC):
        return None
    if bracket == "<":
        return f"<{name}> names a module: use quotes" if module in ranks and "/" not in name else None
    if "/" in name:
        return f'"{name}" leaves src/'
    if module not in ranks:
        return f'"{name}" is of no known module'
    if module != including and ranks[module] >= ranks[including]:
        return f'"{name}" is not below {including}'
    return None


def faults(src, ranks):
    files = sorted(path for path in src.iterdir() if path.suffix in SUFFIXES)
    if not files:
        yield f"{src}: no source files"
    for path in files:
        if path.stem not in ranks:
            yield f"{path}: {path.stem} is not in the list of layers"
            continue
        for number, bracket, name in includes(path):
            what = fault(path.stem, bracket, name, ranks)
            if what:
                yield f"{path}:{number}: {what}"
    for module in sorted(set(ranks) - {path.stem for path in files}):
        yield f"{src}: {module} is in the list of layers, but has no file"


def main():
    src, layers = (pathlib.Path(argument) for argument in sys.argv[1:])
    found = list(faults(src, read_ranks(layers)))
    print("\n".join(found) if found else f"{src}: every include points down")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
