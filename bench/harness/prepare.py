# SPDX-License-Identifier: LGPL-2.1-or-later
"""What must be there before anything is measured: Debian packages, and the release build."""
import os
import shutil
import subprocess
import sys

from process import Failure, run

# cmake and below: what the release preset is configured and built with.
PACKAGES = ("redis-server", "redis-tools", "libjemalloc2", "libtcmalloc-minimal4",
            "libmimalloc2.0", "libtbbmalloc2",
            "memcached", "libmemcached-tools", "nginx", "wrk", "curl", "postgresql",
            "gnuplot-nox", "time", "lua5.4", "sqlite3", "gcc", "clang", "z3", "ghostscript",
            "cmake", "ninja-build", "pkg-config", "liburcu-dev", "libcmocka-dev", "python3")

PACKAGE_STATUS_FORMAT = "${Package} ${db:Status-Status}\n"
BUILD_LINES_SHOWN = 20

APT_VARIABLES = {"DEBIAN_FRONTEND": "noninteractive"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def missing_packages():
    query = subprocess.run(["dpkg-query", "-W", "-f", PACKAGE_STATUS_FORMAT, *PACKAGES],
                           capture_output=True, text=True, check=False)
    installed = {line.split()[0] for line in query.stdout.splitlines()
                 if line.endswith(" installed")}
    return [package for package in PACKAGES if package not in installed]


def install_packages():
    missing = missing_packages()
    if not missing:
        return
    if os.geteuid() != 0:
        raise Failure(f"packages are missing: run as root, or: apt-get install {' '.join(missing)}")
    say(f"installing {' '.join(missing)}")
    run(["apt-get", "update", "-qq"], variables=APT_VARIABLES, merge_output=True)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
        variables=APT_VARIABLES, merge_output=True)
    if "redis-server" in missing:
        stop_redis_service()


def stop_redis_service():
    """The package starts a server of its own and at every boot. Nobody asked for that one, and it
    would share the processors with those measured."""
    say("stopping and disabling the redis-server service, which the package has just started")
    subprocess.run(["service", "redis-server", "stop"], capture_output=True, check=False)
    subprocess.run(["update-rc.d", "redis-server", "disable"], capture_output=True, check=False)


def build(source_directory):
    say("building the release preset")
    for command in (["cmake", "--preset", "release"], ["cmake", "--build", "--preset", "release"]):
        try:
            run(command, directory=source_directory, merge_output=True)
        except Failure as failure:
            say("\n".join(failure.output.splitlines()[-BUILD_LINES_SHOWN:]))
            raise Failure(f"{' '.join(command)} failed") from None


def check_programs(programs):
    for program in programs:
        if not shutil.which(program):  # of a path too
            raise Failure(f"{program} does not exist")
