"""locked_down.py DEMO CONFINE - what a client is told where the system refuses something.

Only the profile that needs it is not to be had: 501 or 503, and a sentence that says what is
missing. All else answers 200.
"""
import errno
import subprocess
import sys

import harness
from harness import ask, check, equal

ROOT = "/debug/pprof/"
TEXT = "text/plain; charset=utf-8"
# Everything that is served, in the order of asking.
TARGETS = [ROOT, "/metrics", ROOT + "cmdline", ROOT + "symbol?0x1", ROOT + "ui/"] + [
    ROOT + name for name in (
        "heap", "allocs", "heap?debug=1", "heap?format=folded", "threadcreate",
        "mutex", "block", "my.custom", "threads", "threads?debug=2", "goroutine", "goroutine?debug=1",
        "profile?seconds=1")]
THREADS = {t for t in TARGETS if "threads" in t or "goroutine" in t}
CPU = {t for t in TARGETS if "profile?" in t}

# (what confine is told, what cannot be had, a word that the sentence has)
CASES = [
    ([], set(), None),
    (["timer_create:%d" % errno.EPERM], CPU, "timers"),
    (["timer_create:%d" % errno.ENOSYS], CPU, "timers"),
    (["timer_create:%d" % errno.EAGAIN], CPU, "timers"),
    (["getdents64:%d" % errno.EPERM], THREADS, "/proc"),
    (["process_vm_readv:%d" % errno.EPERM], set(), None),
    (["no-proc"], THREADS, "/proc"),
]


def can_be_confined(confine, words):
    r = subprocess.run([confine] + words + ["/bin/true"], stderr=subprocess.PIPE)
    if r.returncode == 77:
        print("skipped: %s" % r.stderr.decode().strip())
    return r.returncode == 0


def test_answers(where, what, lacking, word):
    for target in TARGETS:
        a = ask(where, target)
        row = "%s: %s" % (what, target)
        if target not in lacking:
            equal(a and a.status, 200, row)
            continue
        if not check(a is not None and a.status in (501, 503), "%s: not to be had: %r" % (row, a)):
            continue
        equal(a.header("content-type"), TEXT, row + ": type")
        told = a.body.decode()
        check(len(told.split()) > 3 and told.endswith("\n") and told.count("\n") == 1,
              "%s: a sentence: %r" % (row, told))
        if word:
            check(word in told, "%s: says what is missing: %r" % (row, told))
        equal(ask(where, target, "HEAD").status, a.status, row + ": status of HEAD")


def main(path, confine):
    harness.limit_time()
    for words, lacking, word in CASES:
        if not can_be_confined(confine, words):
            continue
        with harness.Demo(confine, *words, path) as demo:
            equal(demo.start(), "0", "start")
            test_answers(demo.where, " ".join(words) or "free", lacking, word)
    return harness.report()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
