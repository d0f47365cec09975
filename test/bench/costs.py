"""costs.py - single operations: malloc, a sampled block, a walk, a lock, a CPU sample."""

import os

from bench import Candidate, Target, bases

PATTERNS = [  # pattern, title, pairs, most that libprof may add in ns
    ("64", "malloc(64)+free", 8_000_000, 1.2),
    ("1024", "malloc(1024)+free", 5_000_000, 2.0),
    ("16384", "malloc(16384)+free", 1_000_000, 16),
    ("churn", "churn 16 B-4 KiB, 4,096 live", 2_000_000, 2.0),
]
SLOW_PEERS = ("heaptrack",)  # get a twentieth of the work
DEPTHS = (5, 20, 60)


def malloc(b):
    """A block that is not sampled, or hardly ever: malloc and free."""
    jump, slow = b.tool("libhook_jump.so"), b.tool("libhook_slow.so")
    found = b.present([
        Candidate("no library"),
        Candidate("bare jump", {}, "no library", jump),
        Candidate("slow hook", {}, "no library", slow),
        b.libprof("libprof off", HEAP_RATE=0),
        b.libprof("libprof 512 KiB", HEAP_RATE="512k"),
    ] + b.peers())
    go = b.peer_go()
    told_apart = True
    for pattern, title, pairs, limit in PATTERNS:
        pairs = b.less(pairs, pairs // 10)

        def of(c):
            n = pairs // 20 if c.name in SLOW_PEERS else pairs
            return lambda: b.numbers([b.tool("malloc_bench"), pattern, n], c.env)[0]

        def of_go(rate):
            n = pairs // (10 if pattern == "16384" else 2)
            return lambda: b.numbers([go, "malloc", pattern, n], {"PEER_RATE": rate})[0]

        works = {c.name: of(c) for c in found}
        its_base = bases(found)
        if go:
            works.update({"Go": of_go("0"), "Go prof": of_go("524288")})
            its_base["Go prof"] = "Go"
        targets = [Target("libprof 512 KiB", "own", limit)]
        if pattern == "64":
            targets.append(Target("libprof off", "own", 1.0))
        f = b.row(title, "ns", b.interleave(works), its_base, targets)
        if pattern == "64":
            told_apart = f["slow hook"]["own"] > f["bare jump"]["own"]

    if b.can_count():
        ours = [c for c in found if c.name in ("no library", "bare jump") or
                c.name.startswith("libprof")]
        counted = b.instructions(ours, lambda n: [b.tool("malloc_bench"), "64", n], 20_000, 220_000)
        pair(b, "malloc(64)+free", counted, found, [Target("libprof 512 KiB", "own", 8)])
    if not told_apart:
        raise RuntimeError("the bench cannot tell a slow hook from a bare jump: the machine is "
                           "too noisy")


def pair(b, title, counted, found, targets):
    """Instructions of a pair, and by function what a library changes in it."""
    warm_up = 1.05  # a twentieth of the pairs comes on top
    b.row(title, "instructions", {name: n / warm_up for name, (n, _) in counted.items()},
          bases(found), targets)
    plain = counted["no library"][1]
    changed = {}
    for name, (_, own) in counted.items():
        for function in sorted(set(own) | set(plain)):
            more = (own.get(function, 0) - plain.get(function, 0)) / warm_up
            if abs(more) >= 0.5:
                changed["%s: %s" % (name, function.split("@")[0])] = more
    b.row(title + ", by function, beyond no library", "instructions", changed)


def sampled(b):
    """A block that is sampled, recorded and forgotten, on top of the same block without."""
    found = b.present([Candidate("no library"), b.libprof("libprof", HEAP_RATE=16)] +
                      b.peers(sample=16, heaptrack=False))
    go = b.peer_go()
    limits = {(5, 1): 250, (20, 1): 450, (20, 1000): 600, (60, 1): 1100}
    for stacks in (1, 1000):
        for depth in DEPTHS:
            def of(c):
                n = 2_000 if "prof" in c.name and c.name != "libprof" else b.less(100_000, 20_000)
                return lambda: b.numbers([b.tool("sample_bench"), depth, stacks, n], c.env)[0]

            def of_go(rate):
                return lambda: b.numbers([go, "sample", depth, stacks, b.less(100_000, 20_000)],
                                         {"PEER_RATE": rate})[0]

            works, its_base = {c.name: of(c) for c in found}, bases(found)
            if go:
                works.update({"Go": of_go("0"), "Go prof": of_go("1")})
                its_base["Go prof"] = "Go"
            limit = limits.get((depth, stacks))
            b.row("sampled block, depth %d, %s" % (depth, "1 stack" if stacks == 1 else
                                                   "1,000 stacks"), "ns",
                  b.interleave(works, b.less(min(b.rounds, 7), min(b.rounds, 2))), its_base,
                  [Target("libprof", "own", limit)] if limit else [])
    if b.can_count():
        counted = b.instructions([c for c in found if c.name in ("no library", "libprof")],
                                 lambda n: [b.tool("sample_bench"), 20, 1, n], 2_000, 22_000)
        b.row("sampled block, depth 20, 1 stack", "instructions",
              {name: n for name, (n, _) in counted.items()}, bases(found),
              [Target("libprof", "own", 3000)])


def walk(b):
    """The stack alone."""
    kinds = {"libprof": "libprof", "libunwind, unw_backtrace": "unw_backtrace",
             "glibc, backtrace": "backtrace", "libunwind, unw_step": "unw_step",
             "frame pointers": "frame_pointers"}
    for depth in DEPTHS:
        def of(kind):
            tool = b.tool("walk_bench_fp" if kind == "frame_pointers" else "walk_bench")
            rounds = b.less(20, 5) if kind not in ("backtrace", "unw_step") else 2
            return lambda: b.numbers([tool, kind, depth, rounds])

        got = b.interleave({name: of(kind) for name, kind in kinds.items()},
                           b.less(min(b.rounds, 5), 2))
        for column, title, limit in ((1, "one stack", 5), (2, "1,000 stacks", 8)):
            b.row("warm walk, %d frames and some, %s" % (depth, title), "ns a frame",
                  {name: [v[column] / v[0] for v in values] for name, values in got.items()}, None,
                  [Target("libprof", "median", limit)] if depth == 20 else [])


def locks(b):
    """A pair of lock and unlock."""
    off = {"HEAP_RATE": 0}
    found = b.present([
        Candidate("no library"),
        Candidate("bare jump", {}, "no library", b.tool("libhook_jump.so")),
        Candidate("try first", {}, "no library", b.tool("libhook_try.so")),
        b.libprof("libprof off", **off),
        b.libprof("libprof on", **off, BLOCK_RATE="10us", MUTEX_FRACTION=100),
        b.libprof("libprof on, all", **off, BLOCK_RATE=1, MUTEX_FRACTION=1),
    ])
    for pattern, title, pairs in (("mutex", "mutex", 20_000_000),
                                  ("many", "1,024 mutexes", 20_000_000),
                                  ("rdlock", "read lock", 10_000_000),
                                  ("wrlock", "write lock", 10_000_000),
                                  ("c11", "mtx_t", 20_000_000),
                                  ("contended", "contended mutex, two threads", 1_000_000)):
        def of(c):
            n = pairs // b.less(2, 20)
            return lambda: b.numbers([b.tool("lock_bench"), pattern, n], c.env)[0]

        targets = []
        if pattern in ("mutex", "many"):
            targets = [Target("libprof off", "own", 0.4), Target("libprof on", "own", 2.0)]
        b.row("lock+unlock, " + title, "ns", b.interleave({c.name: of(c) for c in found}),
              bases(found), targets)
    if b.can_count():
        counted = b.instructions(found, lambda n: [b.tool("lock_bench"), "mutex", n], 20_000,
                                 220_000)
        pair(b, "lock+unlock, mutex", counted, found,
             [Target("libprof off", "own", 4), Target("libprof on", "own", 18)])


def mappings(b):
    """mmap, one page touched, munmap: beside 10,000 mappings that stay."""
    found = b.present([
        Candidate("no library"),
        b.libprof("libprof", HEAP_RATE=0),
    ])

    def of(c):
        return lambda: b.numbers([b.tool("malloc_bench"), "map", b.less(200_000, 20_000)],
                                 c.env)[0]

    b.row("mmap(64 KiB)+touch+munmap", "ns", b.interleave({c.name: of(c) for c in found}),
          bases(found), [Target("libprof", "own", 6000)])


def cpu(b):
    """One sample of the CPU profile: signal, handler, return."""
    kinds = {"empty handler": "empty", "libprof": "libprof"}
    if any(os.path.exists(os.path.join(d, "libprofiler.so.0"))
           for d in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib")):
        kinds["gperftools"] = "gperftools"
    else:
        print("left out, not installed: gperftools")

    def of(kind):
        n = b.less(20_000, 5_000) // (5 if kind == "gperftools" else 1)
        return lambda: b.numbers([b.tool("cpu_bench"), kind, n])

    got = b.interleave({name: of(kind) for name, kind in kinds.items()})
    its_base = {name: "empty handler" for name in kinds if name != "empty handler"}
    for i, depth in enumerate(DEPTHS):
        b.row("CPU sample, depth %d" % depth, "ns", {k: [v[i] for v in vs]
                                                     for k, vs in got.items()},
              its_base, [Target("libprof", "own", 3000)] if depth == 20 else [])
    b.row("CPU profile at 100 Hz, depth 20", "% of the thread",
          {k: [v[1] * 100 / 1e7 for v in vs] for k, vs in got.items()}, its_base,
          [Target("libprof", "median", 0.1)])
