#!/usr/bin/env python3
"""contract.py - what clients of Go's net/http/pprof rely on, one row a check.

    contract.py DEMO                 server_demo.c with libprof-http
    contract.py --go URL             a server with Go's own package (goserver/main.go)

Rows that Go's server does not pass are marked OURS and skipped with --go: decisions of our own,
where Go's behaviour is undefined, newer than the Go at hand, or about threads instead of goroutines.
"""
import gzip
import os
import re
import select
import subprocess
import sys
import time
import urllib.parse
import zlib

import harness
from harness import Connection, ask, check, equal

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import pprof  # noqa: E402

ROOT = "/debug/pprof/"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
BINARY = "application/octet-stream"
POSITIVE = b'invalid value for "seconds" - must be a positive integer\n'


class Suite:
    def __init__(self, where, demo=None, arguments=None):
        self.where = where
        self.demo = demo           # None: not our server
        self.arguments = arguments
        self.ours = demo is not None

    def get(self, name, method="GET", **options):
        return ask(self.where, ROOT + name, method, **options)


# --- rows: (request, what must be seen) ----------------------------------------------------------

def attachment(name):
    return 'attachment; filename="%s"' % name


def is_gzip(a):
    return a.body[:2] == b"\x1f\x8b" and a.header("Content-Encoding") is None


