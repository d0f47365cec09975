#!/usr/bin/env python3
"""post_mortem.py - libprof's own profiles, from the core file of a program that had it.

    post_mortem.py PROFCTL PRELOAD SERVICE

The service waits while both are taken, so the process and its core have to tell the same, sample for sample.
Then cores that are damaged, of another version, or cut short: each gets an answer or a sentence, never a crash.
"""
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import pprof
from checks import check, environment, have, run_all

PROFCTL, PRELOAD, SERVICE = map(os.path.abspath, sys.argv[1:4])
MAGIC = b"\x8flibprof\r\n\x1a\n\0ro\0"
CORE = "core"
KEPT = "heap", "allocs", "mutex", "block", "threadcreate", "shop.connections"


def profctl(*args):
    return subprocess.run([PROFCTL, *map(str, args)], capture_output=True, text=True, errors="replace", timeout=90,
                          env=environment())


def ask_live(name, how=""):
    """From the server, to a file; the comments that it came with."""
    curl = subprocess.run(["curl", "-sf", "--unix-socket", "socket", "-o", "live-" + name,
                           "http://localhost/debug/pprof/" + name + how], timeout=90)
    if not check(curl.returncode == 0, "%s: curl ends with %d" % (name, curl.returncode)):
        return ""
    with open("live-" + name, "rb") as f:
        return "\n".join(pprof.parse(f.read()).comments())


