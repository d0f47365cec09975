#!/usr/bin/env python3
"""lifecycle.py - starting, stopping, addresses, and what the program and its children see of it.

    lifecycle.py DEMO      (server_demo.c)
"""
import errno
import os
import signal
import socket
import stat
import sys
import tempfile
import time

import harness
from harness import ANSWER_LIMIT_S, Connection, Demo, ask, check, descriptors, equal, eventually, place

HEAP = "/debug/pprof/heap?debug=1"
STOP_LIMIT_S = 2 # promised
ROOM_S = 15 # for a busy machine; who waited for its clients would take much longer


def serves(where):
    a = ask(where, HEAP)
    return a is not None and a.status == 200


def refuses(where):
    try:
        Connection(where).close()
        return False
    except (ConnectionRefusedError, FileNotFoundError):
        return True


def test_start_and_stop(demo):
    with Demo(demo) as d:
        check(d.tell("stop").startswith("-%d " % errno.EALREADY), "stop before start")
        equal(d.tell("address"), str(-errno.ENOTCONN), "no address before start")
        equal(d.start(), "0", "start")
        where = d.where
        check(serves(where), "serves")
        check(d.start().startswith("-%d already" % errno.EALREADY), "a second start")
        check(serves(where), "the first goes on serving")
        equal(d.tell("stop"), "0", "stop")
        check(refuses(where), "after stop nobody listens")
        equal(d.tell("address"), str(-errno.ENOTCONN), "no address after stop")
        check(d.tell("stop").startswith("-%d " % errno.EALREADY), "a second stop")
        equal(d.tell("restart", "100"), "100", "100 restarts on one port")
        equal(d.tell("contend", "60"), "0", "two threads that start and stop")
        equal(d.start(), "0", "start after all that")
        check(serves(d.where), "serves after all that")


def test_what_the_program_sees(demo):
    with Demo(demo) as d:
        d.tell("feed", "1", "1") # what the core opens for itself, it has opened then
        before = d.descriptors()
        d.start()
        equal(d.descriptors(), before, "no descriptor in the program's table")
        check(eventually(lambda: "prof-vars" in d.threads()), "a thread that notes numbers")
        check("prof-http" in d.threads(), "one that serves, prof-http")
        equal(len(d.threads()), 3, "and no other")
        tid = d.threads()["prof-http"]
        blocked = int(d.status(tid)["SigBlk"].strip(), 16)
        # All but KILL and STOP, which cannot be, glibc's own 32 and 33, and what a fault raises.
        open_ = {9, 19, 32, 33} | set(map(int, (signal.SIGSYS, signal.SIGSEGV, signal.SIGBUS,
                                                signal.SIGFPE, signal.SIGILL, signal.SIGTRAP)))
        equal(blocked, sum(1 << n - 1 for n in range(1, 65) if n not in open_), "signals blocked")
        serves(d.where)
        ours = set(d.descriptors(tid).values())
        shared = [x for x in ours & set(before.values()) if x != "anon_inode:[eventpoll]"]
        equal(shared, [], "nothing of the program's is kept open")
        for number in (0, 1, 2):
            what = d.descriptors(tid).get(number, "")
            check(what, "number %d is taken in the thread's table, and not by a client" % number)
        d.tell("stop")
        check(eventually(lambda: len(d.threads()) == 1), "no thread after stop")
        equal(d.descriptors(), before, "no descriptor after stop")


def test_program_closes_everything(demo):
    with Demo(demo) as d:
        d.start()
        with Connection(d.where) as c:
            d.tell("close", "3")
            d.tell("open", "40")
            c.request(HEAP)
            equal(c.answer().status, 200, "a program that closes every descriptor does not hit ours")
        count = len(d.descriptors())
        check(serves(d.where), "and new connections work")
        d.tell("stop")
        equal(len(d.descriptors()), count, "nor do we hit its new ones")