# name, target below ROOT, options of the request, predicate or wanted values, OURS
OURS = True
ROWS = [
    ("a profile is gzipped protobuf to save under its name", "heap", {},
     dict(status=200, type=BINARY, disposition=attachment("heap"), test=is_gzip)),
    ("allocs likewise", "allocs", {},
     dict(status=200, type=BINARY, disposition=attachment("allocs"), test=is_gzip)),
    ("a custom profile likewise", "my.custom", {},
     dict(status=200, type=BINARY, disposition=attachment("my.custom"), test=is_gzip)),
    ("an empty debug is 0", "heap?debug=", {}, dict(status=200, type=BINARY)),
    ("debug=0", "heap?debug=0", {}, dict(status=200, type=BINARY, test=is_gzip)),
    ("debug that is no number is 0", "heap?debug=abc", {},
     dict(status=200, type=BINARY, disposition=attachment("heap"), test=is_gzip)),
    ("debug=1 is text to look at", "heap?debug=1", {},
     dict(status=200, type=TEXT, disposition=None,
          test=lambda a: re.match(rb"heap profile: \d+: \d+ \[\d+: \d+\] @ heap/\d+\n", a.body))),
    ("debug=2 is text", "heap?debug=2", {}, dict(status=200, type=TEXT)),
    ("debug=-1 is 0, header and body agree", "heap?debug=-1", {},
     dict(status=200, type=BINARY, test=is_gzip), OURS),
    ("a huge debug is text", "heap?debug=99999999999999999999", {}, dict(status=200, type=TEXT)),
    ("allocs as text says heap profile too", "allocs?debug=1", {},
     dict(status=200, type=TEXT, test=lambda a: a.body.startswith(b"heap profile: "))),
    ("a custom profile as text", "my.custom?debug=1", {},
     dict(status=200, type=TEXT, test=lambda a: a.body.startswith(b"my.custom profile: total 1\n"))),
    ("the first of two values counts", "heap?debug=1&debug=0", {}, dict(status=200, type=TEXT)),
    ("parameters may be encoded", "heap?%64ebug=%31", {}, dict(status=200, type=TEXT)),
    ("unknown parameters are ignored", "heap?debug=1&colour=blue&&=&x", {},
     dict(status=200, type=TEXT)),
    ("a pair with a broken escape is passed over", "heap?x=%zz&debug=1", {},
     dict(status=200, type=TEXT)),
    ("a pair with a semicolon is passed over", "heap?debug=0;a=b&debug=1", {},
     dict(status=200, type=TEXT)),
    ("gc=1", "heap?gc=1", {}, dict(status=200, type=BINARY)),
    ("gc=0", "heap?gc=0", {}, dict(status=200, type=BINARY)),
    ("gc that is no number", "heap?gc=x", {}, dict(status=200, type=BINARY)),
    ("gc where it means nothing", "my.custom?gc=1", {}, dict(status=200, type=BINARY)),

    ("the path is percent-decoded", "%68eap?debug=1", {}, dict(status=200, type=TEXT)),
    ("also its slashes", "../%64ebug%2fpprof%2fheap", dict(exact="/debug%2Fpprof%2Fheap?debug=1"),
     dict(status=200, type=TEXT)),
    ("an unknown profile", "nosuch", {},
     dict(status=404, error=b"Unknown profile\n")),
    ("and its name is never repeated", "<script>alert(1)</script>", {},
     dict(status=404, error=b"Unknown profile\n")),
    ("names are case-sensitive", "Heap", {}, dict(status=404, error=b"Unknown profile\n")),
    ("a slash more is another name", "heap/", {}, dict(status=404, error=b"Unknown profile\n")),
    ("an unknown profile is told before odd seconds", "nosuch?seconds=abc", {},
     dict(status=404, error=b"Unknown profile\n")),
    ("no goroutineleak", "goroutineleak", {}, dict(status=404, error=b"Unknown profile\n")),
    ("no trace before its name", "traces", {}, dict(status=404, error=b"Unknown profile\n")),
    ("a broken escape in the path", "%zz", {}, dict(status=400)),
    ("half an escape in the path", "heap%4", {}, dict(status=400)),
    ("a NUL in the path", "heap%00", {}, dict(status=400), OURS),
    ("no file is reached by ..", "../../etc/passwd", {}, dict(status=404), OURS),
    ("nor by encoded ones", "%2e%2e/%2e%2e/%2e%2e/etc/passwd", {}, dict(status=404), OURS),
    ("nor by a second slash", "", dict(exact="//debug/pprof/heap"), dict(status=404), OURS),
    ("a path elsewhere", "", dict(exact="/nothing/here"), dict(status=404)),
    ("a target in absolute form", "", dict(exact="http://localhost/debug/pprof/heap?debug=1"),
     dict(status=200, type=TEXT)),

    ("seconds=0", "heap?seconds=0", {}, dict(status=400, error=POSITIVE)),
    ("seconds=-1", "heap?seconds=-1", {}, dict(status=400, error=POSITIVE)),
    ("seconds=1.5", "heap?seconds=1.5", {}, dict(status=400, error=POSITIVE)),
    ("seconds=abc", "heap?seconds=abc", {}, dict(status=400, error=POSITIVE)),
    ("seconds=0x5", "heap?seconds=0x5", {}, dict(status=400, error=POSITIVE)),
    ("seconds=+5 is a blank and 5", "heap?seconds=+5", {}, dict(status=400, error=POSITIVE)),
    ("seconds with a NUL behind it", "heap?seconds=1%00", {}, dict(status=400, error=POSITIVE)),
    ("seconds=1s", "heap?seconds=1s", {}, dict(status=400, error=POSITIVE)),
    ("seconds beyond 64 bits", "heap?seconds=99999999999999999999", {}, dict(status=400)),
    ("seconds beyond what a duration holds", "heap?seconds=1000000000000", {},
     dict(status=400), OURS),
    ("an empty seconds is none", "heap?seconds=", {}, dict(status=200,
                                                           disposition=attachment("heap"))),
    ("seconds and debug", "heap?seconds=1&debug=1", {},
     dict(status=400, error=b"seconds and debug params are incompatible\n", below_s=0.5)),
    ("odd seconds are told before debug", "heap?seconds=x&debug=1", {},
     dict(status=400, error=POSITIVE)),
    ("seconds of a custom profile", "my.custom?seconds=1", {},
     dict(status=400, error=b'"seconds" parameter is not supported for this profile type\n')),
    ("odd seconds are told before that", "my.custom?seconds=0", {},
     dict(status=400, error=POSITIVE)),

    ("symbol says that it has symbols", "symbol", {},
     dict(status=200, type=TEXT, test=lambda a: a.body == b"num_symbols: 1\n")),
    ("symbol passes over what is no address", "symbol?zzz+0x1+0+-+0xfffffffffffffffff+", {},
     dict(status=200, type=TEXT, test=lambda a: a.body == b"num_symbols: 1\n")),
    ("symbol does not decode its query", "symbol?0%78401000", {},
     dict(status=200, type=TEXT, test=lambda a: a.body == b"num_symbols: 1\n")),

    ("a missing slash", "", dict(exact="/debug/pprof"),
     dict(status=301, test=lambda a: leads(a, "/debug/pprof", "/debug/pprof/"))),
    ("also behind a proxy that puts something before it", "", dict(exact="/debug/pprof"),
     dict(status=301, test=lambda a: leads(a, "/app/debug/pprof", "/app/debug/pprof/")), OURS),
    ("the root leads to the index", "", dict(exact="/"),
     dict(status=302, test=lambda a: leads(a, "/", ROOT)), OURS),
    ("also behind such a proxy", "", dict(exact="/"),
     dict(status=302, test=lambda a: leads(a, "/app/", "/app" + ROOT)), OURS),
    ("a missing slash of the viewer", "ui", {},
     dict(status=301, test=lambda a: leads(a, "/app/debug/pprof/ui", "/app/debug/pprof/ui/")),
     OURS),
    ("metrics below the root too, for handlers mounted there", "metrics", {},
     dict(status=200, test=lambda a: b"libprof_build_info" in a.body), OURS),
    ("DELETE", "heap", dict(method="DELETE"),
     dict(status=405, test=lambda a: a.header("Allow") == "GET, HEAD"
          and a.header("X-Go-Pprof") == "1"), OURS),
    ("PUT", "", dict(method="PUT"), dict(status=405), OURS),
    ("OPTIONS", "heap", dict(method="OPTIONS"), dict(status=405), OURS),
    ("a method of nobody's", "heap", dict(method="FROB"), dict(status=405), OURS),
    ("POST of a profile", "heap", dict(method="POST", body=b""), dict(status=405), OURS),
    ("DELETE of symbol", "symbol", dict(method="DELETE"),
     dict(status=405, test=lambda a: a.header("Allow") == "GET, HEAD, POST"), OURS),
    ("a GET with a body", "heap?debug=1", dict(body=b"x" * 1000), dict(status=200, type=TEXT)),
    ("no Host at all, HTTP/1.0", "heap?debug=1", dict(host=None, version="1.0"),
     dict(status=200, type=TEXT)),
    ("no Host at all, HTTP/1.1", "heap?debug=1", dict(host=None), dict(status=400)),
    ("two Host lines", "heap?debug=1", dict(headers=[("Host", "localhost")]), dict(status=400)),
    ("two Host lines of which one is none of ours", "heap?debug=1",
     dict(headers=[("host", "evil.example")]), dict(status=400)),
]

