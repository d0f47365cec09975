"""scrapers.py DEMO - Parca and Alloy with their default loops, both at once, on a busy program.

Each of the two runs one loop for each of the five profiles it scrapes by default, back to back on
a connection that stays open, the CPU profile with a window as long as the interval. Intervals are
cut to one and two seconds, so that a few seconds show many rounds. Answers that would have missed
the scrapers' own deadlines (3 s after the window for Parca, 10 s for Alloy) are listed, but fail
nothing: how long they take is up to whatever else the machine does.
"""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness  # noqa: E402
import pprof  # noqa: E402
from harness import check, equal  # noqa: E402

RUN_S = 8
SCRAPERS = [("parca", 1, 1, 3), ("alloy", 2, 1, 10)]  # name, interval, CPU window, deadline after
PROFILES = ["allocs", "block", "goroutine", "mutex", "profile"]
CUMULATIVE = {"allocs": ("alloc_objects", "alloc_space"), "mutex": ("contentions", "delay"),
              "block": ("contentions", "delay")}

problems = []
late = []
rounds = {}
guard = threading.Lock()


def note(text):
    with guard:
        problems.append(text)


def by_addresses(p, types):
    """As Alloy keys a stack: addresses and labels."""
    at = [p.value_index(t) for t in types]
    out = {}
    address = {l.id: l.address for l in p.location}
    for s in p.sample:
        labels = tuple(sorted((p.string(l.key), p.string(l.str), l.num) for l in s.label))
        key = (tuple(address[i] for i in s.location_id), labels)
        if key in out:
            note("two samples share a stack: %x..." % key[0][0])
        out[key] = [s.value[i] for i in at]
    return out


def scrape(where, scraper, name):
    who, interval, window, deadline = scraper
    query = "?seconds=%d" % window if name == "profile" else ""
    limit = deadline + (window if query else 0)
    last = {}
    end = time.monotonic() + RUN_S
    count = 0
    try:
        with harness.Connection(where) as c:
            while time.monotonic() < end:
                begin = time.monotonic()
                c.request("/debug/pprof/%s%s" % (name, query))
                a = c.answer()
                took = time.monotonic() - begin
                if a is None or a.status != 200:
                    note("%s %s: %r" % (who, name, a))
                    return
                if took > limit:
                    with guard:
                        late.append("%s %s took %.1f s" % (who, name, took))
                p = pprof.assert_valid(a.body, name, content_type=a.header("content-type"))
                if name in CUMULATIVE:
                    now = by_addresses(p, CUMULATIVE[name])
                    for key, before in last.items():
                        if any(n < b for n, b in zip(now.get(key, [-1] * 2), before)):
                            note("%s %s: a value fell" % (who, name))
                    last = now
                count += 1
                rest = interval - (time.monotonic() - begin)
                if rest > 0 and name != "profile":
                    time.sleep(rest)
    except (AssertionError, OSError, pprof.Malformed) as e:
        note("%s %s: %s" % (who, name, e))
    with guard:
        rounds[who, name] = count


def main(path):
    harness.limit_time()
    env = {"LIBPROF_HEAP_RATE": "64k", "LIBPROF_BLOCK_RATE": "1", "LIBPROF_MUTEX_FRACTION": "1"}
    with harness.Demo(path, env=env) as demo:
        equal(demo.start(), "0", "start")
        equal(demo.tell("busy", "4"), "0", "busy")
        threads = [threading.Thread(target=scrape, args=(demo.where, s, name))
                   for s in SCRAPERS for name in PROFILES]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        equal(demo.tell("calm"), "0", "calm")
        for who, *_ in SCRAPERS:
            for name in PROFILES:
                check(rounds.get((who, name), 0) >= 1, "%s got %s" % (who, name))
        print("late: %d of %d %s" % (len(late), sum(rounds.values()), late))
        check(not problems, "%d problems: %s" % (len(problems), sorted(set(problems))[:8]))
    return harness.report()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
