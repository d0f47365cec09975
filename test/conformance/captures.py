#!/usr/bin/env python3
"""captures.py - /debug/pprof/captures: the list as page, text and JSON, the files, what each rule sees,
one more on request, the metrics; and what watching costs at rest.

    captures.py DEMO                 server_demo.c with libprof-http
"""
import gzip
import json
import os
import re
import sys
import tempfile
import time

import harness
from harness import Demo, ask, check, equal, eventually

CAPTURES = "/debug/pprof/captures"
VARS = "/debug/pprof/vars"
RULES = "rss>1 | threads>100000 -> heap, threads; baseline 0s; dir "
TOKEN = [("Authorization", "Bearer secret")]


def read(d):
    return json.loads(ask(d.where, CAPTURES + "?format=json", headers=TOKEN).body)


def test_json(d, folder):
    check(eventually(lambda: len(read(d)["captures"]) == 4), "a baseline and a capture, of two each")
    state = read(d)
    equal((state["process"], state["status"], state["dir"]), (d.pid, "", folder), "whose, and where")
    rules = {r["rule"]: r for r in state["rules"]}
    equal(sorted(rules), ["rss>1", "threads>100000"], "rules as they were written")
    equal((rules["rss>1"]["fired"], rules["rss>1"]["takes"]), (1, "heap, threads"), "one fired once")
    check("cooling down" in rules["rss>1"]["why"] or "just now" in rules["rss>1"]["why"],
          rules["rss>1"]["why"])
    other = rules["threads>100000"]
    equal((other["fired"], other["fired_ms"]), (0, 0), "the other never")
    check(re.fullmatch(r"\d+ is not above 100000", other["why"]), other["why"])
    equal({(c["rule"], c["profile"]) for c in state["captures"]},
          {(r, p) for r in ("baseline", "rss>1") for p in ("heap", "threads")}, "what there is")
    for c in state["captures"]:
        check(c["own"] and c["process"] == d.pid and c["bytes"] > 100 and
              abs(c["time_ms"] / 1000 - time.time()) < 60, "what is told of it: %s" % c)
        equal(os.stat(os.path.join(folder, c["name"])).st_size, c["bytes"], "the file's size")