def begin():
    """A core, and the profiles of the process right before."""
    if not have("gcore"):
        return
    process = subprocess.Popen([SERVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env=environment(LD_PRELOAD=PRELOAD, LIBPROF_HEAP_RATE="1000", LIBPROF_BLOCK_RATE="1",
                                               LIBPROF_MUTEX_FRACTION="1",
                                               LIBPROF_HTTP="unix:" + os.path.abspath("socket")))

    def wait():
        for line in process.stdout:
            if line == "ready\n":
                return

    wait()
    for command in ("leak", "tell"):
        process.stdin.write(command + "\n")
        process.stdin.flush()
        wait()
    for name in KEPT:
        ask_live(name)
    # Of a process that runs, blocks are looked for that are a second old at least: ask until all are.
    for _ in range(100):
        if "; 0 younger ones" in ask_live("leaks", "?age=1"):
            break
    ask_live("holders", "?age=1")
    subprocess.run(["gcore", "-o", "made", str(process.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   timeout=90, check=True)
    os.rename("made.%d" % process.pid, CORE)
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def samples(path):
    """{(stack of functions and lines, labels): values}, but for what is of the asking itself."""
    with open(path, "rb") as f:
        data = f.read()
    profile = pprof.parse(data)
    if path.startswith("dead-"):
        problems = pprof.check(profile, data, path[5:])
        check(not problems, "%s: %s" % (path, problems[:3]))
    found = {}
    for s in profile.sample:
        # Where there is no name the process knows at least where the function begins.
        stack = [(re.sub(r"\+0x\w+$", "+", name), file, line) for name, file, line in profile.frames(s)]
        key = tuple(stack), str(profile.labels(s))
        found[key] = [a + b for a, b in zip(found.get(key, [0] * 8), s.value)]
    return found


def test_what_is_kept_in_tables_is_that_of_the_process():
    if not os.path.exists(CORE):
        return
    for name in KEPT:
        done = profctl("core", CORE, name, "-o", "dead-" + name)
        if not check(done.returncode == 0, "%s: %s" % (name, done.stderr)):
            continue
        live, dead = samples("live-" + name), samples("dead-" + name)
        check(live == dead, "%s: %d and %d samples, %s" % (name, len(live), len(dead), [
            (k[0][:3], live.get(k), dead.get(k)) for k in set(live) | set(dead) if live.get(k) != dead.get(k)][:3]))
        check(len(dead) > (20 if name in ("heap", "allocs") else 0) or name == "mutex", "%s: none" % name)
        if name == "heap":
            check(any("acme" in labels for _, labels in dead), "labels: %s" % [k[1] for k in dead][:5])
        if name == "shop.connections":
            check([v[0] for v in dead.values()] == [7], dead)
    out = profctl("heap", CORE).stdout
    check("plant" in out and "main" in out, out)


FORKS = """
import os, sys
kept = [bytearray(1 << 20) for i in range(4)]
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    kept += [bytearray(1 << 20) for i in range(16)]
    os.write(w, b"x")
    sys.stdin.read()
    os._exit(0)
os.read(r, 1)
print(pid, flush=True)
os.waitpid(pid, 0)
"""


def test_a_forked_child_that_does_not_listen_is_read_from_outside():
    """As workers of nginx, postgres and gunicorn are: no thread was started in them."""
    with subprocess.Popen([sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=environment(LD_PRELOAD=PRELOAD, LIBPROF_HEAP_RATE="1")) as parent:
        child = int(parent.stdout.readline())
        totals = {}
        for pid in (parent.pid, child):
            done = profctl("heap", pid, "--json")
            check(done.returncode == 0, "heap %d: %s" % (pid, done.stderr))
            totals[pid] = json.loads(done.stdout)["total"]
        more = totals[child] - totals[parent.pid]
        check(16 << 20 <= more < 17 << 20, "the child has 16 MiB more: %s" % totals)
        check("from outside" in profctl("heap", child).stdout, "and it is said how")
        for command, status, says in (("threads", 0, "thread %d " % child), ("leaks", 0, "leaks of python3"),
                                      ("vars", 6, "LIBPROF_CONTROL=children"), ("cpu", 6, "LIBPROF_CONTROL=children")):
            done = profctl(command, child)
            check(done.returncode == status and says in done.stdout + done.stderr,
                  "%s: %d %s" % (command, done.returncode, (done.stdout + done.stderr)[:300]))
        done = profctl("heap", child, "--seconds", "1")
        check(done.returncode == 2 and "profctl diff" in done.stderr, "%d %s" % (done.returncode, done.stderr))
        parent.stdin.close()
        parent.wait()


def by_stack(path):
    """Without labels: ages are of another moment, and in a core no register is hidden, which makes sure what in
    the process is only possible. And without what is not in a core: threads' names, and where each frame ends."""
    found = {}
    for (stack, _), values in samples(path).items():
        stack = tuple((re.sub(r"^(?:stack of )?thread .*", "thread", re.sub(r"^tls of .*", "tls", name)), file, line)
                      for name, file, line in stack)
        found[stack] = [a + b for a, b in zip(found.get(stack, [0] * 8), values)]
    return found


def test_leaks_and_holders_are_those_of_the_process_by_who_allocated():
    if not os.path.exists(CORE):
        return
    for name in ("leaks", "holders"):
        done = profctl(name, CORE, "-o", "dead-" + name)
        if not check(done.returncode == 0, "%s: %s" % (name, done.stderr)):
            continue
        live, dead = by_stack("live-" + name), by_stack("dead-" + name)
        check(live == dead and dead, "%s: %d and %d stacks, %s" % (name, len(live), len(dead), [
            (k[:3], live.get(k), dead.get(k)) for k in set(live) | set(dead) if live.get(k) != dead.get(k)][:3]))
    kinds = {labels for _, labels in samples("dead-leaks")}
    check(kinds and all("unreferenced" in k or "only from leaked" in k for k in kinds), kinds)
    check(all(any("plant" in frame[0] for frame in stack) for stack in by_stack("dead-leaks")),
          "what is ignored, or told to be a root's, is called leaked: %s" % list(by_stack("dead-leaks"))[:3])


def test_leaks_of_a_prepared_program_are_not_hidden_by_libprofs_own_tables():
    if not os.path.exists(CORE):
        return
    out = profctl("leaks", CORE, "--by-type").stdout
    found = [line for line in out.splitlines() if "shop::Session, unreferenced" in line]
    check(len(found) == 1 and int(found[0].split()[1]) >= 190, out)


def test_the_core_says_what_it_is():
    if not os.path.exists(CORE):
        return
    done = profctl("core", CORE)
    check(done.returncode == 0 and "libprof 0." in done.stdout and "outside_service" in done.stdout, done.stdout)
    check(" shop.connections " in done.stdout and "build id " in done.stdout, done.stdout)
    done = profctl("core", CORE, "no.such")
    check(done.returncode == 3 and "no.such" in done.stderr, "%d %s" % (done.returncode, done.stderr))


def test_another_version_gets_a_sentence():
    if not os.path.exists(CORE):
        return
    with open(CORE, "rb") as f:
        core = bytearray(f.read())
    at = core.find(MAGIC)
    check(at > 0 and core.find(MAGIC, at + 1) < 0, "one root: at %d" % at)
    struct.pack_into("<I", core, at + 16, 77)
    with open("foreign", "wb") as f:
        f.write(core)
    done = profctl("heap", "foreign")
    check(done.returncode == 6 and "layout 77" in done.stderr, "%d %s" % (done.returncode, done.stderr))


def answers(path, what):
    for command in ("heap", "leaks", "threads"):
        done = profctl(command, path)
        check(0 <= done.returncode <= 6 and (done.stdout or done.stderr),
              "%s: %s ended by %d: %s" % (what, command, done.returncode, done.stderr[-300:]))


def test_damaged_and_cut_cores_are_answered():
    if not os.path.exists(CORE):
        return
    rng = random.Random(1)
    size = os.path.getsize(CORE)
    with open(CORE, "rb") as f:
        at = f.read().find(MAGIC)
    # The root and what it leads to; headers and notes; anywhere.
    for what, places in (("root", [at + rng.randrange(16, 216) for _ in range(6)]),
                         ("tables", [at - 40000 + rng.randrange(80000) for _ in range(3000)]),
                         ("headers", [rng.randrange(8192) for _ in range(40)]),
                         ("notes", [size - 1 - rng.randrange(60000) for _ in range(500)]),
                         ("anywhere", [rng.randrange(size) for _ in range(200000)])):
        shutil.copy(CORE, "damaged")
        with open("damaged", "r+b") as f:
            for place in places:
                f.seek(place)
                f.write(bytes([rng.randrange(256)]))
        answers("damaged", what)
    for share in (0.02, 0.5, 0.98):
        shutil.copy(CORE, "damaged")
        os.truncate("damaged", int(size * share))
        answers("damaged", "cut at %g" % share)


if __name__ == "__main__":
    sys.exit(run_all(globals(), "libprof-post-mortem-", begin))
