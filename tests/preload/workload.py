# SPDX-License-Identifier: LGPL-2.1-or-later
"""workload.py - real work with a result that does not depend on the run."""
import collections
import concurrent.futures
import hashlib
import json
import multiprocessing
import os
import random
import re
import sqlite3
import subprocess
import sys
import threading
import zlib

ROUNDS = 4
RECORDS = 2500


def records(seed):
    rng = random.Random(seed)
    return [
        {"id": i, "name": "n" * rng.randrange(200), "tags": [rng.random() for _ in range(5)]}
        for i in range(RECORDS)
    ]


def json_digest(seed):
    text = json.dumps(records(seed), sort_keys=True)
    again = json.loads(text)
    assert len(again) == RECORDS
    words = collections.Counter(re.findall(r"[0-9]{3}", text))
    packed = zlib.compress(text.encode())
    assert zlib.decompress(packed) == text.encode()
    return hashlib.sha256(repr(sorted(words.items())).encode() + packed).hexdigest()


def sqlite_sum():
    base = sqlite3.connect(":memory:")
    base.execute("create table t(a integer primary key, b text, c blob)")
    base.executemany(
        "insert into t values(?, ?, ?)", ((i, "x" * (i % 97), bytes(i % 301)) for i in range(20000))
    )
    base.execute("create index tb on t(b)")
    return base.execute("select sum(length(b)), sum(length(c)), count(distinct b) from t").fetchone()


def threads_share_a_list():
    results = []
    lock = threading.Lock()

    def work(number):
        rows = [str(number) * n for n in range(800)]
        joined = "".join(rows)
        with lock:
            results.append((number, len(joined)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(results)


def child_of_a_threaded_parent():
    """fork() while other threads allocate: the child allocates and exits."""
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            [bytearray(n) for n in range(0, 3000, 7)]

    threads = [threading.Thread(target=churn) for _ in range(3)]
    for thread in threads:
        thread.start()
    statuses = []
    for _ in range(20):
        child = os.fork()
        if child == 0:
            size = sum(len(bytearray(n)) for n in range(2000))
            os._exit(7 if size == 1999000 else 1)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stop.set()
    for thread in threads:
        thread.join()
    return statuses


def main():
    for seed in range(ROUNDS):
        print(json_digest(seed))
    print(sqlite_sum())
    print(threads_share_a_list())
    print(child_of_a_threaded_parent())
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        print(list(pool.map(json_digest, range(ROUNDS))))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(json_digest, range(ROUNDS)))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(json_digest, range(2)))
    for number in range(5):
        line = "print(len([bytearray(n) for n in range(%d)]))" % (1000 * number)
        print(subprocess.run([sys.executable, "-c", line], capture_output=True, check=True).stdout)


if __name__ == "__main__":
    main()
