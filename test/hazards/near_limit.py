#!/usr/bin/env python3
"""near_limit.py - a scan in a cgroup whose memory is nearly used up neither kills nor grows it.

    near_limit.py PROGRAM

At 95 % of the limit a scan may be refused, with a reason; at half of it it must not be. Skipped
(77) where no cgroup can be made.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report

LIMIT_MIB = 200


def own_groups():
    """(folder, file of the limit) of the memory hierarchy, and of our group in it."""
    for line in open("/proc/self/cgroup"):
        _, names, path = line.strip().split(":", 2)
        if names == "memory":
            yield "/sys/fs/cgroup/memory" + path, "memory.limit_in_bytes"
        elif names == "":
            yield "/sys/fs/cgroup" + path, "memory.max"


def make_group():
    for folder, limit in own_groups():
        group = os.path.join(folder, "libprof-test-%d" % os.getpid())
        try:
            os.mkdir(group)
        except OSError:
            continue
        try:
            with open(os.path.join(group, limit), "w") as f:
                f.write(str(LIMIT_MIB << 20))
            return group
        except OSError:
            os.rmdir(group)
    return None


def run(group, program, mib):
    def enter():
        with open(os.path.join(group, "cgroup.procs"), "w") as f:
            f.write(str(os.getpid()))

    return subprocess.run([program, str(mib)], preexec_fn=enter, stdout=subprocess.PIPE, text=True,
                          timeout=120)


def main():
    group = make_group()
    if not group:
        print("no cgroup with a limit can be made here")
        return 77
    try:
        for share in (50, 95):
            # 12 MiB: the program itself, the tables and the samples.
            done = run(group, sys.argv[1], LIMIT_MIB * share // 100 - 12)
            check(done.returncode == 0, "%d %%: ended with %d" % (share, done.returncode))
            answers = dict(l.split(": ", 1) for l in done.stdout.splitlines())
            for name in ("leaks", "holders"):
                words = answers.get(name, "missing").split(" ", 2)
                check(words[0] == "0" or share == 95 and words[0] == "-105" and "cgroup" in words[2],
                      "%d %%: %s: %s" % (share, name, words))
            before, leaks, holders, after = map(int, answers["rss"].split())
            # As prof.h has it, and what names and the profile itself take.
            bound = before // 30 + 1024 + 6 * 1024
            check(leaks < before + bound, "%d %%: leaks: %d KiB at %d" % (share, leaks, before))
            check(holders < before + bound + 64 * 1024,
                  "%d %%: holders: %d KiB at %d" % (share, holders, before))
            check(after < before + 6 * 1024, "%d %%: %d KiB before, %d after" % (share, before, after))
    finally:
        os.rmdir(group)
    return report()


sys.exit(main())
