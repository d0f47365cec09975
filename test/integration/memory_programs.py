#!/usr/bin/env python3
"""memory_programs.py - the profile `memory` of programs of other people's: it adds up to RSS.

    memory_programs.py PROFRUN PROGRAM

PROGRAM is one of PROGRAMS: an allocator that is not glibc's, arenas of an interpreter, heaps of
virtual machines, shared memory. Exit status 77 if it is not on this machine.
"""
import glob
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import asking
from checks import check, report

MIB = 1 << 20
SLACK = 2 * MIB  # what a process takes between one look and the next, for the request itself
LIMIT_S = 60


def rss(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return next(int(x.split()[1]) * 1024 for x in f if x.startswith("Rss:"))


def wait_for(condition, what, process):
    limit = time.monotonic() + LIMIT_S
    while not condition():
        if process.poll() is not None or time.monotonic() > limit:
            raise RuntimeError("%s: not within %d s, %s" % (what, LIMIT_S, process.poll()))
        time.sleep(0.05)


def redis(tmp):
    server = shutil.which("redis-server")
    return [server, "--port", "0", "--unixsocket", tmp + "/ready", "--save", "",
            "--enable-debug-command", "yes"], {
        "heap": 10 * MIB}, fill_redis


def fill_redis(tmp):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(tmp + "/ready")
        s.sendall(b"DEBUG POPULATE 200000 key 100\r\n")
        check(s.recv(100).startswith(b"+OK"), "redis is filled")


PYTHON = """
import sys
kept = [str(i) * 3 for i in range(400000)]
open(sys.argv[1], "w").close()
sys.stdin.read()
"""


def python(tmp):
    interpreter = "/usr/bin/python3"  # not a script that starts another
    return [interpreter if os.path.exists(interpreter) else None, "-c", PYTHON, tmp + "/ready"], {
        "anonymous": 20 * MIB}, None


NODE = """
const kept = [];
for (let i = 0; i < 400000; i++) kept.push({ number: i, text: "text " + i });
require("fs").writeFileSync(process.argv[1], "");
process.stdin.resume();
"""


def node(tmp):
    return [shutil.which("node"), "-e", NODE, tmp + "/ready"], {"anonymous": 30 * MIB}, None


JAVA = """
public class Hold {
    public static void main(String[] arguments) throws Exception {
        byte[][] kept = new byte[64][];
        for (int i = 0; i < kept.length; i++)
            kept[i] = new byte[1 << 20];
        new java.io.File(arguments[0]).createNewFile();
        System.in.read();
        System.out.println(kept.length);
    }
}
"""


def java(tmp):
    with open(tmp + "/Hold.java", "w") as f:
        f.write(JAVA)
    return [shutil.which("java"), "-Xmx256m", tmp + "/Hold.java", tmp + "/ready"], {
        "anonymous": 64 * MIB}, None


def postgres(tmp):
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not found or os.geteuid() != 0 or not shutil.which("setpriv"):
        return [None], {}, None
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    data = tmp + "/data"
    os.chmod(tmp, 0o777)
    subprocess.run(as_nobody + [found[-1] + "/initdb", "-N", "-D", data], check=True,
                   stdout=subprocess.DEVNULL, timeout=LIMIT_S)
    return as_nobody + [found[-1] + "/postgres", "-D", data, "-k", data, "-c",
                        "listen_addresses=", "-c", "huge_pages=off"], {"shared": MIB}, None


PROGRAMS = {f.__name__: f for f in (redis, python, node, java, postgres)}


def check_program(profrun, name, tmp):
    argv, least, fill = PROGRAMS[name](tmp)
    if not argv[0]:
        print("skipped: no %s" % name)
        sys.exit(77)
    ready = tmp + ("/data/postmaster.pid" if name == "postgres" else "/ready")
    page = tmp + "/prof"
    before = [profrun, "--http", "unix:" + page, "--"]
    at = 4 if name == "postgres" else 0  # behind what makes it nobody
    with open(tmp + "/errors", "wb") as errors:
        process = subprocess.Popen(argv[:at] + before + argv[at:], stdin=subprocess.PIPE,
                                   stdout=errors, stderr=errors)
    try:
        wait_for(lambda: os.path.exists(ready) and os.path.exists(page), name, process)
        if fill:
            fill(tmp)
        look(name, process.pid, page, least)
    finally:
        process.kill()
        process.wait()


def look(name, pid, page, least):
    rollup = rss(pid)
    status, body = asking.ask(page, "/debug/pprof/memory?format=json", LIMIT_S)
    rollup = sorted((rollup, rss(pid)))
    check(status == 200, "%s: %s %r" % (name, status, body[:200]))
    memory = json.loads(body)
    total = memory["resident_bytes"]
    print("%s: %.1f MiB of %.1f" % (name, total / MIB, rollup[0] / MIB))
    for kind in memory["kinds"]:
        print("%8.1f MiB %s" % (kind["resident_bytes"] / MIB, kind["is"]))
    check(0.98 * rollup[0] - SLACK <= total <= 1.02 * rollup[1] + SLACK,
          "%s: %d, and RSS is %s" % (name, total, rollup))
    amount = {k["kind"]: k["resident_bytes"] for k in memory["kinds"]}
    for kind, n in least.items():
        check(amount.get(kind, 0) >= n, "%s: %s is %d" % (name, kind, amount.get(kind, 0)))
    status, body = asking.ask(page, "/debug/pprof/memory?debug=1", LIMIT_S)
    check(status == 200 and b"resident (RSS)" in body, "%s: in text" % name)


def main():
    with tempfile.TemporaryDirectory() as tmp:
        check_program(sys.argv[1], sys.argv[2], tmp)
    return report()


sys.exit(main())
