#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""check.py COVERAGE-JSON REASONS ROOT MODULE... - every line and branch executed, or a reason given.

A reason is a line of REASONS: "module.c | text of the source line | why no test executes it", where
the text must stand in the line that is not, or not in all its branches, executed. A reason that begins
with "by chance" may be needless in a run, but its text must stand in the module."""
import json
import pathlib
import sys


def read_reasons(path):
    reasons = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split(" | ")]
        if len(parts) != 3 or not all(parts):
            sys.exit(f"{path}:{number}: not 'module.c | text | reason'")
        reasons.append(tuple(parts))
    return reasons


def gaps_of(entry, source):
    """Line numbers with what is missing there."""
    for line in entry["lines"]:
        if line.get("gcovr/noncode") or line.get("gcovr/excluded"):
            continue
        missing = [branch for branch in line.get("branches", [])
                   if branch["count"] == 0 and not branch.get("gcovr/excluded")]
        if line["count"] == 0:
            yield line["line_number"], "never executed", source[line["line_number"] - 1].strip()
        elif missing:
            yield (line["line_number"], f"{len(missing)} of {len(line['branches'])} branches not taken",
                   source[line["line_number"] - 1].strip())


def main():
    report, reasons_path, root, *modules = sys.argv[1:]
    root = pathlib.Path(root)
    reasons = read_reasons(pathlib.Path(reasons_path))
    used = set()
    unexplained = 0
    held = {f"src/{module}.c" for module in modules}
    files = {entry["file"]: entry
             for entry in json.loads(pathlib.Path(report).read_text(encoding="utf-8"))["files"]}
    for name in sorted(held):
        if name not in files:
            sys.exit(f"check.py: no coverage of {name}")
        source = (root / name).read_text(encoding="utf-8").splitlines()
        for number, what, text in gaps_of(files[name], source):
            matching = [reason for reason in reasons
                        if name.endswith("/" + reason[0]) and reason[1] in text]
            used.update(matching)
            if not matching:
                unexplained += 1
                print(f"{name}:{number}: {what}: {text}")
    stale = [reason for reason in reasons
             if reason not in used and not (reason[2].startswith("by chance") and
                                            reason[1] in (root / "src" / reason[0]).read_text("utf-8"))]
    for reason in stale:
        print(f"reasons.txt: needless now: {reason[0]} | {reason[1]}")
    print(f"check.py: {unexplained} gaps without a reason, {len(used)} reasons used")
    sys.exit(1 if unexplained or stale else 0)


if __name__ == "__main__":
    main()
