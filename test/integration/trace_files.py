#!/usr/bin/env python3
"""The file of a trace: of 200 threads; whose client or whose program is killed over it, so that it ends
in the middle or is that of before; and for which there is no room on the disk.

    trace_files.py TRACE_TRUTH
"""
import errno
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import perfetto  # noqa: E402
from checks import check, environment, report  # noqa: E402


def run(*args):
    done = subprocess.run([sys.argv[1], *map(str, args)], capture_output=True, text=True, timeout=60,
                          env=environment())
    check(done.returncode == 0, "%s ends well: %s %s" % (args, done.stdout[-500:], done.stderr))
    return done.stdout


def load(path):
    with open(path, "rb") as f:
        t = perfetto.load(f.read())
    check(not t.problems, "%s is a trace that readers take: %s" % (path, t.problems[:5]))
    return t


def test_crowd():
    """Each of 200 threads has its row, with all that it did; their rings are of three sizes."""
    n, regions = 200, 60
    run("crowd", n, regions, "crowd")
    t = load("crowd")
    steps, lines = {}, {}
    for s in t.of(name="step"):
        steps[s.track] = steps.get(s.track, 0) + 1
    for s in t.of(category="log"):
        lines.setdefault(s.track, []).append(s.name)
    check(not t.of(category="lost"), "nothing is lost: %s" % t.of(category="lost"))
    check(sorted(steps.values()) == [regions] * n, "regions of each: %s" % sorted(steps.values())[:5])
    check(sorted(x for names in lines.values() for x in names) ==
          sorted("thread %d" % i for i in range(n)), "a line of each")
    check(set(lines) == set(steps) and len({t.tracks[x]["thread"]["tid"] for x in lines}) == n,
          "each on its own row")
    starts = t.of(name="thread starts")
    check(len(starts) == n and all(s.flows_in for s in starts), "and each has begun by an arrow")


def test_cut():
    """A client that was killed over it has the beginning: whole packets that need nothing later."""
    run("regions", "cut", "json", "as_region")
    with open("cut", "rb") as f:
        data = f.read()
    whole = perfetto.load(data)
    most = 0
    for i in range(1, 20):
        t = perfetto.load(data[:len(data) * i // 20], cut=True)
        check(not t.problems, "%d of 20 parts: %s" % (i, t.problems[:3]))
        check(len(t.slices) >= most, "never less of it")
        most = len(t.slices)
    check(0 < most <= len(whole.slices), "%d of %d" % (most, len(whole.slices)))


def test_killed():
    """A program that is killed while it writes the file leaves the last one, whole, or none."""
    for i in range(3):
        os.mkdir("killed%d" % i)
        path = "killed%d/trace" % i
        with subprocess.Popen([sys.argv[1], "again", path], env=environment()) as program:
            for _ in range(3000): # in the middle of the second, as a rule
                if os.path.exists(path) or program.poll() is not None:
                    break
                time.sleep(0.01)
            time.sleep(0.005 * i)
            program.kill()
        t = load(path)
        check(len(t.of(name="a region")) > 1000, "all of it is there: %d" % len(t.slices))
        for name in os.listdir("killed%d" % i):
            if name != "trace": # the one that was being written
                with open("killed%d/%s" % (i, name), "rb") as f:
                    left = perfetto.load(f.read(), cut=True)
                check(not left.problems, "and what there is of the next: %s" % left.problems[:3])


def test_full():
    os.mkdir("full")
    with open("full/trace", "w", encoding="ascii") as f:
        f.write("what was there")
    device, file = run("full", "full/trace").splitlines()
    for line, want in ((device, errno.ENOSPC), (file, errno.EFBIG)):
        code, _, said = line.partition(" ")
        check(int(code) == -want and os.strerror(want) in said, "a disk that is full: %s" % line)
    check(os.listdir("full") == ["trace"], "nothing is left: %s" % os.listdir("full"))
    with open("full/trace", encoding="ascii") as f:
        check(f.read() == "what was there", "and nothing replaced")


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        test_crowd()
        test_cut()
        test_killed()
        test_full()
        os.chdir("/")


if len(sys.argv) != 2:
    sys.exit(__doc__)
sys.argv[1] = os.path.abspath(sys.argv[1])
main()
sys.exit(report())
