#!/usr/bin/env python3
"""live_programs.py - other people's programs at work, read by `go tool pprof` over HTTP.

    live_programs.py PROFRUN PROGRAM [DEMO_SERVICE]

Starts PROGRAM (one of the names in PROGRAMS) under profrun with a server on a port, keeps it busy,
and points the real client at profile, threads, goroutine and threadcreate: it must find what the
program is at by name, and say nothing but where it fetched from. Ends like every test with the line
"N passed, N failed"; exit status 77 if the program, or go, is not on this machine.
"""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
import real_programs as real  # noqa: E402
from checks import check, report  # noqa: E402

FETCHES = 10 # until a busy machine has let the program run, or a thread answer
SAID = re.compile(r"Fetching profile over HTTP from http://|Saved profile in ")


class Live:
    """A program under profrun, with a load as long as it lives."""

    def __init__(self, tmp, profrun, argv):
        self.port = real.free_port()
        self.tmp = tmp
        self.stopping = threading.Event()
        self.run = real.Run(tmp, None, [profrun, "--http", "127.0.0.1:%d" % self.port, "--"] + argv)
        self.loader = None

    def load(self, work):
        def go():
            try:
                while not self.stopping.is_set():
                    work()
            except OSError as e:
                if not self.stopping.is_set():
                    check(False, "the load: %s" % e)
        self.loader = threading.Thread(target=go)
        self.loader.start()

    def wait(self):
        real.wait_for(lambda: real.can_connect(self.port), "the server of the profiles",
                      self.run.proc)

    def end(self):
        self.stopping.set()
        if self.loader:
            self.loader.join()
        self.run.kill()

    def pprof(self, name, *arguments):
        """What go tool pprof prints of a profile that it fetches itself."""
        env = dict(os.environ, PPROF_TMPDIR=os.path.join(self.tmp, "pprof"), GOFLAGS="-mod=mod")
        env.setdefault("HOME", self.tmp)
        r = subprocess.run(["go", "tool", "pprof", *arguments,
                            "http://127.0.0.1:%d/debug/pprof/%s" % (self.port, name)],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=90,
                           check=False)
        what = "go tool pprof %s %s" % (" ".join(arguments), name)
        check(r.returncode == 0, "%s: exit status %d, %.500r" % (what, r.returncode, r.stderr))
        said = [x for x in r.stderr.decode().splitlines() if x and not SAID.match(x)]
        check(not said, "%s: it says %.500r" % (what, said))
        return r.stdout.decode(errors="replace")


# --- the programs; each is busy when it has been started -----------------------------------------

def redis(start, _):
    port = real.free_port()
    live = start(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                  "--appendonly", "no", "--daemonize", "no"])
    real.wait_for(lambda: real.can_connect(port), "redis listens", live.run.proc)
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    commands = b"".join(b"SET key:%d %s\r\nLRANGE list 0 99\r\nLPUSH list %d\r\n" %
                        (i, b"v" * 100, i) for i in range(200))
    commands += b"LTRIM list 0 200\r\nECHO done\r\n"

    def work():
        client.sendall(commands)
        reply = b""
        while not reply.endswith(b"\r\ndone\r\n"):
            got = client.recv(65536)
            if not got:
                raise OSError("redis has closed the connection")
            reply = (reply + got)[-16:]

    live.load(work)


PYTHON_PROGRAM = """
def node(i):
    return {'name': 'node%d' % i, 'next': [i] * 3}
while True:
    sum(len(node(i)['name']) for i in range(10000))
"""


def python(start, _):
    start(["/usr/bin/python3", "-c", PYTHON_PROGRAM])


def sqlite(start, _):
    start(["sqlite3", "-batch", ":memory:", "with recursive n(i) as (select 1 union all "
           "select i + 1 from n) select count(hex(i * 7919)) from n;"])


def demo(start, service):
    start([service])


# name: (function, programs needed, what the CPU profile must have, where threads wait or work)
PROGRAMS = {
    "redis": (redis, ("redis-server",), r"\b(processCommand|call|aeMain|addReply)",
              r"aeMain|\bbio"),
    "python": (python, ("/usr/bin/python3",), r"\b_PyEval_EvalFrameDefault", r"Py_BytesMain"),
    "sqlite": (sqlite, ("sqlite3",), r"\bsqlite3_step", r"sqlite3_step|\bmain\b"),
    "demo": (demo, (), r"\b(checksum|handle_request|parse)", r"\bwork\b"),
}
# What starts more threads, and where; what has frames that were inlined.
STARTS_THREADS = {"redis": r"bioInit|\bmain\b|InitServerLast", "demo": r"\bmain\b"}
INLINED = {"demo": r"(handle_request|buffer_new|audit_remember)\S* \(inline\)"}


def check_has(live, pattern, name, *arguments):
    """That something is in a profile; what go tool pprof printed."""
    for _ in range(FETCHES):
        out = live.pprof(name, *arguments)
        if re.search(pattern, out):
            return out
    check(False, "%s is not in %s: %.3000s" % (pattern, name, out))
    return out


TOP = ("-top", "-cum", "-nodecount=300")


def check_live(live, name, hot, waits):
    top = check_has(live, hot, "profile?seconds=1", *TOP)
    check("Type: cpu" in top, "the type of the CPU profile: %.300r" % top)
    rows = re.findall(r"^ *[\d.]+m?s +[\d.]+% +[\d.]+% +[\d.]+m?s +[\d.]+%  (\S.*)$", top, re.M)
    named = [x for x in rows if not re.match(r"0x|\[", x)]
    check(len(named) * 2 >= len(rows) > 0, "most functions have names: %r" % rows[:30])
    check_has(live, hot, "profile?seconds=1", "-traces")
    for profile in "threads", "goroutine":
        check_has(live, waits, profile, *TOP)
    check_has(live, waits, "threads", "-traces")
    check_has(live, STARTS_THREADS.get(name, "Type: threadcreate"), "threadcreate", *TOP)
    check_leaks(live, name)
    if name in INLINED:
        check_has(live, INLINED[name], "allocs", *TOP)


def check_leaks(live, name):
    """At work nothing of theirs is told; of the demo what it is made for."""
    leaks = live.pprof("leaks?age=1", "-sample_index=inuse_space", "-top", "-nodecount=30")
    check("Type: inuse_space" in leaks, "the type of leaks: %.300r" % leaks)
    if name != "demo":
        check(not re.search(r"%  \S", leaks), "nothing leaks: %.2000s" % leaks)
        return
    check_has(live, "session_open", "leaks?age=1", "-top", "-nodecount=30")
    held = "holders?site=audit_remember"
    check_has(live, r"global audit_log", held, *TOP)
    check_has(live, r"block \d+ B of audit_remember", held, "-peek=audit_remember")
    check_has(live, r"(?s)audit_remember.*global audit_log", held, "-traces")


def main():
    profrun, name = os.path.abspath(sys.argv[1]), sys.argv[2]
    service = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else None
    function, needed, hot, waits = PROGRAMS[name]
    for program in needed + ("go",):
        if not shutil.which(program):
            real.skip(program + " is not installed")
    tmp = tempfile.mkdtemp()
    lives = []

    def start(argv):
        lives.append(Live(tmp, profrun, argv))
        return lives[-1]

    try:
        function(start, service)
        lives[0].wait()
        check_live(lives[0], name, hot, waits)
    finally:
        for live in lives:
            live.end()
        shutil.rmtree(tmp)
    return report()


if __name__ == "__main__":
    sys.exit(main())