# Bytes, statuses: what is no request at all, or not for this server. Told in plain text, as all
# else; a client that gets HTML shows its user nothing.
LONG_LINE = b"GET " + ROOT.encode() + b"heap?" + b"a" * (5 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n"
LONG_HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (5 << 20) + b"\r\n\r\n"
NO_REQUESTS = [
    ("a word", b"GARBAGE\r\n\r\n", [400]),
    ("a method and a path", b"GET " + ROOT.encode() + b"\r\n\r\n", [400]),
    ("bytes that are no letters", b"\x16\x03\x01\x02\x00\n\n", [400]),
    ("a version of the future", b"GET / HTTP/3.0\r\nHost: localhost\r\n\r\n", [505]),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", [400]),
    ("a negative length", b"POST " + ROOT.encode() + b"symbol HTTP/1.1\r\nHost: localhost\r\n"
     b"Content-Length: -1\r\n\r\n", [400]),
    ("a chunk that is none", b"POST " + ROOT.encode() + b"symbol HTTP/1.1\r\nHost: localhost\r\n"
     b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", [400]),
    ("a request line beyond all measure", LONG_LINE, [414, 431]),
    ("headers beyond all measure", LONG_HEAD, [431]),
]


def test_rows(s):
    for name, target, options, want, *ours in ROWS:
        if ours and not s.ours:
            continue
        options = dict(options)
        exact = options.pop("exact", ROOT + target)
        a = ask(s.where, exact, options.pop("method", "GET"), **options)
        if not check(a is not None, name + ": an answer"):
            continue
        what = "%s (%s)" % (name, exact)
        equal(a.status, want["status"], what + ": status")
        check(a.complete, what + ": as long as it says")
        if "type" in want:
            equal(a.header("Content-Type"), want["type"], what + ": Content-Type")
        if "disposition" in want:
            equal(a.header("Content-Disposition"), want["disposition"], what + ": disposition")
        if "error" in want:
            # After the words that are Go's, ours tells which profiles there are.
            equal(a.body.split(b"There are: ")[0], want["error"], what + ": message")
            check(not s.ours or a.status != 404 or re.search(
                rb"\nThere are: .*allocs, .*heap, .*profile\n$", a.body), "%s: %r" % (what, a.body))
            # Only with these two does pprof show the message to its user.
            equal(a.header("X-Go-Pprof"), "1", what + ": X-Go-Pprof")
            equal(a.header("Content-Type"), TEXT, what + ": Content-Type of the error")
            equal(a.header("Content-Disposition"), None, what + ": nothing to save")
        if "test" in want:
            check(want["test"](a), "%s: %r" % (what, a))
        if "below_s" in want:
            check(a.seconds < want["below_s"] + 2, what + ": at once, not after the wait")
        if "type" in want or "error" in want:
            equal(a.header("X-Content-Type-Options"), "nosniff", what + ": nosniff")


def leads(a, path, to):
    """The redirection, followed from that path, ends there."""
    return urllib.parse.urljoin("http://h" + path, a.header("Location")) == "http://h" + to


def test_what_is_no_request(s):
    for first in (True, False): # of its connection
        for name, data, statuses in NO_REQUESTS:
            with Connection(s.where) as c:
                if not first:
                    c.request(ROOT + "heap?debug=1")
                    equal(c.answer().status, 200, name + ": a request before")
                try:
                    c.send(data)
                except OSError:
                    pass # it has answered before it had read all
                a = c.answer()
                what = name + ("" if first else ", after a request")
                if not s.ours and name == "a chunk that is none":
                    continue # Go's symbol takes what it can read
                if not first and a is None and name in ("a word", "bytes that are no letters"):
                    continue # libmicrohttpd ends these without a word
                if not check(a is not None, what + ": an answer"):
                    continue
                check(a.status in statuses, "%s: %r" % (what, a))
                equal(a.header("Content-Type"), TEXT, what + ": Content-Type")
                equal(a.header("Connection"), "close", what + ": and no more after it")
                if s.ours:
                    equal(a.header("X-Go-Pprof"), "1", what + ": X-Go-Pprof")
                    check(a.complete and len(a.body) > 1, "%s: %r" % (what, a))


def test_long_headers(s):
    """As long as Go takes them, however they come."""
    for size, piece in ((1000, 1 << 20), (100000, 1 << 20), (900000, 1 << 20), (50000, 1400)):
        with Connection(s.where) as c:
            head = (b"GET " + ROOT.encode() + b"heap?debug=1 HTTP/1.1\r\nHost: localhost\r\n"
                    b"X-Long: " + b"a" * size + b"\r\n\r\n")
            for at in range(0, len(head), piece):
                c.send(head[at:at + piece])
            a = c.answer()
            check(a and a.status == 200, "a header of %d bytes in pieces of %d: %r"
                  % (size, piece, a))
    fields = b"".join(b"X-%d: y\r\n" % i for i in range(20000))
    with Connection(s.where) as c:
        c.send(b"GET " + ROOT.encode() + b"heap?debug=1 HTTP/1.1\r\nHost: localhost\r\n" + fields
               + b"\r\n")
        a = c.answer()
        check(a and a.status == 200, "20000 header lines: %r" % a)


def test_every_answer_is_guarded(s):
    for target in ["", "heap", "heap?debug=1", "nosuch", "heap?seconds=0", "cmdline", "symbol"]:
        a = s.get(target)
        equal(a.header("X-Content-Type-Options"), "nosniff", target + ": nosniff")
        equal(a.header("Access-Control-Allow-Origin"), None, target + ": for no other site")
        equal(a.header("Content-Encoding"), None, target + ": nothing for transports to undo")
        if s.ours:
            check(a.header("Content-Length") is not None, target + ": its length is known")


def test_index(s):
    a = s.get("")
    equal(a.status, 200, "index: status")
    equal(a.header("Content-Type"), HTML, "index: type")
    page = a.body.decode()
    check("Types of profiles available:" in page, "index: the words that Go's tests look for")
    if not s.ours: # 1.19 writes its rows over several lines
        return
    rows = re.findall(r"<tr><td>(\d+)</td><td><a href='([^']*)'>([^<]*)</a></td></tr>", page)
    names = [name for _, _, name in rows]
    equal(names, sorted(names), "index: rows sorted by name")
    for name in ["allocs", "heap", "my.custom", "profile"]:
        equal(names.count(name), 1, "index: one row for " + name)
    check("cmdline" not in names and "symbol" not in names, "index: nothing that is no profile")
    for count, href, name in rows:
        equal(href, "ui/#" + name, "index: link of " + name)
    equal(dict((n, c) for c, _, n in rows)["my.custom"], "1", "index: count")
    links = re.findall(r"<a href='([^'#]*)'", page)
    for name in names:
        check(name == "profile" or name + "?debug=1" in links, "index: %s as text" % name)
    for link in links:
        if "seconds=" not in link:
            equal(s.get(link.replace("&amp;", "&")).status, 200, "index: the link to " + link)
    check("go tool pprof http://localhost/debug/pprof/heap" in page and "HOST:PORT" not in page,
          "index: commands name this very server")
    text = s.get("?debug=1")
    equal(text.header("Content-Type"), TEXT, "index as text: type")
    about, _, rows = text.body.decode().partition("\n\n")
    for line in ("program: ", "process: %d" % s.demo.pid, "host: ", "version: ", "seconds up: "):
        check("\n" + line in "\n" + about, "index as text: %s: %r" % (line, about))
    equal([row.split("\t")[1] for row in rows.splitlines()], names, "index as text: its rows")
    check("<script" not in page, "index: no script")
    check(not re.search(r"(src|href)='?\"?https?:", page), "index: nothing from elsewhere")
    check("default-src 'none'" in a.header("Content-Security-Policy"), "index: policy")
    check("width=device-width" in page and "color-scheme" in page, "index: phones, and the dark")
    check(page.count("<dt>") == len(names), "index: a description for each")


def test_head(s):
    for target in ["", "heap", "heap?debug=1", "cmdline", "symbol", "nosuch", "heap?seconds=x"]:
        head, get = s.get(target, "HEAD"), s.get(target)
        equal(head.status, get.status, "HEAD %s: status" % target)
        equal(head.header("Content-Type"), get.header("Content-Type"), "HEAD %s: type" % target)
        with Connection(s.where) as c:
            c.request(ROOT + target, "HEAD", headers=[("Connection", "close")])
            c.answer(head_only=True)
            equal(c.data, b"", "HEAD %s: no body" % target)
            check(c.ended(harness.ANSWER_LIMIT_S), "HEAD %s: and the end" % target)
    if s.ours:
        with Connection(s.where) as c: # for less than that
            c.request(ROOT + "heap?seconds=60", "HEAD")
            equal(c.answer(head_only=True).status, 200, "HEAD waits for nothing")
            check(c.data == b"" and c.ended(harness.ANSWER_LIMIT_S), "HEAD of what would wait: nothing follows")
        head = s.get("profile", "HEAD", timeout_s=20)
        equal((head.status, head.header("Content-Disposition")), (200, attachment("profile")),
              "HEAD profile at once")


def test_delta(s):
    if s.ours:
        s.demo.tell("feed", "10", "1000")
    for _ in range(20): # until the machine has let us be in time
        begin = time.monotonic()
        with Connection(s.where) as c:
            c.request(ROOT + "heap?seconds=1")
            if s.ours:
                # It opens when the request is read, and then that is in flight, beside our asking.
                while (b"libprof_http_requests_in_flight 2\n" not in ask(s.where, "/metrics").body and
                       time.monotonic() - begin < 1):
                    pass
                s.demo.tell("feed", "7", "1024")
            inside = time.monotonic() - begin < 1
            a = c.answer()
        took = time.monotonic() - begin
        if inside or not s.ours:
            break
    equal(a.status, 200, "delta: status")
    check(1 <= took, "delta: after a second, got %.2f s" % took)
    equal(a.header("Content-Disposition"), attachment("heap-delta"), "delta: file name")
    equal(a.header("Content-Type"), BINARY, "delta: type")
    p = pprof.parse(a.body)
    check(0.8e9 <= p.duration_nanos <= 20e9, "delta: duration %d" % p.duration_nanos)
    check(abs(p.time_nanos - time.time_ns()) < 30e9, "delta: time")
    equal([t for t, _ in p.types()], ["alloc_objects", "alloc_space", "inuse_objects",
                                      "inuse_space"], "delta: types")
    if s.ours:
        totals = [sum(values[i] for _, values, _ in p.stacks()) for i in range(4)]
        equal(totals[0] >= 7 and totals[1] >= 7 * 1024, True, "delta: what was fed meanwhile")
        equal((totals[0], totals[1]) < (17, 17 * 1024), True, "delta: and not what was before")


def test_a_label_of_the_name_that_sizes_have(s):
    """Of one key a sample has one value, or OpenTelemetry rejects the profile; none may be lost."""
    if not s.ours:
        return
    s.demo.tell("label", "bytes", "of-the-program")
    s.demo.tell("feed", "3", "4711")
    p = pprof.parse(s.get("heap").body)
    labels = [p.labels(x) for x in p.sample if ("bytes", 4711) in p.labels(x).items()
              or 4711 in p.labels(x).values()]
    check(labels and all(x.get("exported_bytes") == "of-the-program" for x in labels),
          "the program's own label \"bytes\": %r" % labels)
    text = s.get("heap?debug=1").body
    equal(s.get("heap").status, 200, "text and protobuf: %d" % len(text))


def test_names_that_routes_take(s):
    """A profile that cannot be fetched cannot be made."""
    if not s.ours:
        return
    for name in ["ui", "ui/", "ui/x", "ui/source", "metrics", "vars", "trace", "cmdline", "profile", "symbol", "heap"]:
        r = s.demo.tell("profile", name)
        check(r.startswith("-17 "), "%s is taken: %s" % (name, r))
    for name in [".", "..", "a/../b", "a/.", "./a"]:
        r = s.demo.tell("profile", name)
        check(r.startswith("-22 "), "%s is no name that a URL keeps: %s" % (name, r))
    for name in ["uix", "ui.x", "x/ui/", "metrics/", "...", "a//b", "%75i", "a?b#c&d=e"]:
        equal(s.demo.tell("profile", name), "0", name + " can be made")
        a = s.get(urllib.parse.quote(name, safe="/") + "?debug=1")
        check(a.status == 200 and a.body.startswith(name.encode() + b" profile: total 0\n"),
              "%s can be fetched: %r" % (name, a))


def test_deltas_at_once(s):
    begin = time.monotonic()
    connections = [Connection(s.where) for _ in range(8)]
    for i, c in enumerate(connections):
        c.request(ROOT + ("heap" if i % 2 else "allocs") + "?seconds=1")
    quick = s.get("heap?debug=1")
    equal(quick.status, 200, "others are served while some wait")
    for i, c in enumerate(connections):
        a = c.answer()
        equal((a.status, is_gzip(a)), (200, True), "delta %d of 8 at once" % i)
        c.close()
    check(time.monotonic() - begin < 8, "8 deltas wait side by side, not in turn")


def timers(s):
    """POSIX timers of the demo: those that sample, one for each thread. None: cannot be told."""
    try:
        with open("/proc/%d/timers" % s.demo.pid) as f:
            return f.read().count("ID:")
    except OSError:
        return None # a kernel without CONFIG_CHECKPOINT_RESTORE


def check_cpu_profile(a, what, seconds=1):
    """Rows of every CPU profile. Returns it parsed."""
    equal((a.status, a.header("Content-Type")), (200, BINARY), what + ": status and type")
    equal(a.header("Content-Disposition"), attachment("profile"), what + ": file name")
    p = pprof.parse(a.body)
    equal(p.types(), [("samples", "count"), ("cpu", "nanoseconds")], what + ": types")
    equal(p.period, 10000000, what + ": period")
    equal((p.string(p.period_type.type), p.string(p.period_type.unit)), ("cpu", "nanoseconds"),
          what + ": type of the period")
    check(0.95e9 * seconds <= p.duration_nanos <= (seconds + 20) * 1e9,
          "%s: duration %d" % (what, p.duration_nanos))
    check(all(sample.value[1] == sample.value[0] * p.period for sample in p.sample),
          what + ": nanoseconds are samples times period")
    return p


def test_cpu_profile(s):
    a = s.get("profile?seconds=1")
    check(a.seconds >= 1, "profile: after a second, got %.2f s" % a.seconds)
    p = check_cpu_profile(a, "profile")
    if not s.ours:
        return
    problems = pprof.check(p, raw=a.body, kind="profile", content_type=BINARY)
    equal([str(x) for x in problems], [], "profile: obeys every reader's rules")
    equal(s.demo.tell("spin", "3"), "0", "spin")
    workers = set() # a busy machine may leave one of them without a turn for a while
    for _ in range(10):
        p = check_cpu_profile(s.get("profile?seconds=1"), "profile of work")
        spun = [(v, labels) for frames, v, labels in p.stacks()
                if "spin" in frames]
        workers |= {labels.get("worker", [None])[0] for _, labels in spun}
        if len(workers) == 3:
            break
    equal(workers, {"A", "B", None}, "profile: who wears which label")
    equal(s.demo.tell("spin", "0"), "0", "spin")


def test_cpu_profile_waits(s):
    """What Go takes for 30 seconds, and clients who do not wait for them."""
    odd = ["profile", "profile?seconds=abc", "profile?seconds=0", "profile?seconds=-1",
           "profile?seconds="]
    connections = []
    for target in odd if s.ours else odd[1:2]: # Go has one at a time
        connections.append(Connection(s.where))
        connections[-1].request(ROOT + target)
    early = select.select([c.socket for c in connections], [], [], 2)[0]
    equal(early, [], "profile: no answer within 2 s where seconds are no number or absent")
    if s.ours:
        check_cpu_profile(s.get("profile?seconds=1"), "profile beside others")
        check(timers(s) != 0, "profile: sampling goes on for those that wait")
    for c in connections:
        c.close()
    if s.ours:
        check(harness.eventually(lambda: not timers(s)), "profile: over when nobody waits for it")
        equal(s.get("profile?seconds=9223372037").body,
              b'invalid value for "seconds" - too large\n', "profile: longer than a duration")
    check_cpu_profile(s.get("profile?seconds=1"), "profile after others have left")


def test_cpu_profiles_overlap(s):
    if not s.ours: # there the second is answered 500
        return
    connections = [Connection(s.where) for _ in range(3)]
    for c, seconds in zip(connections, (2, 1, 1)):
        c.request(ROOT + "profile?seconds=%d" % seconds)
    for c, seconds in zip(connections, (2, 1, 1)):
        check_cpu_profile(c.answer(), "overlapping profile of %d s" % seconds, seconds)
        c.close()


def first_line(s, target):
    a = s.get(target)
    equal((a.status, a.header("Content-Type")), (200, TEXT), target + ": status and type")
    return a.body.split(b"\n")[0].decode()


def test_threads(s):
    names = ["threads", "goroutine"] if s.ours else ["goroutine"]
    for name in names:
        if s.ours:
            equal(s.demo.tell("spin", "4"), "0", "spin")
        total = 5 if s.ours else None # main and four more; the server's own is hidden
        p = pprof.parse(s.get(name).body)
        equal(p.types(), [(name, "count")], name + ": type")
        count = sum(sample.value[0] for sample in p.sample)
        head = first_line(s, name + "?debug=1")
        match = re.fullmatch(name + r" profile: total (\d+)", head)
        check(match, "%s as text begins with %r" % (name, head))
        if s.ours:
            equal((count, match and match.group(1)), (total, str(total)), name + ": live threads")
            text = s.get(name + "?debug=1").body.decode()
            rows = re.findall(r"^\d+ @ ?(.*)$", text, re.M)
            check(rows and all(rows), name + ": every row has an address")
            details = s.get(name + "?debug=2")
            sections = re.findall(rb"^(?:thread|goroutine) \d+ \[", details.body, re.M)
            equal(len(sections), total, name + ": a section for each thread")
            equal(s.demo.tell("spin", "0"), "0", "spin")


def test_waiting(s):
    types = [("contentions", "count"), ("delay", "nanoseconds")]
    heads = {"mutex": "--- mutex:", "block": "--- contention:"}
    for name in heads:
        p = pprof.parse(s.get(name).body)
        equal(p.types(), types, name + ": types")
        equal(first_line(s, name + "?debug=1"), heads[name], name + ": first line")
        equal(s.get(name + "?gc=1").status, 200, name + "?gc=1")
        if s.ours:
            equal(len(p.sample), 0, name + ": off, so no samples")
        a = s.get(name + "?seconds=1")
        equal((a.status, a.header("Content-Disposition")), (200, attachment(name + "-delta")),
              name + ": delta")
        p = pprof.parse(a.body)
        equal((p.types(), len(p.sample)), (types, 0), name + ": delta where nothing waits")
    if not s.ours:
        return
    equal(s.demo.tell("wait", "100000000", "5"), "0", "wait")
    for name, totals in (("block", [1, 100000000]), ("mutex", [5, 100000000])):
        p = pprof.parse(s.get(name).body)
        equal([sum(x.value[i] for x in p.sample) for i in (0, 1)], totals, name + ": what was fed")


def test_cmdline(s):
    if not s.ours:
        equal(s.get("cmdline").status, 200, "cmdline")
        return
    a = s.get("cmdline")
    equal(a.body, b"\0".join(x.encode() for x in s.arguments), "cmdline: exact bytes")
    equal(a.header("Content-Type"), TEXT, "cmdline: type")
    s.demo.tell("write-title")
    equal(s.get("cmdline").body, a.body, "cmdline: as it was at the start")


def test_symbol(s):
    if not s.ours:
        a = s.get("symbol", "POST", body=b"0x1+0x2")
        equal(a.status, 200, "POST symbol")
        return
    words = s.demo.tell("symbols").split()
    known, static = words[0], words[2]
    lines = "num_symbols: 1\n%s known_function\n" % known
    equal(s.get("symbol?" + known).body.decode(), lines, "symbol: GET")
    equal(s.get("symbol?%s+zzz+0x1" % known).body.decode(), lines, "symbol: only what has a name")
    equal(s.get("symbol?%d" % int(known, 16)).body.decode(), lines, "symbol: decimal")
    equal(s.get("symbol?0%o" % int(known, 16)).body.decode(), lines, "symbol: octal")
    equal(s.get("symbol?" + known.upper().replace("X", "x")).body.decode(), lines,
          "symbol: figures in capitals")
    both = lines + "%s static_function\n" % static
    body = ("%s+%s" % (known, static)).encode()
    for type_ in ["application/octet-stream", "application/x-www-form-urlencoded"]:
        a = s.get("symbol", "POST", body=body, headers=[("Content-Type", type_)])
        equal(a.body.decode(), both, "symbol: POST as " + type_)
        equal(a.header("Content-Type"), TEXT, "symbol: type")
    equal(s.get("symbol", "POST", body=(known + "+" + known).encode()).body.decode().count("\n"), 3,
          "symbol: the same address twice is answered twice")
    equal(s.get("symbol", "POST", body=b"").body, b"num_symbols: 1\n", "symbol: empty POST")
    with Connection(s.where) as c:
        c.send("POST %ssymbol HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
               % ROOT)
        half = len(known) // 2
        for piece in (known[:half], known[half:]):
            c.send("%x\r\n%s\r\n" % (len(piece), piece))
        c.send("0\r\n\r\n")
        equal(c.answer().body.decode(), lines, "symbol: POST in chunks that split an address")
        c.request(ROOT + "symbol", "POST", body=body)
        equal(c.answer().body.decode(), both, "symbol: and again on the same connection")
    many = "+".join([known, static] * 1000).encode()
    a = s.get("symbol", "POST", body=many)
    equal((a.status, a.body.count(b"\n")), (200, 2001), "symbol: %d KiB" % (len(many) >> 10))
    # Inside and past functions, with and without a name, some again: several batches of the server.
    base, names = int(known, 16), {int(known, 16): "known_function", int(static, 16):
                                   "static_function"}
    asked = []
    for i in range(20000):
        asked.append([base, int(static, 16), 1 + i, base + i % 4][i % 4])
    want = ["num_symbols: 1"]
    for address in asked:
        if address > 20000:
            want.append("0x%x %s" % (address, names.get(address, "known_function")))
    a = s.get("symbol", "POST", body="+".join("%#x" % address for address in asked).encode())
    equal(a.status, 200, "symbol: 20000 addresses")
    check(a.body.decode().split("\n")[:-1] == want, "symbol: 20000 addresses, each answered in turn")
    with Connection(s.where) as c: # told at once: the body, not yet sent, would meet a closed door
        c.send("POST %ssymbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
               % (ROOT, 1200 * 1024))
        equal(c.answer().status, 413, "symbol: above 1 MiB")
    with Connection(s.where) as c:
        c.send("POST %ssymbol HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
               % ROOT)
        try:
            for _ in range(20):
                c.send(b"10000\r\n" + b"0x1+" * 0x4000 + b"\r\n")
            c.send("0\r\n\r\n")
        except ConnectionError:
            pass # refused before it had come to an end
        equal(c.answer().status, 413, "symbol: above 1 MiB, in chunks")
    with Connection(s.where) as c:
        c.send("POST %ssymbol HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
               "Content-Length: %d\r\n\r\n" % (ROOT, len(body)))
        equal(c.answer(head_only=True).status, 100, "symbol: who asks first may go on")
        c.send(body)
        equal(c.answer().body.decode(), both, "symbol: and is answered")


def test_keep_alive(s):
    with Connection(s.where) as c:
        for target in ["heap?debug=1", "nosuch", "heap", "heap?seconds=0", "cmdline", "symbol"]:
            c.request(ROOT + target)
            a = c.answer()
            check(a is not None and a.complete, "one connection, many requests: " + target)
    with Connection(s.where) as c:
        c.send(b"".join(b"GET /debug/pprof/symbol?%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % i
                        for i in range(20)))
        equal([c.answer().status for _ in range(20)], [200] * 20, "20 requests sent ahead")


def test_bodies_are_valid(s):
    names = ["allocs", "heap", "my.custom", "mutex", "block", "goroutine", "threadcreate"]
    for name in names + (["threads", "mmap"] if s.ours else []):
        a = s.get(name)
        p = pprof.parse(a.body)
        check(len(p.types()) >= 1, name + ": has sample types")
        equal(a.header("Content-Disposition"), attachment(name), name + ": file name")
        if s.ours:
            problems = pprof.check(p, raw=a.body, content_type=a.header("Content-Type"))
            equal([str(x) for x in problems], [], name + ": obeys every reader's rules")
    if s.ours:
        p = pprof.parse(s.get("heap?symbolize=0").body)
        equal(len(p.function), 0, "symbolize=0: no names")
        p = pprof.parse(s.get("my.custom").body)
        check(len(p.function) > 0, "names by default")


def test_answers_do_not_mix(s):
    """Two clients at once, many times, each sees its own answers only."""
    with Connection(s.where) as a, Connection(s.where) as b:
        for i in range(100):
            a.request(ROOT + "symbol?0x%x" % i)
            b.request(ROOT + "heap?debug=1")
            first, second = a.answer(), b.answer()
            if not (first.body == b"num_symbols: 1\n" and second.complete
                    and second.body.startswith(b"heap profile")):
                check(False, "round %d: %r, %r" % (i, first, second))
                return
    check(True, "")


def test_go_tool_pprof(s):
    """The real client, where there is one."""
    url = "http://%s:%d%s" % (s.where[0], s.where[1], ROOT)

    def pprof_tool(*arguments):
        env = dict(os.environ, PPROF_TMPDIR="/nonexistent", GOFLAGS="", GOTOOLCHAIN="local")
        return subprocess.run(["go", "tool", "pprof", "-symbolize=none"] + list(arguments),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=60)

    try:
        subprocess.run(["go", "version"], stdout=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        print("skipped: go is not here, so the rows with go tool pprof")
        return
    r = pprof_tool("-top", url + "heap")
    equal(r.returncode, 0, "go tool pprof -top heap: %s" % r.stderr.decode()[-300:])
    check(b"Type: inuse_space" in r.stdout, "go tool pprof: type")
    r = pprof_tool("-top", "-seconds", "1", url + "heap")
    equal(r.returncode, 0, "go tool pprof -seconds 1 heap: %s" % r.stderr.decode()[-300:])
    check(b"heap?seconds=1" in r.stderr, "go tool pprof asks for the delta")
    r = pprof_tool("-top", url + "nosuch")
    check(r.returncode != 0 and b"Unknown profile" in r.stderr, "go tool pprof shows our sentence")
    if s.ours:
        equal(s.demo.tell("spin", "2"), "0", "spin")
        r = pprof_tool("-top", "-seconds", "1", url + "profile")
        equal(r.returncode, 0, "go tool pprof profile: %s" % r.stderr.decode()[-300:])
        check(re.search(rb"\n[^\n]* spin\n", r.stdout), "go tool pprof profile: %r" % r.stdout)
        tags = b"" # as in test_cpu_profile(): until both have had their turn
        for _ in range(10):
            tags = pprof_tool("-tags", "-seconds", "1", url + "profile").stdout
            if re.search(rb"worker:.*: A\b", tags, re.S) and re.search(rb": B\b", tags):
                break
        else:
            check(False, "go tool pprof -tags shows both workers: %r" % tags)
        for focus, other in (b"A", b"B"), (b"B", b"A"):
            for _ in range(10):
                r = pprof_tool("-traces", "-tagfocus=worker=" + focus.decode(), "-seconds", "1",
                               url + "profile")
                if b"worker:" + focus in r.stdout:
                    break
            check(re.search(rb"worker:\s*%s\b" % focus, r.stdout) and
                  not re.search(rb"worker:\s*%s\b" % other, r.stdout),
                  "-tagfocus keeps those of %r: %.1000r" % (focus, r.stdout))
        equal(s.demo.tell("spin", "0"), "0", "spin")
        r = pprof_tool("-top", url + "threads?debug=1")
        equal(r.returncode, 0, "go tool pprof threads?debug=1: %s" % r.stderr.decode()[-300:])
        r = pprof_tool("-raw", url + "heap?debug=1")
        equal(r.returncode, 0, "go tool pprof reads the text: %s" % r.stderr.decode()[-300:])


def test_two_members_or_trailing_bytes(s):
    d = zlib.decompressobj(31)
    body = s.get("heap").body
    d.decompress(body)
    check(d.eof and not d.unused_data, "one gzip member and nothing after it")
    check(len(gzip.decompress(body)) > 0, "never empty")


def run(suite):
    for name, test in sorted(globals().items()):
        if name.startswith("test_"):
            test(suite)


def main(argv):
    harness.limit_time()
    if argv[1] == "--go":
        run(Suite(harness.place(argv[2].replace("http://", "").rstrip("/"))))
        return harness.report()
    arguments = [argv[1], "an argument", "", "--flag=\xe9", "", ""]
    with harness.Demo(*arguments) as demo:
        equal(demo.start(), "0", "start")
        run(Suite(demo.where, demo, arguments))
    return harness.report()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
