#!/usr/bin/env python3
"""memory.py - the profile `memory`: it adds up to RSS, and names the reason first.

    memory.py MEMORY_SHAPES

Each shape is a program whose memory has one reason. What the machine cannot have, such as swap, is
left out and said to be.
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import pprof
from checks import check, report

MIB = 1 << 20
LATER = 1.5 * MIB  # what the process takes between two looks, libprof's buffers and stdio's

# shape: the kind that comes first, words of its first line, MiB of it from and to
SHAPES = {
    "in_use": ("heap", "heap in use", 30, 60),
    "given_up": ("heap-free", "free in the heap, whole pages: the main heap", 62, 67),
    "fragments": ("heap-holes", "free in the heap, between blocks in use", 50, 60),
    "arenas": ("heap-free", "arenas of threads", 60, 66),
    "mapped": ("anonymous", "mapping_that_leaks", 63, 66),
    "huge": ("anonymous", "in huge pages", 63, 66),
    "file": ("files", "/tmp/libprof-memory-", 63, 65),
    "shared": ("shared", "shared memory", 63, 65),
    "swapped": ("anonymous", "swapped out", 63, 65),
    "data": ("data", "memory_shapes", 63, 67),
    "threads": ("stacks", "501 threads", 62, 75),
    "reserved_huge": ("hugetlb", "which RSS does not count", 0, 0),
    "untouched": (None, "", 0, 0),
}


# Else malloc writes to all that it gives out, and nothing is untouched.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "MALLOC_PERTURB_"}


def run(program, shape, *how):
    r = subprocess.run([program, shape] + list(how), stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=60)
    if r.returncode == 77:
        return None
    check(r.returncode == 0, "%s ends with %d, %r" % (shape, r.returncode, r.stderr))
    return r.stdout, [int(n) for n in r.stderr.split()]


def first_line(text):
    """Of the first kind: it begins with an amount and its share."""
    for line in text.decode().split("\n"):
        if "%" in line and not line.startswith("#"):
            return line
    return ""


def is_near(value, low, high):
    return 0.98 * min(low, high) - LATER <= value <= 1.02 * max(low, high) + LATER


def check_sums(shape, memory, rollup):
    rss, swap = memory["resident_bytes"], memory["swapped_bytes"]
    check(is_near(rss, rollup[0], rollup[1]), "%s: %d is RSS, %s" % (shape, rss, rollup))
    check(is_near(swap, rollup[2], rollup[3]), "%s: %d is swap, %s" % (shape, swap, rollup))
    for field in ("resident_bytes", "swapped_bytes", "huge_bytes", "mapped_bytes"):
        check(sum(k[field] for k in memory["kinds"]) == memory[field], "%s adds up" % field)
        for k in memory["kinds"]:
            check(sum(p[field] for p in k["parts"]) == k[field], "%s of %s" % (field, k["kind"]))


def check_shape(program, shape, kind, words, low, high):
    answer = run(program, shape)
    if answer is None or (shape == "swapped" and answer[1][3] == 0):
        print("no %s on this machine" % shape)
        return
    text, memory = answer[0].split(b"\0")
    memory = json.loads(memory)
    check_sums(shape, memory, answer[1])
    amount = {k["kind"]: k["resident_bytes"] + k["swapped_bytes"] for k in memory["kinds"]}
    if kind is None:
        check(max(amount.values()) < 8 * MIB, "%s: nothing that is not resident, %s" %
              (shape, amount))
        return
    if kind == "hugetlb":
        first = memory["kinds"][0]
        check(first["kind"] == kind and first["huge_bytes"] == 64 * MIB, "%s: %s" % (shape, first))
        return
    check(memory["kinds"][0]["kind"] == kind, "%s is told as %s" %
          (shape, memory["kinds"][0]["kind"]))
    check(low * MIB <= amount[kind] <= high * MIB, "%s: %.1f MiB" % (shape, amount[kind] / MIB))
    check(len(memory["kinds"][0]["advice"]) > 20, "%s: there is advice" % shape)
    check(words in first_line(text), "%s: %r has %r" % (shape, first_line(text), words))


def check_pprof(program):
    data = run(program, "given_up", "pprof")[0]
    p = pprof.assert_valid(data, "memory")
    stacks = {tuple(frames): values for frames, values, _ in p.stacks()}
    free = ("the main heap", "free in the heap, whole pages")
    check(free in stacks and stacks[free][3] > 60 * MIB, "as pprof: %s" % sorted(stacks))


def main():
    for shape, row in SHAPES.items():
        check_shape(sys.argv[1], shape, *row)
    check_pprof(sys.argv[1])
    return report()


sys.exit(main())
