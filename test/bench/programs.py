"""programs.py - whole programs: redis, nginx, sqlite, python, cc1; others are in databases.py.

Servers run side by side, one for each candidate, and get short loads in turn; counted is the
processor time that the kernel charges them, which has the system calls in it. The others are
deterministic and are counted in instructions, by the difference of a long and a short run.
"""

import concurrent.futures
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from bench import ROOT, Candidate, Target, bases, parse_calls

START_LIMIT_S = 20


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A program that serves on a port until the end of the block."""

    def __init__(self, b, candidate, command, wrapper=()):
        self.port = free_port()
        self.folder = os.path.join(b.tmp, "server-%d" % self.port)
        os.mkdir(self.folder)
        argv = command(self.port, self.folder)
        env = b.environment(candidate.env)
        if candidate.name.startswith("profrun"):
            argv = [os.path.join(b.build, "lib/tool/profrun"), "--http",
                    "unix:" + os.path.join(self.folder, "prof.sock"), "--"] + argv
        argv = list(wrapper) + argv
        self.process = subprocess.Popen(argv, env=env, cwd=self.folder, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for_port(self.port, lambda: self.process.poll() is not None)
        except RuntimeError:
            self.close()
            raise RuntimeError("%s does not start under %s" % (argv[0], candidate.name)) from None

    def cpu_ns(self):
        return cpu_ns(self.process.pid)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def cpu_ns(pid):
    """Of the threads that it has now."""
    total = 0
    for path in glob.glob("/proc/%d/task/*/schedstat" % pid):
        try:
            with open(path, encoding="ascii") as f:
                total += int(f.read().split()[0])
        except OSError:  # it has just ended
            pass
    return total


def needs(b, *names):
    missing = [n for n in names if not shutil.which(n)]
    for n in missing:
        if n not in b.missing:
            b.missing.add(n)
            print("left out, not installed: " + n)
    return not missing


def candidates(b):
    return b.present([Candidate("no library"), Candidate("profrun", {}, "no library")] + b.peers())


def serve(b, title, command, load, rounds, targets):
    """A row of microseconds of processor time for each request. load(port) makes requests and
    returns how many."""
    found = candidates(b)
    got = {c.name: [] for c in found}
    # New processes now and then: where memory happens to lie is worth a percent.
    for i in range(b.less(3, 1)):
        if i and b.is_late():
            break
        servers = {}
        try:
            for c in found:
                servers[c.name] = Server(b, c, command)
                load(servers[c.name].port)

            def work(s):
                before = s.cpu_ns()
                n = load(s.port)
                return (s.cpu_ns() - before) / 1e3 / n
            for name, of in b.interleave({n: lambda s=s: work(s) for n, s in servers.items()},
                                         rounds).items():
                got[name] += of
        finally:
            for s in servers.values():
                s.close()
    b.row(title, "us of CPU", got, bases(found), targets)


def wait_for_port(port, gone):
    end = time.monotonic() + START_LIMIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if gone() or time.monotonic() > end:
                raise RuntimeError("nobody serves on port %d" % port) from None
            time.sleep(0.02)


def redis(b):
    kinds, n = "set,get,lpush,lpop", b.less(10_000, 5_000)
    each = len(kinds.split(","))

    def command(port, _=None):
        return ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                "--appendonly", "no", "--daemonize", "no", "--hz", "1"]

    def load(port, n=n):
        b.output(["redis-benchmark", "-p", str(port), "-t", kinds, "-n", str(n), "-c", "20", "-d",
                  "100", "-r", "10000", "-q"])
        return n * each

    def run(candidate, n):
        port = free_port()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            server = pool.submit(b.callgrind, command(port), candidate.env)
            wait_for_port(port, server.done)
            load(port, n // each)
            subprocess.run(["redis-cli", "-p", str(port), "shutdown", "nosave"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            return server.result()

    if needs(b, "redis-server", "redis-benchmark", "redis-cli"):
        serve(b, "redis, a request", command, load, b.less(max(b.rounds, 1), 3),
              [Target("profrun", "ratio", 1.01)])
        if b.can_count():
            count(b, "redis, a request", None, b.less(8_000, 2_000), b.less(32_000, 6_000), {},
                  1.01, run)


NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events { worker_connections 256; }
http {
    access_log off; gzip on; gzip_types text/html; keepalive_requests 1000000;
    server { listen 127.0.0.1:%d; root %s; }
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
}
"""


