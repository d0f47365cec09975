#!/usr/bin/env python3
"""hogs.py - clients that want very much, and a server that stood still: others do not pay for it.

    hogs.py DEMO      (server_demo.c)
"""
import os
import re
import select
import signal
import socket
import sys
import time

import harness
from harness import ANSWER_LIMIT_S, Connection, Demo, ask, check, equal, eventually

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import pprof  # noqa: E402

HEAP = "/debug/pprof/heap?debug=1"
SYMBOL = "/debug/pprof/symbol"
BATCH = 4096 # addresses that are looked up in one turn
REQUEST_S = 10 # the server's limit from connecting to the last header
MIB = 1024 # in KiB
BUFFERS, LARGEST = 64 * MIB, 8 * MIB # what answers may take together, and one of these


def stop(d):
    d.process.send_signal(signal.SIGSTOP)
    check(eventually(lambda: d.status()["State"].startswith("T")), "the program stands still")


def go_on(d):
    d.process.send_signal(signal.SIGCONT)


def serves(d, what):
    a = ask(d.where, HEAP)
    return check(a is not None and a.status == 200 and a.complete, what)


def addresses(d, n):
    known = d.tell("symbols").split()[0]
    return "+".join([known] * n).encode()


def requests(d, handler, code):
    text = ask(d.where, "/metrics").body.decode()
    m = re.search(r'^libprof_http_requests_total\{handler="%s",code="%d"\} (\d+)' % (handler, code),
                  text, re.M)
    return int(m[1]) if m else 0


def test_others_have_their_turn(d):
    """Two requests become complete at the same moment: the small one is answered first, whichever of
    the two connections is the older one, and whichever request."""
    body = addresses(d, 70000)[:1 << 20]
    head = "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (SYMBOL, len(body))
    for hog_connects, hog_sends in ((a, b) for a in ("first", "last") for b in ("first", "last")):
        hog, other = [Connection(d.where) for _ in range(2)][::1 if hog_connects == "first" else -1]
        for c in (hog, other): # both are known to the server
            c.request(HEAP)
            equal(c.answer().status, 200, "before")
        what = "the hog connects %s and sends %s" % (hog_connects, hog_sends)
        hog.send(head.encode() + body[:-1])
        for _ in range(5): # nothing is left in its socket
            other.request(HEAP)
            equal(other.answer().status, 200, what + ": before the hog is done")
        stop(d)
        sends = [lambda: hog.send(body[-1:]), lambda: other.request("/debug/pprof/cmdline")]
        for send in sends[::1 if hog_sends == "first" else -1]:
            send()
        go_on(d)
        ready, _, _ = select.select([hog.socket, other.socket], [], [], ANSWER_LIMIT_S)
        equal(ready, [other.socket], what + ": the other one is answered first")
        equal(other.answer().status, 200, what + ": status of the other one")
        a = hog.answer()
        equal(a.status, 200, what + ": status of the hog")
        check(a.body.count(b" known_function\n") > 60000, what + ": and all it asked for")
        hog.close()
        other.close()


def test_a_hog_that_leaves(d):
    body = addresses(d, 10 * BATCH)[:200000]
    before = requests(d, "symbol", 503)
    stop(d)
    with Connection(d.where) as hog:
        hog.request(SYMBOL, "POST", body=body)
    go_on(d)
    check(eventually(lambda: requests(d, "symbol", 503) > before),
          "what is looked up for a client that has left is given up")


