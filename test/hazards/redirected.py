#!/usr/bin/env python3
"""redirected.py - dlopen() under the hooks finds what it finds without them.

    redirected.py PRELOAD PROGRAM PLUGIN NEEDING RUNPATH_CALLER RPATH_CALLER

The linker looks in other places for each caller of dlopen(): PLUGIN lies where only the run path of
RUNPATH_CALLER leads, and what NEEDING needs where only the DT_RPATH of RPATH_CALLER does. Ends with
"N passed, N failed".
"""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import add_program, environment, report  # noqa: E402

preload, program, plugin, needing, runpath_caller, rpath_caller = map(os.path.abspath, sys.argv[1:])


def run(where, *arguments):
    env = environment(LD_PRELOAD=preload, LIBPROF_HEAP_RATE="1")
    p = subprocess.run([program, "by", *arguments], env=env, capture_output=True, text=True,
                       timeout=60, cwd=where, check=False)
    add_program(p, " ".join(arguments))


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
