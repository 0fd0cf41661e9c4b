# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real programs, run from start to end on input that we make: throughput is runs a second."""
import os
import time
from dataclasses import dataclass
from typing import Callable

import metrics
from process import Failure, run

RUN_TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class ProgramRun:
    """A command whose last line of output is `expected`, or anything if that is None."""
    name: str
    about: str
    package: str
    probe: tuple
    prepare: Callable[[str], list]  # makes the input in a directory; returns the command
    expected: str = None
    variables: tuple = ()

    group = "programs"
    quick = False

    def run(self, allocator, context):
        directory = os.path.join(context.temporary_directory, self.name)
        os.makedirs(directory, exist_ok=True)
        command = self.prepare(directory)
        before = metrics.children_usage()
        begin = time.monotonic()
        output = run(["/usr/bin/time", "-f", "peak-kib %M", "-o", "peak", *command],
                     timeout=RUN_TIMEOUT_SECONDS, directory=directory, cpu=context.server_cpu,
                     variables={**allocator.preload(), **dict(self.variables)})
        seconds = time.monotonic() - begin
        usage = metrics.usage_between(before, metrics.children_usage())
        last = output.strip().splitlines()[-1:] or [""]
        if self.expected is not None and last[0].strip() != self.expected:
            raise Failure(f"{command[0]} printed '{last[0][:60]}', not '{self.expected}'")
        with open(os.path.join(directory, "peak"), encoding="ascii") as peak:
            # Of the largest process: compilers start others.
            kib = int(peak.read().split()[-1])
        return {"throughput": 1 / seconds, "peak_rss_bytes": kib * 1024, **usage}


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    return name


PYTHON = """
import json, random
random.seed(7)
words = {}
for i in range(200000):
    word = ''.join(random.choice('abcdefgh') for _ in range(5))
    words.setdefault(word, []).append(str(i))
text = json.dumps(words)
tree = json.loads(text)
print(len(tree), sum(len(v) for v in tree.values()))
"""

LUA = """
math.randomseed(7)
local t = {}
for i = 1, 600000 do
    local k = i * 7919 % 50021
    t[k] = {id = i, name = 'item' .. i, next = t[k % 1000]}
end
local n = 0
for _ in pairs(t) do n = n + 1 end
print(n)
"""

SQL = """
create table item(id integer primary key, name text, value real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 200000)
insert into item select i, 'name ' || (i * 7919 % 100003), i * 0.5 from n;
create index by_name on item(name);
select count(*) from (select a.name, count(*) from item a join item b on a.name = b.name
                      group by a.name);
"""

POSTSCRIPT = """%!PS
/Helvetica findfont 9 scaleto pop
1 1 12 { /page exch def
  0 1 700 { /i exch def
    newpath i 7 mul 500 mod i 13 mul 700 mod moveto
    0 1 20 { /j exch def i j mul 11 mul 500 mod i j 17 mul add 700 mod lineto } for
    i 255 div dup floor sub setgray stroke
  } for
  showpage
} for
"""


def c_source(functions):
    lines = ["#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>"]
    for i in range(functions):
        lines.append(f"struct s{i} {{ int a[{i % 17 + 1}]; struct s{i} *next; double d; }};")
        lines.append(f"int f{i}(struct s{i} *s, int n) {{ int r = n; for (; s; s = s->next) "
                     f"for (int i = 0; i < {i % 17 + 1}; i++) r += s->a[i] * (i ^ {i}) + "
                     f"(r >> {i % 7 + 1}); switch (r % 5) {{ case 0: return r * {i + 3}; "
                     f"case 1: return r - {i}; case 2: printf(\"%d\", r); break; }} return r; }}")
    lines.append("int main(void) { return 0; }")
    return "\n".join(lines) + "\n"


def smt_source(queens):
    lines = ["(set-logic QF_LIA)"]
    lines += [f"(declare-const q{i} Int)(assert (and (<= 0 q{i}) (< q{i} {queens})))"
              for i in range(queens)]
    for i in range(queens):
        for j in range(i + 1, queens):
            lines.append(f"(assert (and (distinct q{i} q{j}) (distinct (- q{i} q{j}) {j - i}) "
                         f"(distinct (- q{j} q{i}) {j - i})))")
    return "\n".join(lines + ["(check-sat)"]) + "\n"


def compiler(command):
    def prepare(directory):
        return [command, "-O2", "-c", write(directory, "large.c", c_source(700)), "-o", "large.o"]
    return prepare


def script(command, name, text):
    def prepare(directory):
        return [*command, write(directory, name, text)]
    return prepare


def ghostscript(directory):
    return ["gs", "-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pdfwrite", "-sOutputFile=out.pdf",
            write(directory, "page.ps", POSTSCRIPT.replace("9 scaleto pop", "9 scalefont setfont"))]


def sqlite(directory):
    write(directory, "script.sql", SQL)
    return ["sqlite3", ":memory:", ".read script.sql"]


TESTS = (
    ProgramRun("python3", "builds, writes and reads 200,000 strings; PYTHONMALLOC=malloc",
               "python3", ("/usr/bin/python3", "--version"),
               script(["/usr/bin/python3"], "words.py", PYTHON), "32678 200000",
               (("PYTHONMALLOC", "malloc"),)),
    ProgramRun("gcc", "compiles a file of 700 functions", "gcc", ("gcc", "--version"),
               compiler("gcc")),
    ProgramRun("clang", "compiles the same file", "clang", ("clang", "--version"),
               compiler("clang")),
    ProgramRun("z3", "places 9 queens", "z3", ("z3", "--version"),
               script(["z3"], "queens.smt2", smt_source(9)), "sat"),
    ProgramRun("ghostscript", "makes a PDF of 12 pages of lines", "ghostscript",
               ("gs", "--version"), ghostscript),
    ProgramRun("lua", "fills tables with 600,000 objects", "lua5.4", ("lua5.4", "-v"),
               script(["lua5.4"], "tables.lua", LUA), "50021"),
    ProgramRun("sqlite3", "fills, indexes and joins a table of 200,000 rows", "sqlite3",
               ("sqlite3", "--version"), sqlite, None),
)
