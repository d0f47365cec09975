"""tracing.py - what a timeline costs: a record, and memcached, redis and postgres while one is on.

Of the programs counted is the processor time that the kernel charges them and their children.
`profrun` is the base: what the hooks cost without a trace is in the other sections.
"""

import glob
import os
import re
import shutil
import socket
import subprocess
import threading

import programs
from bench import Candidate, Target, bases

CLIENTS = 4


def record(b):
    """Of a region begin and end are a record each; a post and a wait that need not wait, one."""
    off, on = Candidate("off"), Candidate("on", {}, "off")
    what = ("region, a record", "log line of 8 bytes", "log line of 100 bytes, a record",
            "sem_post + sem_wait")

    def run(c):
        return b.numbers([b.tool("trace_bench"), c.name, b.less(1_000_000, 100_000)])

    got = b.interleave({c.name: lambda c=c: run(c) for c in (off, on)})
    for i, title in enumerate(what):
        b.row(title, "ns", {name: [v[i] for v in values] for name, values in got.items()},
              bases([off, on]), [Target("on", "median", 25)] if i < 3 else [])
    if b.can_count():
        for i, title in enumerate(what):
            each = 2 if i == 0 else 5 if i == 2 else 1
            counted = b.instructions([off, on], None, 1_000, 21_000, lambda c, n, i=i: b.callgrind(
                [b.tool("trace_bench"), c.name, n, i], c.env))
            b.row(title, "instructions", {name: n / each for name, (n, _) in counted.items()},
                  bases([off, on]), [])


class Traced(programs.Server):
    """With `io`, a trace that a client asks for and that lasts as long as the program."""

    def __init__(self, b, candidate, command, wrapper):
        super().__init__(b, candidate, command, wrapper)
        self.asking = None
        if candidate.name.endswith("io=1"):
            self.asking = socket.socket(socket.AF_UNIX)
            self.asking.connect(os.path.join(self.folder, "prof.sock"))
            self.asking.sendall(b"GET /debug/pprof/trace?seconds=1000&io=1 HTTP/1.0\r\n\r\n")

    def cpu_ns(self):
        """Its own, and its children's: of those that live, and of those that it has waited for."""
        with open("/proc/%d/stat" % self.process.pid, encoding="ascii") as f:
            field = f.read().rpartition(") ")[2].split()
        ended = sum(map(int, field[13:15])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        return super().cpu_ns() + ended + sum(map(programs.cpu_ns, children(self.process.pid)))

    def close(self):
        if self.asking:
            self.asking.close()
        super().close()


def children(pid):
    found = []
    for path in glob.glob("/proc/%d/task/*/children" % pid):
        try:
            with open(path, encoding="ascii") as f:
                found += map(int, f.read().split())
        except OSError:
            pass
    return found


def serve(b, title, command, load, rounds, wrapper=()):
    """As programs.serve(). The base is profrun; each server has its own trace, or none."""
    found = [Candidate("profrun"),
             Candidate("profrun, flight recorder", {"LIBPROF_TRACE": "10s"}, "profrun"),
             Candidate("profrun, trace with io=1", {}, "profrun")]
    got = {c.name: [] for c in found}
    for _ in range(b.less(3, 1)):
        servers = {}
        try:
            for c in found:
                servers[c.name] = Traced(b, c, command, wrapper)
                load(servers[c.name])

            def work(s):
                before = s.cpu_ns()
                n = load(s)
                return (s.cpu_ns() - before) / 1e3 / n
            for name, of in b.interleave({n: lambda s=s: work(s) for n, s in servers.items()},
                                         rounds).items():
                got[name] += of
        finally:
            for s in servers.values():
                s.close()
    b.row(title, "us of CPU", got, bases(found),
          [Target("profrun, flight recorder", "ratio", 1.02)])


def memcached(b):
    n = b.less(20_000, 4_000)

    def command(port, _):
        return ["memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "4",
                "-m", "64"]

    def client(port, number):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(n // CLIENTS // 2):
                key = b"k%d.%d" % (number, i % 1000)
                s.sendall(b"set %s 0 0 100\r\n%s\r\nget %s\r\n" % (key, b"v" * 100, key))
                answer = b""
                while not answer.endswith(b"END\r\n"):
                    answer += s.recv(4096)

    def load(s):
        at_once = [threading.Thread(target=client, args=(s.port, i)) for i in range(CLIENTS)]
        for t in at_once:
            t.start()
        for t in at_once:
            t.join()
        return n

    if programs.needs(b, "memcached"):
        serve(b, "memcached, a request", command, load, b.rounds)


def redis(b):
    n = b.less(40_000, 8_000)

    def command(port, _):
        return ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                "--appendonly", "no", "--daemonize", "no", "--hz", "1"]

    def load(s):
        b.output(["redis-benchmark", "-p", str(s.port), "-t", "set,get", "-n", str(n // 2), "-c",
                  "20", "-d", "100", "-r", "10000", "-q"])
        return n

    if programs.needs(b, "redis-server", "redis-benchmark"):
        serve(b, "redis, a request", command, load, b.rounds)


def postgres(b):
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not found or os.geteuid() != 0 or not programs.needs(b, "pgbench", "setpriv"):
        return
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    transactions = b.less(2_000, 500)

    def command(port, folder):
        os.chmod(b.tmp, 0o755)
        os.chmod(folder, 0o777)
        subprocess.run(as_nobody + [found[-1] + "/initdb", "-N", "-D", folder + "/data", "-A",
                                    "trust", "-U", "nobody"], check=True, stdout=subprocess.DEVNULL)
        return [found[-1] + "/postgres", "-D", folder + "/data", "-k", folder, "-p",
                str(port), "-c", "listen_addresses=127.0.0.1", "-c", "autovacuum=off", "-c",
                "fsync=off"]

    def pgbench(s, *args):
        return b.output(["pgbench", "-h", "127.0.0.1", "-p", str(s.port), "-U", "nobody", "-n",
                         *args, "postgres"])

    def load(s):
        if not hasattr(s, "filled"):
            pgbench(s, "-i", "-q", "-s", "1")
            s.filled = True
        said = pgbench(s, "-S", "-c", str(CLIENTS), "-t", str(transactions))
        return int(re.search(r"processed: (\d+)/", said).group(1))

    serve(b, "postgres, a select", command, load, b.less(max(b.rounds, 1), 3), as_nobody)


def tracing(b):
    """A record of a timeline; memcached, redis and postgres with one on."""
    record(b)
    for program in (memcached, redis, postgres):
        program(b)
