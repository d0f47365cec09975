#!/usr/bin/env python3
"""faults.py - each call of libprof's that can fail does, one after the other; the program must not
notice, and whoever asks for a profile must be told.

    faults.py PROGRAM

A run of faults.c without any fault counts the calls of each kind. Then there is one run for the
nth of them, and for the nth and all after it: with PROF_TEST_LONG=1 for every n (of more than 600
calls, for up to 600 of them), and for every fourth; else for a few, always the same. In each run:
  - what the program prints, and its exit status, are as without faults; it neither crashes nor hangs
  - each request is answered rightly, or by 5xx and a sentence; by nothing only where what failed is
    the connection itself
  - when nothing fails any more all answers are right again, and what has been lost meanwhile is told
  - no descriptor is lost, and no memory

Ends with "N passed, N failed".
"""
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import checks  # noqa: E402
from checks import check, report  # noqa: E402
import pprof  # noqa: E402

PROGRAM = sys.argv[1]
LONG = os.environ.get("PROF_TEST_LONG") == "1"
AT_ONCE = min(5 * os.cpu_count(), 40)  # a run waits two seconds and works for a third of one
LIMIT_S = 120
ALONE_MOST = 600  # of the thousands of words of tables that are read, these are spread evenly
MEMORY_SLACK = 1 << 20  # a chunk of a table that one run needed and the other did not
# Without these there is no connection, and so no answer.
CONNECTION = {"accept", "recv", "send", "epoll", "malloc", "mmap"}
# Together, too: all memory or all descriptors are gone.
GROUPS = ["mmap,malloc", "open,pipe,socket,epoll,eventfd,accept"]


class Run:
    """One run of the program under FAULT=`fault`."""

    def __init__(self, fault):
        self.fault = fault
        self.folder = tempfile.mkdtemp(prefix="libprof-faults-")
        counts = os.path.join(self.folder, "counts")
        env = dict(os.environ, FAULT=fault, FAULT_COUNTS=counts, LIBPROF_HEAP_RATE="1",
                   LIBPROF_MUTEX_FRACTION="1", LIBPROF_BLOCK_RATE="1")
        try:
            done = subprocess.run([PROGRAM, self.folder], env=env, capture_output=True, text=True,
                                  timeout=LIMIT_S)
            self.status, self.output, self.judged = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired as e:
            self.status, self.output = "hang", e.stdout
            self.judged = (e.stderr or b"").decode() if isinstance(e.stderr, bytes) else ""
        self.numbers = dict(line.split() for line in self.judged.splitlines()
                            if line.startswith(("injected ", "held ")))
        self.counts = {}
        if os.path.exists(counts):
            with open(counts) as f:
                self.counts = {k: int(n) for k, n in (line.split() for line in f)}
        self.answers = {}
        for name in sorted(os.listdir(self.folder)):
            with open(os.path.join(self.folder, name), "rb") as f:
                self.answers[name] = f.read()
        shutil.rmtree(self.folder)


def parse_answer(raw):
    """(status, headers, body); None when it is no whole answer."""
    head, found, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not found or not lines[0].startswith("HTTP/1."):
        return None
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    if int(headers.get("content-length", len(body))) != len(body):
        return None
    return int(lines[0].split()[1]), headers, body


def wrong_with(raw, want, may_be_silent):
    """What is wrong with an answer; "" when nothing is."""
    answer = parse_answer(raw)
    if not answer:
        return "" if may_be_silent else "no whole answer: %r" % raw[:200]
    status, headers, body = answer
    if status >= 500:
        return "" if want == "any" and "x-go-pprof" in headers and len(body) > 5 else \
            "%d: %r" % (status, body[:200])
    if want != "any" and status != want:
        return "%d, not %d: %r" % (status, want, body[:200])
    if headers.get("content-type") == "application/octet-stream":
        try:
            pprof.parse(body)
        except (pprof.Malformed, zlib.error, ValueError) as e:
            return "malformed profile: %s" % e
    return ""