def test_idle_server_sleeps(demo):
    with Demo(demo) as d:
        d.start()
        with Connection(d.where) as c:
            c.request(HEAP)
            c.answer()
            tid = d.threads()["prof-http"]
            seen = []

            def settled(): # it has gone back to sleep
                seen.append((d.status(tid)["State"][:1], d.status(tid)["voluntary_ctxt_switches"]))
                return seen[-10:] == 10 * [("S", seen[-1][1])]
            check(eventually(settled), "it comes to rest: %s" % seen[-10:])
            before = seen[-1][1]
            time.sleep(1.5) # nothing is waited for: the time is what is looked at
            equal(d.status(tid)["voluntary_ctxt_switches"], before,
                  "an idle server, and one idle connection: it does not wake up")


def test_stop_under_way(demo):
    with Demo(demo) as d:
        d.start()
        waiting = [Connection(d.where) for _ in range(5)]
        for c in waiting:
            c.request("/debug/pprof/heap?seconds=600")
        half = Connection(d.where)
        half.send("GET /debug/pprof/heap HTTP/1.1\r\nHost:")
        idle = Connection(d.where)
        check(serves(d.where), "served meanwhile") # and so all the others have been read
        begin = time.monotonic()
        equal(d.tell("stop"), "0", "stop with requests under way")
        took = time.monotonic() - begin
        check(took < STOP_LIMIT_S + ROOM_S, "stop took %.1f s" % took)
        for c in waiting:
            a = c.answer()
            check(a is not None and a.status == 503, "who waited is told so: %r" % a)
            equal(a and a.header("X-Go-Pprof"), "1", "in a way that pprof shows")
        check(half.ended(ANSWER_LIMIT_S) and idle.ended(ANSWER_LIMIT_S), "all others are closed")
        equal(d.start(), "0", "and it starts again")
        check(serves(d.where), "and serves")
    with Demo(demo) as d: # a reader that does not read
        d.start()
        d.tell("add", "20000")
        slow = Connection(d.where, receive_buffer=4096)
        for _ in range(200):
            slow.request(HEAP.replace("heap", "my.custom"))
        check(serves(d.where), "others are served beside one that does not read")
        begin = time.monotonic()
        equal(d.tell("stop"), "0", "stop with a reader that does not read")
        check(time.monotonic() - begin < STOP_LIMIT_S + ROOM_S, "in time")


def test_addresses(demo):
    with Demo(demo) as d, tempfile.TemporaryDirectory() as folder:
        def try_one(address, want_address=None):
            r = d.start(address)
            if equal(r, "0", "start " + address):
                got = d.tell("address")
                check(want_address is None or got == want_address or
                      got.startswith(want_address + ":"), "%s is %s" % (address, got))
                check(serves(d.where), "serves on " + address)
                d.tell("stop")

        try_one("127.0.0.1:0", "127.0.0.1")
        try_one("localhost:0", "127.0.0.1")
        try_one("0.0.0.0:0", "0.0.0.0")
        try_one(":0")
        if os.path.exists("/proc/net/if_inet6"):
            try_one("[::1]:0", "[::1]")
            d.start(":0")
            port = d.where[1]
            check(serves(("127.0.0.1", port)) and serves(("::1", port)), ":PORT serves IPv4 and IPv6")
            d.tell("stop")
        else:
            print("skipped: no IPv6 here")
        try_one("unix:" + folder + "/socket", "unix:" + folder + "/socket")
        try_one("unix:%s/%%p.sock" % folder, "unix:%s/%d.sock" % (folder, d.pid))
        try_one("unix:@libprof-%d" % d.pid, "unix:@libprof-%d" % d.pid)
        number, port = d.tell("listen").split()
        try_one("fd:" + number, "127.0.0.1:" + port)
        check(int(number) in d.descriptors(), "an inherited socket stays the program's")
        try_one("fd:" + number, "127.0.0.1:" + port)
        d.tell("close", number)

        for address, code in [
                ("", errno.EINVAL), ("6060", errno.EINVAL), ("127.0.0.1", errno.EINVAL),
                ("127.0.0.1:", errno.EINVAL), ("127.0.0.1:65536", errno.EINVAL),
                ("127.0.0.1:-1", errno.EINVAL), ("127.0.0.1:http", errno.EINVAL),
                ("127.0.0.1:60x", errno.EINVAL), ("::1:6060", errno.EINVAL),
                ("[::1:6060", errno.EINVAL), ("[::1]6060", errno.EINVAL), ("[]:1", errno.EINVAL),
                ("http://127.0.0.1:1", errno.EINVAL), ("unix:", errno.EINVAL),
                ("unix:@", errno.EINVAL), ("unix:/" + "x" * 120, errno.ENAMETOOLONG),
                ("unix:@" + "x" * 120, errno.ENAMETOOLONG), ("fd:", errno.EINVAL),
                ("fd:x", errno.EINVAL), ("fd:-1", errno.EINVAL), ("fd:1000", errno.EBADF),
                ("fd:0", errno.ENOTSOCK), ("fd:99999999999", errno.EINVAL),
                ("unix:%s/no/such/folder" % folder, errno.ENOENT),
                ("192.0.2.1:6060", errno.EADDRNOTAVAIL),
                ("no-such-host.invalid:6060", errno.EADDRNOTAVAIL)]:
            r = d.start(address) if address else d.tell("start", " ")
            if not address:
                continue # cannot be said in a line
            got, _, reason = r.partition(" ")
            equal(got, str(-code), "start %.40s (%s)" % (address, reason))
            check(len(reason) > 10, "start %.40s: the reason is a sentence" % address)
        check(d.start().startswith("0"), "start after failures")


