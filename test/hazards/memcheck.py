#!/usr/bin/env python3
"""memcheck.py - what runs in normal context touches no memory that it should not: unit tests under
valgrind's memcheck.

    memcheck.py TEST..

A part of the long run (PROF_TEST_LONG=1): valgrind takes thirty times as long. Ends with
"N passed, N failed".
"""
import os
import shutil
import subprocess
import sys

SUPPRESSIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "memcheck.supp")
FOUND = 99
LIMIT_S = 120
passed = failed = 0

if os.environ.get("PROF_TEST_LONG") != "1":
    print("only in the long run: PROF_TEST_LONG=1")
    sys.exit(77)
if not shutil.which("valgrind"):
    print("no valgrind")
    sys.exit(77)
for test in sys.argv[1:]:
    try:
        done = subprocess.run(
            ["valgrind", "--quiet", "--error-exitcode=%d" % FOUND, "--suppressions=" + SUPPRESSIONS,
             test], capture_output=True, text=True, timeout=LIMIT_S)
        status, said = done.returncode, done.stderr + done.stdout[-500:]
    except subprocess.TimeoutExpired:
        status, said = "not done within %d s" % LIMIT_S, ""
    if status == 0:
        passed += 1
    else:
        failed += 1
        said = "\n".join(x for x in said.splitlines() if "unknown 'how'" not in x)
        print("not true: %s: %s\n%s" % (test, status, said))
print("%d passed, %d failed" % (passed, failed))
sys.exit(1 if failed or not passed else 0)
