#!/usr/bin/env python3
"""honest_numbers.py - the heap profile against the truth, site by site.

    honest_numbers.py DRIVER      (honest_numbers.c)

A sampled number is an estimate, so each case states how many of its standard deviations fit into
its bound: at least SIGMAS, or the case itself is called wrong. A block of s bytes is sampled with
probability p = 1 - exp(-s / rate) and then counts 1 / p, so n such blocks are estimated with a
relative standard deviation of sqrt((1 - p) / (p n)). What is exact is compared exactly.
"""
import math
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report  # noqa: E402
import pprof  # noqa: E402

LONG = os.environ.get("PROF_TEST_LONG") == "1"
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
DEFAULT_RATE = 512 * KIB
SIGMAS = 6  # 1 in 500 million for each number, and some hundred numbers
SIZES = {"site_16": 16, "site_1k": KIB, "site_100k": 100 * KIB, "site_4m": 4 * MIB}
LARGER = ("site_1k", "site_100k", "site_4m") # where 2 GiB are soon allocated
COLUMNS = ("alloc_objects", "alloc_space", "inuse_objects", "inuse_space")
RUN_LIMIT_S = 60


def deviation(size, rate, count):
    p = -math.expm1(-size / rate)
    return math.sqrt((1 - p) / (p * count))


def run(driver, threads, *steps):
    """(what the profile says, what is true): {site: [four values]} each."""
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, "heap.pb.gz")
        r = subprocess.run([driver, out, str(threads)] + list(steps), stdout=subprocess.PIPE,
                           timeout=RUN_LIMIT_S, check=True)
        with open(out, "rb") as f:
            profile = pprof.parse(f.read())
    assert [t for t, _ in profile.types()] == list(COLUMNS), profile.types()
    told = {}
    for functions, values, _ in profile.stacks():
        site = next((f for f in functions if f.startswith("site_")), None)
        if site:
            row = told.setdefault(site, [0] * len(COLUMNS))
            for i, v in enumerate(values):
                row[i] += v
    truth = {}
    for line in r.stdout.decode().splitlines():
        name, *values = line.split()
        truth[name] = [int(v) for v in values]
    return told, truth


def near(case, told, truth, site, column, bound, sd):
    i = COLUMNS.index(column)
    got, want = told.get(site, [0] * 4)[i], truth[site][i]
    what = "%s: %s %s: got %d, want %d within %.2g %%" % (case, site, column, got, want,
                                                         100 * bound)
    check(sd * SIGMAS <= bound, what + ": the case is too small for its bound")
    check(abs(got - want) <= bound * want, what + ", off by %.2f %%" % (100 * (got / want - 1)))


