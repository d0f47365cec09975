#!/usr/bin/env python3
"""waiting_programs.py - other people's threaded programs with every wait and every unlock recorded.

    waiting_programs.py PROFRUN PROGRAM [PATH]     PATH: that of guilty.c, compiled

As real_programs.py: once plain, once under profrun, with the same bounded load, and nobody may be
able to tell them apart. Here both lock rates are 1, and what is read back is block and mutex: they
have to be valid, name functions that wait in this program, and never end in libprof or pthread.
Exit status 77 if the program is not on this machine.
"""
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
import pprof  # noqa: E402
import real_programs as real  # noqa: E402
from checks import check, report  # noqa: E402

RATES = {"LIBPROF_BLOCK_RATE": "1", "LIBPROF_MUTEX_FRACTION": "1"}
CLIENTS = 4

# What must be among the functions that wait.
WAITS = {
    "memcached": r"event_base_loop|memcached|start_thread",
    "redis": r"IOThreadMain|bioProcessBackgroundJobs",
    "nginx": r"ngx_thread_(cond_wait|pool_cycle|mutex_lock)",
    "guilty": r"innocent",
    "python": r"PyThread_acquire_lock_timed|PyEval_|_PyEval",
}


def get(run, name):
    c = real.UnixConnection(run.socket)
    c.request("GET", "/debug/pprof/" + name)
    r = c.getresponse()
    body = r.read()
    c.close()
    check(r.status == 200, "GET %s: status %d, %.200r" % (name, r.status, body))
    return body


def waits(data, pattern):
    return any(re.search(pattern, f) for functions, _, _ in pprof.parse(data).stacks()
               for f in functions)


def fetch(run, program):
    """block and mutex into run.heaps, which the caller gets back."""
    if not run.profiled:
        return
    real.wait_for(lambda: os.path.exists(run.socket), "the socket of the profiles", run.proc)
    # A thread that was waked has yet to run before its wait has ended, and is one to be seen.
    real.wait_for(lambda: waits(get(run, "block"), WAITS[program]),
                  WAITS[program] + " is among those that wait", run.proc)
    for name in "block", "mutex":
        run.heaps.append((name, get(run, name)))


def at_once(work):
    """work(0) .. work(CLIENTS - 1), each in a thread; what they return."""
    results = [None] * CLIENTS

    def one(i):
        results[i] = work(i)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results


def memcached(run_in, _):
    port = real.free_port()
    run = run_in(["memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(port), "-U", "0",
                  "-t", "4", "-m", "64"], RATES)
    real.wait_for(lambda: real.can_connect(port), "memcached listens", run.proc)

    def load(client):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
            f = s.makefile("rwb")
            stored = hits = 0
            for start in range(0, 5000, 100):
                for i in range(start, start + 100):
                    f.write(b"set k%d 0 0 100\r\n%s\r\n" % (i, b"%d" % client * 100))
                    f.write(b"get k%d\r\n" % i)
                f.flush()
                for i in range(100):
                    stored += f.readline() == b"STORED\r\n"
                    hits += f.readline().startswith(b"VALUE")
                    f.readline()
                    f.readline()
            f.close()
        return stored, hits

    seen = {"stored, hits": at_once(load)}
    fetch(run, "memcached")
    seen["exit status"] = run.end(signal.SIGTERM)
    return run, seen


def redis(run_in, _):
    port = real.free_port()
    run = run_in(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                  "--appendonly", "no", "--daemonize", "no", "--io-threads", "4",
                  "--io-threads-do-reads", "yes", "--logfile", "redis.log"], RATES)
    real.wait_for(lambda: real.can_connect(port), "redis listens", run.proc)

    def load(client):
        count, replies = 4000, b""
        with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
            for start in range(0, count, 100):
                s.sendall(b"".join(b"SET key:%d:%d %s\r\n" % (client, i, b"v" * 500)
                                   for i in range(start, start + 100)))
                while replies.count(b"+OK\r\n") < start + 100:
                    got = s.recv(65536)
                    if not got:
                        return -1
                    replies += got
        return replies.count(b"+OK\r\n")

    seen = {"replies": at_once(load)}
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
        s.sendall(b"DBSIZE\r\nFLUSHALL ASYNC\r\nDBSIZE\r\n") # freed by a thread of its own
        reply = b""
        while reply.count(b"\r\n") < 3:
            reply += s.recv(4096)
    seen["keys"] = reply
    fetch(run, "redis")
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
        s.sendall(b"SHUTDOWN NOSAVE\r\n")
        s.recv(4096)
    seen["exit status"] = run.end()
    return run, seen


