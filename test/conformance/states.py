"""states.py DEMO PLUGIN_A PLUGIN_B - every endpoint, in every state, against every reader's rules.

The rules are those of test/support/pprof.py: the union of what Parca, Alloy, Pyroscope, the
OpenTelemetry collector and pprof itself ask of a profile.
"""
import os
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness  # noqa: E402
import pprof  # noqa: E402
from harness import ask, check, equal  # noqa: E402

CUSTOM = "odd/name.<custom>&'%"
SNAPSHOTS = ["heap", "allocs", "threads", "goroutine", "threadcreate", "mutex", "block", CUSTOM]


def fetch(where, name, query=""):
    """The profile, checked; None when there was no valid answer."""
    what = name + query
    a = ask(where, "/debug/pprof/" + urllib.parse.quote(name) + query)
    if not check(a is not None and a.status == 200, "%s answers 200: %r" % (what, a)):
        return None
    kind = name if "seconds" not in query or name == "profile" else name + "-delta"
    try:
        p = pprof.parse(a.body)
        found = pprof.check(p, a.body, kind, content_type=a.header("content-type"))
    except pprof.Malformed as e:
        check(False, "%s is a profile: %s" % (what, e))
        return None
    check(not found, "%s: %s" % (what, found[:5]))
    return p


def fetch_all(where, state):
    profiles = {}
    for name in SNAPSHOTS:
        p = profiles[name] = fetch(where, name)
        if p is not None:
            check(p.mapping, "%s, %s: the program is among the mappings" % (state, name))
        fetch(where, name, "?symbolize=0")
        a = ask(where, "/debug/pprof/" + urllib.parse.quote(name) + "?debug=1")
        check(a and a.status == 200 and a.body.decode("utf-8"), "%s: %s as text" % (state, name))
    profiles["profile"] = fetch(where, "profile", "?seconds=1")
    fetch(where, "heap", "?seconds=1")
    fetch(where, "mutex", "?seconds=1")
    return profiles


def functions(p):
    return {p.string(f.name) for f in p.function}


def test_off(demo):
    equal(demo.tell("heap", "0"), "0", "heap off")
    got = fetch_all(demo.where, "off")
    for name in ("mutex", "block"):
        equal(len(got[name].sample), 0, "%s has no samples while it is off" % name)
    check(any("off" in c for c in got["heap"].comments()), "heap says that it is off")
    check(any("off" in c for c in got["mutex"].comments()), "mutex says that it is off")


def test_odd_names(demo):
    demo.tell("heap", "1")
    demo.tell("locks", "1")
    equal(demo.tell("work"), "0", "work")
    got = fetch_all(demo.where, "odd names")
    odd = [f for f in functions(got["heap"]) if "odd<" in f]
    check(odd, "the function whose name is no UTF-8 is there")
    check(got["mutex"].sample and got["block"].sample, "the contended lock is there")
    equal(got[CUSTOM].totals()[CUSTOM], 1, "the custom profile has its key")
    labels = {got["heap"].string(l.key) for s in got["heap"].sample for l in s.label}
    check("kind" in labels, "the label is there: %s" % labels)


def test_unloaded(demo, plugins):
    equal(demo.tell("plugins", *plugins), "0", "plugins")
    got = fetch_all(demo.where, "after dlclose")
    names = functions(got["heap"])
    check({"plugin_first", "plugin_second"} <= names, "both are named rightly, after both are gone")
    addresses = [l.address for l in got["heap"].location]
    equal(len(set(addresses)), len(addresses), "addresses are unique")


def test_busy(demo):
    equal(demo.tell("busy", "6"), "0", "busy")
    got = fetch_all(demo.where, "busy")
    equal(demo.tell("calm"), "0", "calm")
    check(got["profile"].totals()["samples"] > 0, "the busy threads are in the CPU profile")


def test_saturated(path, plugins):
    with harness.Demo(path, env={"LIBPROF_MEMORY_LIMIT": "1m", "LIBPROF_HEAP_RATE": "1"}) as demo:
        equal(demo.start(), "0", "start")
        equal(demo.tell("saturate"), "0", "saturate")
        got = fetch_all(demo.where, "saturated")
        heap = got["heap"]
        check("[lost: table full]" in functions(heap), "what was lost has a name")
        check(heap.totals()["inuse_objects"] >= 1 << 18, "and the total is whole: %s" % heap.totals())
        check(any("LIBPROF_MEMORY_LIMIT" in c for c in heap.comments()), "and a comment says so")
        test_unloaded_when_full(demo, plugins)


def test_unloaded_when_full(demo, plugins):
    equal(demo.tell("plugins", *plugins), "0", "plugins when full")
    fetch(demo.where, "heap")


def test_nothing(path):
    """Right after the start, before anything was recorded."""
    with harness.Demo(path, env={"LIBPROF_HEAP_RATE": "0"}) as demo:
        equal(demo.start(), "0", "start")
        got = fetch_all(demo.where, "nothing")
        equal(len(got["heap"].sample), 0, "nothing is sampled")


def main(path, *plugins):
    harness.limit_time()
    test_nothing(path)
    with harness.Demo(path) as demo:
        equal(demo.start(), "0", "start")
        test_off(demo)
        test_odd_names(demo)
        test_unloaded(demo, plugins)
        test_busy(demo)
    test_saturated(path, plugins)
    return harness.report()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
