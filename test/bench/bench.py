"""bench.py - how all rows are measured: in turn, by medians, against a target.

A candidate is a way to do the same work: without a library, under libprof, under a peer. Every
round runs every candidate once, so that what the machine does meanwhile meets all of them alike.
Of each one reported are the median over rounds, the spread (half the distance between the
quartiles), and how each round's value differs from that of its own base: the peer with profiling
off, or no library.
"""

import concurrent.futures
import glob
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LIBRARY_DIRS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/heaptrack")
PEERS = ("jemalloc", "tcmalloc", "heaptrack", "Go", "gperftools", "libunwind", "glibc")


def find_library(name):
    for folder in LIBRARY_DIRS:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    return None


class Candidate:
    """A name, what is preloaded and set, and the name of the candidate it is compared with."""

    def __init__(self, name, env=None, base=None, preload=None, needs_preload=False):
        self.name, self.base = name, base
        self.env = dict(env or {})
        self.there = not needs_preload or preload is not None
        if preload:
            self.env["LD_PRELOAD"] = preload


class Target:
    """Of candidate `who`, `what` ("median", "own" or "ratio") is to be at most `limit`."""

    def __init__(self, who, what, limit):
        self.who, self.what, self.limit = who, what, limit


def spread(values):
    if len(values) < 4:
        return (max(values) - min(values)) / 2
    q = statistics.quantiles(values, n=4)
    return (q[2] - q[0]) / 2


def number(x):
    """Three or four digits that matter, and no exponent."""
    if x is None:
        return ""
    return "%.*f" % (0 if abs(x) >= 100 else 1 if abs(x) >= 10 else 2 if abs(x) >= 0.1 else 4, x)


