#!/usr/bin/env python3
"""A trace shows what the program says it has done: who woke whom and when, whose locks made others
wait, what is within what; its bytes are what readers of Perfetto's format and of JSON want; and what
is lost is counted to the record.

    trace.py TRACE_TRUTH

PERFETTO_PROTOS in the environment: protos/ of a copy of google/perfetto, by whose own schema, too, a
trace is decoded then.
"""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import perfetto  # noqa: E402
import pprof  # noqa: E402
from checks import check, environment, have, report  # noqa: E402

CLOSE_NS = 50000
RING = 4096
PROTO = os.path.dirname(perfetto.PROTO)


def run(*args):
    done = subprocess.run([sys.argv[1], *map(str, args)], capture_output=True, text=True, timeout=60,
                          env=environment())
    check(done.returncode == 0, "%s ends well: %s %s" % (args, done.stdout[-500:], done.stderr))
    return done.stdout


def load(path):
    with open(path, "rb") as f:
        data = f.read()
    t = perfetto.load(data)
    check(not t.problems, "%s is a trace that readers take: %s" % (path, t.problems[:5]))
    return t


def decodes(path):
    """With Google's own decoder, whose words for what it does not know are numbers."""
    if not have("protoc"):
        return
    with open(path, "rb") as f:
        done = subprocess.run(["protoc", "--decode=prof.perfetto.Trace", "-I" + PROTO, "perfetto.proto"],
                              stdin=f, capture_output=True, timeout=60)
    check(done.returncode == 0, "protoc decodes it: %s" % done.stderr[-300:])
    text = done.stdout.decode().splitlines()
    check(not any(line.strip()[:1].isdigit() for line in text), "and knows every field")
    if published := os.environ.get("PERFETTO_PROTOS"):
        with open(path, "rb") as f:
            done = subprocess.run(["protoc", "--decode=perfetto.protos.Trace", "-I" + os.path.dirname(
                os.path.abspath(published)), os.path.join(published, "perfetto/trace/trace.proto")],
                                  stdin=f, capture_output=True, timeout=60)
        theirs = done.stdout.decode().splitlines()
        # Only the clock is a number to us and a name to them.
        differ = [x for x in zip(text, theirs) if x[0] != x[1] and "primary_trace_clock" not in x[0]]
        check(done.returncode == 0 and len(text) == len(theirs) and not differ,
              "the published schema says the same: %s %s" % (done.stderr[-300:], differ[:3]))


def test_wake_ups(threads, rounds, how):
    what = "%d threads by %s" % (threads, how)
    log = [tuple(map(int, line.split())) for line in
           run("relay", threads, rounds, how, "relay").splitlines()]
    t = load("relay")
    kind = "wait: " + {"sem": "semaphore", "cond": "condition variable"}[how]
    waits = sorted((s for s in t.of(name=kind) if s.notes["ended"] == "got it"),
                   key=lambda s: s.end)
    check(len(log) == threads * rounds, "%s: the program's log is whole" % what)
    check(len(waits) == len(log), "%s: %d waits in %d passes" % (what, len(waits), len(log)))

    by_flow = {flow: s for s in t.slices for flow in s.flows_out}
    tid_of = {thread: tid for thread, tid, _ in log}
    close = before = unwoken = 0
    at = 0
    for s in waits:
        # The next pass of this thread: the order of the log is the order of the slices.
        while at < len(log) and log[at][1] != t.tid(s):
            at += 1
        if not check(at < len(log), "%s: wake-ups come in the order of the token" % what):
            return
        thread, _, woken_ns = log[at]
        at += 1
        close += 0 <= woken_ns - s.end <= CLOSE_NS
        before += woken_ns < s.end
        if not s.flows_in:
            unwoken += 1
            continue
        waker = by_flow[s.flows_in[0]]
        want = tid_of[(thread - 1) % threads]
        if at > 1: # the first token is the main thread's
            check(t.tid(waker) == want, "%s: woken by %s, not %s" % (what, t.tid(waker), want))
        check(s.begin <= waker.begin <= s.end, "%s: woken while it waited" % what)
    check(unwoken == 0, "%s: %d wake-ups without a flow" % (what, unwoken))
    check(before == 0, "%s: %d slices end after the thread ran" % (what, before))
    # A busy machine may take the processor away in between, of some.
    check(close >= len(waits) / 2, "%s: %d of %d within 50 us" % (what, close, len(waits)))


def holder(stack):
    return next((f for f in stack if f.startswith("hold_")), None)