def test_address_in_use(demo):
    with Demo(demo) as a, Demo(demo) as b, tempfile.TemporaryDirectory() as folder:
        a.start()
        address = "127.0.0.1:%d" % a.where[1]
        equal(b.start(address), "-98 cannot listen on %s: Address already in use" % address,
              "a port in use")
        path = folder + "/socket"
        a.tell("stop")
        a.start("unix:" + path)
        check(b.start("unix:" + path).startswith("-98 "), "a live socket file")
        check(serves(path), "stays alive")
        a.process.kill()
        a.process.wait()
        check(os.path.exists(path), "a killed server leaves its file")
        equal(b.start("unix:" + path), "0", "a dead server's file is replaced")
        check(serves(path), "and works")
        b.tell("stop")
        check(not os.path.exists(path), "and is removed at stop")
        with open(path, "w") as f:
            f.write("precious")
        check(b.start("unix:" + path).startswith("-98 "), "a file that is no socket is in the way")
        with open(path) as f:
            equal(f.read(), "precious", "and is left alone")


def test_socket_files(demo):
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/socket"
        for umask in ("0", "022", "077", "777"):
            with Demo(demo) as d:
                d.tell("umask", umask)
                equal(d.start("unix:" + path), "0", "start under umask " + umask)
                equal(stat.S_IMODE(os.stat(path).st_mode), 0o600, "mode under umask " + umask)
                if umask == "022":
                    d.tell("fork-idle")
                    equal(d.tell("reap"), "0", "a child comes and goes")
                    check(os.path.exists(path), "a child that ends leaves the file")
                    check(serves(path), "and the server")
            check(not os.path.exists(path), "removed when main() returns while serving")
        with Demo(demo) as d:
            d.start("unix:" + path)
            os.unlink(path)
            successor = socket.socket(socket.AF_UNIX)
            successor.bind(path)
            equal(d.tell("stop"), "0", "stop")
            check(os.path.exists(path), "a successor's file is not removed")
            successor.close()
            os.unlink(path)
        demos = [Demo(demo) for _ in range(6)]
        for round_ in range(5): # a dead file and six who want its place, at once
            dead = socket.socket(socket.AF_UNIX)
            dead.bind(path)
            dead.close()
            for d in demos:
                d.process.stdin.write(("start unix:%s\n" % path).encode())
                d.process.stdin.flush()
            answers = [d.process.stdout.readline().decode().split()[0] for d in demos]
            equal(sorted(answers), ["-98"] * 5 + ["0"], "one of six gets a dead socket's place")
            check(serves(path), "and has it")
            demos[answers.index("0")].tell("stop")
        for d in demos:
            d.end()


