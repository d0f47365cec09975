"""scraping.py - a service that a collector asks all the time.

Every ten seconds heap, threads, mutex and block are asked for, and processor time without a pause,
with the default rates, as Parca's agent and Alloy do. Added up is what the kernel charges to our own
threads, and for each CPU sample what one takes in the thread that is sampled: so the load of the
service and its scatter have no part in it.
"""

import glob
import os
import subprocess
import sys
import threading
import time

from bench import HERE, Candidate, Target
from programs import PYTHON, Server, needs
from serving import UnixConnection

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))
import pprof  # noqa: E402

PERIOD_S = 10
ASKED = ("heap", "goroutine", "mutex", "block")
REDIS = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]


def own_ns(pid):
    """Nanoseconds that our threads have run, and those of the whole process."""
    ours = of_all = 0
    for task in glob.glob("/proc/%d/task/*" % pid):
        try:
            with open(task + "/comm", encoding="utf-8", errors="replace") as f:
                name = f.read()
            with open(task + "/schedstat", encoding="ascii") as f:
                ns = int(f.read().split()[0])
        except OSError:
            continue
        of_all += ns
        ours += ns if name.startswith("prof-") else 0
    return ours, of_all


def get(path, what):
    connection = UnixConnection(path)
    connection.request("GET", "/debug/pprof/" + what)
    body = connection.getresponse().read()
    connection.close()
    return body


def periods(b, process, path, sample_ns):
    """Percent of one CPU in each period, ours and the service's."""
    got, whole = [], []
    for what in ASKED + ("profile?seconds=1",):
        get(path, what)  # what is read once belongs to no period
    for _ in range(b.less(6, 2)):
        before, begin = own_ns(process.pid), time.monotonic()
        profile = []
        window = threading.Thread(target=lambda: profile.append(
            get(path, "profile?seconds=%d" % PERIOD_S)))
        window.start()
        for what in ASKED:
            get(path, what)
        window.join()
        wall, after = (time.monotonic() - begin) * 1e9, own_ns(process.pid)
        samples = sum(s.value[0] for s in pprof.parse(profile[0]).sample)
        got.append((after[0] - before[0] + samples * sample_ns) * 100 / wall)
        whole.append((after[1] - before[1]) * 100 / wall)
    return got, whole


def scraping(b):
    """A service that is asked for five profiles every 10 s, its CPU profile always on."""
    sample_ns = b.numbers([b.tool("cpu_bench"), "libprof", 5_000])[1]
    row, whole = {}, {}

    def python(folder):
        path = os.path.join(folder, "prof.sock")
        argv = [os.path.join(b.build, "lib/tool/profrun"), "--http", "unix:" + path, "--",
                "/usr/bin/python3", "-S", "-c", PYTHON, "1000000"]
        with subprocess.Popen(argv, env=b.environment({}), stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
            try:
                end = time.monotonic() + 20
                while not os.path.exists(path) and time.monotonic() < end and p.poll() is None:
                    time.sleep(0.02)
                return periods(b, p, path, sample_ns)
            finally:
                p.kill()

    def redis():
        s = Server(b, Candidate("profrun"), lambda port, _: REDIS + ["--port", str(port)])
        load = subprocess.Popen(["redis-benchmark", "-p", str(s.port), "-l", "-t", "set,get,lpush,"
                                 "lpop", "-n", "100000", "-c", "20", "-d", "100", "-r", "10000", "-q"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return periods(b, s.process, os.path.join(s.folder, "prof.sock"), sample_ns)
        finally:
            load.kill()
            load.wait()
            s.close()

    if needs(b, "redis-server", "redis-benchmark"):
        row["redis"], whole["redis"] = redis()
    if needs(b, "/usr/bin/python3"):
        row["python"], whole["python"] = python(b.tmp)
    b.row("five profiles every 10 s, CPU always on", "% of one CPU", row, None,
          [Target(name, "median", 0.5) for name in row],
          "our threads, and %.0f ns for each CPU sample" % sample_ns)
    b.row("the services themselves meanwhile", "% of one CPU", whole)