def test_convoy():
    """Each wait is charged to those who let go of the lock meanwhile, for the time until they did,
    and what comes after the last to it: that is what the mutex profile says."""
    run("convoy", "convoy", "mutex")
    t = load("convoy")
    with open("mutex", "rb") as f:
        profile = pprof.parse(f.read())
    want = {}
    for names, values, _ in profile.stacks():
        want[holder(names)] = want.get(holder(names), 0) + values[1]
    got, told = {}, {}
    releases = sorted(t.of(name="unlock"), key=lambda s: s.begin)
    for w in t.of(name="wait: mutex"):
        at, last = w.begin, None
        for r in releases:
            if r.notes["object"] == w.notes["object"] and w.begin < r.begin <= w.end:
                got[holder(r.stack)] = got.get(holder(r.stack), 0) + r.begin - at
                at, last = r.begin, r
        if last:
            got[holder(last.stack)] += w.end - at
    for r in releases:
        told[holder(r.stack)] = told.get(holder(r.stack), 0) + r.notes["others have waited, ns"]
    check(set(want) == {"hold_long", "hold_short"}, "both hold: %s" % want)
    for name in sorted(n for n in want if n):
        share = got.get(name, 0) / want[name]
        print("measured: %s: %.3f ms by the trace, %.3f ms by the profile" %
              (name, got.get(name, 0) / 1e6, want[name] / 1e6))
        check(0.99 <= share <= 1.01, "%s: %.4f of what the profile says" % (name, share))
        check(told.get(name, 0) <= want[name] * 1.01, "unlocks tell no more: %s" % told)


def test_nesting():
    run("regions", "regions", "json", "as_region")
    t = load("regions")
    decodes("regions")
    work = t.of(name="work")
    check(len(work) == 3, "three threads work: %s" % work)
    for name in ("parse", "render"):
        for s in t.of(name=name):
            check(s.parent in work and s.track == s.parent.track, "%s is in work" % name)
            check(900000 <= s.end - s.begin, "and takes its time: %d" % (s.end - s.begin))
    check(all(s.end == s.parent.end for s in t.of(name="render")), "what is not ended ends with it")
    tasks = t.of(name="request")
    check(sorted(s.notes["id"] for s in tasks) == [1, 2, 3], "three tasks: %s" % tasks)
    for s in tasks:
        check(s.notes["begun by"] != s.notes["ended by"], "from thread to thread: %s" % s.notes)
    check([s.notes.get("began earlier") for s in t.of(name="before")] == [1], "no begin is made up")
    check([s.notes.get("goes on") for s in t.of(name="unfinished")] == [1], "nor an end")
    log = t.of(category="log")
    check(len(log) == 1 and log[0].name == "a line of text, \u00e4nd a byte that is wrong: \ufffd, and "
          "enough of it for several records", "the line of text: %s" % log)
    check(any(s.name == 'tenant=blue "1"' for s in t.of(category="labels")), "labels")
    names = {d["thread"]["thread_name"] for d in t.tracks.values() if "thread" in d}
    check({"first", 'sec\ufffd"nd', "third"} <= names, "names of threads that have ended: %s" % names)
    starts = t.of(name="thread starts")
    check(len(starts) == 3 and all(t.waker(s).name == "create thread" for s in starts),
          "a flow from who makes a thread: %s" % starts)

    with open("json", "rb") as f:
        chrome = json.loads(f.read().decode("utf-8"))
    depth = {}
    for e in chrome["traceEvents"]:
        if e["ph"] in "BE":
            depth[e["tid"]] = depth.get(e["tid"], 0) + (1 if e["ph"] == "B" else -1)
            check(depth[e["tid"]] >= 0, "an end has its begin: %s" % e)
    check(set(depth.values()) == {0}, "and a begin its end: %s" % depth)
    begun = [e["id"] for e in chrome["traceEvents"] if e["ph"] == "s"]
    check(begun and sorted(begun) == sorted(e["id"] for e in chrome["traceEvents"] if e["ph"] == "f"),
          "flows have both ends")
    have_names = [e["name"] for e in chrome["traceEvents"] if e["ph"] == "B"]
    check(have_names.count("work") == 3, "the same slices")

    with open("as_region", "rb") as f:
        profile = pprof.assert_valid(f.read())
    paths = {";".join(names[::-1]): values for names, values, _ in profile.stacks()}
    check({"work", "work;parse", "work;render", "before", "unfinished"} == set(paths),
          "regions as a call tree: %s" % paths)
    check(paths["work;parse"][0] == 3 and paths["work;parse"][1] >= 2700000, "%s" % paths)


