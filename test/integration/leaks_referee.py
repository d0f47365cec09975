#!/usr/bin/env python3
"""leaks_referee.py - what LeakSanitizer says of the shapes of leak_shapes.cc.

    leaks_referee.py SHAPES_WITH_LSAN PLUGIN

So that the names of the shapes, by which leaks.py judges libprof, are not only our opinion. Where
LeakSanitizer does not look, it tells as leaked what is held: mapped memory, epoll sets, tags.
"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report

LOST = {"plain", "list", "cycle", "self", "tree", "realloc", "ended_arena", "shared_ptr_cycle", "map"}
NOT_LOOKED_AT = {"epoll", "tagged", "shared_memory", "private_mapping"}


def main():
    env = dict(os.environ, LSAN_OPTIONS="max_leaks=0:report_objects=0:exitcode=0")
    done = subprocess.run([sys.argv[1], "/", "0", "40", "100", "0", sys.argv[2]], env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    if "LeakSanitizer has encountered a fatal error" in done.stderr:
        print("LeakSanitizer cannot look here: it needs ptrace")
        return 77
    told = set(re.findall(r"in (\w+)_(lost|held)\b", done.stderr))
    lost = {s for s, verdict in told if verdict == "lost"}
    held = {s for s, verdict in told if verdict == "held"}
    check(done.returncode == 0, done.stderr[-500:])
    check(lost == LOST, "told as lost: %s" % sorted(lost ^ LOST))
    check(held <= NOT_LOOKED_AT, "told, though held: %s" % sorted(held - NOT_LOOKED_AT))
    return report()


sys.exit(main())
