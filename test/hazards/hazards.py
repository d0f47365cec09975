#!/usr/bin/env python3
"""hazards.py - run the tests of hazards, one after the other, and say what each measured.

    hazards.py BUILD [--long] [--list] [NAME..]

Which tests there are, and of which hazards, is in the meson.build files and nowhere else: a test of
hazard H1 is in the suite "H1". test/run runs them all as well, several at a time and short. Here
each has the machine for itself, and with --long its full size (test/support/long_run.h).

A test is a process group of its own, with a directory for temporary files of its own; both are
ended and removed with it, whatever became of it. Ends with "N passed, N failed".
"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import tally  # noqa: E402

HAZARDS = {
    "H1": "libraries are loaded and unloaded, exceptions thrown, while the CPU is profiled",
    "H3": "fork in a busy program",
    "H4": "the hooks inside each other, and every kind of lock",
    "H5": "before main, and programs nobody wrote for it",
    "H7": "system calls that a signal would end early",
    "H9": "loaded late, with the static TLS used up",
    "H10": "every door of the allocator",
    "H11": "addresses that are given out again at once",
    "H13": "exceptions, cancellation, threads that end in the middle",
    "H15": "stacks that are none",
    "H17": "many threads, and many more one after the other",
    "H18": "distinct stacks without end",
    "H20": "numbers beside the truth",
    "H22": "static programs",
    "H23": "sanitizers",
    "H24": "locked-down containers",
    "H26": "the program's own signals",
    "H27": "a large program's names, and damaged files",
    "H28": "rough clients",
    "H30": "small courtesies, and every way to end",
}
LONG_FACTOR = 6 # of a test's own limit
ALL_LIMIT_S = 60 * 60


def number(name):
    return int(name[1:])


def introspect(build):
    """[(hazards, test as meson has it)], in the order of the first hazard of each."""
    meson = [os.environ.get("MESON", "meson"), "introspect", "--tests", build]
    tests = []
    for t in json.loads(subprocess.check_output(meson)):
        hazards = sorted({s.split(":")[-1] for s in t["suite"]} & set(HAZARDS), key=number)
        if hazards:
            tests.append((hazards, t))
    return sorted(tests, key=lambda t: (number(t[0][0]), t[1]["name"]))


def wanted(hazards, test, words):
    return not words or any(w in hazards or (w not in HAZARDS and w in test["name"])
                            for w in words)


def run(build, test, long_run, limit_s):
    """The test, with result, stdout and stderr as tally.py has them."""
    with tempfile.TemporaryDirectory(prefix="libprof-hazard-") as tmp:
        env = dict(os.environ, **test["env"], TMPDIR=tmp)
        env.pop("PROF_TEST_LONG", None)
        if long_run:
            env["PROF_TEST_LONG"] = "1"
        with open(os.path.join(tmp, "output"), "w+", errors="replace") as out:
            p = subprocess.Popen(test["cmd"], env=env, cwd=test["workdir"] or build, stdout=out,
                                 stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                 start_new_session=True)
            try:
                status = p.wait(limit_s)
            except subprocess.TimeoutExpired:
                status = None
            finally: # and what it left behind, also when we are interrupted
                try:
                    os.killpg(p.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                p.wait()
            out.seek(0)
            text = out.read()
    result = {0: "OK", 77: "SKIP", None: "TIMEOUT"}.get(status, "FAIL")
    if status is None:
        text += "\nnot done within %d s\n" % limit_s
    elif status < 0:
        text += "\nended by signal %d\n" % -status
    return dict(test, result=result, stdout=text, stderr="")


def list_tests(tests):
    for hazard, title in HAZARDS.items():
        names = [t["name"] for h, t in tests if hazard in h]
        if names:
            print("%-4s %s\n     %s" % (hazard, title, " ".join(names)))


def main(build, options):
    words = [o for o in options if not o.startswith("--")]
    long_run = "--long" in options
    tests = [t for t in introspect(build) if wanted(*t, words)]
    if not tests:
        sys.exit("no hazard and no test of one has a name with: " + " ".join(words))
    if "--list" in options:
        list_tests(tests)
        return 0

    passed = failed = 0
    begin = time.monotonic()
    columns = max(len(",".join(h)) for h, _ in tests), max(len(t["name"]) for _, t in tests)
    with open(os.path.join(build, "meson-logs", "hazards.txt"), "w") as log:
        for hazards, test in tests:
            now = time.monotonic()
            limit_s = (test["timeout"] or 600) * (LONG_FACTOR if long_run else 1)
            limit_s = min(limit_s, begin + ALL_LIMIT_S - now)
            if limit_s > 0:
                ran = run(build, test, long_run, limit_s)
            else:
                ran = dict(test, result="TIMEOUT", stdout="not run: no time is left\n", stderr="")
            p, f = (0, 0) if ran["result"] == "SKIP" else tally.counts(ran)
            passed += p
            failed += f
            text = ran["stdout"]
            if ran["result"] == "SKIP":
                said = "skipped: " + (text.strip().splitlines() or ["no reason given"])[-1]
            else:
                said = "; ".join(re.findall(r"^measured: (.*)", text, re.M))
            print("%-*s  %-*s %6d passed, %d failed, %4d s  %s" % (
                columns[0], ",".join(hazards), columns[1], test["name"], p, f,
                time.monotonic() - now, said), flush=True)
            if f:
                print("".join("    %s\n" % line for line in tally.last_lines(ran)), end="")
            log.write("=== %s: %s\n%s\n" % (test["name"], ran["result"], text))
            log.flush()
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    # So that what the test left is removed. SIGTERM comes from timeout(1), among others.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main(sys.argv[1], sys.argv[2:]))
    except KeyboardInterrupt:
        sys.exit(130)
