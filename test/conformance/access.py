#!/usr/bin/env python3
"""access.py - who is let in, by token, by user and by what a browser says.

    access.py DEMO      (server_demo.c)
"""
import base64
import os
import shutil
import socket
import subprocess
import sys
import tempfile

import harness
from harness import Connection, Demo, ask, check, equal

HEAP = "/debug/pprof/heap?debug=1"
TOKEN = "s3cret-Token"
TEXT = "text/plain; charset=utf-8"


def basic(user, password):
    return "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()


AUTHORIZATIONS = [ # header, status
    (None, 401),
    ("", 401),
    ("Bearer " + TOKEN, 200),
    ("bearer " + TOKEN, 200),
    ("Bearer  " + TOKEN + " ", 200),
    ("Bearer", 401),
    ("Bearer ", 401),
    ("Bearer " + TOKEN[:-1], 401),
    ("Bearer " + TOKEN + "x", 401),
    ("Bearer " + TOKEN + TOKEN, 401),
    ("Bearer " + TOKEN.lower(), 401),
    ("Bearer x " + TOKEN, 401),
    (TOKEN, 401),
    ("Digest " + TOKEN, 401),
    (basic("", TOKEN), 200),
    (basic("anybody", TOKEN), 200),
    (basic("anybody", TOKEN).replace("Basic", "BASIC"), 200),
    (basic(TOKEN, ""), 401),
    (basic("anybody", TOKEN + "x"), 401),
    (basic("any:body", TOKEN), 401), # the user's name ends at the first colon
    ("Basic " + base64.b64encode(TOKEN.encode()).decode(), 401),
    ("Basic !!!", 401),
    ("Basic", 401),
    ("Basic " + "A" * 8000, 401),
]

# Without a token, over loopback: header fields, Host, status.
BROWSERS = [
    ({}, "localhost", 200),
    ({}, "localhost:6060", 200),
    ({}, "LOCALHOST:6060", 200),
    ({}, "localhost.", 200),
    ({}, "app.localhost:80", 200),
    ({}, "127.0.0.1", 200),
    ({}, "127.0.0.1:1", 200),
    ({}, "10.1.2.3:6060", 200),
    ({}, "[::1]:6060", 200),
    ({}, "[::1]", 200),
    ({}, "[fe80::1%eth0]:1", 200),
    ({}, "evil.example", 403),
    ({}, "evil.example:6060", 403),
    ({}, "localhost.evil.example", 403),
    ({}, "notlocalhost", 403),
    ({}, "127.0.0.1.evil.example", 403),
    ({}, "[::1].evil.example", 403),
    ({}, "[", 403),
    ({}, ":6060", 403),
    ({}, "x" * 300, 403),
    ({"Sec-Fetch-Site": "cross-site"}, "localhost", 403),
    ({"Sec-Fetch-Site": "Cross-Site"}, "localhost", 403),
    ({"Sec-Fetch-Site": "same-origin"}, "localhost", 200),
    ({"Sec-Fetch-Site": "none"}, "localhost", 200),
]


def test_tokens(demo_path):
    with Demo(demo_path) as d:
        equal(d.start("127.0.0.1:0", TOKEN), "0", "start with a token")
        for header, status in AUTHORIZATIONS:
            headers = [] if header is None else [("Authorization", header)]
            a = ask(d.where, HEAP, headers=headers)
            what = "Authorization: %.60r" % header
            equal(a.status, status, what)
            if status == 401:
                check("Basic " in a.header("WWW-Authenticate"), what + ": says what to send")
                equal(a.header("X-Go-Pprof"), "1", what + ": X-Go-Pprof")
                equal(a.header("Content-Type"), TEXT, what + ": type")
                check(b"token" in a.body and TOKEN.encode() not in a.body, what + ": the reason")
        for target in ["/", "/debug/pprof/", "/debug/pprof/nosuch", "/debug/pprof/symbol",
                       "/debug/pprof/cmdline", "/x", "/%zz"]:
            equal(ask(d.where, target).status, 401, "without the token nothing is told of " + target)
        equal(ask(d.where, HEAP, "DELETE").status, 401, "nor of methods")
        with Connection(d.where) as c:
            c.request(HEAP, "POST", body=b"x" * 100000)
            equal(c.answer().status, 401, "nor is a body waited for")
        good = [("Authorization", "Bearer " + TOKEN)]
        equal(ask(d.where, HEAP, headers=good, host="proxy.example").status, 200,
              "with the token any Host will do, for proxies")
        equal(ask(d.where, HEAP, headers=good + [("Sec-Fetch-Site", "cross-site")]).status, 403,
              "with the token of a browser, another site's page still will not")
        with Connection(d.where) as c:
            for headers, status in [([], 401), (good, 200), ([], 401), (good, 200)]:
                c.request(HEAP, headers=headers)
                equal(c.answer().status, status, "each request of a connection is asked anew")


def test_token_from_the_environment(demo_path):
    good = [("Authorization", "Bearer " + TOKEN)]
    with Demo(demo_path, env={"LIBPROF_HTTP_TOKEN": TOKEN}) as d:
        d.start()
        equal(ask(d.where, HEAP).status, 401, "LIBPROF_HTTP_TOKEN asks for a token")
        equal(ask(d.where, HEAP, headers=good).status, 200, "LIBPROF_HTTP_TOKEN is the token")
        d.tell("stop")
        d.start("127.0.0.1:0", "other")
        equal(ask(d.where, HEAP, headers=good).status, 401, "an option wins over the environment")
    with Demo(demo_path, env={"LIBPROF_HTTP_TOKEN": ""}) as d:
        check(d.start().startswith("-22 the token is empty"), "an empty token is a mistake")


