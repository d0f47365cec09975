#!/usr/bin/env python3
"""trace.py - /debug/pprof/trace: its parameters, its headers, and what comes is a trace that readers
take; the flight recorder, in a program that was started with one and in one that was not.

    trace.py DEMO                 server_demo.c with libprof-http
"""
import gzip
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import perfetto  # noqa: E402
import pprof  # noqa: E402
import harness  # noqa: E402
from harness import Demo, ask, check, equal  # noqa: E402

TRACE = "/debug/pprof/trace"


def attachment(answer):
    return (answer.header("Content-Disposition") or "").split("filename=")[-1].strip('"')


def test_forms(d):
    for query, name, kind in (("?seconds=0.1", "trace.pftrace", "application/octet-stream"),
                              ("?seconds=0.1&gzip=1", "trace.pftrace.gz", "application/octet-stream"),
                              ("?seconds=0.1&cpu=0&symbolize=0&min=0", "trace.pftrace",
                               "application/octet-stream")):
        a = ask(d.where, TRACE + query)
        equal((a.status, attachment(a), a.header("Content-Type")), (200, name, kind), query)
        equal(a.body[:2] == b"\x1f\x8b", query.endswith("gzip=1"), query + ": compressed")
        t = perfetto.load(a.body)
        equal(t.problems, [], query + ": readers take it")
        equal(t.process.get("pid"), d.pid, query + ": whose it is")
        names = {x["thread"]["thread_name"] for x in t.tracks.values() if "thread" in x}
        check(names and not any(n.startswith("prof-") for n in names),
              "the program's threads and none of ours: %s" % names)
    a = ask(d.where, TRACE + "?seconds=0.1&format=json")
    equal((a.status, a.header("Content-Type")), (200, "application/json"), "json")
    check(json.loads(a.body)["traceEvents"], "has events")
    a = ask(d.where, TRACE + "?seconds=0.1&format=json&gzip=1")
    check(json.loads(gzip.decompress(a.body))["traceEvents"], "compressed, too")
    a = ask(d.where, TRACE + "?seconds=0.1&io=1&min=0&cpu=0")
    t = perfetto.load(a.body)
    equal(t.problems, [], "system calls: readers take it")
    check(all(s.category != "io" or s.begin <= s.end for s in t.slices), "as slices")
    for view in ("sync", "sched", "io", "region"):
        a = ask(d.where, TRACE + "?seconds=0.1&as=" + view)
        equal((a.status, attachment(a)), (200, view), "as " + view)
        pprof.assert_valid(a.body)


def test_time(d):
    for query, least, most in (("?seconds=1.2", 1.2, 30), ("?seconds=x", 1, 30), ("", 1, 30),
                               ("?seconds=0", 1, 30)):
        began = time.monotonic()
        a = ask(d.where, TRACE + query)
        took = time.monotonic() - began
        equal(a.status, 200, "trace" + query)
        check(least <= took <= most, "trace%s takes %.2f s" % (query, took))
    began = time.monotonic()
    equal(ask(d.where, TRACE + "?seconds=100", "HEAD").status, 200, "HEAD")
    check(time.monotonic() - began < 50, "does not wait")


def test_refusals(d):
    for query, status in (("?seconds=9999", 400), ("?seconds=99999999999999999999", 400),
                          ("?format=xml", 400), ("?as=calls", 400), ("?min=fast", 400),
                          ("?min=-1", 400), ("?last=1", 501)):
        equal(ask(d.where, TRACE + query).status, status, "trace" + query)
    equal(ask(d.where, TRACE, "POST", body=b"").status, 405, "POST")
    equal(ask(d.where, TRACE + "/").status, 404, "a slash more is another name")


def test_two_clients(d):
    """At the same time, and each gets what it has asked for, and nothing of the other's."""
    answers = {}

    def one(query):
        answers[query] = ask(d.where, TRACE + query)

    queries = ("?seconds=0.5&io=1&min=0&cpu=0", "?seconds=0.5&cpu=0", "?seconds=0.2&cpu=0&format=json",
               "?seconds=0.3&as=sync&cpu=0")
    at_once = [threading.Thread(target=one, args=(q,)) for q in queries]
    for t in at_once:
        t.start()
    for t in at_once:
        t.join()
    for query in queries:
        equal(answers[query].status, 200, query)
    for query in queries[:2]:
        t = perfetto.load(answers[query].body)
        equal(t.problems, [], query + ": readers take it")
        if "io=1" not in query:
            equal(t.of(category="io"), [], "no calls for who has not asked for them")
    json.loads(answers[queries[2]].body)
    pprof.assert_valid(answers[queries[3]].body)


def test_client_that_leaves(d):
    """Its trace ends: the program would pay for it for ever."""
    with harness.Connection(d.where) as c:
        c.request(TRACE + "?seconds=1000")
        time.sleep(0.1) # it may or may not be under way
    check(harness.eventually(lambda: b"libprof_http_requests_in_flight 1\n" in
                             ask(d.where, "/metrics").body), "it is over")


def test_recorder(path):
    with Demo(path, env={"LIBPROF_TRACE": "5s"}) as d:
        equal(d.start(), "0", "start")
        began = time.monotonic()
        a = ask(d.where, TRACE + "?last=1")
        check(time.monotonic() - began < 60, "at once")
        equal((a.status, attachment(a)), (200, "trace.pftrace"), "the flight recorder")
        equal(perfetto.load(a.body).problems, [], "readers take it")
        for _ in range(3): # others come and go beside it
            equal(ask(d.where, TRACE + "?seconds=0.1").status, 200, "a trace beside it")
        t = perfetto.load(ask(d.where, TRACE + "?last=1&gzip=1").body)
        equal(t.problems, [], "it still goes")
        equal([s for s in t.slices if s.category == "lost"], [], "and has lost nothing")
    for wrong in ("10", "-1s", "soon", "2h"):
        with Demo(path, env={"LIBPROF_TRACE": wrong}) as d:
            equal(d.start(), "0", "start")
            equal(ask(d.where, TRACE + "?last=1").status, 501, "LIBPROF_TRACE=" + wrong)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    harness.limit_time()
    with Demo(sys.argv[1]) as d:
        equal(d.start(), "0", "start")
        test_forms(d)
        test_time(d)
        test_refusals(d)
        test_two_clients(d)
        test_client_that_leaves(d)
    test_recorder(sys.argv[1])
    sys.exit(harness.report())


main()