class Bench:
    """What the sections share: the build, how much to do, and the rows measured so far."""

    def __init__(self, build, rounds, quick):
        self.build, self.rounds, self.quick = build, rounds, quick
        self.rows = []
        self.section = ""
        self.until = None  # when the section should be over, of time.monotonic()
        self.failed = []
        self.missing = set()
        self.tmp = tempfile.mkdtemp(prefix="prof-bench")
        self.empty = os.path.join(self.tmp, "empty")  # a folder whose listing costs nothing
        os.mkdir(self.empty)
        self.preload = os.path.join(build, "lib/preload/libprof-preload.so")

    def close(self):
        shutil.rmtree(self.tmp, ignore_errors=True)

    def tool(self, name):
        return os.path.join(self.build, "test/bench", name)

    def installed_preload(self):
        """As users have it. In a build tree it looks through more folders for its libraries."""
        folder = os.path.join(self.tmp, "installed")
        self.output(["meson", "install", "-C", self.build, "--no-rebuild", "--quiet", "--tags",
                     "runtime", "--destdir", folder])
        return glob.glob(folder + "/**/libprof-preload.so", recursive=True)[0]

    def less(self, full, quick):
        return quick if self.quick else full

    # --- candidates --------------------------------------------------------------------------

    def present(self, candidates):
        """Those that can run here; the others are named once."""
        for c in candidates:
            if not c.there and c.name not in self.missing:
                self.missing.add(c.name)
                print("left out, not installed: " + c.name, file=sys.stderr)
        names = {c.name for c in candidates if c.there}
        return [c for c in candidates if c.there and (c.base is None or c.base in names)]

    def libprof(self, name, base="no library", **env):
        return Candidate(name, {"LIBPROF_" + k: str(v) for k, v in env.items()}, base,
                         self.preload)

    def peers(self, sample=512 << 10, heaptrack=True):
        """jemalloc, tcmalloc and heaptrack; `sample` bytes between two samples."""
        je, tc = find_library("libjemalloc.so.2"), find_library("libtcmalloc.so.4")
        lg = sample.bit_length() - 1
        both = [
            Candidate("jemalloc", {}, None, je, True),
            Candidate("jemalloc prof", {"MALLOC_CONF": "prof:true,lg_prof_sample:%d" % lg},
                      "jemalloc", je, True),
            Candidate("tcmalloc", {}, None, tc, True),
            Candidate("tcmalloc prof", {"TCMALLOC_SAMPLE_PARAMETER": str(sample)}, "tcmalloc", tc,
                      True),
        ]
        if heaptrack:
            both.append(Candidate("heaptrack", {"DUMP_HEAPTRACK_OUTPUT": "/dev/null"},
                                  "no library", find_library("libheaptrack_preload.so"), True))
        return both

    @staticmethod
    def environment(extra):
        env = {k: v for k, v in os.environ.items()
               if not k.startswith(("LIBPROF_", "LD_", "MALLOC", "TCMALLOC", "PYTHON"))}
        env.update(extra)
        return env

    # --- running -----------------------------------------------------------------------------

    def output(self, argv, env=None, timeout=300, **more):
        """Standard output of a command; its standard error is shown when it fails."""
        done = subprocess.run(argv, env=self.environment(env or {}), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=timeout, **more)
        if done.returncode != 0:
            raise RuntimeError("%s: exit status %d: %s" % (" ".join(map(str, argv))[:200],
                                                           done.returncode, done.stderr[-500:]))
        return done.stdout

    def numbers(self, argv, env=None, **more):
        return [float(x) for x in self.output([str(a) for a in argv], env, **more).split()]

    def is_late(self):
        """Has the section had its time? Then what is done several times is done no more."""
        return self.until is not None and time.monotonic() > self.until

    def each(self, *parts):
        """Parts of a section, each with an equal share of the time that is left; one that fails does
        not take the others with it."""
        until = self.until
        for i, part in enumerate(parts):
            if until is not None:
                now = time.monotonic()
                self.until = now + (until - now) / (len(parts) - i)
            try:
                part(self)
            except TimeoutError:
                raise
            except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as e:
                self.failed.append("%s: %s" % (self.section, part.__name__))
                print("%s could not be measured: %s" % (part.__name__, e), file=sys.stderr)
        self.until = until

    def interleave(self, works, rounds=None):
        """{name: function} -> {name: [what it returned in each round]}; fewer rounds where time is
        short, but three of them."""
        values = {name: [] for name in works}
        for i in range(rounds or self.rounds):
            if i >= 3 and self.is_late():
                break
            for name, work in works.items():
                values[name].append(work())
        return values

    def peer_go(self):
        """The Go program, built here once; None without Go."""
        go, program = shutil.which("go"), os.path.join(self.build, "test/bench/peer-go")
        if not go:
            if "Go" not in self.missing:
                self.missing.add("Go")
                print("left out, not installed: Go", file=sys.stderr)
            return None
        if not os.path.exists(program) or \
                os.path.getmtime(program) < os.path.getmtime(os.path.join(HERE, "peer.go")):
            folder = os.path.join(self.tmp, "go")
            os.mkdir(folder)
            shutil.copy(os.path.join(HERE, "peer.go"), folder)
            with open(os.path.join(folder, "functions.go"), "w", encoding="ascii") as f:
                f.write(go_functions(1024))
            self.output([go, "build", "-o", program, "peer.go", "functions.go"],
                        {"GO111MODULE": "off", "GOFLAGS": "",
                         "GOCACHE": os.path.join(self.build, "test/bench/go-cache")}, cwd=folder)
        return program

    # --- instructions ------------------------------------------------------------------------

    def callgrind(self, argv, env, parse=None):
        """All instructions of a run, and those of each function by itself; or what `parse` makes of
        callgrind's lines."""
        with tempfile.NamedTemporaryFile(dir=self.tmp, suffix=".callgrind") as out:
            self.output(["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out.name] +
                        [str(a) for a in argv], env, timeout=900, cwd=self.empty)
            with open(out.name, encoding="utf-8", errors="replace") as f:
                return (parse or parse_callgrind)(f)

    def instructions(self, candidates, command, few, many, run=None):
        """For one of `many` things more: the difference of two runs, so that all that happens
        once has no part. command(n) is the argv; or run(candidate, n) does it all.
        {name: (in all, {function: by itself})}"""
        def difference(c):
            a, b = (run(c, n) if run else self.callgrind(command(n), c.env) for n in (few, many))
            n = many - few
            return (b[0] - a[0]) / n, {k: (v - a[1].get(k, 0)) / n for k, v in b[1].items()}

        # Counts do not mind company.
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            return dict(zip([c.name for c in candidates], pool.map(difference, candidates)))

    def can_count(self):
        if shutil.which("valgrind"):
            return True
        if "valgrind" not in self.missing:
            self.missing.add("valgrind")
            print("left out, not installed: valgrind; so no instructions are counted",
                  file=sys.stderr)
        return False

    # --- results -----------------------------------------------------------------------------

    def row(self, title, unit, values, bases=None, targets=(), note=None):
        """Keep and print one row. `values` is {name: [per round] or one number}, `bases`
        {name: name of its base}. Returns {name: figures}."""
        values = {k: v if isinstance(v, list) else [v] for k, v in values.items() if v is not None}
        figures = {}
        for name, of in values.items():
            f = {"median": statistics.median(of), "spread": spread(of), "n": len(of)}
            base = (bases or {}).get(name)
            if base in values:
                pairs = list(zip(of, values[base]))
                own = [a - b for a, b in pairs]
                f["own"], f["own_spread"] = statistics.median(own), spread(own)
                if all(b > 0 for _, b in pairs):
                    f["ratio"] = statistics.median(a / b for a, b in pairs)
            figures[name] = f
        verdicts = [v for v in (judge(figures, t) for t in targets) if v]
        self.rows.append({"section": self.section, "row": title, "unit": unit, "figures": figures,
                          "bases": {k: v for k, v in (bases or {}).items() if v},
                          "targets": verdicts, **({"note": note} if note else {})})
        print_row(self.rows[-1])
        return figures

    def summary(self):
        lines = [(r, v) for r in self.rows for v in r["targets"]]
        if not lines:
            return
        layout = "%-9s %-62s %-22s %8s %8s  %-16s %s"
        print("\n" + layout % ("section", "row", "", "target", "measured", "verdict",
                               "the best peer"))
        for r, v in lines:
            what = v["who"] if v["what"] == "median" else "%s, %s" % (v["who"], v["what"])
            print(layout % (r["section"], r["row"] + ", " + r["unit"], what,
                            shown(v["what"], v["limit"]), shown(v["what"], v["measured"]),
                            verdict(v), best_peer(r, v["what"])))
        met = sum(v["met"] for _, v in lines)
        print("%d of %d targets met" % (met, len(lines)))


def judge(figures, target):
    measured = figures.get(target.who, {}).get(target.what)
    if measured is None:
        return None
    return {"who": target.who, "what": target.what, "limit": target.limit, "measured": measured,
            "met": measured <= target.limit}


def verdict(v):
    return "met" if v["met"] else "missed by " + shown(v["what"], v["measured"] - v["limit"])


def shown(what, x):
    return "%.4f" % x if what == "ratio" else number(x)


def best_peer(row, what):
    peers = [(f[what], name) for name, f in row["figures"].items()
             if what in f and name.startswith(PEERS)]
    return "%s %s" % (shown(what, min(peers)[0]), min(peers)[1]) if peers else ""


def print_row(row):
    columns = [c for c in ("own", "ratio") if any(c in f for f in row["figures"].values())]
    print("\n%-60s%10s%10s" % (row["row"] + ", " + row["unit"], "median", "spread") +
          "".join("%10s" % c for c in columns))
    for name, f in row["figures"].items():
        line = "  %-58s%10s%10s" % (name, number(f["median"]), number(f["spread"]))
        if "own" in columns:
            line += "%10s" % ("%+.*f" % (2 if abs(f["own"]) < 100 else 0, f["own"])
                              if "own" in f else "")
        if "ratio" in columns:
            line += "%10s" % ("%.4f" % f["ratio"] if "ratio" in f else "")
        print(line)
    for v in row["targets"]:
        print("  target: %s, %s at most %s: %s, %s" % (
            v["who"], v["what"], shown(v["what"], v["limit"]), shown(v["what"], v["measured"]),
            verdict(v)))
    if "note" in row:
        print("  " + row["note"])
    sys.stdout.flush()


def bases(candidates):
    return {c.name: c.base for c in candidates}


NAME = re.compile(r"\((\d+)\)(?: (.*))?")


def parse_callgrind(lines):
    """(sum of all, {function: instructions in it, not in what it calls})"""
    names, own, total = {}, {}, 0
    function = None
    is_call = False
    for line in lines:
        if line.startswith("fn="):
            key, name = NAME.match(line[3:].rstrip()).groups()
            if name is not None:
                names[key] = name.split("'")[0]
            function = names[key]
        elif line.startswith("cfn="):
            key, name = NAME.match(line[4:].rstrip()).groups()
            if name is not None:
                names[key] = name.split("'")[0]
        elif line.startswith("calls="):
            is_call = True  # the line after it is the cost of the callee
        elif line[:1] in "0123456789+-*" and function is not None:
            if not is_call:
                cost = int(line.split()[1]) if len(line.split()) > 1 else 0
                own[function] = own.get(function, 0) + cost
                total += cost
            is_call = False
    return total, own


def parse_calls(lines):
    """{function: (calls of it, instructions in it and in what it calls)}; of those that call
    themselves too many."""
    names, calls = {}, {}
    called, n = None, 0
    for line in lines:
        if line.startswith(("fn=", "cfn=")):
            key, name = NAME.match(line.rstrip().partition("=")[2]).groups()
            if name is not None:
                names[key] = name.split("'")[0]
            if line.startswith("c"):
                called = names[key]
        elif line.startswith("calls="):
            n = int(line[len("calls="):].split()[0])
        elif n:
            before = calls.get(called, (0, 0))
            calls[called] = (before[0] + n, before[1] + int(line.split()[1]))
            n = 0
    return calls


def go_functions(n):
    """many_functions.h, in Go."""
    lines = ["package main", "", "var functions [%d]func(int, uint32, uint32) uint32" % n, ""]
    for i in range(n):
        lines.append("""//go:noinline
func f%d(depth int, a, b uint32) uint32 {
	c, d := a*%d, b^a
	if depth == 0 {
		leaf()
	} else {
		c += functions[random()%%%d](depth-1, b, c)
	}
	return c + d
}
""" % (i, i + 1, n))
    lines.append("func init() {\n\tfunctions = [%d]func(int, uint32, uint32) uint32{%s}\n}" %
                 (n, ", ".join("f%d" % i for i in range(n))))
    return "\n".join(lines) + "\n"
