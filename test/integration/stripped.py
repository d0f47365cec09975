#!/usr/bin/env python3
"""stripped.py - a profile of a stripped program leads to the names.

    stripped.py PRELOAD

What is shown in place of a name is the address that nm knows the function by, in programs wherever
they are linked to; a comment says what would help; and go tool pprof, given the unstripped file, has
the names, without being forced to look. And where a program lacks the tables that stacks are walked by, a
comment says so.
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

PROGRAM = """
#include <stdlib.h>
static void *kept[1000];
static __attribute__((noipa)) void leak_here(int i) { kept[i] = malloc(100); }
static __attribute__((noipa)) void serve(int i) { leak_here(i); }
int main(void)
{
    for (int i = 0; i < 1000; i++)
        serve(i);
    return kept[0] == NULL;
}
"""
WAYS = {"pie": [], "no-pie": ["-no-pie"], "far": ["-no-pie", "-Wl,-Ttext-segment=0x40000000"],
        "lld": ["-fuse-ld=lld"], "lld-no-pie": ["-fuse-ld=lld", "-no-pie"]}


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, **more)


def test_without_unwind_tables(preload, folder):
    """Tables for debuggers only: stacks end, and it is said why, of that program alone."""
    os.makedirs("tables")
    for flag, lacking in (("-fno-asynchronous-unwind-tables", True),
                          ("-fasynchronous-unwind-tables", False)):
        run("gcc", "-O2", "-g", "-fomit-frame-pointer", flag, "-o", "tables/service", "service.c")
        run("tables/service", env=dict(os.environ, LD_PRELOAD=preload, LIBPROF_HEAP_RATE="1",
                                       LIBPROF_DUMP=f"{folder}/tables.pb.gz"))
        with open("tables.pb.gz", "rb") as f:
            p = pprof.assert_valid(f.read())
        said = [c for c in map(p.string, p.comment) if "asynchronous-unwind-tables" in c]
        ends = [frames[-1] for frames, _, _ in p.stacks() if "leak_here" in frames]
        check(ends == ["[no unwind info]" if lacking else "_start"], f"{flag}: {ends}")
        check(len(said) == lacking and all("end in service:" in c for c in said), f"{flag}: {said}")


def main():
    preload = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="libprof-stripped-") as folder:
        os.chdir(folder)
        with open("service.c", "w") as f:
            f.write(PROGRAM)
        test_without_unwind_tables(preload, folder)
        for way, flags in WAYS.items():
            if "lld" in way and not shutil.which("ld.lld"):
                print("skipped: ld.lld is not installed")
                continue
            os.makedirs(f"{way}/unstripped")
            run("gcc", "-O1", "-g", "-Wl,--build-id", *flags, "-o", f"{way}/unstripped/service",
                "service.c")
            run("strip", "-o", f"{way}/service", f"{way}/unstripped/service")
            run(f"{way}/service", env=dict(os.environ, LD_PRELOAD=preload, LIBPROF_HEAP_RATE="1",
                                           LIBPROF_DUMP=f"{folder}/{way}.pb.gz"))
            address = {name: int(at, 16) for at, name in re.findall(
                r"^([0-9a-f]+) t (leak_here|serve)$", run("nm", f"{way}/unstripped/service").stdout,
                re.M)}
            with open(f"{way}.pb.gz", "rb") as f:
                p = pprof.assert_valid(f.read())
            names = {name for frames, _, _ in p.stacks() for name in frames}
            want = {f"service+{a:#x}" for a in address.values()}
            check(len(want) == 2 and want <= names, f"{way}: {sorted(names)}, not {sorted(want)}")
            has = [m.has_functions for m in p.mapping if p.string(m.filename).endswith("/service")]
            check(has == [False], f"{way}: has_functions {has}")
            comments = [p.string(c) for c in p.comment]
            check(any("service" in c and "/usr/lib/debug/" in c for c in comments),
                  f"{way}: {comments}")
            # That of Go 1.19 finds no program whose first page is in two segments, as lld makes them.
            if shutil.which("go") and "lld" not in way:
                env = dict(os.environ, PPROF_TMPDIR=folder)
                top = run("go", "tool", "pprof", "-sample_index=inuse_space", "-top",
                          f"{way}/unstripped/service", f"{way}.pb.gz", env=env).stdout
                check(re.search(r" leak_here\b", top) and re.search(r" serve\b", top), f"{way}: {top}")
        os.chdir("/")
    return report()


if __name__ == "__main__":
    sys.exit(main())
