#!/usr/bin/env python3
"""tally.py - what a run of `meson test` came to, in individual checks.

    tally.py TESTLOG.json       add up each test's own "N passed, N failed"
    tally.py --names BUILD [WORD..]   names of the tests that contain one of the words

A test that prints no such line counts as one. One that printed only passes and still ended badly
(a crash, a time limit, a sanitizer) counts as one failed on top. The failed ones' output is shown,
then what was skipped and why; the last line is the sum, and the exit status is 1 if any failed or
none ran.
"""
import json
import os
import re
import subprocess
import sys

COUNT = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)
SHOWN_LINES = 40


def counts(test):
    """(passed, failed) of one test that has run."""
    lines = COUNT.findall(test.get("stdout") or "")
    ok = test["result"] in ("OK", "EXPECTEDFAIL")
    if not lines:
        return (1, 0) if ok else (0, 1)
    passed, failed = map(int, lines[-1])
    return passed, failed if failed or ok else 1


def last_lines(test):
    text = "".join(test.get(k) or "" for k in ("stdout", "stderr"))
    return text.splitlines()[-SHOWN_LINES:]


def tally(path):
    passed = failed = 0
    skipped = []
    with open(path) as f:
        tests = [json.loads(line) for line in f if line.strip()]
    for t in tests:
        if t["result"] == "SKIP":
            skipped.append(t)
            continue
        p, n = counts(t)
        passed += p
        failed += n
        if n:
            print("--- %s: %s, %d passed, %d failed" % (t["name"], t["result"], p, n))
            for line in last_lines(t):
                # Only the last line of all may look like a sum.
                print("    " + line)
    for t in skipped:
        print("skipped: %s: %s" % (t["name"], " ".join(last_lines(t)[-1:])))
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


def names(build, words):
    meson = [os.environ.get("MESON", "meson"), "introspect", "--tests", build]
    for t in json.loads(subprocess.check_output(meson)):
        if not words or any(w in t["name"] for w in words):
            print(t["name"])
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--names":
        sys.exit(names(sys.argv[2], sys.argv[3:]))
    sys.exit(tally(sys.argv[1]))