def test_browsers(demo_path):
    with Demo(demo_path) as d:
        for address in ["127.0.0.1:0", ":0", "[::1]:0"]:
            if d.start(address) != "0":
                print("skipped: cannot listen on " + address)
                continue
            if address == ":0":
                d.where = ("127.0.0.1", d.where[1])
            for headers, host, status in BROWSERS:
                a = ask(d.where, HEAP, headers=list(headers.items()), host=host)
                what = "%s, Host %.40s, %s" % (address, host, headers)
                equal(a.status, status, what)
                if status == 403:
                    equal(a.header("X-Go-Pprof"), "1", what + ": X-Go-Pprof")
            a = ask(d.where, "http://evil.example" + HEAP, host="localhost")
            equal(a.status, 403, "the host in an absolute target counts")
            d.tell("stop")


def outer_address():
    """An address of this machine that is not loopback; None: it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9)) # sends nothing; only chooses a way
            address = s.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


def test_names_of_others_off_loopback(demo_path):
    """Whoever makes a page's name point at this machine reads it from elsewhere just as well."""
    address = outer_address()
    if not address:
        print("skipped: no address but loopback, so Host off loopback")
        return
    machine = socket.gethostname()
    with Demo(demo_path) as d:
        for listen in [":0", address + ":0"]:
            equal(d.start(listen), "0", "start on " + listen)
            where = (address, d.where[1])
            for host, status in [(address, 200), (address + ":6060", 200), ("[2001:db8::1]:1", 200),
                                 ("localhost", 200), (machine, 200), (machine.upper() + ":1", 200),
                                 (None, 200), ("evil.example", 403), ("evil.example:6060", 403),
                                 (address + ".evil.example", 403), (machine + ".evil.example", 403),
                                 ("fine.example", 403)]:
                for target in (HEAP, "/metrics", "/debug/pprof/ui/"):
                    a = ask(where, target, host=host, version="1.1" if host else "1.0")
                    what = "on %s, Host %s, %s" % (listen, host, target)
                    equal(a.status, status, what)
                    if status == 403:
                        check(b"LIBPROF_HTTP_HOSTS" in a.body, what + ": says what to do")
            equal(ask(where, "http://evil.example" + HEAP, host=address).status, 403,
                  "the host in an absolute target counts")
            d.tell("stop")
        for hosts in ["fine.example,*.svc", "*"]:
            equal(d.start(":0", "-", hosts), "0", "start with hosts " + hosts)
            for host, status in [("fine.example", 200), ("a.b.svc:6060", 200),
                                 ("evil.example", 200 if hosts == "*" else 403)]:
                equal(ask((address, d.where[1]), HEAP, host=host).status, status,
                      "hosts %s: %s" % (hosts, host))
            d.tell("stop")
        check(d.start(":0", "-", "fine.example:6060").startswith("-22 the option hosts takes"),
              "a port is a mistake")
    with Demo(demo_path, env={"LIBPROF_HTTP_HOSTS": "fine.example"}) as d:
        equal(d.start("127.0.0.1:0"), "0", "start with LIBPROF_HTTP_HOSTS")
        equal(ask(d.where, HEAP, host="fine.example:80").status, 200, "LIBPROF_HTTP_HOSTS")
        equal(ask(d.where, HEAP, host="evil.example").status, 403, "and no other")
    with Demo(demo_path, env={"LIBPROF_HTTP_HOSTS": "http://fine.example"}) as d:
        check(d.start().startswith("-22 LIBPROF_HTTP_HOSTS takes host names"), "no URL")


def test_unix_sockets(demo_path, folder):
    with Demo(demo_path) as d:
        path = os.path.join(folder, "s")
        d.start("unix:" + path)
        equal(ask(d.where, HEAP, host="anything.example").status, 200,
              "no Host is foreign on a Unix socket")
        d.tell("stop")
        name = "@libprof-test-%d" % d.pid
        d.start("unix:" + name)
        equal(ask(name, HEAP).status, 200, "our own user on an abstract socket")
        if os.geteuid() == 0:
            other = ("import socket,os\nos.setgid(65534);os.setuid(65534)\n"
                     "s=socket.socket(socket.AF_UNIX)\ns.connect('\\0%s')\n"
                     "s.sendall(b'GET %s HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')\n"
                     "print(s.recv(65536).decode().split()[1])" % (name[1:], HEAP))
            run = subprocess.run([sys.executable, "-c", other], stdout=subprocess.PIPE, timeout=60)
            equal(run.stdout.decode().strip(), "403", "another user on an abstract socket")
        else:
            print("skipped: not root, so not another user on an abstract socket")


def test_go_tool_sends_the_token(demo_path):
    if not shutil.which("go"):
        print("skipped: go is not here, so go tool pprof with a token")
        return
    env = dict(os.environ, PPROF_TMPDIR="/nonexistent", GOTOOLCHAIN="local")
    with Demo(demo_path) as d:
        d.start("127.0.0.1:0", TOKEN)
        for user, code in [("x:%s@" % TOKEN, 0), ("x:wrong@", 1), ("", 1)]:
            url = "http://%s127.0.0.1:%d/debug/pprof/heap" % (user, d.where[1])
            r = subprocess.run(["go", "tool", "pprof", "-symbolize=none", "-top", url],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=60)
            equal(int(r.returncode != 0), code, "go tool pprof %s" % url)
            if code:
                check(b"a token is needed" in r.stderr, "go tool pprof shows why")


def main(argv):
    harness.limit_time()
    test_tokens(argv[1])
    test_token_from_the_environment(argv[1])
    test_browsers(argv[1])
    test_names_of_others_off_loopback(argv[1])
    with tempfile.TemporaryDirectory() as folder:
        test_unix_sockets(argv[1], folder)
    test_go_tool_sends_the_token(argv[1])
    return harness.report()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
