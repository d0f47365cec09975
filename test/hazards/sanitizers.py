#!/usr/bin/env python3
"""sanitizers.py - a program built with a sanitizer, with libprof linked and preloaded: no report but
the one of the program's own fault, and the heap profile says that it stands aside.

    sanitizers.py PRELOAD HOOKS PROF SOURCE [COMPILER..]

Ends with "N passed, N failed"; exit status 77 when no sanitizer is at hand.
"""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report  # noqa: E402

preload, hooks, prof, source = map(os.path.abspath, sys.argv[1:5])
compilers = sys.argv[5:] or ["gcc", "clang"]
TIME_LIMIT_S = 120

# sanitizer, and for each fault a word of its report
KINDS = {
    "address": {"": None, "overflow": "heap-buffer-overflow", "leak": "4321 byte"},
    "thread": {"": None, "race": "data race"},
    "leak": {"": None, "leak": "4321 byte"},
    "undefined": {"": None},
}


def build(compiler, kind, out, link):
    p = subprocess.run([compiler, "-g", "-O1", "-fsanitize=" + kind, source, "-o", out, "-pthread",
                        *link], capture_output=True, check=False)
    return p.returncode == 0


def run(program, fault, env):
    base = {k: v for k, v in os.environ.items()
            if not k.startswith(("LIBPROF_", "LD_", "MALLOC_")) and not k.endswith("SAN_OPTIONS")}
    p = subprocess.run([program] + ([fault] if fault else []), env=dict(base, **env),
                       capture_output=True, text=True, errors="replace", timeout=TIME_LIMIT_S,
                       check=False)
    return p.returncode, p.stdout, p.stderr


def main():
    tried = 0
    link = [hooks, prof, "-Wl,-rpath,%s:%s" % (os.path.dirname(hooks), os.path.dirname(prof))]
    with tempfile.TemporaryDirectory() as d:
        for compiler in compilers:
            for kind, faults in KINDS.items():
                plain = "%s/%s_%s" % (d, os.path.basename(compiler), kind)
                if not build(compiler, kind, plain, []):
                    print("skipped: %s has no -fsanitize=%s" % (compiler, kind))
                    continue
                if run(plain, "", {})[0] != 0:
                    print("skipped: %s -fsanitize=%s does not run here" % (compiler, kind))
                    continue
                tried += 1
                check(build(compiler, kind, plain + "_linked",
                            ["-Wl,--no-as-needed", *link, "-Wl,--as-needed"]), "builds linked")
                ways = [("linked", plain + "_linked", {"LIBPROF_HEAP_RATE": "1"}),
                        ("preloaded", plain, {
                            "LIBPROF_HEAP_RATE": "1", "LD_PRELOAD": preload,
                            # else a shared ASan refuses to start behind any preloaded library
                            "ASAN_OPTIONS": "verify_asan_link_order=0"})]
                for how, program, env in ways:
                    for fault, word in faults.items():
                        what = "%s -fsanitize=%s, %s, fault %r" % (compiler, kind, how, fault)
                        expected = run(plain, fault, {})
                        if word and word not in expected[2]:
                            print("skipped, not found even without libprof: " + what)
                            continue
                        status, out, err = run(program, fault, env)
                        check(status == expected[0], "%s: status %d, not %d: %s" %
                              (what, status, expected[0], err[:1500]))
                        check((word in err) if word else not err, "%s: report %s" %
                              (what, err[:1500]))
                        if word:
                            # The checkout, and so any path, may be called libprof.
                            check(not re.search(r"#0 .*(\bin prof_|/libprof[-a-z]*\.so)", err),
                                  "%s: ours: %s" % (what, err[:1500]))
                            check(err.count("ERROR: ") + err.count("WARNING: ") ==
                                  expected[2].count("ERROR: ") + expected[2].count("WARNING: "),
                                  "%s: one report" % what)
                        if kind != "undefined" and "done" in out:
                            check("sanitizer" in out, "%s: the profile says why: %s" % (what, out))
    if not tried:
        print("skipped: no sanitizer here")
        sys.exit(77)
    return report()


sys.exit(main())
