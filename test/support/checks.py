"""checks.py - the few lines a Python test needs, as check.h is for C.

A failed check says what does not hold, and the test goes on; it ends with sys.exit(report()).
"""
import os
import re
import shutil
import subprocess
import tempfile

passed = failed = 0


def check(ok, what):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("not true: " + what, flush=True)
    return ok


def add(more_passed, more_failed):
    """Checks that a program of the test's has made and counted."""
    global passed, failed
    passed += more_passed
    failed += more_failed


def add_program(done, what):
    """The same, of a program that has ended, from its output."""
    counts = re.search(r"^(\d+) passed, (\d+) failed$", done.stdout, re.M)
    if not counts or counts[2] != "0":
        print(what, done.stdout[-2000:], done.stderr[-1000:])
    check(counts is not None and done.returncode == 0, "%s: status %d" % (what, done.returncode))
    if counts:
        add(int(counts[1]), int(counts[2]))


def environment(**more):
    """Without what libprof and the loader read, and with `more`. Python 3.12 and later warn of fork() in
    a process with our thread, in the middle of what a test reads of a program (docs/safety.md)."""
    return dict({k: v for k, v in os.environ.items() if not k.startswith(("LIBPROF_", "LD_"))},
                **dict({"PYTHONWARNINGS": "ignore"}, **more))


def have(tool):
    if shutil.which(tool):
        return True
    print("skipped: %s is not installed" % tool)
    return False


def run_all(tests, prefix, begin=lambda: None):
    """Each test_* of a module's names, in a folder that is gone afterwards and that begin() has
    prepared. Returns the exit status."""
    with tempfile.TemporaryDirectory(prefix=prefix) as work:
        os.chdir(work)
        begin()
        for name, test in list(tests.items()):
            if name.startswith("test_"):
                try:
                    test()
                except subprocess.CalledProcessError as e:
                    check(False, "%s: %s: %s" % (name, " ".join(e.cmd), e.stderr[:2000]))
        os.chdir("/")
    return report()


def report():
    """The last line. Returns the exit status."""
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0
