"""serving.py - what costs besides the operations: requests, clients, memory, start-up, first samples."""

import glob
import http.client
import os
import re
import socket
import subprocess
import sys
import time

from bench import ROOT, Candidate, Target, bases, number

sys.path.insert(0, os.path.join(ROOT, "test/support"))
import pprof  # noqa: E402


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class State:
    """state_bench in some state, under a candidate; with a server if `serve`."""

    def __init__(self, b, candidate, what, n, serve=False, extra=None):
        self.path = None
        env = b.environment(dict(candidate.env, **(extra or {})))
        if serve:
            self.path = os.path.join(b.tmp, "state.sock")
            env["LIBPROF_HTTP"] = "unix:" + self.path
        self.process = subprocess.Popen([b.tool("state_bench"), what, str(n)], env=env,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, cwd=b.tmp)
        if self.process.stdout.readline() != b"ready\n":
            self.close()
            raise RuntimeError("state_bench %s %d under %s did not get ready" % (
                what, n, candidate.name))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def costs(self):
        """ns a pair, ns a sampled one: now."""
        self.process.stdin.write(b"?")
        self.process.stdin.flush()
        return [float(x) for x in self.process.stdout.readline().split()]

    def resident_kib(self):
        with open("/proc/%d/smaps_rollup" % self.process.pid, encoding="ascii") as f:
            return int(re.search(r"^Rss:\s+(\d+)", f.read(), re.M).group(1))

    def get(self, path):
        """(milliseconds, body), on a connection of its own."""
        return timed_get(UnixConnection(self.path), path)


def timed_get(connection, path):
    begin = time.perf_counter()
    connection.request("GET", "/debug/pprof/" + path)
    reply = connection.getresponse()
    body = reply.read()
    took = (time.perf_counter() - begin) * 1e3
    connection.close()
    if reply.status != 200:
        raise RuntimeError("GET %s: status %d" % (path, reply.status))
    return took, body


# --- requests ------------------------------------------------------------------------------------

ASKED = (("cold", "heap"), ("warm", "heap"), ("warm", "heap"), ("debug=1", "heap?debug=1"),
         ("warm", "heap"), ("debug=1", "heap?debug=1"), ("warm", "heap"))
LIMITS_MS = {(10_000, "cold"): 250, (10_000, "warm"): 50, (10_000, "debug=1"): 150,
             (1_000, "warm"): 10}


def ask_all(get):
    took = {}
    for kind, path in ASKED:
        took.setdefault(kind, []).append(get(path)[0])
    return {kind: min(of) for kind, of in took.items()}


