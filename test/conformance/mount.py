#!/usr/bin/env python3
"""mount.py - the profiles in a program's own libmicrohttpd daemon, of every kind.

    mount.py MOUNT_DEMO PRELOAD
"""
import os
import re
import subprocess
import sys
import time
import urllib.parse

import harness
from harness import Connection, ask, check, equal

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import pprof  # noqa: E402

ROOTS = ["/debug/pprof/", "/x/y/debug/pprof/"]
MODES = ["suspend", "pool", "threads", "plain"]
TEXT = "text/plain; charset=utf-8"


def demo(path, *arguments, env=None):
    d = harness.Demo(path, *arguments, env=env)
    d.where = ("127.0.0.1", int(d.tell("port")))
    return d


def timers(d):
    """POSIX timers: those that sample processor time. None: cannot be told."""
    try:
        with open("/proc/%d/timers" % d.pid) as f:
            return f.read().count("ID:")
    except OSError:
        return None


def check_profiles(d, mode, root):
    what = "%s %s: " % (mode, root)
    a = ask(d.where, root)
    equal(a.status, 200, what + "index")
    links = re.findall(r"href='([^']*)'", a.body.decode())
    check(links and not any(x.startswith("/") or "://" in x for x in links),
          what + "links are relative: %r" % links)
    for name in ["heap", "threads", "my%2ename", "heap%3Fdebug=1"]:
        a = ask(d.where, root + name)
        equal(a.status, 200 if "%" not in name else 404, what + name)
    equal(ask(d.where, root + "%68eap?debug=1&debug=0").header("Content-Type"), TEXT, what + "text")
    equal(ask(d.where, root + "heap?debug=0;x&%64ebug=%31").header("Content-Type"), TEXT,
          what + "parameters as in Go")
    equal(ask(d.where, root + "heap", "DELETE").status, 405, what + "DELETE")
    equal(ask(d.where, root + "heap", "HEAD").status, 200, what + "HEAD")
    a = ask(d.where, root[:-1])
    equal(a.status, 301, what + "without its last slash")
    equal(urllib.parse.urljoin("http://h/app" + root[:-1], a.header("Location")),
          "http://h/app" + root, what + "also behind a proxy that puts something before it")
    equal(ask(d.where, root + "heap?seconds=1%00").status, 400, what + "a NUL behind seconds")
    equal(ask(d.where, root + "heap", headers=[("Host", "x")]).status, 400, what + "two Host lines")
    a = ask(d.where, root + "metrics")
    check(a.status == 200 and b"libprof_http_requests_total{handler=\"heap\",code=\"200\"}" in a.body
          and b"libprof_self_cpu_seconds_total" not in a.body, what + "metrics: %r" % a)
    equal(ask(d.where, root + "ui/").status, 200, what + "viewer")

    address = d.tell("symbol")
    lines = "num_symbols: 1\n%s known_function\n" % address
    twice = lines + "%s known_function\n" % address
    equal(ask(d.where, root + "symbol?" + address).body.decode(), lines, what + "symbol: GET")
    equal(ask(d.where, root + "symbol?%s+0x1+%s" % (address, address)).body.decode(), twice,
          what + "symbol: GET of two")
    body = ("%s+%s" % (address, address)).encode()
    with Connection(d.where) as c:
        for _ in range(2):
            c.request(root + "symbol", "POST", body=body)
            equal(c.answer().body.decode(), twice, what + "symbol: POST")
        half = len(body) // 2
        c.send("POST %ssymbol HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
               % root)
        for piece in (body[:half], body[half:]):
            c.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        c.send("0\r\n\r\n")
        equal(c.answer().body.decode(), twice, what + "symbol: POST in chunks")
    many = "+".join([address] * 12000).encode() # more than is looked up at a time
    equal(ask(d.where, root + "symbol", "POST", body=many).body.decode(),
          "num_symbols: 1\n" + "%s known_function\n" % address * 12000, what + "symbol: POST of many")
    with Connection(d.where) as c:
        c.send("POST %ssymbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n" % root)
        equal(c.answer().status, 413, what + "symbol: too large")


