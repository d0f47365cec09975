#!/usr/bin/env python3
"""leaks.py - what leaks and holders say of every way to hold a block, and to lose one.

    leaks.py SHAPES PLUGIN HOOKS [ALLOCATOR]

SHAPES is leak_shapes.cc, whose functions are named for what must be said of their blocks. With
glibc the heap is walked and all that is lost must be found; with another ALLOCATOR (the name of its
library) only what is lost directly can be. What is held must never be told as leaked, at any rate,
with and without threads that move blocks around meanwhile.
"""
import collections
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import pprof
from checks import check, report

SHAPE = re.compile(r"^(\w+)_(lost|held|possible|unknown)$")
LONG = os.environ.get("PROF_TEST_LONG") == "1"

# Rate in bytes, blocks of each shape, bytes of each, churn. All are big enough to be sampled: of a
# shape with n blocks of s bytes at rate r, none is with a chance of exp(-n s / r), here below e^-20.
CONFIGS = [
    (1, 40, 100, False),
    (1, 200, 300, True),
    (65536, 50, 30000, False),
    (524288, 8, 1500000, False),
]
if LONG:
    CONFIGS += [
        (1, 3000, 24 + 8, True),
        (65536, 3000, 3000, True),
        (65536, 16, 1000000, True),
        (524288, 8, 8000000, True),
        (524288, 8000, 8000, False),
    ]

# Found even where only direct references are known: nothing of theirs points to them.
DIRECT = {"plain", "self", "realloc", "ended_arena", "fed"}
# With references alone: stale pointers in freed memory may keep a block of these.
ALL = DIRECT | {"list", "cycle", "tree", "shared_ptr_cycle", "map"}


# What holds those that are held, outermost. Where the heap cannot be walked, also what is not sampled.
HOLDERS = {
    "global": r"global global_list \(leak_shapes\)",
    "static_local": r"global make_static_local(\(\))?::kept ",
    "interior": "global interior ",
    "last_word": "global last_words ",
    "last_word_holder": "global last_words ",
    "tagged": "global tagged ",
    "virtual_base": "global virtual_base ",
    "array_cookie": "global arrays ",
    "std_map": r"global a_map\+",
    "std_list": r"global a_list(\[abi:cxx11\])?",
    "std_unordered_map": "global a_hash",
    "std_shared_ptr": "global a_vector",
    "shared_memory": "mapping memfd:shapes",
    "private_mapping": r"mapping of \d+ KiB",
    "epoll": r"epoll fd \d+",
    "plugin": r"global items \(leak_plugin.so\)",
    # A thread that gets no processor in time cannot say where it stands: then its stack is not told apart.
    "thread_local": "(tls of|stack of thread) leak_shapes",
    "pthread_key": "(tls of|stack of thread) leak_shapes",
    "waiting_stack": r"thread leak_shapes in waiting_stack_thread|stack of thread leak_shapes",
    "running_stack": "(stack of )?thread leak_shapes",
    "register": "(register of |stack of )?thread leak_shapes",
    "ended_arena": "global from_ended_arena ",
    "fed": r"global (fed_list|pool) |mapping of \d+ KiB", # the pool's, where it is not sampled
    "named_root": r"root 0x\w+, told by prof_heap_root\(\)",
    "ignored": r"told by prof_heap_ignore\(\)",
}
# Mapped memory may be the heap then: it is asked who holds it.
HOLDERS_WITHOUT_A_WALK = {"private_mapping": "global private_mapping "}
# Held through blocks that are too small to be sampled: the way through them is found all the same.
THROUGH_UNSAMPLED = {"std_map", "std_list", "std_unordered_map", "std_shared_ptr"}
STACK = re.compile("(stack of )?thread leak_shapes")
CHANGED = "[not the same from one look to the next]"
UNKNOWN_HEAP = r"heap \(not sampled\), or mapped memory"
OF_OPERATOR_NEW = {"virtual_base", "array_cookie"} # some allocators have their own


def library(name):
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    return None


def shape_of(frames):
    for f in frames:
        m = SHAPE.match(f.replace("feed_", "fed_") if f.startswith("feed_") else f)
        if m:
            return m.groups()
    return None, None


def run(shapes, plugin, hooks, allocator, config, folder):
    rate, blocks, size, churn = config
    env = dict(os.environ)
    env.pop("LIBPROF_HEAP_RATE", None)
    if allocator:
        env["LD_PRELOAD"] = hooks + " " + allocator
    done = subprocess.run(
        [shapes, folder, str(rate), str(blocks), str(size), str(int(churn)), plugin],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240, text=True)
    if not check(done.returncode == 0, "%s: %s" % (config, done.stdout[-500:])):
        return False
    return True