def test_files(d):
    for c in read(d)["captures"]:
        a = ask(d.where, CAPTURES + "/" + c["name"], headers=TOKEN)
        equal((a.status, a.header("Content-Type")), (200, "application/octet-stream"), c["name"])
        equal(len(a.body), c["bytes"], "all of it")
        check(len(gzip.decompress(a.body)) > len(a.body) // 2, "gzip")
        check(c["name"] in a.header("Content-Disposition"), "a file to save")
        equal(ask(d.where, CAPTURES + "/" + c["name"]).status, 401, "not without the token")
    for name in ("x", "", "..", "../heap", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%2fetc%2fpasswd",
                 "a" * 300 + ".pb.gz"):
        equal(ask(d.where, CAPTURES + "/" + name, headers=TOKEN).status, 404, "no such: " + name)


def test_page_and_text(d):
    a = ask(d.where, CAPTURES, headers=TOKEN)
    equal((a.status, a.header("Content-Type")), (200, "text/html; charset=utf-8"), "a page")
    page = a.body.decode()
    check("<script" not in page and not re.search(r"<[^>]+ style=", page), "nothing that is forbidden")
    check("rss&gt;1" in page and "is not above 100000" in page, "rules and why")
    equal(len(re.findall(r">less the baseline<", page)), 2, "a difference for each that has one")
    equal(len(re.findall(r"href='ui/#captures/", page)), 6, "what opens in the viewer")
    a = ask(d.where, CAPTURES + "?format=text", headers=TOKEN)
    text = a.body.decode()
    check("rss>1" in text and "baseline" in text and "captures/" in text, text[:500])
    equal(ask(d.where, CAPTURES + "?format=xml", headers=TOKEN).status, 400, "no such format")
    check("href='captures'" in ask(d.where, "/debug/pprof/", headers=TOKEN).body.decode(),
          "the index leads there")


def test_one_more(d):
    a = ask(d.where, CAPTURES + "?profile=threads&reason=by-hand", method="POST", headers=TOKEN)
    equal(a.status, 200, "over loopback, with the token: %r" % a.body)
    check(any(c["rule"] == "now: by-hand" and c["profile"] == "threads" for c in read(d)["captures"]),
          "it is there when the answer is")
    equal(ask(d.where, CAPTURES, method="POST").status, 401, "not without the token")
    a = ask(d.where, CAPTURES + "?profile=profile&seconds=1&reason=cpu", method="POST", headers=TOKEN)
    equal(a.status, 200, "a window: %r" % a.body)
    equal(ask(d.where, CAPTURES + "?profile=heep", method="POST", headers=TOKEN).status, 400, "none")
    equal(ask(d.where, CAPTURES + "?seconds=601", method="POST", headers=TOKEN).status, 400, "too long")
    cross = TOKEN + [("Sec-Fetch-Site", "cross-site")]
    equal(ask(d.where, CAPTURES, method="POST", headers=cross).status, 403, "no other site's page")


def test_metrics(d):
    text = ask(d.where, "/metrics", headers=TOKEN).body.decode()
    for line in ('libprof_captures_total{rule="rss>1"} 1', 'libprof_captures_total{rule="threads>100000"} 0',
                 'libprof_captures_total{rule="now"} 2', "libprof_capture_failures_total 0"):
        check(line in text.splitlines(), line)


def test_rest_is_cheap(d):
    """At most a wake-up a second of both threads of ours together; and no second is left out."""
    def woken(*names):
        return sum(int(d.status(d.threads()[t])["voluntary_ctxt_switches"])
                   for t in names or ("prof-capture", "prof-vars"))

    def seconds():
        return json.loads(ask(d.where, VARS + "?format=json", headers=TOKEN).body)["seconds"]["time_ms"]

    settled = woken() + 3  # the capture on request has had prof-vars go on meanwhile
    check(eventually(lambda: woken() >= settled), "they are alive")
    begin, before, last, vars_before = time.monotonic(), woken(), seconds()[-1], woken("prof-vars")
    time.sleep(6)
    check(woken("prof-vars") - vars_before <= 1, "that one sleeps while the other is awake anyway")
    count, took = woken() - before, time.monotonic() - begin
    check(count <= took + 2, "woken %d times in %.1f s" % (count, took))
    at = [t for t in seconds() if t >= last]
    check(len(at) >= 4, "they are noted meanwhile: %s" % at)


def test_bytes_that_are_no_text(demo):
    """A path may have any; JSON has none that is not UTF-8."""
    with tempfile.TemporaryDirectory(prefix=b"libprof-\xff\"-") as folder:
        with Demo(demo, env={"LIBPROF_CAPTURE": "term; dir " + os.fsdecode(folder)}) as d:
            d.start()
            body = ask(d.where, CAPTURES + "?format=json").body
            equal(json.loads(body.decode())["dir"], folder.decode(errors="replace"), "the folder")
            equal(d.tell("stop"), "0", "stop")


def test_off(demo):
    with Demo(demo) as d:
        d.start()
        check("prof-capture" not in d.threads(), "there is no thread that would wake up")
        check("Captures are off" in ask(d.where, CAPTURES + "?format=text").body.decode(), "it is said")
        equal(json.loads(ask(d.where, CAPTURES + "?format=json").body)["captures"], [], "nothing")
        equal(ask(d.where, CAPTURES, method="POST").status, 403,
              "without a token, over loopback: every program on this machine could")
        check("libprof_captures" not in ask(d.where, "/metrics").body.decode(), "no such metrics")
        equal(d.tell("stop"), "0", "stop")


def main(argv):
    harness.limit_time()
    with tempfile.TemporaryDirectory(prefix="libprof-test-") as folder:
        env = {"LIBPROF_CAPTURE": RULES + folder, "LIBPROF_HTTP_TOKEN": "secret"}
        with Demo(argv[1], env=env) as d:
            d.start()
            test_json(d, folder)
            test_files(d)
            test_page_and_text(d)
            test_one_more(d)
            test_metrics(d)
            test_rest_is_cheap(d)
            equal(d.tell("stop"), "0", "stop")
            check("prof-capture" in d.threads(), "captures go on without the server")
    test_bytes_that_are_no_text(argv[1])
    test_off(argv[1])
    return harness.report()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
