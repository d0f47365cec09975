#!/usr/bin/env python3
"""big_tls.py PRELOAD HTTP(with|without) BYTES PLAIN LINKED [BYTES PLAIN LINKED]..

Guards: every thread that libprof makes has the stack it needs, whatever glibc takes of it for
static thread-local data, and however small the default is. PLAIN is preloaded, LINKED serves by
itself. Every page is asked for, and at the end there are threads of libprof alone.
"""
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report  # noqa: E402
from asking import PAGES, ask  # noqa: E402

LITTLE_STACK = 256 * 1024 # a process of which main() still has room for its arguments
LIMIT_S = 120


def clean_env(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LIBPROF_", "LD_PRELOAD"))}
    return dict(env, **more)


def little_stack():
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(resource.RLIMIT_STACK, (LITTLE_STACK, hard))


def wait_for(path, p):
    limit = time.monotonic() + LIMIT_S
    while not os.path.exists(path) and p.poll() is None and time.monotonic() < limit:
        time.sleep(0.02) # asking again; there is no other sign


def run(what, command, env, path, limit, serving=True):
    p = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, preexec_fn=limit)
    if not check(p.stdout.readline() == b"ready\n", what + ": starts"):
        p.kill()
        print(p.communicate()[1].decode())
        return
    with ThreadPoolExecutor(len(PAGES)) as pool:
        answers = list(pool.map(lambda page: ask(path, page), PAGES)) if serving else []
    for page, (status, body) in zip(PAGES, answers):
        check(status == 200, "%s: %s: status %d, %r" % (what, page, status, body[:200]))
    wait_for(path, p) # a socket, or what is written
    err = p.communicate(timeout=LIMIT_S)[1].decode()
    check(p.returncode == 0 and not err, "%s: ends with 0, not %d: %s" % (what, p.returncode, err))


def main(preload, http, *programs):
    with tempfile.TemporaryDirectory() as d:
        for i in range(0, len(programs), 3):
            size, plain, linked = programs[i:i + 3]
            for stack, limit in (("", None), (", little stack", little_stack)):
                what = size + " bytes" + stack
                path = "%s/%d%d.sock" % (d, i, bool(limit))
                if http == "with":
                    run(what + ", preloaded", [plain],
                        clean_env(LD_PRELOAD=preload, LIBPROF_HTTP="unix:" + path), path, limit)
                    run(what + ", linked", [linked, "unix:" + path], clean_env(), path, limit)
                dump = "%s/%d%d.pb" % (d, i, bool(limit))
                run(what + ", writing",  [plain],
                    clean_env(LD_PRELOAD=preload, LIBPROF_DUMP=dump, LIBPROF_CPU_DUMP="1"), dump,
                    limit, serving=False)
                check(os.path.exists(dump), what + ": a CPU profile of the run was written")
    return report()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