def judge_holders(raw, config, walked):
    rate, blocks, size, churn = config
    where = "holders at rate %d%s: " % (rate, ", churn" if churn else "")
    roots = collections.defaultdict(collections.Counter)
    through = collections.Counter()

    for frames, values, _ in pprof.assert_valid(raw, "holders").stacks():
        shape, verdict = shape_of(frames[:1])
        if verdict == "held":
            roots[shape][frames[-1]] += values[0]
            if shape in THROUGH_UNSAMPLED:
                named = re.match("global a_", frames[-1]) and "or more (not sampled)" in " ".join(frames)
                through[bool(named)] += values[0]
    for shape, pattern in HOLDERS.items():
        if not walked:
            pattern = "%s|%s|%s" % (pattern, HOLDERS_WITHOUT_A_WALK.get(shape, pattern), UNKNOWN_HEAP)
            if shape in OF_OPERATOR_NEW and not roots[shape]:
                continue
        right = sum(n for root, n in roots[shape].items() if re.match(pattern, root))
        # Another may have a stale word that leads to one of them; where stacks change all the time it may be there
        # at one look and gone at the next, and take a list with it: that is said, and no wrong answer. Where no heap
        # can be walked, such a word of a stack may be all that is found of a long list.
        all_told = sum(n for root, n in roots[shape].items() if (not churn or root != CHANGED) and
                       (walked or not STACK.match(root) or re.match(pattern, root)))
        check(right > 0 and right >= 0.7 * all_told,
              where + "%s is held by %s" % (shape, dict(roots[shape])))
    if not walked and not churn and blocks <= 8: # longer lists have longer ways than are followed
        check(through[True] >= through[False],
              where + "of what unsampled blocks hold %s are told by whom" % dict(through))


def judge(raw, config, walked):
    rate, blocks, size, churn = config
    profile = pprof.assert_valid(raw, "leaks")
    comments = " ".join(profile.comments())
    where = "rate %d, %d blocks of %d bytes%s: " % (rate, blocks, size, ", churn" if churn else "")
    found = collections.Counter()
    kinds = collections.defaultdict(set)

    check(("along glibc's heap" in comments) == walked, where + comments)
    for frames, values, labels in profile.stacks():
        shape, verdict = shape_of(frames)
        if shape is None:
            continue
        check(verdict != "held", where + "%s_held is told as leaked: %s" % (shape, labels))
        check(verdict != "possible" or labels["kind"] == "possible",
              where + "%s_possible is told as leaked: %s" % (shape, labels))
        check("age_seconds" in labels, where + "no age: %s" % labels)
        if verdict == "lost":
            found[shape] += values[0] if rate == 1 else 1
            kinds[shape].add(labels["kind"])
    for shape in ALL if walked else DIRECT:
        check(found[shape] > 0, where + "%s_lost is not told" % shape)
        if rate == 1 and (walked or shape in DIRECT):
            least = blocks * (0.97 if walked else 0.9)  # stale words may hold some
            check(least <= found[shape] <= blocks,
                  where + "%s: %d of %d blocks" % (shape, found[shape], blocks))
    if walked and rate == 1:
        check(sum(found[s] for s in ALL) >= 0.99 * blocks * len(ALL),
              where + "less than 99 %% of what is lost is told: %s" % found)
        check(kinds["plain"] == {"unreferenced"} and kinds["self"] == {"unreferenced"},
              where + "kinds %s" % dict(kinds))
        check(kinds["cycle"] == {"only from leaked"}, where + "kinds %s" % dict(kinds))
        check(kinds["list"] == {"only from leaked", "unreferenced"}, where + "kinds %s" % dict(kinds))
        # All of one tree may hang from a register.
        check(kinds["tree"] == {"possible"}, where + "kinds %s" % dict(kinds))


def main():
    shapes, plugin, hooks = sys.argv[1:4]
    allocator = None
    if len(sys.argv) > 4:
        allocator = next(filter(None, map(library, sys.argv[4:])), None)
        if not allocator:
            print("not installed: %s" % " ".join(sys.argv[4:]))
            return 77
    for config in CONFIGS:
        with tempfile.TemporaryDirectory() as folder:
            if run(shapes, plugin, hooks, allocator, config, folder):
                for name, look in ("leaks", judge), ("holders", judge_holders):
                    with open(os.path.join(folder, name + ".pb"), "rb") as f:
                        look(f.read(), config, allocator is None)
                with open(os.path.join(folder, "leaks.txt"), encoding="utf-8") as f:
                    text = f.read()
                check(re.match(r"[\d.]+\w+ in \d+ blocks of \d+ stacks", text), text[:200])
                check("plain_lost" in text, text[:200])
    return report()


sys.exit(main())
