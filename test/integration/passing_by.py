#!/usr/bin/env python3
"""passing_by.py - programs whose blocks come and go past malloc, with numbers that are right.

    passing_by.py PROFRUN php|named

php loads its extensions with RTLD_DEEPBIND, so that their free() is libc's: a thousand handles of curl
replaced over and over are a thousand. named takes all it has by jemalloc's own mallocx(). In both, what
is shown in use is no more than the process has in memory. Skipped (77) where the program is missing;
packages.txt leaves named out, since its package starts a server.
"""
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

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from checks import check, report  # noqa: E402
from ports import free_port  # noqa: E402
import pprof  # noqa: E402

profrun, which = os.path.abspath(sys.argv[1]), sys.argv[2]
TIME_LIMIT_S = 100
SKIPPED = 77

PHP = """<?php
if (!function_exists("curl_init")) exit(77);
for ($i = 0; $i < 1000; $i++) $a[$i] = curl_init("http://localhost/" . $i);
for ($i = 0; $i < 100000; $i++) $a[$i % 1000] = curl_init("http://localhost/" . $i);
echo "ready\\n";
fgets(STDIN);
"""
ZONE = "$TTL 60\n@ IN SOA ns.x. h.x. 1 2 3 4 5\n@ IN NS ns.x.\n"
CONFIGURATION = """
options { directory "%s"; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; pid-file none;
          session-keyfile none; recursion no; dnssec-validation no; };
controls { };
zone "x.test" { type master; file "zone"; };
"""
RECORDS = 50000


class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


def heap(path):
    connection = Unix(path)
    connection.request("GET", "/debug/pprof/heap", headers={"Host": "localhost"})
    return pprof.parse(connection.getresponse().read())


def rss(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmRSS:\s*(\d+)", f.read()).group(1)) * 1024


def start(d, *command, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LIBPROF_", "LD_"))}
    return subprocess.Popen([profrun, "--http", "unix:" + d + "/socket", "--heap-rate", "64k", "--",
                             *command], env=env, **more)


def inuse(profile):
    return profile.totals()["inuse_space"]


def test_php(d):
    with open(d + "/handles.php", "w") as f:
        f.write(PHP)
    p = start(d, "php", d + "/handles.php", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
              stderr=subprocess.DEVNULL)
    if not p.stdout.readline():
        return p.wait(TIME_LIMIT_S)
    shown, has = inuse(heap(d + "/socket")), rss(p.pid)
    check(1 << 20 < shown <= has, "%d bytes shown, %d in memory" % (shown, has))
    p.communicate(b"\n", timeout=TIME_LIMIT_S)
    return 0


def test_named(d):
    os.chmod(d, 0o755)
    with open(d + "/zone", "w") as f:
        f.write(ZONE + "".join("r%d IN A 10.1.%d.%d\n" % (i, i >> 8 & 255, i & 255)
                               for i in range(RECORDS)))
    port = free_port()
    with open(d + "/conf", "w") as f:
        f.write(CONFIGURATION % (d, port))
    with open(d + "/log", "w+") as log:
        p = start(d, "named", "-g", "-n", "1", "-c", d + "/conf", stderr=log)
        limit = time.monotonic() + TIME_LIMIT_S
        while p.poll() is None and "x.test/IN: loaded" not in open(d + "/log").read():
            if time.monotonic() > limit:
                break
            time.sleep(0.05) # its log is all that tells
        check(p.poll() is None, "named runs: " + open(d + "/log").read()[-500:])
        if p.poll() is None:
            shown, has = inuse(heap(d + "/socket")), rss(p.pid)
            check(has / 3 < shown <= has, "%d bytes shown, %d in memory" % (shown, has))
            p.send_signal(signal.SIGTERM)
            check(p.wait(TIME_LIMIT_S) == 0, "it ends by itself")
    return 0


def main():
    if not shutil.which(which):
        print("skipped: there is no %s" % which)
        return SKIPPED
    with tempfile.TemporaryDirectory() as d:
        if {"php": test_php, "named": test_named}[which](d) == SKIPPED:
            print("skipped: %s lacks what it takes" % which)
            return SKIPPED
    return report()


sys.exit(main())
