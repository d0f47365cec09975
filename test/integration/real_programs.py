#!/usr/bin/env python3
"""real_programs.py - programs of other people's, under profrun and without.

    real_programs.py PROFRUN PROGRAM [DEMO_SERVICE]

Starts PROGRAM (one of the names in PROGRAMS) twice, plain and under profrun with a server, gives
both the same bounded load, and checks that nobody could tell them apart by what they answer, print
or return. Then reads the heap profiles that were fetched meanwhile with `go tool pprof`, as a
person would: top, list, peek, svg, and the difference of two. Ends like every test with the line
"N passed, N failed"; exit status 77 if the program, or go, is not on this machine.

Loopback only; every port was free just before; all that was started is ended by its process id.
"""
import collections
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import pprof as profiles  # noqa: E402
from checks import check, report  # noqa: E402
from ports import free_port  # noqa: E402,F401 (for all who have this module)

START_LIMIT_S = 60
END_LIMIT_S = 60
HEAP_RATE = 8192 # of the program that holds least, nginx with 400 KiB of its own, 50 samples
TYPES = "alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes"


def same(plain, profiled, what):
    check(plain == profiled, "%s: %.300r without libprof, %.300r with it" % (what, plain, profiled))


def skip(why):
    print("skipped: " + why)
    sys.exit(77)


def wait_for(condition, what, proc=None):
    """The value of condition() once it is true; asking again is not a matter of timing but of
    having no other sign."""
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        value = condition()
        if value:
            return value
        if proc and proc.poll() is not None:
            raise RuntimeError("%s: it has ended with %d" % (what, proc.returncode))
        time.sleep(0.02)
    raise RuntimeError("%s: not within %d s" % (what, START_LIMIT_S))


