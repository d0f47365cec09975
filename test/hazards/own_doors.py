#!/usr/bin/env python3
"""own_doors.py - under jemalloc, tcmalloc and mimalloc, where they are installed: their own doors,
and the operators of C++, which they define themselves; and an allocator that has its own strdup().

    own_doors.py PRELOAD REDIRECTED COPYING OWN_DOORS_LAZY OWN_DOORS_NOW [DOORS_CPP]

Ends with "N passed, N failed".
"""
import glob
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import add_program, environment, report  # noqa: E402

preload, redirected, copying, *programs = map(os.path.abspath, sys.argv[1:])


def run(libraries, program, *arguments):
    env = environment(LD_PRELOAD=":".join(libraries), LIBPROF_HEAP_RATE="1")
    p = subprocess.run([program, *arguments], env=env, capture_output=True, text=True, timeout=60,
                       check=False)
    add_program(p, "%s under %s" % (os.path.basename(program),
                                    " ".join(map(os.path.basename, libraries))))


def main():
    for allocator, name in (("jemalloc", "libjemalloc.so.2"), ("tcmalloc", "libtcmalloc.so.4"),
                            ("tcmalloc", "libtcmalloc_minimal.so.4"),
                            ("mimalloc", "libmimalloc.so.2"), ("mimalloc", "libmimalloc.so.3")):
        found = glob.glob("/usr/lib/*/" + name) + glob.glob("/usr/lib*/" + name)
        if not found:
            print("not installed, so not tried: " + name)
            continue
        for program in programs:
            run([preload, found[0]], program, allocator, found[0])
        run([found[0], preload], redirected, "after", name)
    for program in programs[:2]:
        run([preload, copying], program, "copying", copying)
    return report()


sys.exit(main())
