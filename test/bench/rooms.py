"""rooms.py - what is beside the profiles: scans of the heap, captures, numbers over time, cores."""

import glob
import os
import re
import shutil
import subprocess
import time

from bench import Candidate, Target
from serving import State


def floats(pattern, text):
    return [float(x) for x in re.findall(pattern, text)]


# --- scans ---------------------------------------------------------------------------------------


def scan(b):
    """Who points where: bytes looked through, chunks of glibc's heap, and how long threads wait."""
    mib = b.less(512, 128)
    for targets, worst in ((10_000, []), (100_000, []), (10_000, ["worst"])):
        said = b.output([b.tool("scan_bench"), "refs", str(mib), str(targets)] + worst)
        b.row("a pass over %d MiB, %s blocks of interest%s" % (
            mib, format(targets, ","), ", a quarter of all words points into them" if worst else ""),
            "GB/s of processor time", {"libprof": floats(r": ([\d.]+) GB/s", said)})
    mib = b.less(256, 64)
    said = b.output([b.tool("scan_bench"), "walk", str(mib)])
    b.row("leaks of a heap of %d MiB in small blocks: a chunk" % mib, "ns",
          {"libprof": [us * 1e3 for us in floats(r"([\d.]+) us a chunk", said)],
           "its headers alone": [us * 1e3 for us in floats(r"headers ([\d.]+)", said)]})
    said = b.output([b.tool("scan_pause"), str(mib), str(b.less(10, 3))])
    waits = dict(re.findall(r"(without a scan|beside scans):(.*)", said))
    for title, pattern in (("99.9 % of rounds", r" 99\.9 % (\d+) us"), ("all but the longest in 10,000",
                                                                        r" 99\.99 % (\d+) us"),
                           ("the longest", r"worst (\d+) us")):
        b.row("a thread that allocates and maps, beside scans of %d MiB: %s" % (mib, title), "us",
              {name: floats(pattern, of) or None for name, of in waits.items()},
              {"beside scans": "without a scan"},
              note="a round of malloc, mmap, 16 first writes, munmap and free")


# --- at rest -------------------------------------------------------------------------------------


def threads_of(pid):
    """{name: (nanoseconds on a processor, how often it gave it up by itself)} of our threads."""
    found = {}
    for task in glob.glob("/proc/%d/task/*" % pid):
        with open(task + "/comm", encoding="utf-8", errors="replace") as f:
            name = f.read().strip()
        with open(task + "/schedstat", encoding="ascii") as f:
            ns = int(f.read().split()[0])
        with open(task + "/status", encoding="utf-8", errors="replace") as f:
            switches = int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", f.read(), re.M).group(1))
        if name.startswith("prof-"):
            found[name] = (ns, switches)
    return found


def rest(b):
    """What runs in a program that nobody asks anything: numbers over time, and rules for captures."""
    seconds = b.less(30, 5)
    rules = "mem>99% | heap>1t | threads>100000 -> heap; dir " + b.tmp
    percent, wakes = {}, {}
    for name, env in (("serving", {}), ("serving, without numbers", {"VARS": "0"}),
                      ("serving, with rules for captures", {"CAPTURE": rules}),
                      ("rules, without numbers", {"CAPTURE": rules, "VARS": "0"})):
        with State(b, b.libprof(name, None, **env), "rest", 1, serve=True) as s:
            time.sleep(1.5)  # the threads have begun, and said so
            before, begin = threads_of(s.process.pid), time.monotonic()
            time.sleep(seconds)
            after, wall = threads_of(s.process.pid), time.monotonic() - begin
        ns = sum(v[0] - before.get(k, (0, 0))[0] for k, v in after.items())
        percent[name] = ns / 1e7 / wall
        wakes[name] = sum(v[1] - before.get(k, (0, 0))[1] for k, v in after.items()) / wall * 60
    b.row("our threads while nobody asks", "% of one CPU", percent, None,
          [Target(name, "median", 0.02) for name in percent])
    b.row("our threads while nobody asks", "wake-ups a minute", wakes)

    # A rule that fires: from the look that sees it to the file.
    folder = os.path.join(b.tmp, "captures")
    for stacks in (1_000, 10_000):
        got = []
        for _ in range(b.less(3, 1)):
            os.mkdir(folder)
            try:
                got.append(one_capture(b, folder, stacks))
            finally:
                shutil.rmtree(folder)
        b.row("a capture of the heap, %s stacks" % format(stacks, ","), "ms of CPU", {"libprof": got})


def one_capture(b, folder, stacks):
    """Milliseconds of processor time that the thread of the captures takes for the first one."""
    # All of its blocks are sampled and have 32 bytes: it fires once most of them are there.
    c = b.libprof("libprof", None, CAPTURE="heap>%d -> heap; dir %s" % (stacks * 24, folder))
    with State(b, c, "stacks", stacks) as s:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if glob.glob(folder + "/**/*.pb.gz", recursive=True):
                time.sleep(0.5)  # and the rest of it
                return threads_of(s.process.pid).get("prof-capture", (0, 0))[0] / 1e6
            time.sleep(0.1)
    raise RuntimeError("no capture was taken in a minute")


# --- core files ----------------------------------------------------------------------------------


def cpu_ms(b, argv):
    """Processor time of a command."""
    with subprocess.Popen([str(a) for a in argv], env=b.environment({}), stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=b.tmp) as p:
        said = p.stderr.read()
        _, status, used = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode != 0:
        raise RuntimeError("%s: exit status %d: %s" % (argv[0], p.returncode, said[-300:]))
    return (used.ru_utime + used.ru_stime) * 1e3


def core(b):
    """Reading a core file: what is in use, what leaks, the stacks of its threads."""
    if not shutil.which("gcore"):
        b.missing.add("gdb")
        print("left out, not installed: gdb")
        return
    mib, threads = b.less(256, 64), b.less(200, 50)
    profctl = os.path.join(b.build, "lib/tool/profctl")
    for what, n, title, asked in (
            ("small", mib, "a heap of %d MiB in small blocks" % mib, ("heap", "leaks")),
            ("threads", threads, "%d threads" % threads, ("threads",))):
        path = os.path.join(b.tmp, "core-" + what)
        with State(b, b.libprof("libprof", None), what, n, serve=True) as s:
            b.output(["gcore", "-o", path, str(s.process.pid)])
        path = glob.glob(path + ".*")[0]
        try:
            works = {"profctl " + name: [profctl, name, path] for name in asked}
            if what == "threads":
                works["gdb thread apply all bt"] = ["gdb", "-nx", "-batch", "-ex", "thread apply all bt",
                                                    b.tool("state_bench"), path]
            b.row("a core of " + title, "ms of CPU",
                  b.interleave({name: lambda argv=argv: cpu_ms(b, argv)
                                for name, argv in works.items()}, b.less(3, 1)))
        finally:
            os.unlink(path)
