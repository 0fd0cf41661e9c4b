#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""callers.py SRC - "Called by" at the head of a file of SRC names the files that call it, no others.

A file calls a module if it calls a function that the module's .c file defines and does not keep to
itself. A header among the callers, or "every layer", ends the search: what comes by way of it is
not looked for. Every .c file that defines such a function has the list. What heap_check() calls
does not count.
"""
import pathlib
import re
import sys

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
STRING = re.compile(r'"(?:\\.|[^"\\])*"')
DEFINITION = re.compile(r"^(?!static|typedef)\w[\w *]*?\b(\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
CALLED_BY = re.compile(r"^ \* Called by(.*?)(?:\n \* [A-Z]|\*/)", re.MULTILINE | re.DOTALL)
CHECK = re.compile(r"_check(_all)?$")
FILE = re.compile(r"\b\w+\.[ch]\b")


def code_of(path):
    return STRING.sub('""', COMMENT.sub(" ", path.read_text()))


def callers(defined, module, codes):
    """The .c files of other modules that call one of the functions `defined`."""
    call = re.compile(r"\b(?:" + "|".join(map(re.escape, defined)) + r")\(")
    return {path.name for path, code in codes.items()
            if path.suffix == ".c" and path.stem != module
            and call.search(DEFINITION.sub("", code))}


def faults(src):
    codes = {path: code_of(path) for path in sorted(src.glob("*.[ch]"))}
    for path, code in codes.items():
        said = CALLED_BY.search(path.read_text())
        defined = {name for name in DEFINITION.findall(code) if not CHECK.search(name)}
        if not defined:
            continue
        if not said:
            if path.suffix == ".c":
                yield f"{path}: does not say who calls it"
            continue
        named = set(FILE.findall(said.group(1)))
        actual = callers(defined, path.stem, codes)
        is_open = "every layer" in said.group(1) or any(name.endswith(".h") for name in named)
        for name in sorted(named - actual) if not is_open else ():
            yield f"{path}: {name} does not call it"
        for name in sorted(actual - named) if "every layer" not in said.group(1) else ():
            yield f"{path}: {name} calls it, but is not named"


def main():
    src = pathlib.Path(sys.argv[1])
    found = list(faults(src))
    print("\n".join(found) if found else f"{src}: every caller is named")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