def test_answers_that_nobody_reads(d):
    """They take so much memory together, and no more; whoever comes then is told. On a Unix socket,
    whose buffers do not grow to the length of an answer."""
    d.tell("stop")
    equal(d.start("unix:@libprof-test-%d" % d.pid), "0", "start")
    body = addresses(d, 100000)[:1 << 20]
    serves(d, "before")
    before = int(d.status()["VmRSS"].split()[0])
    rude, told = [], 0
    most = before
    for _ in range(40):
        c = Connection(d.where, receive_buffer=4096)
        rude.append(c)
        c.request(SYMBOL, "POST", body=body)
        status = c.socket.recv(12, socket.MSG_WAITALL)
        most = max(most, int(d.status()["VmRSS"].split()[0]))
        if status.endswith(b"503"):
            told += 1
        else:
            check(status.endswith(b"200"), "one that does not read on: %r" % status)
    check(told > 0, "some of 40 are told that there is no room")
    check(most - before < BUFFERS + 4 * LARGEST, "%d MiB more for 40 answers of some MiB, %d refused"
          % ((most - before) // MIB, told))
    a = ask(d.where, HEAP)
    check(a.status == 503 and b"try again" in a.body, "others are told, too: %r" % a)
    for c in rude:
        c.close()
    check(eventually(lambda: ask(d.where, HEAP).status == 200), "and served when there is room")
    d.tell("stop")
    equal(d.start(), "0", "start")


def clients_before(d):
    """[what, connection]: in every stage of a request."""
    silent, half, body, idle = [Connection(d.where) for _ in range(4)]
    half.send("GET " + HEAP + " HTTP/1.1\r\nHost: local")
    body.send("POST " + SYMBOL + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n0x")
    idle.request(HEAP)
    equal(idle.answer().status, 200, "before the server stands still")
    return [["connected before", silent], ["half a request before", half],
            ["a part of its body before", body], ["answered before", idle]]


def clients_meanwhile(d, clients):
    for (_, c), rest in zip(clients, (None, "host\r\n\r\n", "1", None)):
        if rest:
            c.send(rest)
        else:
            c.request(HEAP)
    newcomer = Connection(d.where)
    newcomer.request(HEAP)
    clients.append(["a newcomer", newcomer])


def test_stood_still(d, path):
    """For longer than a client may take for its request, as a whole or in a handler: nobody has
    taken longer than they may."""
    with Demo(path) as busy:
        equal(busy.start(), "0", "start")
        equal(busy.tell("metrics", "hold"), "0", "a handler that takes long")
        both = [("the process", d, clients_before(d)), ("a handler", busy, clients_before(busy))]
        holder = Connection(busy.where)
        holder.request("/metrics")
        check(eventually(lambda: busy.tell("held") == "1"), "the handler is at it")
        stop(d)
        for _, demo, clients in both:
            clients_meanwhile(demo, clients)
        time.sleep(REQUEST_S + 1) # what is tested is this long
        go_on(d)
        equal(busy.tell("release"), "1", "the handler goes on")
        for who, _, clients in both:
            for what, c in clients:
                a = c.answer()
                check(a is not None and a.status == 200, "%s stood still; %s, sent meanwhile: %r"
                      % (who, what, a))
                c.close()
        holder.close()


def test_no_memory(path):
    """malloc has given all it had: the heap profile of that very moment can be fetched."""
    with Demo(path) as d:
        equal(d.start(), "0", "start")
        d.tell("feed", "50", "1000")
        check(int(d.tell("exhaust")) >= 0, "all memory is taken")
        for _ in range(3): # what was taken of the reserve is there again
            a = ask(d.where, "/debug/pprof/heap")
            if check(a is not None and a.status == 200, "without memory: %r" % a):
                p = pprof.parse(a.body)
                equal(sum(values[2] for _, values, _ in p.stacks()), 50, "blocks in it")
            a = ask(d.where, HEAP)
            check(a is not None and a.status == 200, "as text: %r" % a)
        check(b"memory has run out" in a.body, "which says why there are no names: %r" % a)


def main(argv):
    harness.limit_time()
    test_no_memory(argv[1])
    with Demo(argv[1]) as d:
        equal(d.start(), "0", "start")
        test_others_have_their_turn(d)
        test_a_hog_that_leaves(d)
        test_answers_that_nobody_reads(d)
        test_stood_still(d, argv[1])
    return harness.report()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
