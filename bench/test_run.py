# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests of bench/run: bad input, broken allocators, and what an interrupt leaves behind.

Usage: python3 test_run.py BUILD_DIRECTORY (which holds the workloads). Needs redis and cc."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "harness"))
import targets  # pylint: disable=wrong-import-position

RUN = os.path.join(HERE, "run")
BUILD_DIRECTORY = ""
QUICK_TEST = "redis-set-16k"
OWN_TEST = "pair-16"
TIMEOUT_SECONDS = 240

# glibc's allocator under the names of malloc, but the ABORT_AFTERth free aborts.
BROKEN_ALLOCATOR = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void __libc_free(void *);
void *malloc(size_t size) { return __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return __libc_calloc(count, size); }
void *realloc(void *block, size_t size) { return __libc_realloc(block, size); }
void free(void *block)
{
    static int calls;
    if (++calls == ABORT_AFTER) abort();
    __libc_free(block);
}
#ifndef NO_USABLE_SIZE
size_t malloc_usable_size(void *block)
{
    static size_t (*next)(void *);
    if (!next) *(void **)&next = dlsym(dlopen("libc.so.6", RTLD_LAZY), "malloc_usable_size");
    return next(block);
}
#endif
"""


# Shows the report in frames as wide as a phone and a laptop, and says what became of it.
REPORT_PROBE = """<!DOCTYPE html><body><script>
const found = [];
for (const width of [390, 1366]) {
  const frame = document.createElement('iframe');
  frame.style.width = width + 'px'; frame.style.height = '800px'; frame.style.border = '0';
  frame.onload = () => {
    const page = frame.contentDocument;
    const texts = [...page.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height);
    found.push({width, content: page.documentElement.scrollWidth,
      drawings: page.querySelectorAll('svg').length,
      drawn: [...page.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width > 200 &&
                                                     s.getBoundingClientRect().height > 100).length,
      smallest_text: Math.min(...texts), scripts: page.querySelectorAll('script, link, img').length});
    if (found.length == 2) document.body.textContent = 'FOUND' + JSON.stringify(found) + 'END';
  };
  frame.src = 'report.html';
  document.body.append(frame);
}
</script></body>
"""


class TargetsTest(unittest.TestCase):
    """The tables that docs/performance.md and docs/memory.md show, of a run that is made up."""
    ALLOCATORS = ("glibc", "mimalloc", "breakwater")

    def written(self, tests):
        """`tests`: name to throughput and peak by allocator, in ALLOCATORS' order; None: failed."""
        rows = [{"test": name, "allocator": allocator, "error": None if figures else "crashed",
                 "metrics": dict(zip(("throughput", "peak_rss_bytes"), figures or ()))}
                for name, by_allocator in tests.items()
                for allocator, figures in zip(self.ALLOCATORS, by_allocator)]
        results = {"summary": rows, "tests": [{"name": name, "group": "own"} for name in tests],
                   "allocators": [{"name": name} for name in self.ALLOCATORS]}
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as file:
            targets.write_targets(file.name, results)
            return file.read().splitlines()

    def test_times_and_means_are_ratios_to_the_peer_named(self):
        lines = self.written({"pair-16": [(1, 10), (4, 40), (8, 20)],
                              "pair-64": [(4, 10), (2, 10), (2, 5)]})
        self.assertIn("| pair-16, against mimalloc | 0.95 | 0.500 | yes |", lines)
        self.assertIn("| pair-64, against mimalloc | 0.95 | 1.000 | no |", lines)
        self.assertIn("| pair-256, against mimalloc | 0.95 | not measured |  |", lines)
        # glibc's mean time is 1/2, mimalloc's 1/sqrt(8), ours 1/4.
        self.assertIn("| geometric mean of time, against the best single peer | 0.85 | 0.707 | yes |",
                      lines)
        self.assertIn("| geometric mean of peak memory, against glibc | 0.95 | 1.000 | no |", lines)
        self.assertIn("| geometric mean of peak memory, against mimalloc | 1.0 | 0.500 | yes |", lines)

    def test_what_is_slower_stands_in_the_band_of_its_figure(self):
        lines = self.written({"a": [(30, 1), (1, 1), (10, 1)], "b": [(21, 1), (1, 1), (20, 1)],
                              "c": [(11, 1), (1, 1), (10, 1)], "d": [(1, 1), (1, 1), (2, 1)]})
        self.assertEqual([line for line in lines if line.startswith("| from")],
                         ["| from 2.00 on | a 3.00 |", "| from 1.10 on | c 1.10 |",
                          "| from 1.05 on | b 1.05 |"])

    def test_a_test_that_some_allocator_failed_is_in_no_mean(self):
        lines = self.written({"a": [(1, 10), (1, 10), (1, 10)], "b": [(1, 10), None, (9, 90)]})
        self.assertIn("| geometric mean of peak memory, against glibc | 0.95 | 1.000 | no |", lines)
        self.assertIn("Left out of the means, since some allocator failed: b", lines)


class RunTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="test-run-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.out = os.path.join(self.directory, "out")
        self.temporary = os.path.join(self.directory, "tmp")
        os.mkdir(self.temporary)

    def start(self, *arguments):
        return subprocess.Popen([RUN, "--no-build", "--build-dir", BUILD_DIRECTORY,
                                 "--out", self.out, *arguments],
                                env={**os.environ, "TMPDIR": self.temporary}, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def finish(self, *arguments):
        with self.start(*arguments) as process:
            output, errors = process.communicate(timeout=TIMEOUT_SECONDS)
        return process.returncode, output, errors

    def results(self):
        with open(os.path.join(self.out, "results.json"), encoding="utf-8") as results:
            return json.load(results)

    def compile_allocator(self, *flags):
        path = os.path.join(self.directory, "libbroken.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-fno-builtin", "-w", *flags, "-x", "c",
                        "-", "-o", path], input=BROKEN_ALLOCATOR, text=True, check=True)
        return path

    @staticmethod
    def processes(file, part):
        """Command lines of the processes in whose /proc/PID/`file` there is `part`."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/{file}", "rb") as about:
                    is_found = os.fsencode(part) in about.read()
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as cmdline:
                    line = cmdline.read().replace("\0", " ")
            except OSError:
                continue
            if is_found:
                found.append(line)
        return found

    def servers(self):
        return self.processes("cmdline", self.temporary)

    def processes_of_this_test(self):
        return self.processes("environ", f"TMPDIR={self.temporary}")

    def assert_nothing_runs(self):
        deadline = time.monotonic() + 2  # the kernel may still be reaping
        while self.processes_of_this_test() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(self.processes_of_this_test(), [])

    def test_bad_input_gives_one_line_that_names_the_fault(self):
        cases = [
            (["--bogus"], "--bogus"),
            (["surplus"], "surplus"),
            (["--repeat", "0"], '--repeat: "0"'),
            (["--repeat", "two"], '--repeat: "two"'),
            (["--repeat", "2", "--quick"], "--quick and --repeat"),
            (["--repeat"], "--repeat"),
            (["--only", "redis,nosuch"], '--only: unknown test "nosuch"'),
            (["--only", ""], '--only: unknown test ""'),
            (["--threads", "0"], '--threads: "0"'),
            (["--threads", "1,many"], '--threads: "many"'),
            (["--quick", "--full"], "--quick and --full"),
            (["--threads", "2,1,2"], "--threads: 2 is named twice"),
            (["--threshold", "no"], '--threshold: "no"'),
            (["--threshold", "20"], "--threshold needs --baseline"),
            (["--baseline", "/no/such"], "--baseline: /no/such"),
            (["--baseline", "/dev/null"], "--baseline: /dev/null"),
            (["--allocators", "nosuch"], 'unknown allocator "nosuch"'),
            (["--allocators", ""], "--allocators"),
            (["--allocators", "glibc,glibc"], '"glibc" is named twice'),
            (["--allocators", "a=/no/such.so"], 'a: no file "/no/such.so"'),
            (["--allocators", "glibc", "--out", "/proc/x"], "--out: /proc/x"),
            (["--allocators", "glibc", "--out", "/dev/null"], "--out: /dev/null"),
            (["--allocators", "breakwater", "--build-dir", "/none"], "/none/libbreakwater.so"),
        ]
        for arguments, expected in cases:
            with self.subTest(arguments=arguments):
                status, output, errors = self.finish(*arguments)
                self.assertEqual(status, 2, errors)
                self.assertEqual(output, "")
                self.assertEqual(len(errors.splitlines()), 1, errors)
                self.assertIn(expected, errors)

    def test_a_baseline_that_cannot_be_compared_is_refused_before_anything_runs(self):
        row = {"test": QUICK_TEST, "allocator": "breakwater", "metrics": {}, "error": None,
               "vs_best_peer": 1.0}
        library = f"breakwater={BUILD_DIRECTORY}/libbreakwater.so"
        cases = [
            ("breakwater-bench/1", [row], library, "schema breakwater-bench/1, not"),
            ("breakwater-bench/2", [], library, "has no row of the tests"),
            ("breakwater-bench/2", [{**row, "allocator": "glibc"}], library, "has no row"),
            ("breakwater-bench/2", [{"test": QUICK_TEST, "allocator": "breakwater"}], library,
             "no 'metrics'"),
            ("breakwater-bench/2", [row], "glibc", "is not among the allocators"),
        ]
        path = os.path.join(self.directory, "baseline.json")
        for schema, summary, allocators, expected in cases:
            with self.subTest(expected=expected):
                with open(path, "w", encoding="utf-8") as file:
                    json.dump({"schema": schema, "summary": summary}, file)
                status, output, errors = self.finish("--only", QUICK_TEST, "--baseline", path,
                                                     "--allocators", allocators)
                self.assertEqual((status, output), (2, ""), errors)
                self.assertEqual(len(errors.splitlines()), 1, errors)
                self.assertIn(expected, errors)

    def test_a_run_measures_each_allocator_once_a_round(self):
        status, output, errors = self.finish("--only", f"{QUICK_TEST},{OWN_TEST}", "--repeat", "2",
                                             "--allocators", "glibc,jemalloc")
        self.assertEqual(status, 0, errors)
        results = self.results()
        order = [(run["round"], run["test"], run["allocator"]) for run in results["runs"]]
        self.assertEqual(order, [(0, QUICK_TEST, "glibc"), (0, QUICK_TEST, "jemalloc"),
                                 (0, OWN_TEST, "jemalloc"), (0, OWN_TEST, "glibc"),
                                 (1, QUICK_TEST, "jemalloc"), (1, QUICK_TEST, "glibc"),
                                 (1, OWN_TEST, "glibc"), (1, OWN_TEST, "jemalloc")])
        for run in results["runs"]:
            self.assertGreater(run["metrics"]["throughput"], 0)
            self.assertGreater(run["metrics"]["peak_rss_bytes"], 0)
        self.assertIn("all redis tests (1)", output)
        self.assertIn("all tests (2)", output)
        self.assertEqual(os.listdir(self.temporary), [])

    def test_the_table_of_workloads_is_what_the_programs_list(self):
        sys.path.insert(0, os.path.join(os.path.dirname(RUN), "harness"))
        import workload_own  # pylint: disable=import-outside-toplevel
        directory = os.path.join(BUILD_DIRECTORY, "bench")
        programs = {name[len("bench_"):] for name in os.listdir(directory)
                    if name.startswith("bench_") and os.access(os.path.join(directory, name), os.X_OK)
                    and os.path.isfile(os.path.join(directory, name))}
        self.assertEqual(programs, set(workload_own.WORKLOADS))
        for name, variants in workload_own.WORKLOADS.items():
            listed = subprocess.run([os.path.join(directory, f"bench_{name}"), "--list-variants"],
                                    capture_output=True, text=True, check=True).stdout.split()
            self.assertEqual(listed, list(variants))

    def test_workloads_print_the_numbers_that_results_need(self):
        directory = os.path.join(BUILD_DIRECTORY, "bench")
        for name in ("pair", "latency", "trace"):
            line = subprocess.run([os.path.join(directory, f"bench_{name}"), "--smoke"],
                                  capture_output=True, text=True, check=True).stdout
            self.assertEqual(len(line.splitlines()), 1)
            result = json.loads(line)
            for key in ("ops", "seconds", "ops_per_second", "peak_rss_bytes", "end_rss_bytes"):
                self.assertGreater(result[key], 0, (name, key))
        bad = subprocess.run([os.path.join(directory, "bench_pair"), "--threads", "x"],
                             capture_output=True, text=True, check=False)
        self.assertEqual((bad.returncode, len(bad.stderr.splitlines())), (2, 1))

    def test_results_follow_the_schema_and_a_worse_run_fails_against_a_baseline(self):
        arguments = ("--only", "pair-64,larson", "--repeat", "1", "--threads", "1,2",
                     "--allocators", f"glibc,breakwater={BUILD_DIRECTORY}/libbreakwater.so")
        status, _output, errors = self.finish(*arguments)
        self.assertEqual(status, 0, errors)
        results = self.results()
        schema = os.path.join(os.path.dirname(RUN), "harness", "results.schema.json")
        import jsonschema  # pylint: disable=import-outside-toplevel
        with open(schema, encoding="utf-8") as file:
            description = json.load(file)
        jsonschema.validate(results, description)
        with self.assertRaises(jsonschema.ValidationError):
            jsonschema.validate({**results, "rounds": "many"}, description)
        self.assertEqual([test["name"] for test in results["tests"]],
                         ["pair-64@1", "pair-64@2", "larson-server@1", "larson-server@2"])
        for row in results["summary"]:
            if row["allocator"] == "breakwater":
                row["vs_best_peer"] *= 1000
        path = os.path.join(self.directory, "better.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(results, file)
        status, output, errors = self.finish(*arguments, "--baseline", path)
        self.assertEqual(status, 1, errors)
        self.assertIn("WORSE than the baseline: pair-64@1: throughput", output)
        with open(os.path.join(self.out, "report.html"), encoding="utf-8") as page:
            text = page.read()
        self.assertIn("<svg", text)
        self.assertIn("larson-server", text)

    def test_the_report_is_legible_on_a_phone_and_on_a_laptop(self):
        status, _output, errors = self.finish(
            "--only", "pair-64,latency,larson", "--repeat", "1", "--threads", "1,2",
            "--allocators", f"glibc,breakwater={BUILD_DIRECTORY}/libbreakwater.so")
        self.assertEqual(status, 0, errors)
        with open(os.path.join(self.out, "probe.html"), "w", encoding="ascii") as page:
            page.write(REPORT_PROBE)
        dump = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--allow-file-access-from-files", "--virtual-time-budget=10000",
             f"--user-data-dir={self.directory}/chromium", "--dump-dom",
             f"file://{self.out}/probe.html"],
            capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True).stdout
        self.assertIn("FOUND", dump, dump[:2000])
        phone, laptop = sorted(json.loads(dump[dump.index("FOUND") + 5:dump.index("END")]),
                               key=lambda frame: frame["width"])
        for frame in (phone, laptop):
            self.assertGreater(frame["drawings"], 4)
            self.assertEqual(frame["drawn"], frame["drawings"])
            self.assertLessEqual(frame["content"], frame["width"])  # nothing runs off the page
            self.assertGreater(frame["smallest_text"], 9)           # pixels
            self.assertEqual(frame["scripts"], 0)                   # self-contained

    def test_an_allocator_that_crashes_is_a_failed_row(self):
        broken = self.compile_allocator("-DABORT_AFTER=20000")
        status, output, errors = self.finish("--only", QUICK_TEST, "--repeat", "2",
                                             "--allocators", f"broken={broken},glibc")
        self.assertEqual(status, 1, errors)
        self.assertRegex(output, r"broken +FAILED: redis-server died of SIGABRT")
        self.assertRegex(output, r"glibc +[0-9,]+ ")
        broken_row, glibc_row = self.results()["summary"]
        self.assertIn("SIGABRT", broken_row["error"])
        self.assertEqual(broken_row["metrics"], {})
        self.assertIsNone(glibc_row["error"])
        self.assertEqual([run["error"] is None for run in self.results()["runs"]],
                         [False, True, True, False])

    def test_a_library_that_the_program_does_not_use_is_a_failed_row(self):
        partial = self.compile_allocator("-DABORT_AFTER=-1", "-DNO_USABLE_SIZE")
        not_elf = os.path.join(self.directory, "text.so")
        with open(not_elf, "w", encoding="ascii") as text:
            text.write("no library\n")
        status, output, _ = self.finish("--only", QUICK_TEST, "--repeat", "1", "--allocators",
                                        f"partial={partial},text={not_elf},glibc")
        self.assertEqual(status, 1)
        self.assertRegex(output, r"partial +FAILED: not in use: malloc_usable_size is bound to \S+"
                                 r"jemalloc")
        self.assertRegex(output, r"text +FAILED: not in use: ")

    def test_a_stop_signal_leaves_nothing_behind(self):
        cases = [(signal.SIGINT, 0.0), (signal.SIGTERM, 0.1), (signal.SIGINT, 0.5),
                 (signal.SIGHUP, 1.0), (signal.SIGTERM, 0.7)]
        for number, delay in cases:
            with self.subTest(signal=number, delay=delay), \
                    self.start("--only", "redis", "--allocators", "glibc,jemalloc") as process:
                while not self.servers() and process.poll() is None:
                    time.sleep(0.001)
                time.sleep(delay)
                process.send_signal(number)
                process.send_signal(number)
                _, errors = process.communicate(timeout=TIMEOUT_SECONDS)
                self.assertEqual(process.returncode, 128 + number, errors)
                self.assertIn(f"stopped by {signal.Signals(number).name}", errors)
                self.assert_nothing_runs()
                self.assertEqual(os.listdir(self.temporary), [])
                self.assertEqual(os.listdir(self.out), [])

    def test_of_a_run_that_is_stopped_whole_rounds_are_written(self):
        with self.start("--only", f"{QUICK_TEST},{OWN_TEST}", "--repeat", "50",
                        "--allocators", "glibc") as process:
            for line in process.stderr:
                if "round 2 of" in line and OWN_TEST in line:
                    break
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=TIMEOUT_SECONDS)
        self.assertEqual(process.returncode, 128 + signal.SIGINT, errors)
        self.assertIn("stopped by SIGINT", errors)
        self.assertIn("Medians of 1 interleaved round", output)
        self.assertEqual([(run["round"], run["test"]) for run in self.results()["runs"]],
                         [(0, QUICK_TEST), (0, OWN_TEST)])
        self.assertEqual(os.listdir(self.temporary), [])

    def test_a_child_that_starts_late_does_not_outlive_us(self):
        trace = os.path.join(self.directory, "trace")
        late = os.path.join(self.directory, "setpriv")
        with open(late, "w", encoding="ascii") as script:
            script.write(f'#!/bin/sh\necho began >>{trace}\n'
                         'while [ "$(ps -o ppid= -p $$)" -eq $PARENT ]; do sleep 0.01; done\n'
                         f'{shutil.which("setpriv")} "$@"; echo "ended $?" >>{trace}\n')
        os.chmod(late, 0o755)
        program = ("import os, sys, time; sys.path.insert(0, sys.argv[1]); import process\n"
                   "os.environ['PARENT'] = str(os.getpid())\n"
                   "process.Child(['sh', '-c', f'echo ran >>{sys.argv[2]}'])\n"
                   "time.sleep(60)")
        with subprocess.Popen([sys.executable, "-B", "-c", program, os.path.join(HERE, "harness"),
                               trace], env={**os.environ, "PATH": f"{self.directory}:/usr/bin:/bin",
                                            "TMPDIR": self.temporary}) as parent:
            while not os.path.exists(trace):
                time.sleep(0.01)
            parent.kill()
        written = ""
        while "ended" not in written or not written.endswith("\n"):
            time.sleep(0.01)
            with open(trace, encoding="ascii") as lines:
                written = lines.read()
        self.assertEqual(written, "began\nended 1\n")

    def test_being_killed_leaves_nothing_behind(self):
        with self.start("--only", "redis", "--allocators", "glibc") as process:
            while not self.servers() and process.poll() is None:
                time.sleep(0.001)
            time.sleep(0.3)
            process.kill()
            process.communicate(timeout=TIMEOUT_SECONDS)
        self.assert_nothing_runs()


if __name__ == "__main__":
    BUILD_DIRECTORY = os.path.abspath(sys.argv.pop(1))
    unittest.main()
