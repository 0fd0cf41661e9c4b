# SPDX-License-Identifier: LGPL-2.1-or-later
"""Child processes: started so that none outlives us, stopped on every way out.

Three nets, for each covers a case that the others miss:
  - whoever starts a child holds it in `with Child(...)`, which kills its process group at the end;
  - SIGINT, SIGTERM and SIGHUP become the exception Interrupted, so that those ends are reached;
  - each child asks the kernel to be killed when we die (setpriv --pdeathsig), should we be killed,
    and then runs its command only if we still live.
Children have a session of their own, so a Ctrl-C at the terminal reaches us alone.
"""
import os
import signal
import subprocess

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asks us to stop. No Exception, so that no handler of failures swallows it."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


class Failure(Exception):
    """One command failed; the message is a line for people, `output` all it wrote."""

    def __init__(self, message, output=""):
        super().__init__(message)
        self.output = output


def handle_stop_signals():
    def stop(number, _frame):
        for stop_signal in STOP_SIGNALS:  # a second Ctrl-C must not interrupt the cleaning up
            signal.signal(stop_signal, signal.SIG_IGN)
        raise Interrupted(number)

    for stop_signal in STOP_SIGNALS:
        signal.signal(stop_signal, stop)


def describe_exit(status):
    if status < 0:
        return f"died of {signal.Signals(-status).name}"
    return f"exited with status {status}"


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else ""


# $0: our process. The kernel tells nothing of a death before it was asked to.
UNLESS_ORPHANED = '[ "$PPID" = "$0" ] && exec "$@"'


class Child:
    """A running child process: `with Child(command) as child`.

    `variables` (say LD_PRELOAD) are set by env(1), so they reach the program and no wrapper."""

    def __init__(self, command, variables=None, cpu=None, **popen_options):
        wrapped = ["setpriv", "--pdeathsig", "KILL", "--",
                   "sh", "-c", UNLESS_ORPHANED, str(os.getpid())]
        if cpu is not None:
            wrapped += ["taskset", "-c", str(cpu)]
        wrapped += ["env", "-u", "LD_PRELOAD", "LC_ALL=C"]
        wrapped += [f"{name}={value}" for name, value in (variables or {}).items()]
        popen_options.setdefault("stdin", subprocess.DEVNULL)
        self.name = os.path.basename(command[0])
        self.popen = subprocess.Popen(wrapped + list(command), start_new_session=True,
                                      **popen_options)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()
        for stream in (self.popen.stdout, self.popen.stderr):
            if stream:
                stream.close()


def run(command, timeout=None, variables=None, cpu=None, merge_output=False,
        any_status=False, directory=None):
    """Runs a command to its end and returns its output; anything but success is a Failure, with
    `any_status` only a timeout."""
    errors = subprocess.STDOUT if merge_output else subprocess.PIPE
    with Child(command, variables, cpu, stdout=subprocess.PIPE, stderr=errors, text=True,
               errors="replace", cwd=directory) as child:
        try:
            output, error_output = child.popen.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"{child.name} still ran after {timeout} s") from None
        if child.popen.returncode != 0 and not any_status:
            detail = last_line(error_output or output)
            raise Failure(f"{child.name} {describe_exit(child.popen.returncode)}"
                          + (f": {detail}" if detail else ""), output)
    return output