def kept_objects(raw):
    """(objects of keep_block(), objects without a name for it) of a folded profile."""
    answer = parse_answer(raw)
    named = other = 0
    for line in (answer[2].decode().splitlines() if answer else []):
        stack, n = line.rsplit(" ", 1)
        if "keep_block" in stack:
            named += int(n)
        elif "[" in stack:
            other += int(n)
    return named, other


def judge(run, base):
    fault = run.fault
    kinds = set(fault.split(":")[0].split(","))
    # What cannot be opened at the start is missing for good; what is then said, profrun.py looks at.
    missing = "dlopen" in kinds
    check(run.status == 0 or (missing and run.status == 3),
          "%s: status %s\n%s" % (fault, run.status, run.judged[-2000:]))
    check(run.output == base.output, "%s: output:\n%s" % (fault, run.output))
    if missing or run.status not in (0, 3):
        return
    check(run.judged.count("not true") == 0, "%s: %s" % (fault, run.judged))
    for name, raw in run.answers.items():
        phase, _, what = name.partition("-")
        if name == "counts":
            continue
        if what == "file":
            try:
                pprof.parse(raw)
            except (pprof.Malformed, zlib.error, ValueError) as e:
                check(False, "%s: %s: %s" % (fault, name, e))
            continue
        sound = phase == "sound"
        want = parse_answer(base.answers[name])[0] if sound else "any"
        wrong = wrong_with(raw, want, not sound and kinds & CONNECTION)
        if what == "cmdline" and b"when the program started" in raw:
            wrong = "" # is looked at once, and no more
        check(not wrong, "%s: %s: %s" % (fault, name, wrong))
    check(set(a for a in run.answers if a.startswith("sound-")) ==
          set(a for a in base.answers if a.startswith("sound-")), "%s: all answers" % fault)
    named, other = kept_objects(run.answers.get("sound-heap.folded", b""))
    wanted = kept_objects(base.answers["sound-heap.folded"])[0]
    told = parse_answer(run.answers.get("sound-heap.text", b""))
    check(named == wanted or
          (named + other >= wanted and told and b"# " in told[2]) or
          (told and b"missing from heap" in told[2]),
          "%s: %d of %d blocks, %d of others" % (fault, named, wanted, other))
    check("munmap" in kinds or
          int(run.numbers.get("held", 0)) <= int(base.numbers["held"]) + MEMORY_SLACK,
          "%s: %s bytes held, not %s" % (fault, run.numbers.get("held"), base.numbers["held"]))


def chosen(n):
    """Which of n calls are to fail alone, and from which on all are to."""
    if LONG:
        step = max(1, -(-n // ALONE_MOST))
        return range(1, n + 1, step), range(1, n + 1, 4 * step)
    return sorted({1, n * 2 // 3} - {0}), [n // 3 + 1] if n else []


def main():
    base = Run(":")
    check(base.status == 0 and base.judged.count("not true") == 0,
          "without a fault: %s\n%s" % (base.status, base.judged))
    for name, raw in base.answers.items():
        if name != "counts" and not name.endswith("-file"):
            answer = parse_answer(raw)
            check(answer and answer[0] == (403 if name.endswith("source") else 200),
                  "without a fault: %s" % name)
    check(kept_objects(base.answers.get("sound-heap.folded", b""))[0] > 100, "blocks are found")
    for kind in ("mmap", "open", "malloc", "pthread_create", "timer"):
        check(base.counts.get(kind, 0) > 0, "no %s() is seen" % kind)
    if checks.failed:
        return report()
    faults = []
    for kind in list(base.counts) + GROUPS:
        n = sum(base.counts[k] for k in kind.split(","))
        alone, from_then_on = chosen(n)
        if not (LONG and kind in GROUPS):  # there each of them has failed alone already
            faults += ["%s:%d" % (kind, i) for i in alone] if n else []
        faults += ["%s:%d+" % (kind, i) for i in from_then_on]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for run in pool.map(Run, faults):
            judge(run, base)
    print("measured: %d runs, %d kinds of calls" % (len(faults), len(base.counts)))
    return report()


sys.exit(main())