def request(b):
    """A heap profile over HTTP, of many stacks."""
    ours = b.libprof("libprof", base=None)
    go = b.peer_go()

    def ask_ours(n):
        with State(b, ours, "stacks", n, serve=True) as s:
            return ask_all(s.get)

    def ask_go(n):
        with subprocess.Popen([go, "stacks", str(n)], env=b.environment({"PEER_RATE": "1"}),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
            port = int(p.stdout.readline())
            try:
                return ask_all(lambda path: timed_get(
                    http.client.HTTPConnection("127.0.0.1", port, timeout=120), path))
            finally:
                p.stdin.close()

    for n in (10_000, 1_000):
        works = {"libprof": lambda: ask_ours(n)}
        if go:
            works["Go net/http/pprof"] = lambda: ask_go(n)
        # Go takes seconds for text.
        got = b.interleave(works, b.less(min(b.rounds, 3 if n == 10_000 else 5), 1))
        for kind in ("cold", "warm", "debug=1"):
            limit = LIMITS_MS.get((n, kind))
            b.row("heap request, %s stacks, %s" % (format(n, ","), kind), "ms",
                  {name: [v[kind] for v in of] for name, of in got.items()}, None,
                  [Target("libprof", "median", limit)] if limit else [])


# --- clients -------------------------------------------------------------------------------------

CLIENTS = 60 # of 64 places


def ask_small(s):
    """The smallest answer there is, on a socket."""
    s.sendall(b"GET /debug/pprof/cmdline HTTP/1.1\r\nHost: localhost\r\n\r\n")
    got = b""
    while b"\r\n\r\n" not in got:
        more = s.recv(65536)
        if not more:
            raise RuntimeError("no answer: %r" % got)
        got += more
    head, body = got.split(b"\r\n\r\n", 1)
    size = int(re.search(rb"content-length: (\d+)", head, re.I)[1])
    while len(body) < size:
        body += s.recv(65536)


def anonymous_kib(pid):
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
        return int(re.search(r"^Anonymous:\s+(\d+)", f.read(), re.M)[1])


def cpu_us(pid):
    ns = 0
    for path in glob.glob("/proc/%d/task/*/schedstat" % pid):
        with open(path, encoding="ascii") as f:
            ns += int(f.read().split()[0])
    return ns / 1000


def clients_of(pid, dial, n):
    """KiB of a silent client, and of one that has asked; microseconds of processor a request, where
    the connection is kept, and where each has its own."""
    def again():
        with dial() as s:
            ask_small(s)

    for _ in range(100):
        again() # what is done once is done
    with dial() as kept:
        ask_small(kept)
        before = cpu_us(pid)
        for _ in range(n):
            ask_small(kept)
        kept_us = (cpu_us(pid) - before) / n
    before = cpu_us(pid)
    for _ in range(n):
        again()
    new_us = (cpu_us(pid) - before) / n
    before = anonymous_kib(pid)
    crowd = [dial() for _ in range(CLIENTS)]
    with dial() as s: # who is answered after them has seen them accepted
        ask_small(s)
    silent = (anonymous_kib(pid) - before) / CLIENTS
    for s in crowd:
        ask_small(s)
    asked = (anonymous_kib(pid) - before) / CLIENTS
    for s in crowd:
        s.close()
    return {"silent": silent, "asked": asked, "kept": kept_us, "new": new_us}


def clients(b):
    """A client that is connected, and the smallest request."""
    ours, go, n = b.libprof("libprof", base=None), b.peer_go(), b.less(5000, 1000)

    def of_ours():
        with State(b, ours, "stacks", 1, serve=True) as s:
            def dial():
                c = socket.socket(socket.AF_UNIX)
                c.connect(s.path)
                return c
            return clients_of(s.process.pid, dial, n)

    def of_go():
        with subprocess.Popen([go, "stacks", "1"], env=b.environment({}), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as p:
            port = int(p.stdout.readline())
            try:
                return clients_of(p.pid, lambda: socket.create_connection(("127.0.0.1", port)), n)
            finally:
                p.stdin.close()

    got = b.interleave({"libprof": of_ours, **({"Go net/http/pprof": of_go} if go else {})},
                       b.less(5, 2))
    # What Go's collector has not yet given back would hide what a client takes.
    for kind, what, unit, whose in (
            ("silent", "a client that has asked nothing", "KiB", ("libprof",)),
            ("asked", "a client that has asked, and may again", "KiB", ("libprof",)),
            ("kept", "the smallest request, on a connection that is kept", "µs", got),
            ("new", "the smallest request, with a connection of its own", "µs", got)):
        b.row(what, unit, {name: [v[kind] for v in got[name]] for name in whose})


# --- memory --------------------------------------------------------------------------------------


def memory(b):
    """What is resident beyond the program's own."""
    served = b.libprof("libprof, serving")
    found = b.present([Candidate("no library"), b.libprof("libprof"), served] + b.peers())
    rounds = b.less(3, 1)

    def resident(c, what, n, extra=None):
        with State(b, c, what, n, serve=c is served, extra=extra) as s:
            if c is served and what == "rest":
                s.get("heap")
            return s.resident_kib()

    rest = b.interleave({c.name: lambda c=c: resident(c, "rest", 1) for c in found}, rounds)
    against_none = {c.name: "no library" for c in found if c.name != "no library"}
    b.row("memory at rest (serving: after a heap request)", "KiB", rest, against_none,
          [Target("libprof", "own", 2048), Target("libprof, serving", "own", 6144)])

    # Every thread sampled: libprof by the program, jemalloc and tcmalloc by a small interval.
    extra = {"MALLOC_CONF": "prof:true,lg_prof_sample:4", "TCMALLOC_SAMPLE_PARAMETER": "16"}
    few, many = 10, b.less(510, 210)
    here = [c for c in found if c is not served]

    def each_thread(c):
        e = {k: v for k, v in extra.items() if k in c.env}
        return (resident(c, "threads", many, e) - resident(c, "threads", few, e)) / (many - few)

    b.row("memory of a sampled thread", "KiB",
          b.interleave({c.name: lambda c=c: each_thread(c) for c in here}, rounds), bases(here),
          [Target("libprof", "own", 4)])

    mib = b.less(256, 64)
    kib = b.interleave({c.name: lambda c=c: resident(c, "small", mib) - rest[c.name][0]
                        for c in here}, rounds)
    b.row("memory for a heap of %d MiB, without rest" % mib, "% of it",
          {name: [v * 100 / 1024 / mib for v in of] for name, of in kib.items()}, bases(here),
          [Target("libprof", "own", 0.5)])


# --- start-up ------------------------------------------------------------------------------------


def startup(b):
    """What a preloaded program takes longer to start and end."""
    found = b.present([Candidate("no library"), b.libprof("libprof"),
                       b.libprof("libprof, serving", HTTP="127.0.0.1:0")] + b.peers())
    its_base = {c.name: "no library" for c in found if c.name != "no library"}
    preload = b.installed_preload()
    for c in found:
        if c.name.startswith("libprof"):
            c.env["LD_PRELOAD"] = preload
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]

    def once(c):
        env = b.environment(c.env)

        def work():
            begin = time.perf_counter()
            pid = os.posix_spawn("/bin/true", ["true"], env, file_actions=quiet)
            os.waitpid(pid, 0)
            return (time.perf_counter() - begin) * 1e3
        return work

    got = b.interleave({c.name: once(c) for c in found}, b.less(300, 40))
    targets = [Target("libprof", "own", 0.5), Target("libprof, serving", "own", 2.2)]
    b.row("start and end of a program, median", "ms", got, its_base, targets)
    b.row("start and end of a program, least", "ms", {k: min(v) for k, v in got.items()}, its_base,
          targets)
    if b.can_count():
        # The server's thread may or may not come to run before the end.
        counted = {c.name: b.callgrind(["/bin/true"], c.env)[0] / 1e3
                   for c in found if c.name in ("no library", "libprof")}
        b.row("start and end of a program", "1,000 instructions", counted, its_base)


# --- the first samples ---------------------------------------------------------------------------


def first(b):
    """Samples of the first 16 MiB that a program allocates."""
    mib, runs = 16, b.less(60, 15)
    expected = mib * 2
    candidates = b.present([
        b.libprof("libprof", None, DUMP=os.path.join(b.tmp, "first.%p")),
    ] + [Candidate(c.name, c.env) for c in b.peers() if c.name == "jemalloc prof" and c.there])

    def take(pattern):
        paths = glob.glob(os.path.join(b.tmp, pattern))
        if len(paths) != 1:
            raise RuntimeError("%d files %s were written" % (len(paths), pattern))
        with open(paths[0], "rb") as f:
            data = f.read()
        os.unlink(paths[0])
        return data

    def samples_of(c):
        extra = {}
        if c.name != "libprof":
            extra["MALLOC_CONF"] = c.env["MALLOC_CONF"] + ",prof_final:true,prof_prefix:" + \
                os.path.join(b.tmp, "first")
        with State(b, c, "small", mib, extra=extra):
            pass
        if c.name == "libprof":
            p = pprof.parse(take("first.*"))
            at = [t for t, _ in p.types()].index("inuse_space")
            return sum(s.value[at] for s in p.sample) / (512 << 10)
        return int(re.search(rb"t\*: (\d+):", take("first*.heap")).group(1))

    rounds = b.interleave({c.name: lambda c=c: samples_of(c) for c in candidates}, runs)
    # The number is Poisson's; four times its deviation, as a share, is the limit.
    limit = 4 * 100 / (expected * runs) ** 0.5
    # jemalloc samples what it hands out, which is more than what was asked for.
    off = {"libprof": abs(sum(rounds["libprof"]) / (expected * runs) - 1) * 100}
    b.row("samples of the first %d MiB, %d expected" % (mib, expected), "samples", rounds)
    b.row("samples of the first %d MiB, mean off by" % mib, "%", off, None,
          [Target("libprof", "median", limit)],
          "%d runs; four deviations of chance are %s %%" % (runs, number(limit)))
