#!/usr/bin/env python3
"""shape.py - what can be seen of the promises in the files themselves: little static TLS, no lazy
binding, no unloading, and a malloc and free that are a few instructions and a jump.

    shape.py PROF HOOKS PRELOAD [optimized]

Ends with "N passed, N failed".
"""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report  # noqa: E402

prof, hooks, preload = sys.argv[1:4]
optimized = "optimized" in sys.argv[4:]
TLS_LIMIT = 256
MOST_INSTRUCTIONS = {"malloc": 5, "free": 6}


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def tls_size(path):
    sizes = [int(line.split()[5], 16) for line in output("readelf", "-lW", path).splitlines()
             if line.split()[:1] == ["TLS"]]
    return sum(sizes)


def hot_path(path, function):
    """Instructions up to the jump into the real function, as they come when nothing is due."""
    text = output("objdump", "-d", "--no-show-raw-insn", "-M", "att", path)
    body = re.search(r"^[0-9a-f]+ <%s(?:@.*)?>:\n((?:.+\n)+)" % function, text, re.M)
    instructions = [line.split("\t", 1)[1].split("#")[0].strip()
                    for line in body[1].splitlines() if "\t" in line]
    for n, instruction in enumerate(instructions):
        if re.match(r"(bnd |notrack )*jmp\s+\*", instruction):
            return instructions[:n + 1]
    return instructions


def main():
    if not shutil.which("readelf") or not shutil.which("objdump"):
        print("skipped: no binutils")
        sys.exit(77)
    check(0 < tls_size(prof) <= TLS_LIMIT, "libprof has %d bytes of TLS" % tls_size(prof))
    for path in (hooks, preload):
        check(tls_size(path) == 0, "%s has TLS of its own" % path)
    for path in (prof, hooks, preload):
        flags = output("readelf", "-dW", path)
        check("NODELETE" in flags, "%s can be unloaded" % path)
        check("BIND_NOW" in flags, "%s is bound lazily" % path)
        check("TEXTREL" not in flags, "%s has text relocations" % path)
    if optimized:
        for path in (hooks, preload):
            for function, most in MOST_INSTRUCTIONS.items():
                path_taken = hot_path(path, function)
                check(len(path_taken) <= most and re.search(r"jmp\s+\*", path_taken[-1]),
                      "%s of %s: %s" % (function, path, "; ".join(path_taken)))
                check(not re.search(r"push|call|rsp|ret", "; ".join(path_taken)),
                      "%s of %s uses the stack: %s" % (function, path, "; ".join(path_taken)))
    else:
        print("skipped, not an optimized build: the length of malloc and free")
    return report()


sys.exit(main())
