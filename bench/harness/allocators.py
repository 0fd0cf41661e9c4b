# SPDX-License-Identifier: LGPL-2.1-or-later
"""The allocators compared, and the proof that a program uses the one it was given.

Every allocator is preloaded, glibc's too, since Debian's redis-server is linked to libjemalloc.so.2
(ldd shows it). It calls malloc, calloc, realloc, free and malloc_usable_size by these names, and
ld.so searches preloaded libraries before those linked: so a preloaded libc.so.6, which is otherwise
searched after libjemalloc, takes jemalloc's place too. Two of redis's calls always reach jemalloc:
mallctl (statistics for INFO and a background thread, idle) and nallocx (asks what size a string
would get). So `mem_allocator` in INFO reads jemalloc in each column and proves nothing.

Proved before the runs, by check_bindings(): ld.so reports, with LD_DEBUG=bindings, to which file it
bound the program's calls. Proved in each server, by check_mapped(): the file is mapped in it. Both
were confirmed with gdb attached to a loaded server: a breakpoint on malloc stops in the preloaded
library, and INFO's allocator_allocated, which jemalloc counts, stays near 0 but in its own column.
What idle jemalloc itself keeps resident, some MiB at most, is part of every other column's memory.
"""
import os
import re
import sysconfig
from dataclasses import dataclass

from process import Failure, run

BREAKWATER = "breakwater"
REFERENCE = "glibc"  # memory is shown in relation to its memory

LIBRARY_DIRECTORY = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH') or 'x86_64-linux-gnu'}"
PEER_FILES = {
    "glibc": "libc.so.6",
    "jemalloc": "libjemalloc.so.2",
    "tcmalloc": "libtcmalloc_minimal.so.4",
    "mimalloc": "libmimalloc.so.2.0",
    "tbbmalloc": "libtbbmalloc_proxy.so.2",
}
KNOWN_NAMES = (*PEER_FILES, BREAKWATER)

NAME_PATTERN = re.compile(r"[A-Za-z0-9_.+-]{1,20}")
BINDING_PATTERN = re.compile(r"binding file (\S+) \[0\] to (\S+) \[0\]: "
                             r"normal symbol [`'](malloc|calloc|realloc|free|malloc_usable_size)'")
PROBE_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Allocator:
    name: str
    library: str

    def preload(self):
        return {"LD_PRELOAD": self.library}


def known_library(name, build_directory):
    if name == BREAKWATER:
        return os.path.join(build_directory, "libbreakwater.so")
    return os.path.join(LIBRARY_DIRECTORY, PEER_FILES[name])


def parse_allocators(text, build_directory):
    """`text` is NAME or NAME=PATH, separated by commas. Raises ValueError."""
    allocators = []
    for item in text.split(","):
        name, has_path, path = item.partition("=")
        if not NAME_PATTERN.fullmatch(name):
            raise ValueError(f'"{item}" is neither NAME nor NAME=PATH')
        if not has_path and name not in KNOWN_NAMES:
            raise ValueError(f'unknown allocator "{name}" (known: {", ".join(KNOWN_NAMES)}; '
                             f"or give {name}=/path/to/lib.so)")
        if has_path and not os.path.isfile(path):
            raise ValueError(f'{name}: no file "{path}"')
        if any(name == other.name for other in allocators):
            raise ValueError(f'"{name}" is named twice')
        library = os.path.abspath(path) if has_path else known_library(name, build_directory)
        if re.search(r"[\s:]", library):
            raise ValueError(f'{name}: "{library}" has a space or colon, which ld.so cannot preload')
        allocators.append(Allocator(name, library))
    return allocators


def check_present(allocators):
    for allocator in allocators:
        if not os.path.isfile(allocator.library):
            raise Failure(f"{allocator.name}: {allocator.library} does not exist")


def check_bindings(allocator, command):
    """Starts `command`, which should do little, and fails unless each function of the malloc family
    that the program itself calls was bound to the allocator's library."""
    output = run(command, timeout=PROBE_TIMEOUT_SECONDS, merge_output=True,
                 any_status=True,  # a crash shows in the runs, with a better message
                 variables={**allocator.preload(), "LD_BIND_NOW": "1", "LD_DEBUG": "bindings"})
    library = os.path.realpath(allocator.library)
    found = 0
    for caller, target, symbol in BINDING_PATTERN.findall(output):
        if os.path.basename(caller) != os.path.basename(command[0]):
            continue
        if os.path.realpath(target) == os.path.realpath(caller):
            continue  # the program takes the function's address: its own entry, which leads on
        if os.path.realpath(target) != library:
            raise Failure(f"not in use: {symbol} is bound to {target}")
        found += 1
    if found == 0:
        raise Failure(f"not in use: {command[0]} calls no malloc that could be replaced")


def check_mapped(allocator, pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:
        if not any(line.rstrip().endswith(" " + os.path.realpath(allocator.library))
                   for line in maps):
            raise Failure(f"not in use: {allocator.library} is not mapped in the server")
