#!/usr/bin/env python3
"""folded.py - ?format=folded has the same stacks and values as the protobuf, and fits its readers.

    folded.py DEMO
"""
import collections
import os
import re
import sys

import harness
from harness import Demo, ask, check, equal

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import pprof  # noqa: E402

ROOT = "/debug/pprof/"
TEXT = "text/plain; charset=utf-8"


def from_protobuf(body, kind):
    p = pprof.parse(body)
    at, sums = p.value_index(kind), collections.Counter()
    for s in p.sample:
        sums[tuple(f.replace(";", ":") for f, _, _ in reversed(p.frames(s)))] += s.value[at]
    return {k: v for k, v in sums.items() if v}


def from_folded(body):
    sums = collections.Counter()
    for line in body.decode().splitlines():
        found = re.match(r"(.+) (-?\d+)$", line)
        if check(found is not None, "a stack, a blank and a number: " + line):
            sums[tuple(found.group(1).split(";"))] += int(found.group(2))
    return dict(sums)


def main():
    harness.limit_time()
    with Demo(sys.argv[1]) as demo:
        demo.start()
        demo.tell("add", "3")
        demo.tell("feed", "40", "1000")
        for name, kinds in (("my.custom", [None]), ("threadcreate", [None]),
                            ("heap", [None, "alloc_objects", "alloc_space", "inuse_objects"])):
            body = ask(demo.where, ROOT + name).body
            for kind in kinds:
                a = ask(demo.where, ROOT + name + "?format=folded" +
                        ("&type=" + kind if kind else ""))
                equal((a.status, a.header("Content-Type"), a.header("Content-Disposition")),
                      (200, TEXT, None), name + ": headers")
                got = from_folded(a.body)
                check(name == "threadcreate" or len(got) > 0, name + ": there are stacks")
                equal(got, from_protobuf(body, kind), "%s, %s: as the protobuf has it" % (name, kind))
        a = ask(demo.where, ROOT + "heap?format=folded&seconds=1")
        equal((a.status, a.body), (200, b""), "a window in which nothing was fed")
        for query in ("format=svg", "format=folded&type=cows", "format=folded&type=" + "x" * 200):
            equal(ask(demo.where, ROOT + "heap?" + query).status, 400, query + " is refused")
        equal(ask(demo.where, ROOT + "heap?format=").status, 200, "an empty format is none")
    return harness.report()


if __name__ == "__main__":
    sys.exit(main())
