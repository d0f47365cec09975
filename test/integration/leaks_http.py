#!/usr/bin/env python3
"""leaks_http.py - leaks, holders and the heap by age over HTTP, of the demo's service.

    leaks_http.py SERVICE

What the two leaks of demo/service.c are told as; what parameters are refused; and that the server
goes on serving while a scan takes its time, and drops it when its client leaves.
"""
import os
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import asking
import pprof
from checks import check, report

ROOT = "/debug/pprof/"
PATIENCE_S = 60


def fetch(path, page):
    return asking.ask(path, ROOT + page, PATIENCE_S)


def wait_for_requests(service, n):
    for line in service.stdout:
        m = re.match(r"handled (\d+) requests", line)
        if m and int(m.group(1)) >= n:
            return


def check_leaks(path):
    status, body = fetch(path, "leaks?age=1")
    check(status == 200, "leaks: %s %r" % (status, body[:200]))
    p = pprof.assert_valid(body, "leaks")
    found = {}
    for frames, values, labels in p.stacks():
        found.setdefault(frames[0], []).append((values, labels))
    check("session_open" in found, "session_open is told: %s" % sorted(found))
    check("audit_remember" not in found, "audit_remember is not: a global holds it")
    for values, labels in found.get("session_open", []):
        check(labels["kind"] in ("unreferenced", "possible"), "kind %s" % labels)
        check(labels["age_seconds"] >= 0 and labels["bytes"] > 2048, "labels %s" % labels)
        check(values[0] > 0 and values[1] > 0, "values %s" % values)
    status, text = fetch(path, "leaks?debug=1&age=1")
    check(status == 200 and b"session_open" in text and b"looked for" in text, text[:500])


def check_holders(path):
    status, body = fetch(path, "holders?site=audit_remember")
    check(status == 200, "holders: %s %r" % (status, body[:200]))
    p = pprof.assert_valid(body, "holders")
    stacks = p.stacks()
    check(len(stacks) > 0, "holders of audit_remember")
    check({f[0] for f, _, _ in stacks} == {"audit_remember"}, "only what was asked for")
    check(any(f[-1].startswith("global audit_log") for f, _, _ in stacks),
          "the log holds them: %s" % [f for f, _, _ in stacks][:3])
    status, text = fetch(path, "holders?debug=1&site=^buffer_new$")
    check(status == 200 and b"global cache" in text, text[:500])


def check_exact(path):
    before = pprof.assert_valid(fetch(path, "heap")[1], "heap").period
    status, body = fetch(path, "leaks?exact=3")
    check(status == 200, "exact: %s %r" % (status, body[:200]))
    stacks = pprof.assert_valid(body, "leaks").stacks()
    lost = [(values, labels) for f, values, labels in stacks if f[0] == "session_open"]
    check(lost, "what was lost meanwhile: %s" % stacks[:3])
    for values, labels in lost:
        check(values[1] == values[0] * labels["bytes"], "each is counted: %s %s" % (values, labels))
    after = pprof.assert_valid(fetch(path, "heap")[1], "heap").period
    check(before == after == 65536, "the rate was %d and is %d" % (before, after))


def check_ages(path):
    young = pprof.assert_valid(fetch(path, "heap?max_age=1000s")[1], "heap")
    old = pprof.assert_valid(fetch(path, "heap?min_age=1d")[1], "heap")
    check(young.totals()["inuse_space"] > 0, "young blocks")
    check(old.totals()["inuse_space"] == 0, "nothing is a day old")
    check(all("age_seconds" in labels for _, _, labels in young.stacks()), "ages are told")
    plain = pprof.assert_valid(fetch(path, "heap")[1], "heap")
    check(not any("age_seconds" in labels for _, _, labels in plain.stacks()), "only when asked")


def check_refusals(path):
    for query in ("leaks?age=x", "leaks?age=-1", "leaks?passes=1000", "leaks?cpu=101",
                  "leaks?swap=2", "leaks?exact=2h", "holders?site=(", "holders?site=a\\1",
                  "holders?depth=1000", "heap?min_age=soon", "leaks?seconds=1"):
        status, body = fetch(path, query.replace("\\", "%5C"))
        check(status == 400, "%s: %s %r" % (query, status, body[:100]))


def check_serving_goes_on(path):
    slow = asking.connect(path, PATIENCE_S)
    asking.send(slow, ROOT + "leaks?age=1&cpu=1&passes=100")
    start = time.monotonic()
    for _ in range(5):
        status, _ = fetch(path, "cmdline")
        check(status == 200, "another request beside a scan: %s" % status)
    check(time.monotonic() - start < PATIENCE_S / 2, "others were held up")
    slow.close()
    # The scan would take minutes; a second one gets its turn because the first has been given up.
    status, _ = fetch(path, "leaks?age=1&passes=1&cpu=100")
    check(status == 200, "a scan after one whose client has left: %s" % status)


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "s")
        service = subprocess.Popen([sys.argv[1], "unix:" + path], stdout=subprocess.PIPE, text=True,
                                   env=dict(os.environ, LIBPROF_HEAP_RATE="64k"))
        try:
            wait_for_requests(service, 4000)
            check_leaks(path)
            check_holders(path)
            check_ages(path)
            check_exact(path)
            check_refusals(path)
            check_serving_goes_on(path)
        finally:
            service.terminate()
            service.wait()
        check(service.returncode == 0, "the service ends well: %s" % service.returncode)
    return report()


sys.exit(main())