def test_calls():
    """Each read is a slice of the time that the program says it took, with who called."""
    n = 50
    out = run("io", n, "io", "as_io").split("\n")
    log = [tuple(map(int, line.split())) for line in out[:n]]
    fd = int(out[n].split()[1])
    t = load("io")
    decodes("io")
    reads = [s for s in t.of(name="read") if s.notes.get("descriptor") == fd]
    check(len(reads) == n, "each is there: %d of %d" % (len(reads), n))
    inside = sum(begin <= s.begin and s.end <= end for (begin, end), s in zip(log, reads))
    close = sum(s.begin - begin <= CLOSE_NS and end - s.end <= CLOSE_NS
                for (begin, end), s in zip(log, reads))
    print("measured: %d of %d reads within 50 us of the program's log" % (close, n))
    check(inside == n, "within the log's time: %d of %d" % (inside, n))
    check(close >= n / 2, "and close to it: %d of %d" % (close, n))
    check(all(s.notes["result"] == "1" and s.stack[0] == "wait_for_a_byte" for s in reads),
          "what came of it, and who called: %s" % [(s.notes, s.stack[:2]) for s in reads[:2]])
    check(len(t.of(name="usleep")) == n and len(t.of(name="write")) == n, "the other thread's, too")
    with open("as_io", "rb") as f:
        profile = pprof.assert_valid(f.read())
    got = {}
    for names, values, _ in profile.stacks():
        got[names[0]] = got.get(names[0], 0) + values[0]
    check(got.get("wait_for_a_byte") == n and got.get("write_slowly") == 2 * n,
          "by stack: %s" % got)


def test_switches():
    """Where the kernel lets see them: who sleeps is off its processor. Where not, the trace says so."""
    n = 30
    out = run("sched", n, "sched").split("\n")
    log = [tuple(map(int, line.split())) for line in out[:n]]
    t = load("sched")
    decodes("sched")
    notes = " ".join(t.process.get("process_labels", []))
    states = sorted(t.of(category="state"), key=lambda s: s.begin)
    if "no context switches" in notes:
        print("measured: %s" % notes)
        check(not states, "and has none")
        return
    check("context switches of all 1 threads" in notes, "says whose they are: %s" % notes)
    check({s.name for s in states} <= {"running", "ready", "sleeping"}, "states: %s" % states[:3])
    check(all(a.end <= b.begin for a, b in zip(states, states[1:])), "one after the other")
    asleep = [s for s in states if s.name == "sleeping" and s.end - s.begin > 2000000]
    for begin, end in log:
        check(any(begin <= s.begin and s.end <= end for s in asleep),
              "asleep from %d to %d" % (begin, end))


def test_captures():
    """What took too long, what still does, and the end: each leaves what has just happened."""
    os.mkdir("kept")
    done = subprocess.run([sys.argv[1], "stall", os.path.abspath("kept")], capture_output=True,
                          text=True, timeout=120, env=environment())
    check(done.returncode == -15, "ends by SIGTERM: %s %s" % (done, done.stderr[-300:]))
    kept = [n for n in os.listdir("kept") if n.endswith(".trace.pftrace.gz")]
    check(len(kept) == 3, "three traces: %s" % os.listdir("kept"))
    check(not any(".000." in n for n in kept), "no baseline of it")
    for rule, name, under_way in ((".stall-over-50ms.", "slow", "maybe"),
                                  (".stall-over-2s.", "request that hangs", 1),
                                  (".term.", "at the end", 1)):
        of = [n for n in kept if rule in n]
        if check(len(of) == 1, "%s: %s" % (rule, kept)):
            s = load("kept/" + of[0]).of(name=name)
            # Captured at the first look that finds it too long: it may or may not be over.
            check(len(s) == 1 and (under_way == "maybe" or s[0].notes.get("goes on") == under_way),
                  "%s in %s" % (s, of))


def test_flood():
    for n in (100, 4000, 50000):
        run("flood", n, "flood")
        t = load("flood")
        kept = len(t.of(name="x"))
        lost = sum(s.notes["events"] for s in t.of(category="lost"))
        # Of the ring's records four are others: first whose it is, and the thread's begin; last its
        # name and its end. The first two are the first to go.
        check((kept, lost) == ((n, 0) if n + 4 <= RING else (RING - 2, n + 4 - RING)),
              "%d written: %d kept, %d lost" % (n, kept, lost))


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for threads, rounds in ((2, 300), (8, 60)):
            test_wake_ups(threads, rounds, "sem")
            test_wake_ups(threads, rounds, "cond")
        test_convoy()
        test_nesting()
        test_calls()
        test_switches()
        test_captures()
        test_flood()
        os.chdir("/")


if len(sys.argv) != 2:
    sys.exit(__doc__)
sys.argv[1] = os.path.abspath(sys.argv[1])
main()
sys.exit(report())