NGINX_CONF = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
thread_pool default threads=4;
events { worker_connections 256; }
http {
    access_log off;
    aio threads;
    sendfile off;
    server {
        listen 127.0.0.1:%d;
        location / { root %s; }
    }
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
}
"""


def nginx(run_in, _):
    port = real.free_port()

    def prepare(tmp):
        with open(os.path.join(tmp, "nginx.conf"), "w") as f:
            f.write(NGINX_CONF % (port, tmp))
        with open(os.path.join(tmp, "page.html"), "w") as f:
            f.write("<p>a page</p>\n" * 10000)
        return ["nginx", "-p", tmp, "-c", os.path.join(tmp, "nginx.conf"), "-e", "stderr"]

    run = run_in(prepare, RATES)
    real.wait_for(lambda: real.can_connect(port), "nginx listens", run.proc)

    def load(client):
        c = real.http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        answers = set()
        for i in range(200):
            c.request("GET", "/page.html")
            r = c.getresponse()
            answers.add((r.status, len(r.read())))
        c.close()
        return sorted(answers)

    seen = {"answers": at_once(load)}
    fetch(run, "nginx")
    seen["exit status"] = run.end(signal.SIGQUIT)
    return run, seen


PYTHON_PROGRAM = r"""
import queue, sys, threading
jobs, done, lock, total = queue.Queue(10), threading.Barrier(5), threading.Lock(), [0]
def work():
    while True:
        job = jobs.get()
        if job is None:
            break
        with lock:
            total[0] += sum(range(job))
    done.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads:
    t.start()
for i in range(3000):
    jobs.put(i)
for t in threads:
    jobs.put(None)
done.wait()
for t in threads:
    t.join()
e = threading.Event()
print(total[0], e.wait(0.05), flush=True)
sys.stdin.readline()
sys.exit(3)
"""


def python(run_in, _):
    run = run_in(["/usr/bin/python3", "-c", PYTHON_PROGRAM], RATES)
    real.wait_for(lambda: run.printed().count(b"\n") == 1, "python has printed", run.proc)
    fetch(run, "python")
    run.proc.stdin.write(b"\n")
    run.proc.stdin.flush()
    return run, {"exit status": run.end()}


def guilty(run_in, program):
    run = run_in([program], RATES)
    real.wait_for(lambda: run.printed() == b"ready\n", "the program has worked", run.proc)
    fetch(run, "guilty")
    run.proc.stdin.write(b"\n")
    run.proc.stdin.flush()
    return run, {"exit status": run.end()}


def check_guilty(profiles, tmp):
    """go tool pprof -top names who is to blame, and who suffered, first."""
    for kind, data in profiles:
        path = os.path.join(tmp, kind + ".pb.gz")
        with open(path, "wb") as f:
            f.write(data)
        if not shutil.which("go"):
            continue
        rows = [x.split() for x in real.pprof(path, "-top", "-nodecount=5").splitlines()]
        rows = [x for x in rows if len(x) == 6 and x[1].endswith("%")]
        print("%s: %s" % (kind, rows[:2]))
        check(rows and rows[0][5] == {"mutex": "guilty", "block": "innocent"}[kind] and
              float(rows[0][1].rstrip("%")) > 50, "%s: top is %s" % (kind, rows[:3]))


PROGRAMS = {
    "memcached": (memcached, "memcached"),
    "redis": (redis, "redis-server"),
    "nginx": (nginx, "nginx"),
    "guilty": (guilty, None),
    "python": (python, "/usr/bin/python3"),
}
OURS = re.compile(r"prof_|pthread_|__pthread_|unw_|_U[Lx]|sem_(wait|timedwait|clockwait)$|mtx_|cnd_")


def check_profile(name, kind, data):
    pprof.assert_valid(data, kind)
    profile = pprof.parse(data)
    check([list(t) for t in profile.types()] == [["contentions", "count"],
                                                 ["delay", "nanoseconds"]],
          "%s: %s: %s" % (name, kind, profile.types()))
    stacks = profile.stacks()
    delay = 0
    for functions, values, _ in stacks:
        delay += values[1]
        check(not OURS.match(functions[0]), "%s: %s: leaf %s" % (name, kind, functions[0]))
        check(values[0] >= 0 and values[1] > 0, "%s: %s: values %s" % (name, kind, values))
    print("%s: %s: %d stacks, %.3f s" % (name, kind, len(stacks), delay / 1e9))
    for functions, values, _ in sorted(stacks, key=lambda s: -s[1][1])[:3]:
        print("    %.3f s in %d: %s" % (values[1] / 1e9, values[0], " < ".join(functions[:5])))
    if kind == "block":
        check(delay > 0, "%s: somebody waited" % name)


def main():
    profrun, name = os.path.abspath(sys.argv[1]), sys.argv[2]
    function, program = PROGRAMS[name]
    path = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else None
    if program and not shutil.which(program):
        real.skip(program + " is not installed")
    tmp = tempfile.mkdtemp()
    try:
        _, plain = real.life(function, path, None, os.path.join(tmp, "plain"))
        run, profiled = real.life(function, path, profrun, os.path.join(tmp, "profiled"))
        profiles = run.heaps
        for what in plain:
            real.same(plain[what], profiled.get(what), "%s: %s" % (name, what))
        check([k for k, _ in profiles] == ["block", "mutex"], "both profiles were read")
        for kind, data in profiles:
            check_profile(name, kind, data)
        if name == "guilty":
            check_guilty(profiles, tmp)
    finally:
        shutil.rmtree(tmp)
    return report()


if __name__ == "__main__":
    sys.exit(main())
