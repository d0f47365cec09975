"""descriptors.py PRELOAD - the program's descriptor table is the program's.

A program lists its own descriptors: with the preload, sampling everything, serving or not, it sees
what it sees without.
"""
import os
import subprocess
import sys

LIST = ["/bin/ls", "/proc/self/fd"]
CASES = {
    "sampling": {"LIBPROF_HEAP_RATE": "1"},
    "serving": {"LIBPROF_HTTP": "127.0.0.1:0"},
    "all rates on": {"LIBPROF_HEAP_RATE": "1", "LIBPROF_BLOCK_RATE": "1",
                     "LIBPROF_MUTEX_FRACTION": "1"},
}


def listed(env):
    return subprocess.run(LIST, env=env, capture_output=True, check=True, timeout=60,
                          stdin=subprocess.DEVNULL).stdout


def main(preload):
    base = {k: v for k, v in os.environ.items() if not k.startswith("LIBPROF_")}
    want = listed(base)
    failed = 0
    for name, extra in CASES.items():
        got = listed(dict(base, LD_PRELOAD=preload, **extra))
        if got != want:
            failed += 1
            print("not true: %s: %r instead of %r" % (name, got, want))
    print("%d passed, %d failed" % (len(CASES) - failed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
