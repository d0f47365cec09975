"""checks.py - the few lines a Python test needs, as check.h is for C.

A failed check says what does not hold, and the test goes on; it ends with sys.exit(report()).
"""
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


def report():
    """The last line. Returns the exit status."""
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0
