#!/usr/bin/env python3
"""redirected.py - dlopen() under the hooks finds what it finds without them.

    redirected.py PRELOAD PROGRAM PLUGIN NEEDING RUNPATH_CALLER RPATH_CALLER

The linker looks in other places for each caller of dlopen(): PLUGIN lies where only the run path of
RUNPATH_CALLER leads, and what NEEDING needs where only the DT_RPATH of RPATH_CALLER does. Ends with
"N passed, N failed".
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import add, check, report  # noqa: E402

preload, program, plugin, needing, runpath_caller, rpath_caller = map(os.path.abspath, sys.argv[1:])


def run(where, *arguments):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LIBPROF_", "LD_"))}
    env.update(LD_PRELOAD=preload, LIBPROF_HEAP_RATE="1")
    p = subprocess.run([program, "by", *arguments], env=env, capture_output=True, text=True,
                       timeout=60, cwd=where, check=False)
    counts = re.search(r"^(\d+) passed, (\d+) failed$", p.stdout, re.M)
    if not counts or counts[2] != "0":
        print(p.stdout, p.stderr)
    check(counts is not None and p.returncode == 0, "%s: status %d" % (arguments, p.returncode))
    if counts:
        add(int(counts[1]), int(counts[2]))


def main():
    with tempfile.TemporaryDirectory(prefix="libprof-redirected-") as tmp:
        hidden = os.path.join(tmp, "hidden") # the run path of both callers is $ORIGIN/hidden
        os.mkdir(hidden)
        os.mkdir(os.path.join(tmp, "elsewhere"))
        for library, folder in ((runpath_caller, tmp), (rpath_caller, tmp), (plugin, hidden),
                                (needing, os.path.join(tmp, "elsewhere"))):
            shutil.copy(library, folder)
        by_runpath = os.path.join(tmp, os.path.basename(runpath_caller))
        by_rpath = os.path.join(tmp, os.path.basename(rpath_caller))
        run("/", by_runpath, os.path.basename(plugin))
        run("/", by_rpath, os.path.join(tmp, "elsewhere", os.path.basename(needing)))
    return report()


sys.exit(main())
