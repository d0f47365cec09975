"""The bench itself: what it builds is all that it needs, and two of its runs are judged by a rule.

usage: bench.py BUILD-FOLDER
"""

import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(os.path.dirname(HERE), "bench")
sys.path[:0] = [BENCH, os.path.join(os.path.dirname(HERE), "support")]
import bench  # noqa: E402
import compare  # noqa: E402
import tables  # noqa: E402
from checks import check, report  # noqa: E402


def row(unit, plain, ours, spread):
    own = {"own": ours - plain, "own_spread": spread, "median": ours, "spread": spread}
    return {"section": "malloc", "row": "a pair", "unit": unit, "targets": [],
            "bases": {"libprof": "no library"},
            "figures": {"no library": {"median": plain, "spread": spread}, "libprof": own}}


def judged(unit, before, after):
    of = [compare.figures_of({"rows": [row(unit, *x)]})["malloc", "a pair", unit, "libprof"]
          for x in (before, after)]
    return compare.judge(unit, *of)[3]


def test_a_row_is_worse_only_beyond_the_noise():
    for unit, before, after, expected in (  # without, with, spread
            ("ns", (10, 12, 0.1), (10, 12.3, 0.1), ""),
            ("ns", (10, 12, 0.1), (10, 12.5, 0.1), "worse"),
            ("ns", (10, 12.5, 0.1), (10, 12, 0.1), "better"),
            ("ns", (10, 12, 0.1), (11, 13.5, 0.1), ""),  # the machine was slower as well
            ("ns", (10, 12, 0.0), (10, 12.1, 0.0), ""),  # below one percent
            ("instructions", (88, 99, 0), (88, 100.5, 0), "worse"),
            ("instructions", (4, 6, 0), (4, 6.5, 0), "worse"),
            ("instructions", (88, 99, 0), (88, 99.3, 0), "")):
        got = judged(unit, before, after)
        check(got == expected, "%s, %s then %s: %r and not %r" % (unit, before, after, got, expected))


def test_the_exit_status_says_if_any_is(folder):
    paths = []
    for i, ours in enumerate((12, 14, 12.1)):
        paths.append(os.path.join(folder, "%d.json" % i))
        with open(paths[i], "w", encoding="utf-8") as f:
            json.dump({"machine": "a", "quick": False, "rounds": 9, "rows": [row("ns", 10, ours, 0.1)]},
                      f)
    for b, status, said in ((1, 1, "1 worse"), (2, 0, "0 worse"), (0, 0, "0 worse")):
        done = subprocess.run([os.path.join(BENCH, "run"), "--compare", paths[0], paths[b]],
                              stdout=subprocess.PIPE, text=True, timeout=60, check=False)
        check(done.returncode == status and said in done.stdout,
              "%d: status %d, %s" % (b, done.returncode, done.stdout))
    done = subprocess.run([os.path.join(BENCH, "run"), "--compare", paths[0], BENCH + "/run"],
                          stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    check(done.returncode == 2 and "cannot compare" in done.stderr, "no figures: " + done.stderr)


def test_what_is_installed_is_built(build):
    """In a fresh clone only the target `bench` is there, and start-up is measured as installed."""
    def output(*argv):
        return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout

    # The target's own inputs are those of the query; the other lists what they are made of.
    built = output("ninja", "-C", build, "-t", "inputs", "bench") + \
        output("ninja", "-C", build, "-t", "query", "bench")
    targets = json.loads(output("meson", "introspect", "--targets", build))
    wanted = [os.path.relpath(path, build) for t in targets
              if t["installed"] and t["type"] in ("executable", "shared library", "shared module")
              for path in t["filename"]]
    check(len(wanted) > 3, "no programs are installed: %s" % wanted)
    for path in wanted:
        check(path in built.split(), path + " is installed, but not built for the bench")


def test_a_section_that_is_late_or_fails_leaves_the_rest():
    b = bench.Bench("nowhere", 9, False)
    b.section = "some"

    def fails(_):
        raise RuntimeError("as it may")

    def measures(b):
        b.row("work", "ns", b.interleave({"libprof": lambda: 5.0}))

    b.until = time.monotonic() - 1
    b.each(fails, measures)
    b.close()
    check(b.failed == ["some: fails"], "failed: %s" % b.failed)
    check([r["figures"]["libprof"]["n"] for r in b.rows] == [3], "three rounds, as it is late: %s" % b.rows)


def test_tables_have_every_row():
    rows = [row("ns", 10, 12.5, 0.1), dict(row("us of CPU", 200, 202, 0.1), row="a request",
                                           targets=[{"who": "libprof", "what": "ratio", "limit": 1.005,
                                                     "measured": 1.01, "met": False}])]
    rows[1]["figures"]["libprof"]["ratio"] = 1.01
    rows[0]["figures"]["jemalloc"] = {"median": 20, "spread": 0}
    rows[0]["figures"]["jemalloc prof"] = {"median": 29, "spread": 0, "own": 9, "own_spread": 0.5}
    rows[0]["bases"]["jemalloc prof"] = "jemalloc"
    text = tables.text_of({"machine": "a machine", "quick": False, "rounds": 9, "failed": ["core"],
                           "left_out": ["Go"], "seconds": {"malloc": 120}, "rows": rows})
    lines = text.splitlines()
    check(lines[0] == tables.BEGIN and lines[-1] == tables.END, "where it begins and ends")
    for wanted in ("0 of 1 targets met. Not measured: core, Go.",
                   "| a pair, ns | 10.0 | +2.50 ± 0.10 |  | jemalloc prof +9.00 ± 0.50 |",
                   "| a request, us of CPU | 200 | ×1.0100 (+2.00 ± 0.10) | **missed** ×1.0050 |  |"):
        check(wanted in lines, "no line %r in\n%s" % (wanted, text))
    with open(tables.DOCUMENT, encoding="utf-8") as f:
        document = f.read()
    check(document.count(tables.BEGIN) == 1 and document.count(tables.END) == 1,
          "the page has one place for them")


test_a_row_is_worse_only_beyond_the_noise()
test_a_section_that_is_late_or_fails_leaves_the_rest()
test_tables_have_every_row()
with tempfile.TemporaryDirectory() as tmp:
    test_the_exit_status_says_if_any_is(tmp)
test_what_is_installed_is_built(sys.argv[1])
sys.exit(report())
