#!/usr/bin/env python3
"""fork_storm.py - read the profiles that the children of fork_storm.cc leave.

    fork_storm.py PROGRAM [PRELOAD]

Each child's must be whole and count its own blocks right; what came after the fork must hold nothing
of the parent's threads, which do not exist in the child. Ends with "N passed, N failed".
"""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report  # noqa: E402
import pprof  # noqa: E402

LONG = os.environ.get("PROF_TEST_LONG") == "1"
CHILDREN = 500 if LONG else 20
BLOCKS, SIZE, RATE = 10000, 1000, 1024


def allocated(path, function):
    """Blocks ever allocated in stacks with that function, or None if the file cannot be read."""
    try:
        with open(path, "rb") as f:
            profile = pprof.parse(f.read())
    except (OSError, pprof.Malformed) as e:
        print("%s: %s" % (path, e))
        return None
    return sum(values[0] for functions, values, _ in profile.stacks()
               if any(function in f for f in functions))


def main():
    with tempfile.TemporaryDirectory() as directory:
        env = dict(os.environ)
        if sys.argv[2:]:
            env["LD_PRELOAD"] = os.path.abspath(sys.argv[2])
        p = subprocess.run([os.path.abspath(sys.argv[1]), directory, str(CHILDREN)], env=env,
                           stdout=subprocess.PIPE, text=True, timeout=900 if LONG else 200, check=False)
        for line in p.stdout.splitlines():
            if not re.match(r"\d+ passed, \d+ failed$", line):
                print(line)
        check(p.returncode == 0, "%s ends with %d" % (sys.argv[1], p.returncode))
        all_of_them = 0
        for i in range(CHILDREN):
            whole = "%s/%d.pb.gz" % (directory, i)
            window = "%s/%d.window.pb.gz" % (directory, i)
            own = allocated(window, "in_the_child")
            # 1 / p - 1 = 0.6 of variance a block: 0.8 % of deviation, and six of them.
            check(own is not None and abs(own - BLOCKS) < 0.05 * BLOCKS,
                  "child %d counts %s of %d blocks" % (i, own, BLOCKS))
            all_of_them += own or 0
            check(allocated(window, "churn") == 0, "child %d: nothing of the parent's threads" % i)
            check((allocated(whole, "churn") or 0) > 0, "child %d has what was before the fork" % i)
        mean = all_of_them / CHILDREN / BLOCKS
        check(abs(mean - 1) < 0.05 / CHILDREN ** 0.5, "the mean of all children: %.4f" % mean)
    return report()


sys.exit(main())
