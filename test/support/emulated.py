#!/usr/bin/env python3
"""emulated.py - run meson's tests where meson is not, or not wanted.

    emulated.py --tests TESTS.json --log TESTLOG.json --build FOLDER [OPTION..] [NAME..]

TESTS.json is what `meson introspect --tests` says; TESTLOG.json gets what `meson test` would write, as
far as tally.py reads it, a line after each test. Of the tests, those whose name contains one of the
NAMEs; two at a time where meson has them run beside others.

  --wrapper "COMMAND WORD.."  put before the programs; leaves out scripts, which start theirs themselves
  --suite NAME                tests of this suite only
  --not "NAME NAME.."         tests that are left out
  --slower N                  multiply their time limits
  --minutes N                 begin no test later than that: what is left is named
  --build FOLDER              where tests are run that say nothing else, as meson does
  --targets TARGETS.json [--libraries]
                              run nothing: print what ninja has to make in FOLDER for these tests, from
                              `meson introspect --targets`; and all that is installed
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time


def is_script(test):
    return os.path.basename(test["cmd"][0]).startswith("python")


def run(test, wrapper, slower, build):
    env = dict(os.environ, **test["env"])
    command = list(test["cmd"])
    if is_script(test):  # by the Python that is there
        command[0] = sys.executable
    limit = test["timeout"] * slower
    began = time.monotonic()
    # A group of its own, so that none of its children outlives it.
    with subprocess.Popen(wrapper + command, env=env, cwd=test["workdir"] or build, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, errors="replace",
                          stderr=subprocess.STDOUT, start_new_session=True) as p:
        try:
            out, _ = p.communicate(timeout=limit)
            result = {0: "OK", 77: "SKIP"}.get(p.returncode, "FAIL")
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            out, _ = p.communicate()
            result = "TIMEOUT"
    return {"name": test["name"], "result": result, "stdout": out, "returncode": p.returncode,
            "duration": round(time.monotonic() - began, 1)}


def targets(tests, all_targets, build, libraries):
    """As ninja names them: what the tests' commands name, and what they say that they depend on."""
    files = {t["id"]: t["filename"] for t in all_targets}
    wanted = {word for t in tests for word in t["cmd"] if word.startswith(build + "/")}
    for t in tests:
        for i in t["depends"]:
            wanted.update(files.get(i, []))
    if libraries:
        for t in all_targets:
            if t["installed"] and t["type"] != "custom":
                wanted.update(t["filename"])
    made = {f for names in files.values() for f in names}
    return sorted(os.path.relpath(w, build) for w in wanted if w in made)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--tests", required=True)
    a.add_argument("--log", required=True)
    a.add_argument("--wrapper", default="")
    a.add_argument("--suite", default="")
    a.add_argument("--not", default="", dest="left_out")
    a.add_argument("--slower", type=float, default=4)
    a.add_argument("--minutes", type=float, default=1e6)
    a.add_argument("--targets", default="")
    a.add_argument("--build", required=True)
    a.add_argument("--libraries", action="store_true")
    a.add_argument("names", nargs="*")
    o = a.parse_args()
    with open(o.tests) as f:
        tests = [t for t in json.load(f)
                 if (not o.names or any(n in t["name"] for n in o.names)) and
                 (not o.suite or any(s.endswith(":" + o.suite) for s in t["suite"])) and
                 t["name"] not in o.left_out.split() and
                 not (o.wrapper and is_script(t))]
    if o.targets:
        with open(o.targets) as f:
            print("\n".join(targets(tests, json.load(f), o.build, o.libraries)))
        return 0
    # Short ones first, since time may run out.
    tests.sort(key=lambda t: (t["timeout"], t["name"]))
    until = time.monotonic() + o.minutes * 60
    lock = threading.Lock()
    n_done = 0
    failed = 0

    with open(o.log, "w") as log:
        def note(r):
            nonlocal n_done, failed
            n_done += 1
            failed += r["result"] not in ("OK", "SKIP")
            log.write(json.dumps(r) + "\n")
            log.flush()
            print("%3d/%d %-30s %-7s %6.1f s" % (n_done, len(tests), r["name"], r["result"],
                                                 r["duration"]), flush=True)

        def work(queue):
            while True:
                with lock:
                    if not queue:
                        return
                    t = queue.pop(0)
                if time.monotonic() > until:
                    r = {"name": t["name"], "result": "SKIP", "duration": 0,
                         "stdout": "not run: there was no time left"}
                else:
                    r = run(t, o.wrapper.split(), o.slower, o.build)
                with lock:
                    note(r)

        beside = [t for t in tests if t["is_parallel"]]
        workers = [threading.Thread(target=work, args=(beside,)) for _ in range(2)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
        work([t for t in tests if not t["is_parallel"]])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
