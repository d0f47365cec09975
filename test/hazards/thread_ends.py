#!/usr/bin/env python3
"""thread_ends.py - exceptions and ending threads stay with libgcc, and nobody brings another unwinder.

    thread_ends.py LIBPROF PROGRAM...

libunwind.so has functions of the same names as libgcc's unwinder. If a program's were bound to those,
threads would end without running destructors; and it remembers descriptors, which the program may
have closed and made anew. So libprof does without.
"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report  # noqa: E402


def main():
    dynamic = subprocess.run(["readelf", "-d", sys.argv[1]], capture_output=True, text=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    check(needed and not [name for name in needed if name.startswith("libunwind")],
          f"libprof needs no libunwind: {needed}")
    for program in sys.argv[2:]:
        env = dict(os.environ, LD_DEBUG="bindings")
        run = subprocess.run([program], capture_output=True, text=True, env=env, timeout=120)
        check(run.returncode == 0 and "3 passed, 0 failed" in run.stdout, f"{program}: {run.stdout}")
        bound = re.findall(r"to (\S+) \[0\]: \w+ symbol `(_Unwind_\w+|backtrace)'", run.stderr)
        astray = [b for b in bound if "libunwind" in b[0]]
        check(not astray, f"{program}: {astray}")
    return report()


sys.exit(main())
