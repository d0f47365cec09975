#!/usr/bin/env python3
"""rough_clients.py - clients that dawdle, flood, leave, and ask for nonsense.

    rough_clients.py DEMO      (server_demo.c)

After each of them the server must answer the next one, at once, with no descriptor and no memory
more than before.
"""
import os
import random
import resource
import socket
import sys
import threading
import time

import harness
from harness import Connection, Demo, ask, check, equal, eventually

HEAP = "/debug/pprof/heap?debug=1"
LEAST, OWN = 3, 7 # descriptors of a server that nobody is connected to: between
LONG = os.environ.get("PROF_TEST_LONG") == "1"
IDLE, CLIENTS = (10000, 50) if LONG else (1000, 16)
REQUEST_S = 10 # the server's limit from connecting to the last header


def serves(d, what):
    a = ask(d.where, HEAP)
    return check(a is not None and a.status == 200 and a.complete, what)


def our_descriptors(d):
    return len(d.descriptors(d.threads()["prof-http"]))


def rss_kib(d):
    return int(d.status()["VmRSS"].split()[0])


def test_slow_headers(d):
    """Three ways to be slow, side by side; none may outlast the limit by much."""
    ways = {"silent": b"", "in the first line": b"GET /debug", "in the headers":
            b"GET /debug/pprof/heap HTTP/1.1\r\nHost: localhost\r\nX-Slow: "}
    begin = time.monotonic()
    open_ = {}
    for way, bytes_ in ways.items():
        open_[way] = Connection(d.where)
        open_[way].send(bytes_)
    ended = {}
    while open_ and time.monotonic() - begin < 4 * REQUEST_S:
        for way, c in list(open_.items()):
            c.socket.settimeout(0.3)
            try:
                if ways[way]:
                    c.send(b"a") # a drip, which must not buy time
                if not c.socket.recv(100):
                    raise ConnectionError
            except socket.timeout:
                continue
            except ConnectionError:
                ended[way] = time.monotonic() - begin
                c.close()
                del open_[way]
    for way in ways:
        check(way in ended and REQUEST_S - 1 <= ended[way],
              "slow %s: ended by the server, after %s s" % (way, ended.get(way)))
    serves(d, "after slow clients")


def test_idle_crowd(d):
    for _ in range(5): # until the machine has let us be in time: who waits for them never is
        begin = time.monotonic()
        crowd = []
        for _ in range(min(IDLE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)):
            crowd.append(Connection(d.where))
        serves(d, "served with %d silent connections open" % len(crowd))
        # A thousand may take as long as one would that is waited for.
        in_time = time.monotonic() - begin < REQUEST_S * max(1, len(crowd) / 1000)
        if in_time:
            break
        for c in crowd:
            c.close()
    check(in_time, "without waiting for them to time out")
    check(our_descriptors(d) < 80, "and most of them were shown the door")
    for c in crowd:
        c.close()
    check(eventually(lambda: our_descriptors(d) <= OWN), "all their descriptors come back")
    serves(d, "after the crowd")


def test_crowd_that_keeps_alive(d):
    """Idle after an answer, as scrapers are: the one idle longest makes room."""
    crowd = []
    for _ in range(100):
        c = Connection(d.where)
        c.request(HEAP)
        equal(c.answer().status, 200, "one of 100 that keep their connection")
        crowd.append(c)
    crowd[-1].request(HEAP)
    equal(crowd[-1].answer().status, 200, "the last to come is still there")
    for c in crowd:
        c.close()


def test_all_places_taken_by_waits(d):
    waiting = [Connection(d.where) for _ in range(70)]
    for c in waiting:
        c.request("/debug/pprof/heap?seconds=2")
    answers = [c.answer() for c in waiting]
    equal([a and a.status for a in answers], [200] * 70, "70 waits with 64 places: all are answered")
    for c in waiting:
        c.close()


def test_large_and_odd_requests(d):
    for what, data in [
            ("a target of 1 MiB", b"GET /debug/pprof/heap?" + b"a" * (1 << 20) + b" HTTP/1.1\r\n"),
            ("headers of 1 MiB", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (1 << 20)),
            ("endless headers", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100000),
            ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 100),
            ("zeros", b"\0" * 5000),
            ("line ends only", b"\r\n" * 5000),
            ("two lengths", b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
                            b"Content-Length: 2\r\n\r\nab"),
            ("a negative length", b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\n"
                                  b"Content-Length: -1\r\n\r\n"),
            ("a length of 2^64", b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\n"
                                 b"Content-Length: 18446744073709551616\r\n\r\n"),
            ("a length of 1 TiB", b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\n"
                                  b"Content-Length: 1099511627776\r\n\r\n"),
            ("a chunk of 2^60", b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\n"
                                b"Transfer-Encoding: chunked\r\n\r\n1000000000000000\r\nx")]:
        with Connection(d.where, 1) as c: # whom it has told nothing it goes on reading
            try:
                c.send(data)
                a = c.answer()
            except (OSError, ValueError, IndexError):
                a = None # shut out; or an answer of HTTP/1.0 with a body we do not know to end
            check(a is None or 400 <= a.status < 500, "%s: %r" % (what, a))
        serves(d, "after " + what)
    a = ask(d.where, "/debug/pprof/" + "%41" * 5000)
    equal(a.status, 404, "a long name")
    random.seed(1)
    for i in range(60): # seeded; each must leave the server as it was
        data = bytearray(b"POST /debug/pprof/symbol?%31 HTTP/1.1\r\nHost: localhost\r\n"
                         b"Content-Length: 6\r\n\r\n0x1+0x")
        for _ in range(random.randrange(1, 6)):
            data[random.randrange(len(data))] = random.randrange(256)
        with Connection(d.where, 0.05) as c:
            try:
                c.send(bytes(data))
                c.answer()
            except (OSError, ValueError, IndexError):
                pass
    serves(d, "after 60 garbled requests")