def check_own(d, mode):
    for target in ["/", "/debug", "/debug/pprofx/", "/x/debug/pprof/heap", "/metrics"]:
        a = ask(d.where, target)
        equal((a.status, a.body), (200, b"mine"), "%s: %s is the program's" % (mode, target))
    a = ask(d.where, "/upload", "POST", body=b"x" * 5000)
    equal(a.body, b"mine", mode + ": so is what is sent there")
    a = ask(d.where, "/debug/pprof/heap", host="evil.example")
    equal(a.status, 403, mode + ": another's name over loopback")


def check_waits(d, mode):
    if mode == "plain":
        a = ask(d.where, "/debug/pprof/heap?seconds=1")
        equal(a.status, 501, "plain: cannot wait")
        check(b"MHD_ALLOW_SUSPEND_RESUME" in a.body, "plain: and says what it takes")
        equal(ask(d.where, "/debug/pprof/profile", "HEAD").status, 200, "plain: HEAD")
        check(harness.eventually(lambda: not timers(d)), "plain: nothing is sampled then")
        return
    connections = [Connection(d.where) for _ in range(4)]
    for i, c in enumerate(connections):
        c.request(ROOTS[i % 2] + ("profile" if i < 2 else "heap") + "?seconds=1")
    equal(ask(d.where, "/other").body, b"mine", mode + ": others are served meanwhile")
    for i, c in enumerate(connections):
        a = c.answer()
        equal(a.status, 200, "%s: wait %d" % (mode, i))
        p = pprof.parse(a.body)
        check(p.duration_nanos >= 0.95e9, "%s: duration %d" % (mode, p.duration_nanos))
        c.request(ROOTS[0] + "heap?debug=1")
        equal(c.answer().status, 200, mode + ": and the connection goes on")
        c.close()

    before = int(d.tell("completed"))
    with Connection(d.where) as c:
        c.request("/debug/pprof/profile?seconds=3600")
        check(timers(d) is None or harness.eventually(lambda: timers(d)), mode + ": sampling")
    check(harness.eventually(lambda: not timers(d)), mode + ": over when the client has left")
    check(harness.eventually(lambda: int(d.tell("completed")) > before), mode + ": and let go")
    with Connection(d.where) as c: # in the middle of its body
        c.send("POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"
               "0x1+")
    equal(ask(d.where, "/debug/pprof/heap").status, 200, mode + ": after a client gave up")


def check_stop(d, mode):
    """Last: the daemon is gone after it."""
    waiting = [Connection(d.where) for _ in range(3)]
    if mode != "plain":
        for c in waiting:
            c.request("/debug/pprof/profile?seconds=3600")
        check(timers(d) is None or harness.eventually(lambda: timers(d)), mode + ": they wait")
        equal(d.tell("handler-stop"), "0", mode + ": handler stopped")
        for c in waiting:
            a = c.answer()
            # One that was read only after the stop finds nobody serving.
            check(a.status == 503 and a.body in (b"the server is stopping\n",
                                                 b"profiles are not served now\n"),
                  "%s: told so: %r" % (mode, a))
        equal(ask(d.where, "/debug/pprof/heap?seconds=1").status, 503, mode + ": nobody waits now")
        equal(ask(d.where, "/other").body, b"mine", mode + ": the program goes on")
        equal(d.tell("handler-stop"), str(-114), mode + ": stopped already")
        equal(d.tell("handler-start"), "0", mode + ": and again")
        equal(d.tell("handler-start"), str(-114), mode + ": once")
        equal(ask(d.where, "/debug/pprof/heap?seconds=1").status, 200, mode + ": waits again")
        for i in range(3): # as fast as they come, so that some are just being suspended
            late = [Connection(d.where) for _ in range(8)]
            for c in late:
                c.request("/debug/pprof/heap?seconds=3600")
            equal(d.tell("handler-stop"), "0", mode + ": stopped among newcomers")
            equal({c.answer().status for c in late}, {503}, mode + ": none is left behind")
            equal(d.tell("handler-start"), "0", mode + ": started")
            for c in late:
                c.close()
        again = Connection(d.where)
        again.request("/debug/pprof/heap?seconds=3600")
        harness.eventually(lambda: "prof-mount" in d.threads() or mode == "threads")
    port = int(d.tell("fork"))
    check(port > 0, mode + ": a forked child serves")
    if mode != "plain":
        equal(ask(("127.0.0.1", port), "/debug/pprof/heap?seconds=1").status, 200,
              mode + ": and waits for itself")
    equal(d.tell("stop"), "0", mode + ": stop with a request that waits")
    check("prof-mount" not in d.threads(), mode + ": no thread is left")
    equal(d.end(), 0, mode + ": exit status")


