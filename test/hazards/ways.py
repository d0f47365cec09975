#!/usr/bin/env python3
"""ways.py - one test program, run in every way that libprof gets into a process.

    ways.py PRELOAD INTERPOSER PLAIN LINKED STATIC

PLAIN, LINKED and STATIC are the same program: without libprof, linked with libprof-hooks.so, and
with libprof-hooks.a. It prints what it sees as lines that begin with "> ": these must be the same
with libprof as without, in every way, and its own checks must hold. Other allocators take part
where they are installed. Ends with "N passed, N failed".
"""
import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import add, check, report  # noqa: E402

preload, interposer, plain, linked, static = map(os.path.abspath, sys.argv[1:6])
TIME_LIMIT_S = 120


def run(program, arguments, libraries, **more):
    """(lines that begin with "> ", passed, failed, stderr, status)"""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LIBPROF_", "LD_"))}
    env["LIBPROF_HEAP_RATE"] = "1"
    env.update(more)
    if libraries:
        env["LD_PRELOAD"] = ":".join(libraries)
    p = subprocess.run([program, *arguments], env=env, capture_output=True, timeout=TIME_LIMIT_S,
                       text=True, check=False)
    counts = re.search(r"^(\d+) passed, (\d+) failed$", p.stdout, re.M)
    seen = [line for line in p.stdout.splitlines() if line.startswith("> ")]
    if counts and counts[2] != "0" or p.returncode:
        rest = [line for line in p.stdout.splitlines() if not line.startswith("> ")]
        print("\n".join(rest[:20]))
    return seen, counts, p.stderr, p.returncode


def compare(what, program, mode, libraries, without, **more):
    seen, counts, stderr, status = run(program, [mode], libraries, **more)
    check(seen == without[0], "%s: the program sees something else:\n%s" % (what, "\n".join(
        "  without: %s\n  with:    %s" % (a, b)
        for a, b in list(zip(without[0] + [""] * 9, seen + [""] * 9)) if a != b)[:2000]))
    check(stderr == without[2], "%s: stderr %r" % (what, stderr))
    check(status == without[3], "%s: status %d" % (what, status))
    check(counts is not None, "%s: the program came to its end" % what)
    if counts:
        add(int(counts[1]), int(counts[2]))


def installed(name):
    return (glob.glob("/usr/lib/*/" + name) + glob.glob("/usr/lib*/" + name) + [None])[0]


def main():
    bare = run(plain, [], [])
    check(bare[3] == 0 and bare[0], "the program works without libprof: status %d" % bare[3])
    compare("preloaded", plain, "watched", [preload], bare)
    compare("linked", linked, "watched", [], bare)
    compare("with the flight recorder on", linked, "watched", [], bare, LIBPROF_TRACE="10s")
    compare("linked and preloaded", linked, "watched", [preload], bare)
    compare("hooks linked statically", static, "watched", [], bare)
    compare("hooks linked statically, and preloaded", static, "watched", [preload], bare)

    wrapped = run(plain, [], [interposer])
    compare("before an interposer", plain, "behind", [preload, interposer], wrapped)
    compare("after an interposer", plain, "behind", [interposer, preload], wrapped)
    compare("linked, after an interposer", linked, "behind", [interposer], wrapped)

    for name in ("libjemalloc.so.2", "libtcmalloc.so.4", "libtcmalloc_minimal.so.4",
                 "libmimalloc.so.2", "libmimalloc.so.3"):
        other = installed(name)
        if not other:
            print("not installed, so not tried: " + name)
            continue
        without = run(plain, [], [other])
        if without[3] != 0:
            print("does not work with it even without libprof, so not tried: " + name)
            continue
        compare("before " + name, plain, "watched", [preload, other], without)
        compare("linked, after " + name, linked, "unwatched", [other],
                run(plain, ["unwatched"], [other]))
    return report()


sys.exit(main())
