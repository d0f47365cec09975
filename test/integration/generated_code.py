#!/usr/bin/env python3
"""generated_code.py - stacks through code that was made at run time reach where the program began.

    generated_code.py PRELOAD

node runs a script whose memory and time come from below compiled JavaScript, which has no unwind
tables. At least nine tenths of its bytes must be rooted at _start, where it began, and of its
processor time that or, of its helper threads, clone3. The compiled functions have the names that node
writes for perf.
Exit status 77 if there is no node.
"""
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import pprof  # noqa: E402
from checks import check, report  # noqa: E402

SCRIPT = """
const zlib = require('zlib'), crypto = require('crypto');
function buffer(n) { return Buffer.alloc(n + 1); }
class Tree {
    constructor(depth) {
        if (depth > 0) { this.left = new Tree(depth - 1); this.right = new Tree(depth - 1); }
        else this.leaf = buffer(2000);
    }
    sum() { return this.leaf ? this.leaf.length : this.left.sum() + this.right.sum(); }
}
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
let total = 0;
const end = Date.now() + Number(process.argv[2]);
for (let i = 0; i < 150 || Date.now() < end; i++) {
    total += new Tree(8).sum() + fib(20);
    total += zlib.deflateSync(Buffer.alloc(20000, 'abc' + i)).length;
    total += crypto.createHash('sha256').update('x' + i).digest('hex').length;
    total += JSON.stringify([...Array(500).keys()].map(k => k * i).sort((a, b) => b - a)).length;
}
console.log(total > 0);
"""


# What has no stack to be walked: more of it, the busier the machine is.
NO_STACK = {"[thread ended before its sample]", "[libprof at work]"}
ENDS = {"bytes": ["_start"], "processor time": ["_start", "clone3", "__clone3"]}


def generated(p):
    """The names of functions in the mapping [jit]."""
    return {p.string(p.function[line.function_id - 1].name) for location in p.location
            if p.string(p.mapping[location.mapping_id - 1].filename) == "[jit]"
            for line in location.line}


def roots(path, kind):
    """{name of the outermost frame: share}, the sum, and what was generated."""
    with open(path, "rb") as f:
        p = pprof.assert_valid(f.read())
    at, shares = p.value_index(kind), {}
    for frames, values, _ in p.stacks():
        if frames[-1] not in NO_STACK:
            shares[frames[-1]] = shares.get(frames[-1], 0) + values[at]
    total = sum(shares.values())
    return {name: n / total for name, n in shares.items()}, total, generated(p)


def profile(env, script, ms):
    with tempfile.TemporaryDirectory() as d:
        path = d + "/profile.pb.gz"
        with subprocess.Popen(["node", "--perf-basic-prof", script, str(ms)],
                              env=dict(os.environ, LD_PRELOAD=sys.argv[1], LIBPROF_DUMP=path, **env),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            out, error = p.communicate(timeout=120)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"/tmp/perf-{p.pid}.map")
        check(p.returncode == 0 and out == "true\n", f"{p.returncode} {out} {error}")
        return roots(path, "cpu" if "LIBPROF_CPU_DUMP" in env else "alloc_space")


def main():
    if not shutil.which("node"):
        print("skipped: no node")
        return 77
    with tempfile.NamedTemporaryFile("w", suffix=".js") as script:
        script.write(SCRIPT)
        script.flush()
        for what, env, ms, least in (
                ("bytes", {"LIBPROF_HEAP_RATE": "16k"}, 0, 5e7),
                ("processor time", {"LIBPROF_CPU_DUMP": "0", "LIBPROF_CPU_RATE": "250"}, 3000, 2e8)):
            shares, total, names = profile(env, script.name, ms)
            check(total > least, f"{what}: {total}")
            whole = sum(n for name, n in shares.items() if name in ENDS[what])
            check(whole >= 0.9, f"{what}: {shares}")
            check(any(re.search(r"\b(fib|Tree|sum)\b", name) for name in names),
                  f"{what}: compiled functions are called {sorted(names)[:20]}")
            print(f"{100 * whole:.1f} % of the {what} rooted at {' or '.join(ENDS[what])}")
    return report()


sys.exit(main())
