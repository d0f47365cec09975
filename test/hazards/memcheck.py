#!/usr/bin/env python3
"""memcheck.py - valgrind's memcheck has nothing to say of libprof, with no suppressions: neither
of a program with the hooks in it, nor of the unit tests of what runs in normal context.

    memcheck.py PROGRAM TEST..

The unit tests are a part of the long run (PROF_TEST_LONG=1): valgrind takes thirty times as long.
Ends with "N passed, N failed".
"""
import os
import shutil
import subprocess
import sys

FOUND = 99
LIMIT_S = 120
passed = failed = 0

if not shutil.which("valgrind"):
    print("no valgrind")
    sys.exit(77)
for test in sys.argv[1:] if os.environ.get("PROF_TEST_LONG") == "1" else sys.argv[1:2]:
    try:
        done = subprocess.run(
            ["valgrind", "--quiet", "--error-exitcode=%d" % FOUND, test, "0"], capture_output=True,
            text=True, timeout=LIMIT_S, env=dict(os.environ, LIBPROF_HEAP_RATE="1"))
        status, said = done.returncode or done.stderr, done.stderr + done.stdout[-500:]
    except subprocess.TimeoutExpired:
        status, said = "not done within %d s" % LIMIT_S, ""
    if not status:
        passed += 1
    else:
        failed += 1
        print("not true: %s: %s\n%s" % (test, status, said))
print("%d passed, %d failed" % (passed, failed))
sys.exit(1 if failed or not passed else 0)
