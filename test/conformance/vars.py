#!/usr/bin/env python3
"""vars.py - numbers over time: /debug/pprof/vars, its text and its JSON, the chart on the index, and
what the thread that notes them costs.

    vars.py DEMO                 server_demo.c with libprof-http
"""
import json
import re
import sys
import time

import harness
from harness import Demo, ask, check, equal, eventually

VARS = "/debug/pprof/vars"
NAMES = ["rss_bytes", "heap_bytes", "alloc_bytes", "cgroup_bytes", "swap_bytes", "threads", "cpu_ns",
         "block_wait_ns", "mutex_wait_ns", "lost"]


def read(d):
    return json.loads(ask(d.where, VARS + "?format=json").body)


def points(d):
    return len(read(d)["seconds"]["time_ms"])


def test_json(d):
    check(eventually(lambda: points(d) >= 3), "one a second, from the first on")
    a = ask(d.where, VARS + "?format=json")
    equal(a.status, 200, "status")
    equal(a.header("Content-Type"), "application/json", "type")
    record = json.loads(a.body)
    equal((record["process"], record["status"]), (d.pid, ""), "whose, and nothing to complain of")
    for name, step in (("seconds", 1), ("minutes", 60)):
        series = record[name]
        equal(sorted(series), sorted(NAMES + ["step_s", "time_ms"]), name + ": what is in it")
        equal(series["step_s"], step, name + ": its step")
        equal({len(series[n]) for n in NAMES}, {len(series["time_ms"])}, name + ": of one length")
    s = record["seconds"]
    equal(s["time_ms"], sorted(set(s["time_ms"])), "times rise")
    check(abs(s["time_ms"][-1] / 1000 - time.time()) < 30, "by the clock of the day")
    rss = int(d.status()["VmRSS"].split()[0]) * 1024
    check(abs(s["rss_bytes"][-1] - rss) < 4 << 20, "RSS: %d, and the kernel says %d"
          % (s["rss_bytes"][-1], rss))
    equal(s["threads"][-1], len(d.threads()), "threads")
    equal(s["cpu_ns"], sorted(s["cpu_ns"]), "a total does not fall")


def test_heap_in_use_is_seen_to_grow(d):
    before = read(d)["seconds"]["heap_bytes"][-1]
    n = points(d)
    d.tell("feed", "1000", "1048576")
    check(eventually(lambda: points(d) > n + 1), "another second")
    after = read(d)["seconds"]
    check(after["heap_bytes"][-1] > before + (900 << 20), "a block of 1 GB was fed: %d, %d before"
          % (after["heap_bytes"][-1], before))
    check(after["alloc_bytes"][-1] > 900 << 20, "allocated, too")


def test_text(d):
    a = ask(d.where, VARS)
    equal(a.header("Content-Type"), "text/plain; charset=utf-8", "text by default")
    lines = a.body.decode().splitlines()
    equal([x[:12].strip() for x in lines[1:11]],
          ["RSS", "heap in use", "allocated", "cgroup", "swap", "threads", "processor", "block wait",
           "mutex wait", "lost samples"], "a line for each number")
    check(all(len(x) <= 80 for x in lines), "it fits 80 columns: %d" % max(map(len, lines)))
    heap = lines[2][50:]
    check(re.fullmatch(r"[ ▁-█]+", heap) and "█" in heap and "▁" in heap,
          "a picture of what has grown: %r" % heap)
    equal(ask(d.where, VARS + "?format=xml").status, 400, "a format that there is not")
    equal(ask(d.where, VARS + "?format=" + "x" * 100).status, 400, "nor this one")


def test_chart(d):
    a = ask(d.where, "/debug/pprof/")
    page = a.body.decode()
    check("<svg" in page and "class='rss'" in page and "class='heap'" in page, "lines on the index")
    check("<script" not in page and not re.search(r"<[^>]+ style=", page),
          "nothing that the policy forbids: " + str(a.header("Content-Security-Policy")))
    for path in re.findall(r"<path class='(?:rss|heap)' d='([^']*)'", page):
        at = [(int(x), int(y)) for x, y in re.findall(r"[ML](-?\d+) (-?\d+)", path)]
        check(len(at) >= 3 and all(0 <= x <= 1000 and 0 <= y <= 200 for x, y in at),
              "a line inside of its picture: %s" % path)
        equal([x for x, _ in at], sorted(x for x, _ in at), "time goes to the right")


def test_wakes_up_once_a_second(d):
    tid = d.threads()["prof-vars"]

    def woken():
        s = d.status(tid)
        return int(s["voluntary_ctxt_switches"])

    begin, before = time.monotonic(), woken()
    n = points(d)
    eventually(lambda: points(d) >= n + 4)
    count, took = woken() - before, time.monotonic() - begin
    check(count <= took + 2, "woken %d times in %.1f s" % (count, took))


def test_own_table(d):
    tid = d.threads()["prof-vars"]
    ours = sorted(d.descriptors(tid).values())
    check(len(ours) <= 4 and all("/proc/" in x or "cgroup" in x for x in ours),
          "what it has open: %s" % ours)


def test_off(demo):
    with Demo(demo, env={"LIBPROF_VARS": "0"}) as d:
        d.start()
        record = read(d)
        check("LIBPROF_VARS=0" in record["status"], "it is said why there is nothing: %r" % record)
        equal(record["seconds"]["time_ms"], [], "nothing was noted")
        check("LIBPROF_VARS=0" in ask(d.where, VARS).body.decode(), "in text, too")
        check("<svg" not in ask(d.where, "/debug/pprof/").body.decode(), "no chart")
        check("prof-vars" not in d.threads(), "and there is no thread that would wake up")
        equal(d.tell("stop"), "0", "stop")


def main(argv):
    harness.limit_time()
    with Demo(argv[1]) as d:
        d.start()
        test_json(d)
        test_heap_in_use_is_seen_to_grow(d)
        test_text(d)
        test_chart(d)
        test_wakes_up_once_a_second(d)
        test_own_table(d)
        equal(d.tell("stop"), "0", "stop")
        check(eventually(lambda: len(d.threads()) == 1), "no thread is left")
    test_off(argv[1])
    return harness.report()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
