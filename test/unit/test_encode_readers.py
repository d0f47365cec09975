#!/usr/bin/env python3
"""test_encode_readers.py - what the encoders write, as its readers see it.

    test_encode_readers.py ENCODE_DRIVER

Every report of encode_driver, as protobuf and as text, through the checker of test/support/pprof.py
and, where there is Go, through the real `go tool pprof`. Both forms must come to the same totals.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import pprof  # noqa: E402
from checks import check, report  # noqa: E402

FIXTURE_TIME_NS = 1700000000 * 10**9
TEXT_KINDS = ["heap", "allocs", "mutex", "block", "threads", "goroutine", "threadcreate", "my.own"]
KINDS = TEXT_KINDS + ["profile"]


class Pprof:
    """`go tool pprof`, kept away from the user's files and from the network."""

    def __init__(self, directory):
        self.directory = directory
        self.env = dict(os.environ, HOME=directory, PPROF_TMPDIR=directory, GOFLAGS="-mod=mod",
                        GOCACHE=os.path.join(directory, "cache"), GOTOOLCHAIN="local",
                        PPROF_BINARY_PATH=directory)
        found = subprocess.run(["go", "tool", "-n", "pprof"], env=self.env, capture_output=True,
                               text=True, timeout=60)
        self.command = found.stdout.split() or ["go", "tool", "pprof"]

    def run(self, *args):
        done = subprocess.run([*self.command, *args], env=self.env, cwd=self.directory,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
        return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")

    def reread(self, path):
        """The profile as pprof itself writes it after reading `path`; None and its error."""
        out = path + ".reread"
        code, _, err = self.run("-symbolize=none", "-proto", "-output", out, path)
        if code != 0:
            return None, err
        with open(out, "rb") as f:
            return pprof.parse(f.read()), err


def write(driver, form, name, directory):
    path = os.path.join(directory, "%s.%s" % (name.replace(":", "-"), form))
    with open(path, "wb") as f:
        subprocess.run([driver, form, name], stdout=f, check=True, timeout=60)
    return path


def read(path):
    with open(path, "rb") as f:
        return f.read()


def test_the_checker_has_nothing_to_say(driver, directory):
    for kind in KINDS:
        for name in (kind, "empty:" + kind):
            raw = read(write(driver, "pprof", name, directory))
            found = pprof.check(pprof.parse(raw), raw, kind, now_ns=FIXTURE_TIME_NS)
            check(not found, "%s: %s" % (name, found))


def test_an_odd_report_breaks_no_rule_of_the_encoders(driver, directory):
    # What is left is wrong in the report itself, which promises what the encoder need not repair.
    of_report = {"value-negative", "value-zero", "sample-twice", "limit-depth", "limit-string",
                 "limit-bytes", "function-name", "function-system-name", "mapping-file",
                 "kind-bytes", "kind-values", "kind-period", "flags", "period", "duration",
                 "label-reserved"}
    for seed in range(1, 41):
        raw = read(write(driver, "pprof", "random:%d" % seed, directory))
        found = [p for p in pprof.check(pprof.parse(raw), raw, None, now_ns=FIXTURE_TIME_NS)
                 if p.rule not in of_report]
        check(not found, "seed %d: %s" % (seed, found[:5]))


def test_pprof_reads_both_forms_to_equal_totals(driver, directory, go):
    for kind in TEXT_KINDS:
        binary, err = go.reread(write(driver, "pprof", kind, directory))
        check(binary, "pprof reads the protobuf of %s: %s" % (kind, err))
        text, err = go.reread(write(driver, "text", kind, directory))
        check(text, "pprof reads the text of %s: %s" % (kind, err))
        if not binary or not text:
            continue
        check(binary.types() == text.types(), "%s: the text has %s" % (kind, text.types()))
        check(len(binary.sample) == len(text.sample), "%s: as many samples" % kind)
        for name, want in binary.totals().items():
            got = text.totals().get(name)
            # The report is whole numbers already, so a row can be off by one twice.
            check(abs(got - want) <= 1 + len(binary.sample) + abs(want) / 100000,
                  "%s %s: %s in the protobuf, %s in the text" % (kind, name, want, got))
        addresses = [sorted(l.address for l in p.location) for p in (binary, text)]
        check(addresses[0] == addresses[1], "%s: the same addresses" % kind)


def test_pprof_reads_empty_ones(driver, directory, go):
    for kind in KINDS:
        for form in ("pprof", "text") if kind in TEXT_KINDS else ("pprof",):
            p, err = go.reread(write(driver, form, "empty:" + kind, directory))
            check(p is not None and not p.sample and p.sample_type,
                  "%s of empty %s: %s" % (form, kind, err))


def test_pprof_reads_odd_ones(driver, directory, go):
    for seed in range(1, 16):
        for form in ("pprof", "text"):
            p, err = go.reread(write(driver, form, "random:%d" % seed, directory))
            check(p is not None, "seed %d as %s: %s" % (seed, form, err[-300:]))


def test_pprof_shows_names_files_and_inlined_frames(driver, directory, go):
    path = write(driver, "pprof", "heap", directory)
    demangle = "-symbolize=remote:demangle=templates"  # there being nothing remote, just that
    code, out, err = go.run(demangle, "-top", path)
    out = out.decode()
    check(code == 0, "-top: %s" % err)
    check(re.search(r"14211\.29kB\s+96\.52%.*\bleak$", out, re.M), "-top has leak: %s" % out)
    check("ns::pool::grow" in out, "-top demangles: %s" % out)
    code, out, err = go.run(demangle, "-traces", path)
    out = out.decode()
    check(code == 0 and re.search(r"make_buffer \(inline\)\n\s+ns::pool::grow\n\s+main", out),
          "-traces has the inlined frame: %s" % out)
    code, out, err = go.run("-symbolize=none", "-raw", path)
    out = out.decode()
    for piece in ("inuse_space/bytes", "/src/app/pool.cc:140", "0123456789abcdef",
                  "heap sampling: one block per 512 KiB", "worker:[A \"quoted\"]"):
        check(code == 0 and piece in out, "-raw has %s: %s" % (piece, out))
    code, out, err = go.run("-symbolize=none", "-tags", path)
    check(code == 0 and b"A \"quoted\"" in out, "-tags: %s %s" % (out, err))
    code, out, err = go.run("-symbolize=none", "-top", write(driver, "pprof", "allocs", directory))
    check(b"Type: alloc_space" in out, "allocs shows alloc_space: %s" % out)


def test_pprof_finds_names_through_the_memory_map(driver, directory, go):
    path = write(driver, "text", "real", directory)
    code, out, err = go.run("-symbolize=fastlocal", "-top", path)
    out = out.decode()
    check(code == 0, "-top: %s" % err)
    check("driver_marker" in out, "the function is found in the binary: %s %s" % (out, err))
    check(re.search(r"\b1MB\s+100%", out), "and has its value: %s" % out)


def main(argv):
    driver = os.path.abspath(argv[1])
    with tempfile.TemporaryDirectory(prefix="encode_readers.") as directory:
        test_the_checker_has_nothing_to_say(driver, directory)
        test_an_odd_report_breaks_no_rule_of_the_encoders(driver, directory)
        if shutil.which("go"):
            go = Pprof(directory)
            test_pprof_reads_both_forms_to_equal_totals(driver, directory, go)
            test_pprof_reads_empty_ones(driver, directory, go)
            test_pprof_reads_odd_ones(driver, directory, go)
            test_pprof_shows_names_files_and_inlined_frames(driver, directory, go)
            test_pprof_finds_names_through_the_memory_map(driver, directory, go)
        else:
            print("skipped: there is no go here, so pprof has not been asked")
    return report()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
