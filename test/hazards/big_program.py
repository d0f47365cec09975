#!/usr/bin/env python3
"""big_program.py - the names of a program with very much debug information, while it works at full
speed; and of one whose file is no longer what is running.

    big_program.py SOURCE INCLUDE PROF HOOKS

SOURCE is big_program.c. Around it thousands of functions are generated, with inlined ones in them:
one unit is compiled, and its object file taken again and again with names of the same length in the
place of its own. Ends with "N passed, N failed"; exit status 77 without gcc.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report  # noqa: E402

source, include, prof, hooks = (os.path.abspath(a) for a in sys.argv[1:5])
LONG = os.environ.get("PROF_TEST_LONG") == "1"
UNITS = 800 if LONG else 20 # of FUNCTIONS each
FUNCTIONS = 250
FIRST = "unit000" # the name in all names of the unit that is compiled
COLD_S, WARM_S, PEAK_KIB = 5, 0.5, 100 * 1024
SUPPORT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support")
TIME_LIMIT_S = 300


def unit_source():
    """In C. Each function has its work done by three inlined ones, one within the other."""
    out = ["typedef __SIZE_TYPE__ size_t;", "void *malloc(size_t size);"]
    for i in range(FUNCTIONS):
        out.append("""
struct UNIT_record_%(i)d { long count, sum; };
static inline __attribute__((always_inline)) long UNIT_inner_%(i)d(struct UNIT_record_%(i)d *record, long value)
{
    long shifted = value >> %(s)d, mixed = shifted ^ record->sum;
    record->sum += mixed * %(m)d;
    return mixed + record->count;
}
static inline __attribute__((always_inline)) long UNIT_middle_%(i)d(struct UNIT_record_%(i)d *record, long value)
{
    long first = UNIT_inner_%(i)d(record, value + %(i)d);
    record->count += first > value;
    return first;
}
static inline __attribute__((always_inline)) void *UNIT_outer_%(i)d(int depth, unsigned seed)
{
    struct UNIT_record_%(i)d record = { seed, depth };
    long result = UNIT_middle_%(i)d(&record, seed);
    void *block = malloc((size_t)(100 + result %% 1000 * (result > 0)));
    __asm__ volatile("" : "+r"(block) : "r"(&record) : "memory");
    return block;
}
void *UNIT_function_%(j)d(int depth, unsigned seed);
void *UNIT_function_%(i)d(int depth, unsigned seed)
{
    void *block;
    if (depth > 0)
        block = UNIT_function_%(j)d(depth - 1, seed);
    else
        block = UNIT_outer_%(i)d(depth, seed);
    __asm__ volatile("" : "+r"(block));
    return block;
}""" % {"i": i, "j": (i * 7 + 1) % FUNCTIONS, "s": 1 + i % 9, "m": 3 + i})
    return "\n".join(out).replace("UNIT", FIRST)


def compiler(*arguments):
    subprocess.run(["gcc", *arguments], check=True, timeout=TIME_LIMIT_S)


def generate(directory):
    """The object file of the unit whose names begin with FIRST."""
    path = "%s/%s" % (directory, FIRST)
    with open(path + ".c", "w") as f:
        f.write(unit_source())
    compiler("-c", "-O1", "-gdwarf-5", "-gz=none", "-fno-optimize-sibling-calls", path + ".c",
             "-o", path + ".o")
    with open(path + ".o", "rb") as f:
        return f.read()


def build(directory, first, name, prefix, units):
    table, objects = [], []
    for u in range(units):
        unit = "%s%03d" % (prefix, u)
        object_file = "%s/%s.o" % (directory, unit)
        with open(object_file, "wb") as f:
            f.write(first.replace(FIRST.encode(), unit.encode()))
        objects.append(object_file)
        table += ["%s_function_%d" % (unit, i) for i in range(FUNCTIONS)]
    with open(directory + "/table.c", "w") as f:
        f.write("".join("void *%s(int, unsigned);\n" % t for t in table))
        f.write("void *(*const all_functions[])(int, unsigned) = {\n%s };\n" % ",\n".join(table))
        f.write("const unsigned n_functions = %d;\n" % len(table))
    program = directory + "/" + name
    with open(directory + "/objects", "w") as f:
        f.write("\n".join(objects))
    compiler("-O1", "-g", "-pthread", "-D_GNU_SOURCE", "-I", include, "-I", SUPPORT, source, directory + "/table.c",
             "@%s/objects" % directory, "-Wl,--no-as-needed", hooks, prof, "-Wl,--build-id",
             "-Wl,-rpath,%s:%s" % (os.path.dirname(hooks), os.path.dirname(prof)), "-o", program)
    for o in objects:
        os.unlink(o)
    return program


def run(what, program, meddle):
    """(what it says, its profile); meddle(program) comes once it is at work."""
    text = program + ".txt"
    with subprocess.Popen([program, text], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as p:
        try:
            check(p.stdout.readline() == "ready\n", what + ": it starts")
            meddle(program)
            out, _ = p.communicate("go\n", timeout=TIME_LIMIT_S)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            p.kill()
            out = ""
            p.wait()
    check(p.returncode == 0, "%s: it ends with %d" % (what, p.returncode))
    told = dict(line.split() for line in out.splitlines() if len(line.split()) == 2)
    try:
        with open(text) as f:
            profile = f.read()
        os.unlink(text)
    except FileNotFoundError:
        profile = ""
    return told, profile


FRAME = re.compile(r"^#\t0x[0-9a-f]+\t(\S*)\t(.+)", re.M)


def stacks(profile):
    """[[(function, place)], ...]"""
    return [[(f or place, place) for f, place in FRAME.findall(row)]
            for row in profile.split("\n\n") if " @ " in row]


def whole(what, profile, prefix):
    """Every stack of the generated functions is as it must be, with the inlined ones and lines."""
    n = wrong = 0
    example = ""
    for stack in stacks(profile):
        names = [f for f, _ in stack]
        if not any("_function_" in f for f in names):
            continue
        n += 1
        m = re.match(r"(%s\d{3})_outer_(\d+)$" % prefix, names[0])
        chain = names[1:8]
        ok = m and chain[0] == "%s_function_%s" % m.groups() and len(chain) == 7
        for lower, upper in zip(chain[1:], chain): # who calls whom
            l, u = (re.match(r"%s\d{3}_function_(\d+)$" % prefix, f) for f in (lower, upper))
            ok = ok and l and u and int(u[1]) == (int(l[1]) * 7 + 1) % FUNCTIONS
        ok = ok and all(re.search(r"%s\.c:\d+$" % m[1], place) for _, place in stack[:8])
        if not ok:
            wrong += 1
            example = str(stack)
    check(n > 100 and wrong == 0, "%s: %d of %d stacks are wrong, as %s" % (what, wrong, n, example))


def no_wrong_names(what, profile, wrong_prefix):
    rows = stacks(profile)
    check(len(rows) > 100, "%s: %d stacks" % (what, len(rows)))
    wrong = [s for s in rows if any(f.startswith(wrong_prefix) for f, _ in s)]
    check(not wrong, "%s: names of another program: %s" % (what, wrong[:1]))


def main():
    if not shutil.which("gcc") or not shutil.which("strip"):
        print("skipped: no gcc")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as d:
        first = generate(d)
        big = build(d, first, "big", "unit", UNITS)
        size = os.path.getsize(big) >> 20
        told, profile = run("as built", big, lambda _: None)
        whole("as built", profile, "unit")
        if told:
            print("measured: %d MB, %d functions: %s s cold, %s s warm, %d MiB more at the peak, "
                  "%d after; throughput meanwhile %s" % (
                      size, UNITS * FUNCTIONS, told["cold_s"], told["warm_s"],
                      int(told["peak_kib"]) >> 10, int(told["after_kib"]) >> 10,
                      told["cold_throughput"]))
            check(int(told["peak_kib"]) < PEAK_KIB, "KiB at the peak: " + told["peak_kib"])
            check(int(told["after_kib"]) < PEAK_KIB // 2, "KiB kept: " + told["after_kib"])
            if LONG: # where it has the machine for itself
                check(float(told["cold_s"]) <= COLD_S, "cold: " + told["cold_s"])
                check(float(told["warm_s"]) <= WARM_S, "warm: " + told["warm_s"])

        # The same without its debug information, of which a part would do for names.
        stripped = shutil.copy(big, d + "/big_stripped")
        subprocess.run(["strip", stripped], check=True)
        _, profile = run("stripped", stripped, lambda _: None)
        rows = stacks(profile)
        check(len(rows) > 100, "stripped: %d stacks" % len(rows))
        check(not any("_function_" in f for s in rows for f, _ in s), "stripped: there are no names")

        # And with something else where its file was, when it has not been looked at yet.
        other = build(d, first, "other", "fake", max(UNITS // 50, 1))

        def replaced(path):
            os.rename(other, path)

        def deleted(path):
            os.unlink(path)

        def cut(share):
            def cut_now(path):
                shutil.copy(path, path + ".cut")
                os.truncate(path + ".cut", int(os.path.getsize(path) * share))
                os.rename(path + ".cut", path)
            return cut_now

        def zeroes(path):
            """Its headers and its end are there, but not what they tell of."""
            n = os.path.getsize(path)
            with open(path, "rb") as f, open(path + ".zero", "wb") as to:
                to.write(f.read(4096))
                f.seek(n - 65536)
                to.seek(n - 65536)
                to.write(f.read())
            os.rename(path + ".zero", path)

        for what, meddle in (("replaced", replaced), ("deleted", deleted), ("cut short", cut(0.5)),
                             ("cut to its headers", cut(0.00001)), ("empty", cut(0)),
                             ("full of zeroes", zeroes)):
            victim = d + "/big_victim"
            os.link(big, victim)
            _, profile = run(what, victim, meddle)
            no_wrong_names(what, profile, "fake")
            if os.path.exists(victim):
                os.unlink(victim)
    return report()


sys.exit(main())