def test_leaving(d):
    check(eventually(lambda: our_descriptors(d) <= OWN), "nobody is connected")
    for how in ("close", "half-close", "reset"):
        gone = []
        for _ in range(20):
            c = Connection(d.where)
            c.request("/debug/pprof/heap?seconds=600")
            gone.append(c)
        serves(d, "served while 20 wait")
        check(eventually(lambda: our_descriptors(d) >= 20 + LEAST), "the 20 do wait")
        for c in gone:
            if how == "half-close":
                c.socket.shutdown(socket.SHUT_WR)
            elif how == "reset":
                c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            if how != "half-close":
                c.close()
        check(eventually(lambda: our_descriptors(d) <= OWN),
              "waits end when their clients leave (%s)" % how)
        for c in gone:
            c.close()
    with Connection(d.where) as c:
        c.send(b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n0x")
    with Connection(d.where) as c:
        c.request(HEAP)
    serves(d, "after clients that left half way")
    check(eventually(lambda: our_descriptors(d) <= OWN), "their descriptors come back")


def test_a_reader_that_does_not_read(d):
    d.tell("add", "30000") # a text of a few MiB
    slow = [Connection(d.where, receive_buffer=2048) for _ in range(8)]
    for c in slow:
        c.request("/debug/pprof/my.custom?debug=1")
    for _ in range(5):
        serves(d, "served beside 8 readers that do not read")
    first = slow[0].socket.recv(100)
    check(first.startswith(b"HTTP/1.1 200"), "they are being sent something: %r" % first[:20])
    for c in slow:
        c.close()
    check(eventually(lambda: our_descriptors(d) <= OWN), "their descriptors come back")


def test_a_scraper_among_the_slow(d):
    """64 places are taken by clients that are slow in every way there is, and do go on in the end.
    Whoever just asks is answered meanwhile, and so are those whose request had begun for good."""
    silent, in_head, in_body, reading = (
        [Connection(d.where, receive_buffer=2048 if i == 3 else 0) for _ in range(16)]
        for i in range(4))
    for c in in_head:
        c.send("GET " + HEAP + " HTTP/1.1\r\nHost: local")
    for c in in_body:
        c.send("POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n0x")
    for c in reading:
        c.request("/debug/pprof/my.custom?debug=1")
        equal(c.socket.recv(1), b"H", "a slow reader gets the beginning")
    for i in range(20):
        a = ask(d.where, "/metrics")
        check(a is not None and a.status == 200 and a.complete, "scrape %d among slow clients" % i)
    for c in in_body:
        c.send("1")
        a = c.answer()
        check(a is not None and a.status == 200, "its body comes late: %r" % a)
    for c in reading:
        check(len(c.socket.recv(4096)) > 0, "it reads late, and there is more")
    for c in silent + in_head + in_body + reading:
        c.close()
    check(eventually(lambda: our_descriptors(d) <= OWN), "their descriptors come back")


def test_storm(d):
    """Many clients at once, each with its own seed, asking for everything and leaving at will.
    Whoever stays gets a whole answer of the right kind."""
    wrong = []

    def client(seed):
        r = random.Random(seed)
        targets = [("heap", 200), ("heap?debug=1", 200), ("allocs", 200), ("nosuch", 404),
                   ("cmdline", 200), ("symbol?0x1", 200), ("heap?seconds=1", 200), ("", 200),
                   ("heap?seconds=0", 400), ("my.custom", 200), ("heap?seconds=600", None)]
        for _ in range(25):
            name, status = r.choice(targets)
            try:
                with Connection(d.where, 30) as c:
                    c.request("/debug/pprof/" + name)
                    if status is None or r.random() < 0.2:
                        continue # leaves without a word
                    a = c.answer()
                    if a is None or a.status != status or not a.complete:
                        wrong.append((name, a))
            except OSError as e:
                wrong.append((name, e))

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(wrong, [], "25 requests from each of %d clients at once" % CLIENTS)


def main(argv):
    harness.limit_time(4 if LONG else 1)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)) # our end of the connections
    with Demo(argv[1]) as d:
        d.start()
        for _ in range(3): # warm: what is allocated once is no leak
            serves(d, "warm")
        test_idle_crowd(d)
        memory = rss_kib(d)
        test_slow_headers(d)
        test_crowd_that_keeps_alive(d)
        test_all_places_taken_by_waits(d)
        test_large_and_odd_requests(d)
        test_leaving(d)
        check(eventually(lambda: our_descriptors(d) <= OWN), "no descriptor is left behind: %s"
              % d.descriptors(d.threads()["prof-http"]))
        for _ in range(2):
            test_idle_crowd(d)
        check(rss_kib(d) < memory + 8 * 1024, "memory: %d KiB before all that, %d after"
              % (memory, rss_kib(d)))
        test_storm(d)
        test_a_reader_that_does_not_read(d)
        test_a_scraper_among_the_slow(d)
        equal(d.tell("stop"), "0", "stop")
        check(eventually(lambda: len(os.listdir("/proc/%d/task" % d.pid)) == 1), "no thread is left")
    return harness.report()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