def nginx(b):
    def command(port, folder):
        with open(os.path.join(folder, "page.html"), "w", encoding="ascii") as f:
            f.write("<p>a page</p>\n" * 500)
        with open(os.path.join(folder, "nginx.conf"), "w", encoding="ascii") as f:
            f.write(NGINX % (port, folder))
        return ["nginx", "-p", folder, "-c", os.path.join(folder, "nginx.conf"), "-e", "stderr"]

    def load(port):
        said = b.output(["wrk", "-t1", "-c8", "-d1s", "-H", "Accept-Encoding: gzip",
                         "http://127.0.0.1:%d/page.html" % port])
        if "Non-2xx" in said:
            raise RuntimeError("nginx does not answer well: " + said)
        return int(re.search(r"(\d+) requests in", said).group(1))

    if needs(b, "nginx", "wrk"):
        serve(b, "nginx, a compressed page", command, load, b.less(max(b.rounds // 3, 1), 1), [])


SQL = """
create table t(id integer primary key, name text, score real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < %(n)d)
insert into t select i, 'name ' || i || hex(i * 7919), i * 0.5 from n;
create index t_name on t(name);
update t set name = name || 'x' where id %% 3 = 0;
select count(*), sum(length(name)), max(score) from t;
select name from t order by score desc, name limit 5;
delete from t where id %% 2;
select count(distinct substr(name, 6, 3)) from t;
"""

# After the kinds of work that pyperformance has: objects, numbers, text, containers.
PYTHON = r"""
import json, re, sys

class Body:
    def __init__(self, x, v, m):
        self.x, self.v, self.m = x, v, m

    def move(self, dt):
        self.x += self.v * dt

class Task:
    def __init__(self, key, next):
        self.key, self.next, self.count = key, next, 0

    def run(self, budget):
        while budget > 0 and self.count < 200:
            self.count += 1
            budget -= self.key % 3 + 1
        return self.next

def bodies(n):
    all = [Body(i * 1.5, i * -0.25, i + 1.0) for i in range(5)]
    for _ in range(n):
        for i, a in enumerate(all):
            for b in all[i + 1:]:
                d = a.x - b.x
                f = a.m * b.m / (d * d + 0.01) * 0.001
                a.v -= f * b.m
                b.v += f * a.m
        for a in all:
            a.move(0.01)
    return all[0].x

def tasks(n):
    head = None
    for i in range(10):
        head = Task(i, head)
    ran = 0
    for _ in range(n):
        task = head
        while task:
            task = task.run(10)
            ran += 1
    return ran

def sieve(n):
    flags = bytearray([1]) * n
    for i in range(2, int(n ** 0.5) + 1):
        if flags[i]:
            flags[i * i::i] = bytes(len(range(i * i, n, i)))
    return sum(flags)

def text(i):
    doc = {'id': i, 'tags': ['t%d' % (i * k % 97) for k in range(20)], 'name': 'n' * (i % 50)}
    back = json.loads(json.dumps(doc, sort_keys=True))
    table = {}
    for w in sorted(re.findall(r'\w+', ' '.join(back['tags']) + back['name'])):
        table[w] = table.get(w, 0) + len(w)
    return len(table)

kept = [(bodies(4), tasks(4), sieve(500), text(i)) for i in range(int(sys.argv[1]))]
print(sum(k[1] + k[2] + k[3] for k in kept))
"""


def count(b, title, command, few, many, env, limit, run=None):
    """A row of instructions for one thing more, as Bench.instructions() counts. Where memory lies
    differs from candidate to candidate, and with it what hash tables do; so do the blocks that are
    sampled. Hence several rounds of different sizes."""
    jump = Candidate("bare jump", {}, "no library", b.tool("libhook_jump.so"))
    serving = b.libprof("profrun", HTTP="unix:" + os.path.join(b.tmp, "prof-%p.sock"))
    # tcmalloc takes no sample in its first 16 MiB, and callgrind has no time for more.
    peers = [c for c in b.peers() if c.name.startswith("jemalloc")]
    found = b.present([Candidate("no library"), b.libprof("libprof"), serving] + peers +
                      ([] if run else [jump]))  # which does not get on with redis's own jemalloc
    for c in found:
        c.env.update(env)
    got = {c.name: [] for c in found}
    for i in range(b.less(5, 1)):
        if i and b.is_late():
            break
        more = i * (many - few) // 40
        counted = b.instructions(found, command, few + more, many + more, run)
        for name, (n, _) in counted.items():
            got[name].append(n)
    b.row(title, "instructions", got, bases(found),
          [Target("profrun", "ratio", limit), Target("libprof", "ratio", limit)])


def sqlite(b):
    def command(n):
        return ["sqlite3", "-batch", ":memory:", SQL % {"n": n}]

    if needs(b, "sqlite3") and b.can_count():
        count(b, "sqlite, a row of bulk work", command, b.less(2_000, 1_000),
              b.less(8_000, 3_000), {}, 1.006)


def python(b):
    def command(n):
        return ["/usr/bin/python3", "-S", "-c", PYTHON, n]

    if needs(b, "/usr/bin/python3") and b.can_count():
        # The first samples find no unwind rules and cost more: they belong to neither.
        few, many = b.less((150, 600), (20, 60))
        count(b, "python, a turn", command, few, many, {"PYTHONHASHSEED": "0"}, 1.0015)
        count(b, "python on malloc, a turn", command, few, many,
              {"PYTHONHASHSEED": "0", "PYTHONMALLOC": "malloc"}, 1.006)


C = """
int f%(i)d(int a, int b)
{
    int s = 0;
    for (int i = 0; i < a; i++) {
        s += (i * b) ^ %(i)d;
        switch (s %% 5) { case 0: s += 3; break; case 1: s *= 2; break; case 3: s ^= a; }
    }
    return s;
}
"""


def many_functions(b, n):
    """The path of a C file with so many functions to compile."""
    path = os.path.join(b.tmp, "functions-%d.c" % n)
    with tempfile.NamedTemporaryFile("w", dir=b.tmp, delete=False) as f:
        f.writelines(C % {"i": i} for i in range(n))
    os.replace(f.name, path)  # several candidates ask for it at once
    return path


def cc1(b):
    def command(n):
        return [compiler, "-quiet", "-O2", many_functions(b, n), "-o", "/dev/null"]

    if needs(b, "gcc") and b.can_count():
        compiler = b.output(["gcc", "-print-prog-name=cc1"]).strip()
        count(b, "cc1, a function", command, b.less(20, 4), b.less(60, 12), {}, 1.01)


def first_seen(b):
    """What a return address costs that no walk has met before, and how often the kernel is asked
    for it, in short runs of programs. Exact but for which blocks are sampled."""
    if not b.can_count():
        return
    source = many_functions(b, b.less(60, 10))
    malloc = {"PYTHONHASHSEED": "0", "PYTHONMALLOC": "malloc"}
    cost, asked = {}, {}
    for name, argv, env in (
            ("sqlite", ["sqlite3", "-batch", ":memory:", SQL % {"n": b.less(8_000, 2_000)}], {}),
            ("python on malloc", ["/usr/bin/python3", "-S", "-c", PYTHON, b.less(60, 20)], malloc),
            ("perl", ["perl", "-e", "$h{$_} = [$_, 'v' x ($_ % 50)] for 1 .. 30000"], {}),
            ("git", ["git", "-C", ROOT, "log", "--stat", "-20"], {}),
            ("cc1", ["gcc", "-O2", "-c", "-o", "/dev/null", source], {})):
        if name == "cc1" and shutil.which("gcc"):
            argv = [b.output(["gcc", "-print-prog-name=cc1"]).strip(), "-quiet", "-O2", source,
                    "-o", "/dev/null"]
        if not shutil.which(argv[0]):
            continue
        calls = b.callgrind(argv, {**b.libprof("libprof").env, **env}, parse_calls)
        sites, instructions = calls.get("prof__rule_make", (0, 0))
        if sites:
            cost[name] = instructions / sites
            asked[name] = sum(calls.get(f, (0, 0))[0] for f in
                              ("prof__page_readable", "prof__memory_get")) / sites
    b.row("a call site seen first", "instructions", cost, None,
          [Target(name, "median", 800) for name in cost])
    b.row("a call site seen first", "questions to the kernel", asked)


def programs(b):
    """redis and nginx by processor time, sqlite, python and cc1 by instructions."""
    b.each(redis, nginx, sqlite, python, cc1, first_seen)