def steps(kind, total, sites=tuple(SIZES)):
    return ["%s=%s_%s,%d" % (kind, site, kind, total // SIZES[site]) for site in sites]


def all_freed(case, told, site):
    got = told.get(site, [0] * 4)[2:]
    check(got == [0, 0], "%s: %s: all is freed, but %r is in use" % (case, site, got))


def each_site(driver, threads):
    """Cumulative from malloc, live from blocks that were fed, at the default rate."""
    case = "%d threads" % threads
    total = 2 * GIB
    told, truth = run(driver, threads, *steps("malloc", total))
    for site, size in SIZES.items():
        sd = deviation(size, DEFAULT_RATE, total // size)
        for column in ("alloc_objects", "alloc_space"):
            near(case, told, truth, site + "_malloc", column, 0.1, sd)
        all_freed(case, told, site + "_malloc")

    told, truth = run(driver, threads, *steps("feed", 2 * total))
    for site, size in SIZES.items():
        for column, part in zip(COLUMNS, (1, 1, 2, 2)): # every second one is freed
            sd = deviation(size, DEFAULT_RATE, 2 * total // size // part)
            near(case, told, truth, site + "_feed", column, 0.1, sd)


def rate_changes(driver, threads):
    """Changed half-way, cumulative and live both stay right; while it is off nothing is added."""
    for first, second in ((512 * KIB, 64 * KIB), (64 * KIB, 512 * KIB)):
        case = "%d threads, rate %d then %d" % (threads, first, second)
        total = 2 * GIB
        program = []
        for rate in (first, second):
            program.append("rate=%d" % rate)
            program += steps("malloc", total, LARGER) + steps("feed", 2 * total, LARGER)
        told, truth = run(driver, threads, *program)
        for site in LARGER:
            size = SIZES[site]
            # The coarse half alone decides the deviation, and it is half of the whole.
            sd = deviation(size, 512 * KIB, total // size) / 2 * 1.1
            for column in COLUMNS[:2]:
                near(case, told, truth, site + "_malloc", column, 0.1, sd)
            for column in COLUMNS:
                near(case, told, truth, site + "_feed", column, 0.1, sd)
            all_freed(case, told, site + "_malloc")

    case = "%d threads, off in between" % threads
    half = 1 * GIB
    program = []
    for rate, total in ((65536, half), (0, 2 * half), (65536, half)):
        program += ["rate=%d" % rate] + steps("malloc", total, LARGER)
    told, truth = run(driver, threads, *program)
    for site in LARGER:
        name, size = site + "_malloc", SIZES[site]
        truth[name] = [v // 2 for v in truth[name]]
        # On top: what each thread allocates before it notices, 1 MiB each time.
        near(case, told, truth, name, "alloc_space", 0.1, deviation(size, 65536, half // size))


def mean_of_runs(driver):
    """No bias: the mean of many runs, each with seeds of its own, is within 1.25 %."""
    runs = 40 if LONG else 8
    # (rate, site, blocks in a run): small against the rate, about it, and the default rate
    cases = (
        (16 * KIB, "site_16", 32000000),
        (16 * KIB, "site_1k", 500000),
        (DEFAULT_RATE, "site_100k", 150000),
        (DEFAULT_RATE, "site_1k", 16000000),
    )
    for rate, site, count in cases:
        ratios = []
        for i in range(runs):
            told, truth = run(driver, 1 + i % 2, "rate=%d" % rate,
                              "malloc=%s_malloc,%d" % (site, count))
            name = site + "_malloc"
            ratios.append(told.get(name, [0] * 4)[1] / truth[name][1])
        mean = sum(ratios) / runs
        sd = deviation(SIZES[site], rate, count * runs)
        what = "mean of %d runs at rate %d, %s: %.4f in [0.9875, 1.0125]" % (runs, rate, site, mean)
        check(sd * SIGMAS <= 0.0125, what + ": the case is too small for its bound")
        check(0.9875 <= mean <= 1.0125, what)


def short_threads(driver):
    """Threads that end before a first sample is due are seen in the right number all the same."""
    count = 20000
    told, truth = run(driver, 1, "threads=%d" % count)
    near("short threads", told, truth, "site_short", "alloc_space", 0.06,
         deviation(KIB, DEFAULT_RATE, count * 256))


def patterns(driver, threads):
    """What comes in a fixed rhythm is not hit in a fixed rhythm."""
    case = "%d threads, rhythm" % threads
    told, truth = run(driver, threads, "shares=60000")
    for site, size in (("site_half", 256), ("site_quarter_a", 128), ("site_quarter_b", 128)):
        near(case, told, truth, site + "_malloc", "alloc_space", 0.05,
             deviation(size * KIB, DEFAULT_RATE, 60000))

    told, truth = run(driver, threads, "spikes=30000")
    near(case, told, truth, "site_spike_malloc", "alloc_space", 0.05,
         deviation(512 * KIB - 1, DEFAULT_RATE, 30000))
    # One byte in 512 KiB: 30 000 of them are sampled 0.06 times, and each time count 512 KiB.
    got = told.get("site_byte_malloc", [0] * 4)[1]
    check(got <= 4 * MIB, "%s: 30000 blocks of one byte show as %d bytes" % (case, got))


def exact(driver, threads):
    """At rate 1 every number is the truth, whoever frees."""
    told, truth = run(driver, threads, "rate=1", "malloc=site_4m_malloc,%d" % (16 * threads),
                      "exact=100000", "feed=site_1k_feed,100001")
    for site in truth:
        if site != "site_4m_malloc": # 64 MiB for each thread, in which it notices the rate
            for i, column in enumerate(COLUMNS):
                got = told.get(site, [0] * 4)[i]
                check(got == truth[site][i], "exact, %d threads: %s %s: got %d, want %d" %
                      (threads, site, column, got, truth[site][i]))


def main():
    driver = os.path.abspath(sys.argv[1])
    for threads in (1, 8):
        exact(driver, threads)
        each_site(driver, threads)
        rate_changes(driver, threads)
        patterns(driver, threads)
    short_threads(driver)
    mean_of_runs(driver)
    return report()


if __name__ == "__main__":
    sys.exit(main())
