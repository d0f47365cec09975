#!/usr/bin/env python3
"""contention.py - the block and mutex profiles against the truth, scene by scene.

    contention.py PRELOAD DRIVER [DRIVER..]     (contention.c, contention_c11.c, contention_cpp.cc)

A scene holds a lock, or something else that is waited for, for 100 ms, with so many threads asleep
on it. Bounds are the threads' own clocks: what a wait is charged lies inside what its thread
measured, and a holder is charged at least the time it held for every waiter. Nothing is compared
with a time that the machine could have stretched.
"""
import collections
import math
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report  # noqa: E402
import pprof  # noqa: E402

TIME_LIMIT_S = 120
# One release ends all of these waits: who shares is let in with the others, and who gave up was there
# for nothing. Of others it ends one, as Go counts them since 1.22.
ALL_AT_ONCE = {"readers", "stdshared", "vain"}
NO_HOLDER = {"cond", "condtimed", "condclock", "sem", "semtimed", "semclock", "barrier", "join",
             "jointimed", "cnd", "cndtimed", "thrd", "cv", "cvfor", "stdjoin"}
OURS = ("prof_", "pthread_", "_Ux86_64", "unw_")
OURS_TOO = ("mtx_lock", "mtx_timedlock", "mtx_unlock", "cnd_wait", "cnd_timedwait", "thrd_join",
            "sem_wait", "sem_timedwait", "sem_clockwait")
SIGMAS = 6


def read(folder, name, kind):
    with open(os.path.join(folder, name + ".pb.gz"), "rb") as f:
        data = f.read()
    pprof.assert_valid(data, kind)
    profile = pprof.parse(data)
    check([list(t) for t in profile.types()] ==
          [["contentions", "count"], ["delay", "nanoseconds"]], "%s: sample types" % name)
    return [(functions, values) for functions, values, _ in profile.stacks()]


def plain(function):
    """Without C++'s mangling: _ZL15stdmutex_holderPFvvEi -> stdmutex_holder"""
    if function.startswith("_ZL"):
        digits = "".join(c for c in function[3:6] if c.isdigit())
        return function[3 + len(digits):][:int(digits)]
    return function


def by_function(stacks, suffix):
    """scene -> [contentions, delay] of the stacks in which SCENE_SUFFIX is."""
    out = collections.defaultdict(lambda: [0, 0])
    for functions, values in stacks:
        for f in functions:
            f = plain(f)
            if f.endswith(suffix):
                out[f[:-len(suffix)]][0] += values[0]
                out[f[:-len(suffix)]][1] += values[1]
                break
    return out


def scenes(how, driver, env):
    with tempfile.TemporaryDirectory() as tmp:
        r = subprocess.run([driver, "scenes", tmp], env=env, stdout=subprocess.PIPE, text=True,
                           timeout=TIME_LIMIT_S, check=False)
        check(r.returncode == 0, "%s: status %d" % (how, r.returncode))
        if r.returncode:
            return
        block, mutex = read(tmp, "block", "block"), read(tmp, "mutex", "mutex")
    for stacks in block, mutex:
        for functions, values in stacks:
            check(not functions[0].startswith(OURS) and functions[0] not in OURS_TOO,
                  "%s: leaf %s" % (how, functions[0]))
            check(min(values) >= 0 and values[1] > 0, "%s: values %s" % (how, values))
    waited_by, held_by = by_function(block, "_waiter"), by_function(mutex, "_holder")
    for line in r.stdout.splitlines():
        name, n, held, waited = line.split()
        n, held, waited = int(n), int(held), int(waited)
        where = "%s: %s: " % (how, name)
        events, delay = waited_by[name]
        if name.startswith(("cond", "cnd", "cv")): # they lock as well
            check(events >= n, where + "%d waits of %d" % (events, n))
        else:
            check(events == n, where + "%d waits of %d" % (events, n))
        check(n * held <= delay <= waited, where + "waited %d, not in [%d, %d]" %
              (delay, n * held, waited))
        if name in NO_HOLDER:
            continue
        events, delay = held_by["stdshared" if name == "stdshared" else name]
        let_in = n if name in ALL_AT_ONCE else 1
        check(events == let_in, where + "the holder let in %d, not %d: %s" %
              (events, let_in, [x for x in mutex if any(name in f for f in x[0])]))
        check(n * held <= delay <= waited, where + "the holder is charged %d, not in [%d, %d]" %
              (delay, n * held, waited))
    inner = sum(values[1] for functions, values in mutex if "nested_inner" in functions)
    check(inner == 0, "%s: an inner unlock is charged %d" % (how, inner))
    reader = sum(values[1] for functions, values in mutex if "brief_reader" in functions)
    check(reader == 0, "%s: one of two readers is charged %d" % (how, reader))
    # Every wait for a lock is charged to somebody, and counted, once.
    told = [sum(v[i] for f, v in mutex) for i in range(2)]
    waits = [sum(v[i] for f, v in block if any(plain(g).endswith("_waiter") and
                                               plain(g)[:-7] not in NO_HOLDER for g in f))
             for i in range(2)]
    check(told[1] >= waits[1] * 0.9, "%s: charged %d of %d" % (how, told[1], waits[1]))
    check(told[0] >= waits[0], "%s: counted %d of %d" % (how, told[0], waits[0]))


def rates(how, driver, env):
    """200,000 waits each of 100 ns, 10 us, 1 ms and 100 ms, at four pairs of rates in turn."""
    count, waits = 200000, (100, 10000, 1000000, 100000000)
    settings = ((1, 1), (1000, 10), (1000000, 100), (30000000, 3))
    with tempfile.TemporaryDirectory() as tmp:
        r = subprocess.run([driver, "rates", tmp], env=env, timeout=TIME_LIMIT_S, check=False)
        check(r.returncode == 0, "%s: status %d" % (how, r.returncode))
        for name in "block", "mutex":
            check(not read(tmp, name + "-off", name), "%s: %s is empty while off" % (how, name))
            before = None
            for i, setting in enumerate(settings):
                totals = []
                for moment in "before", "after":
                    t = {}
                    for functions, values in read(tmp, "%s-%d-%s" % (name, i, moment), name):
                        site = next(f for f in functions if f.startswith("feed_"))
                        t[site] = values
                    totals.append(t)
                check(before is None or totals[0] == before,
                      "%s: %s: a new rate moved what was counted" % (how, name))
                before = totals[1]
                for ns in waits:
                    site = "feed_%d" % ns
                    was, now = totals[0].get(site, (0, 0)), totals[1].get(site, (0, 0))
                    p = min(1, ns / setting[0]) if name == "block" else 1 / setting[1]
                    each = 1 if name == "block" else 2
                    bound = SIGMAS * math.sqrt((1 - p) / (p * count)) + 1e-3
                    for what, got, true in (("number", now[0] - was[0], count * each),
                                            ("time", now[1] - was[1], count * ns)):
                        check(abs(got / true - 1) <= bound, "%s: %s of %d ns at %s: %s %d of %d" %
                              (how, name, ns, setting, what, got, true))


def main():
    preload, drivers = os.path.abspath(sys.argv[1]), sys.argv[2:]
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("LIBPROF_", "LD_"))}
    for driver in drivers:
        name = os.path.basename(driver)
        scenes(name, driver, bare)
        scenes(name + ", preloaded too", driver, dict(bare, LD_PRELOAD=preload))
    rates("rates", drivers[0], bare)
    return report()


sys.exit(main())