def test_fork(demo, fallback):
    what = " (without a table of its own)" if fallback else ""
    with Demo(demo) as d:
        if fallback:
            equal(d.tell("deny-close-range"), "0", "close_range() denied")
        d.start()
        where = d.where
        if fallback:
            check(len(d.descriptors()) > 3, "the fallback is what is tested")
        with Connection(where) as c:
            c.request("/debug/pprof/heap?seconds=2")
            with Connection(where) as other:
                other.request(HEAP)
                other.answer()
                child = place(d.tell("fork"))
                check(serves(where), "the parent goes on serving" + what)
                check(serves(child), "the child serves on its own" + what)
                check(child != where, "and elsewhere" + what)
                other.request(HEAP)
                equal(other.answer().status, 200, "a connection from before goes on" + what)
            equal(c.answer().status, 200, "a wait from before goes on" + what)
        equal(d.tell("reap"), "0", "the child stops" + what)

        pid = int(d.tell("fork-idle"))
        check(eventually(lambda: not [x for x in descriptors(pid).values() if "socket:" in x]),
              "a child has no socket" + what) # once its fork handlers have run
        with Connection(where) as c:
            equal(d.tell("stop"), "0", "stop while a child lives" + what)
            check(c.ended(ANSWER_LIMIT_S), "its connections end, child or not" + what)
        check(refuses(where), "nobody listens any more, child or not" + what)
        equal(d.start("127.0.0.1:%d" % where[1]), "0", "the port is free, child or not" + what)
        equal(d.tell("reap"), "0", "the child ends" + what)
        check(serves(d.where), "the parent serves" + what)


def test_fallback_when_program_closes_everything(demo):
    with Demo(demo) as d:
        d.tell("deny-close-range")
        d.start()
        check(serves(d.where), "serves without a table of its own")
        d.tell("close", "3")
        d.tell("open", "5")
        count = len(d.descriptors())
        r = d.tell("stop")
        check(r == "0", "stop after the program closed our descriptors: " + r)
        equal(len(d.descriptors()), count, "closes none of the program's")
        equal(d.start(), "0", "and starts again")
        check(serves(d.where), "and serves")


def test_few_descriptors(demo):
    with Demo(demo) as d:
        d.tell("limit-files", "8")
        equal(d.start(), "0", "start with 8 descriptors")
        check(serves(d.where), "serves with 8 descriptors")
        many = [Connection(d.where) for _ in range(20)]
        for c in many:
            c.close()
        check(eventually(lambda: serves(d.where)), "and after 20 came at once")
        equal(d.tell("stop"), "0", "stop")
        d.tell("limit-files", "3")
        r = d.start()
        check(r.startswith("-24 ") or r == "0", "3 descriptors: an error or service, " + r)


def test_rights(demo):
    """Without the hooks: nobody tells the server's thread of a call that changes the main thread."""
    with Demo(demo) as d:
        d.start()
        tid = d.threads()["prof-http"]
        before = d.status(tid)["CapPrm"]
        equal(d.tell("drop-capabilities"), "0", "capset()")
        check(serves(d.where), "serves")
        check(eventually(lambda: d.status(tid)["CapPrm"] == d.status()["CapPrm"]),
              "what the program has given up, from %s, the server has, too" % before)
        equal(d.status(tid)["CapEff"], d.status()["CapEff"], "also what is in effect")


def test_options(demo):
    with Demo(demo) as d:
        check(d.tell("options", "0").startswith("-22 "), "options without a size")
        check(d.tell("options", "200").startswith("-7 "), "an option of a newer library")
        equal(d.tell("options", "8"), "0", "options of an older library")


def main(argv):
    harness.limit_time()
    demo = argv[1]
    test_start_and_stop(demo)
    test_what_the_program_sees(demo)
    test_program_closes_everything(demo)
    test_idle_server_sleeps(demo)
    test_stop_under_way(demo)
    test_addresses(demo)
    test_address_in_use(demo)
    test_socket_files(demo)
    test_fork(demo, False)
    test_fork(demo, True)
    test_fallback_when_program_closes_everything(demo)
    test_few_descriptors(demo)
    test_rights(demo)
    test_options(demo)
    return harness.report()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