def can_connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class Run:
    """One life of a program, plain or under profrun."""

    def __init__(self, tmp, profrun, argv, env=None):
        self.tmp = tmp
        self.profiled = profrun is not None
        self.socket = os.path.join(tmp, "prof.sock")
        if self.profiled:
            argv = [profrun, "--http", "unix:" + self.socket, "--heap-rate", str(HEAP_RATE),
                    "--"] + argv
        self.heaps = []
        self.leaks = []
        self.err = open(os.path.join(tmp, "stderr"), "w+b")
        self.out = open(os.path.join(tmp, "stdout"), "w+b")
        self.proc = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=self.out,
                                     stderr=self.err, cwd=tmp, env=dict(os.environ, **(env or {})))

    def printed(self):
        with open(os.path.join(self.tmp, "stdout"), "rb") as f:
            return f.read()

    def complained(self):
        """Standard error, without what profrun says before the program starts."""
        with open(os.path.join(self.tmp, "stderr"), "rb") as f:
            return b"".join(x for x in f if not x.startswith(b"profrun: "))

    def fetch_heap(self):
        if not self.profiled:
            return
        wait_for(lambda: os.path.exists(self.socket), "the socket of the profiles", self.proc)
        self.heaps.append(os.path.join(self.tmp, "heap%d.pb.gz" % len(self.heaps)))
        with open(self.heaps[-1], "wb") as f:
            f.write(self.fetch("heap"))
        leaks = profiles.assert_valid(self.fetch("leaks?age=1&cpu=100"), "leaks")
        self.leaks += [(values, labels, frames) for frames, values, labels in leaks.stacks()]

    def fetch(self, page):
        c = UnixConnection(self.socket)
        c.request("GET", "/debug/pprof/" + page)
        r = c.getresponse()
        body = r.read()
        check(r.status == 200, "GET %s: status %d, %.200r" % (page, r.status, body))
        c.close()
        return body

    def end(self, sig=None):
        """Its exit status. `sig` None: it ends by itself."""
        if sig is not None:
            self.proc.send_signal(sig)
        if self.proc.stdin:
            self.proc.stdin.close()
        return self.proc.wait(timeout=END_LIMIT_S)

    def kill(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        self.out.close()
        self.err.close()


# --- the programs: start, load, end; a dict of what must be the same with and without ------------

def redis(run_in, _):
    port = free_port()
    run = run_in(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                  "--appendonly", "no", "--daemonize", "no", "--enable-debug-command", "yes",
                  "--logfile", "redis.log"])
    seen = {}

    def cli(*args):
        return subprocess.run(["redis-cli", "-p", str(port)] + list(args), stdout=subprocess.PIPE,
                              timeout=60).stdout

    def load(first, count):
        replies = b""
        with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
            s.sendall(b"".join(b"SET key:%d %s\r\n" % (i, b"v%d" % i * 50)
                               for i in range(first, first + count)))
            while replies.count(b"+OK\r\n") < count:
                got = s.recv(65536)
                if not got:
                    break
                replies += got
        return replies.count(b"+OK\r\n")

    wait_for(lambda: can_connect(port), "redis listens", run.proc)
    seen["replies"] = load(0, 20000)
    run.fetch_heap()
    seen["more replies"] = load(20000, 20000)
    bench = subprocess.run(["redis-benchmark", "-p", str(port), "-t", "set,get,lpush,lrange_100",
                            "-n", "20000", "-P", "16", "-d", "100", "--csv"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    seen["benchmark"] = (bench.returncode, bench.stdout.count(b"\n"), bench.stderr)
    run.fetch_heap()
    seen["keys"] = cli("dbsize")
    seen["digest"] = cli("debug", "digest")

    # Saving forks a process that has a server in it.
    cli("bgsave")
    wait_for(lambda: b"rdb_bgsave_in_progress:0" in cli("info", "persistence"), "redis has saved",
             run.proc)
    seen["saved"] = re.findall(b"rdb_last_bgsave_status:\\w+", cli("info", "persistence"))
    check(os.path.exists(os.path.join(run.tmp, "dump.rdb")), "redis has left dump.rdb")
    cli("shutdown", "nosave")
    seen["exit status"] = run.end()
    return run, seen


PYTHON_PROGRAM = r"""
import sys
class Node:
    def __init__(self, i):
        self.name = 'node%d' % i
        self.next = None
def grow(first, count):
    return [Node(i) for i in range(first, first + count)], {str(i): [i] * 3 for i in range(count)}
a = grow(0, 60000)
print(len(a[0]), len(a[1]), sum(map(len, a[1].values())), flush=True)
sys.stdin.readline()
b = grow(60000, 60000)
print(len(b[0]), b[0][-1].name, flush=True)
sys.stdin.readline()
sys.stderr.write('bye\n')
sys.exit(3)
"""


def python(run_in, _, env=None):
    run = run_in(["/usr/bin/python3", "-c", PYTHON_PROGRAM], env)
    for line in (1, 2):
        wait_for(lambda: run.printed().count(b"\n") == line, "python has printed", run.proc)
        run.fetch_heap()
        run.proc.stdin.write(b"\n")
        run.proc.stdin.flush()
    return run, {"exit status": run.end()}


def python_malloc(run_in, demo):
    return python(run_in, demo, {"PYTHONMALLOC": "malloc"})


SQL = """
create table t(id integer primary key, name text, score real);
with recursive n(i) as (select %d union all select i + 1 from n where i < %d)
insert into t select i, 'name ' || i || hex(i * 7919), i * 0.5 from n;
create index if not exists t_name on t(name);
.once %s
select count(*), sum(length(name)), sum(score), max(name) from t;
"""


def sqlite(run_in, _):
    run = run_in(["sqlite3", "-batch", ":memory:"])
    seen = {}
    for n, (first, last) in enumerate(((1, 60000), (60001, 120000))):
        result = os.path.join(run.tmp, "result%d" % n)
        sql = SQL % (first, last, result)
        if n:
            sql = sql.replace("create table", "create table if not exists")
        run.proc.stdin.write(sql.encode())
        run.proc.stdin.flush()
        wait_for(lambda: os.path.exists(result) and open(result).read().endswith("\n"),
                 "sqlite has answered", run.proc)
        with open(result) as f:
            seen["result %d" % n] = f.read()
        run.fetch_heap()
    seen["exit status"] = run.end()
    return run, seen


NGINX_CONF = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 256; }
http {
    access_log off;
    server {
        listen 127.0.0.1:%d;
        location / { root %s; }
        location = /made { return 200 "made of nothing\\n"; }
    }
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
}
"""


def nginx(run_in, _):
    port = free_port()

    def prepare(tmp):
        with open(os.path.join(tmp, "nginx.conf"), "w") as f:
            f.write(NGINX_CONF % (port, tmp))
        with open(os.path.join(tmp, "page.html"), "w") as f:
            f.write("<p>a page</p>\n" * 1000)
        return ["nginx", "-p", tmp, "-c", os.path.join(tmp, "nginx.conf"), "-e", "stderr"]

    run = run_in(prepare)
    seen = {}
    wait_for(lambda: can_connect(port), "nginx listens", run.proc)

    def ask(count):
        """How often which status and size came."""
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        answers = []
        for i in range(count):
            c.request("GET", ("/page.html", "/made", "/none")[i % 3])
            r = c.getresponse()
            answers.append((r.status, len(r.read())))
        c.close()
        return sorted(collections.Counter(answers).items())

    seen["answers"] = ask(300)
    run.fetch_heap()
    wrk = subprocess.run(["wrk", "-t2", "-c32", "-d2s", "http://127.0.0.1:%d/page.html" % port],
                         stdout=subprocess.PIPE, timeout=60)
    seen["wrk"] = (wrk.returncode, b"Non-2xx" in wrk.stdout, b"Socket errors" in wrk.stdout)
    seen["more answers"] = ask(300)
    run.fetch_heap()
    seen["exit status"] = run.end(signal.SIGQUIT)
    return run, seen


def memcached(run_in, _):
    port = free_port()
    run = run_in(["memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(port), "-U", "0",
                  "-t", "2", "-m", "128"])
    seen = {}
    wait_for(lambda: can_connect(port), "memcached listens", run.proc)

    def store_and_get(first, count):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
            f = s.makefile("rwb")
            stored = hits = 0
            for i in range(first, first + count):
                value = b"%08d" % i * 250
                f.write(b"set k%d 0 0 %d\r\n%s\r\n" % (i, len(value), value))
                if i % 100 == 99: # as many as fit into the buffers of both sides
                    f.flush()
                    stored += sum(f.readline() == b"STORED\r\n" for _ in range(100))
            for i in range(first, first + count):
                f.write(b"get k%d\r\n" % i)
                f.flush()
                head = f.readline()
                if head.startswith(b"VALUE"):
                    hits += f.readline() == b"%08d" % i * 250 + b"\r\n"
                    f.readline()
            f.close()
        return stored, hits

    seen["stored, hits"] = store_and_get(0, 10000)
    run.fetch_heap()
    seen["more stored, hits"] = store_and_get(10000, 10000)
    run.fetch_heap()
    seen["exit status"] = run.end(signal.SIGTERM)
    return run, seen


def demo(run_in, service):
    """Links libprof itself and starts a server: under profrun that one is already there."""
    run = run_in([service])
    for handled in (b"handled 3000 ", b"handled 9000 "):
        wait_for(lambda: handled in run.printed(), "the demo has worked", run.proc)
        run.fetch_heap()
    status = run.end(signal.SIGTERM)
    # How far it came is a matter of time.
    os.truncate(os.path.join(run.tmp, "stdout"), 0)
    return run, {"exit status": status}


# name: (function, programs needed, what must be in the profile, what `-list` and `-peek` look for)
PROGRAMS = {
    "redis": (redis, ("redis-server", "redis-cli", "redis-benchmark"),
              r"zmalloc|ztrymalloc|sdsnew|createStringObject|dbAdd", "main"),
    "python": (python, ("/usr/bin/python3",), r"_?Py(Object|Mem|List|Dict|Unicode|Eval)",
               "Py_BytesMain"),
    "python_malloc": (python_malloc, ("/usr/bin/python3",),
                      r"_?Py(Object|Mem|List|Dict|Unicode|Eval)", "Py_BytesMain"),
    "sqlite": (sqlite, ("sqlite3",), r"sqlite3_(step|exec|prepare|malloc)", "sqlite3_step"),
    "nginx": (nginx, ("nginx", "wrk"), r"ngx_(alloc|memalign|create_pool|palloc|pnalloc)",
              "ngx_(alloc|memalign|create_pool|palloc|pnalloc)"),
    "memcached": (memcached, ("memcached",), r"event_base_loop|__libc_start_(main|call_main)",
                  "event_base_loop|__libc_start.*"),
    "demo": (demo, (), r"audit_remember", "audit_remember"),
}
# Built here, with sources at hand.
WITH_SOURCES = ("demo",)


def pprof(heap, *args):
    """Output of go tool pprof; that it is content is checked here."""
    env = dict(os.environ, PPROF_TMPDIR=os.path.dirname(heap), GOFLAGS="-mod=mod")
    env.setdefault("HOME", os.path.dirname(heap))
    r = subprocess.run(["go", "tool", "pprof"] + list(args) + [heap], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, env=env, timeout=60)
    what = "go tool pprof " + " ".join(a for a in args if "/" not in a)
    check(r.returncode == 0, "%s: exit status %d, %.500r" % (what, r.returncode, r.stderr))
    # It tells where a report went; all else would be a warning.
    said = [x for x in r.stderr.decode().splitlines() if not x.startswith("Generating report in")]
    check(not said, "%s: standard error says %.500r" % (what, said))
    return r.stdout.decode(errors="replace")


def check_profiles(name, heaps, hot, function):
    first, last = heaps
    raw = pprof(last, "-raw")
    check(re.search(r"^Samples:\n" + re.escape(TYPES), raw, re.M),
          "the sample types are those of Go: %.300r" % raw)
    check("PeriodType: space bytes\nPeriod: %d\n" % HEAP_RATE in raw, "the period is the heap rate")

    top = pprof(last, "-top", "-nodecount=40")
    check("Type: inuse_space" in top, "top shows inuse_space unless told otherwise: %.200r" % top)
    cum = pprof(last, "-top", "-cum", "-nodecount=200")
    check(re.search(hot, cum), "%s is in: %s" % (hot, cum[:3000]))
    rows = [x.split()[5] for x in cum.splitlines() if re.match(r"\s*-?[\d.]+\w*\s+-?[\d.]+%", x)]
    named = [x for x in rows if not re.match(r"0x|\[|.*\+0x", x)]
    check(len(rows) > 0 and len(named) > 0, "functions have names: %r" % rows[:20])
    # The demo links the server, so those are its own libraries.
    ours = re.findall(r".*(?:libprof|libmicrohttpd|libgnutls|libtasn1|dlopen).*", cum)
    check(not ours or name == "demo", "the profiler's own memory is not shown: %r" % ours[:5])

    peek = pprof(last, "-peek", function)
    check(re.search(function, peek), "peek finds %s: %.300r" % (function, peek))
    svg = pprof(last, "-svg", "-output", os.path.join(os.path.dirname(last), "graph.svg"))
    with open(os.path.join(os.path.dirname(last), "graph.svg")) as f:
        svg = f.read()
    check("<svg" in svg and svg.rstrip().endswith("</svg>"), "svg is whole: %.200r" % svg)
    base = pprof(last, "-top", "-base", first)
    check("Type: inuse_space" in base, "the second heap less the first: %.200r" % base)
    itself = pprof(last, "-top", "-base", last)
    check(re.search(r"Showing nodes accounting for 0,", itself) or "0 of 0 total" in itself,
          "a heap less itself is nothing: %.300r" % itself)
    if name in WITH_SOURCES:
        listing = pprof(last, "-list", function)
        check(re.search(r"ROUTINE =+ " + function + " in .*service.c", listing) and
              re.search(r"^\s+[\d.]+[kMG]B\s+[\d.]+[kMG]B\s+\d+:.*malloc", listing, re.M),
              "list shows bytes beside the call of malloc: %.2000s" % listing)


def life(function, service, profrun, tmp):
    """Run it once; what was started is ended in any case."""
    runs = []

    def run_in(argv, env=None):
        os.mkdir(tmp)
        if callable(argv):
            argv = argv(tmp)
        runs.append(Run(tmp, profrun, argv, env))
        return runs[-1]

    try:
        run, seen = function(run_in, service)
        seen["standard output"] = run.printed()
        seen["standard error"] = run.complained()
        return run, seen
    finally:
        for r in runs:
            r.kill()


def main():
    profrun, name = os.path.abspath(sys.argv[1]), sys.argv[2]
    service = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else None
    function, needed, hot, shown = PROGRAMS[name]
    for program in needed + ("go", "dot"):
        if not shutil.which(program):
            skip(program + " is not installed")
    tmp = tempfile.mkdtemp()
    try:
        _, plain = life(function, service, None, os.path.join(tmp, "plain"))
        run, profiled = life(function, service, profrun, os.path.join(tmp, "profiled"))
        for what in plain:
            same(plain[what], profiled.get(what), "%s: %s" % (name, what))
        check_profiles(name, run.heaps, hot, shown)
        leaked = [frames for _, _, frames in run.leaks if "session_open" not in frames] # the demo's
        check(not leaked, "%s: nothing leaks: %.2000s" % (name, run.leaks))
        check(bool(run.leaks) == (name == "demo"), "the demo leaks: %.200s" % run.leaks)
    finally:
        shutil.rmtree(tmp)
    return report()


if __name__ == "__main__":
    sys.exit(main())