def check_go(d, root):
    url = "http://%s:%d%s" % (d.where[0], d.where[1], root)

    def tool(*arguments):
        env = dict(os.environ, PPROF_TMPDIR="/nonexistent", GOFLAGS="", GOTOOLCHAIN="local")
        return subprocess.run(["go", "tool", "pprof"] + list(arguments), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=env, timeout=60)

    try:
        subprocess.run(["go", "version"], stdout=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        print("skipped: go is not here, so the rows with go tool pprof")
        return
    r = tool("-symbolize=none", "-top", "-seconds", "1", url + "profile")
    equal(r.returncode, 0, "go tool pprof %sprofile: %s" % (root, r.stderr.decode()[-300:]))
    # Addresses only: pprof asks symbol, beside the profile, for their names.
    r = tool("-symbolize=remote", "-traces", url + "threads?symbolize=0")
    check(r.returncode == 0 and b" main" in r.stdout,
          "go tool pprof finds %ssymbol: %r %r" % (root, r.stdout[-300:], r.stderr[-300:]))


def check_token(path):
    with demo(path, "suspend", "secret") as d:
        equal(ask(d.where, "/debug/pprof/heap").status, 401, "token: none")
        equal(ask(d.where, "/debug/pprof/heap?seconds=1").status, 401, "token: none, waiting")
        equal(ask(d.where, "/debug/pprof/nosuch").status, 401, "token: nothing is learnt")
        equal(ask(d.where, "/debug/pprof").status, 401, "token: not even that")
        equal(ask(d.where, "/debug/pprof/heap",
                  headers=[("Authorization", "Bearer secret")]).status, 200, "token")
        equal(ask(d.where, "/other").body, b"mine", "token: not for the program's own")


def check_leaving(path, preload):
    """The thread that ends waits makes room for a call that changes one thread, and comes back."""
    with demo(path, "suspend", env={"LD_PRELOAD": preload}) as d:
        with Connection(d.where) as c, Connection(d.where) as other:
            c.request("/debug/pprof/heap?seconds=1")
            other.request("/debug/pprof/heap?seconds=600")
            harness.eventually(lambda: "prof-mount" in d.threads())
            equal(d.tell("drop"), "0", "capset()")
            harness.eventually(lambda: "prof-mount" in d.threads()) # once it has its name
            tid = d.threads()["prof-mount"]
            equal(d.status(tid)["CapPrm"], d.status()["CapPrm"], "its capabilities are the program's")
            equal(c.answer().status, 200, "a wait goes on")
            equal(d.tell("handler-stop"), "0", "and the rest ends with the handler")
            equal(other.answer().status, 503, "as ever")


def main(argv):
    harness.limit_time()
    begin = time.monotonic()
    for mode in MODES:
        with demo(argv[1], mode) as d:
            for root in ROOTS:
                check_profiles(d, mode, root)
                if mode == "pool":
                    check_go(d, root)
            check_own(d, mode)
            check_waits(d, mode)
            check_stop(d, mode)
    check_token(argv[1])
    check_leaving(argv[1], argv[2])
    if "-v" in argv:
        print("%.1f s" % (time.monotonic() - begin))
    return harness.report()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
