#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""locked.py SRC - a function of SRC whose name ends in _locked asserts that the lock is held."""
import pathlib
import re
import sys

DEFINITION = re.compile(r"\b(\w+_locked)\([^;{}]*\)\n\{\n(.*?)^\}", re.DOTALL | re.MULTILINE)
ASSERTION = re.compile(r"\bASSERT\(lock_(?:rank_)?is_held\(")


def main():
    found = False
    faults = []

    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.[ch]")):
        for name, body in DEFINITION.findall(path.read_text(encoding="utf-8")):
            found = True
            if not ASSERTION.search(body):
                faults.append(f"{path.name}: {name}() does not assert that the lock is held")
    if not found:
        faults.append(f"{sys.argv[1]}: no function ends in _locked")
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
