#!/usr/bin/env python3
"""own_files.py - the program's files stay its own: own_files.c, under allocators of all kinds.

    own_files.py LINKED PLAIN PRELOAD

LINKED has the hooks linked, PLAIN only libprof; PRELOAD is libprof-preload.so. tcmalloc takes stacks
by itself, in whatever thread comes along, and is made to do it often.
"""
import glob
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report  # noqa: E402

linked, plain, preload = sys.argv[1:]
TCMALLOC = sorted(glob.glob("/usr/lib*/*/libtcmalloc.so.4") + glob.glob("/usr/lib64/libtcmalloc.so.4"))


def run(what, program, *preloads):
    env = dict(os.environ, LD_PRELOAD=" ".join(preloads), TCMALLOC_SAMPLE_PARAMETER="4096",
               LIBPROF_HEAP_RATE="4096")
    p = subprocess.run([program], env=env, capture_output=True, text=True, timeout=120)
    check(p.returncode == 0 and ", 0 failed" in p.stdout, f"{what}: {p.stdout}{p.stderr}")


run("linked", linked)
run("preloaded", plain, preload)
for name in TCMALLOC[:1]:
    run("tcmalloc behind the linked hooks", linked, name)
    run("tcmalloc behind the preloaded hooks", plain, preload, name)
    run("tcmalloc before the preloaded hooks", plain, name, preload)
if not TCMALLOC:
    print("not installed, so not tried: tcmalloc")
sys.exit(report())
