#!/usr/bin/env python3
"""test_rules.py - the rules compiled for a library's addresses say what readelf reads in its tables.

    test_rules.py RULES_DUMP [LIBRARY...]

readelf is a reader of unwind tables that shares nothing with ours. Every row of the tables is asked
for at its first address and at one inside, up to a limit. Rows with an expression for the CFA are
not compared, since readelf does not say what it is, and a few more may be given up as lost: it does not
say either when a return address is in a register. No rule may be wrong.
"""
import glob
import os
import random
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, report  # noqa: E402

LIMIT = 12000  # addresses of one library
NUMBERS = {"rax": 0, "rdx": 1, "rcx": 2, "rbx": 3, "rsi": 4, "rdi": 5, "rbp": 6, "rsp": 7,
           **{f"r{n}": n for n in range(8, 16)}}
SAVED = ["rbp", "rbx", "r12", "r13", "r14", "r15"]
NONE, LOST = 1, 0xfff
LIBRARIES = ["libc.so.6", "ld-linux-x86-64.so.2", "libstdc++.so.6", "libgcc_s.so.1", "libm.so.6",
             "libcrypto.so.3", "libunwind.so.8"]


def rows_of(path):
    """(first address, end, CFA, {register: where}) of each row in .eh_frame."""
    text = subprocess.run(["readelf", "-wF", path], capture_output=True, text=True).stdout
    end = columns = None
    rows = []
    section = False
    for line in text.splitlines() + [""]:
        fde = re.match(r"[0-9a-f]+ [0-9a-f]+ [0-9a-f]+ FDE .*pc=([0-9a-f]+)\.\.([0-9a-f]+)", line)
        words = line.split()
        if line.startswith("Contents of the "):
            section = ".eh_frame " in line
        if not section:
            continue
        if fde:
            end = int(fde[2], 16)
            last = len(rows)
        elif "CIE" in words[2:4]:
            end = None
        elif words[:2] == ["LOC", "CFA"]:
            columns = words[2:]
        elif not words:
            if end is not None:
                starts = [r[0] for r in rows[last:]] + [end]
                rows[last:] = [(a, b, c, d) for (a, c, d), b in zip(rows[last:], starts[1:])]
            end = None
        elif end is not None and len(words) == len(columns) + 2:
            rows.append((int(words[0], 16), words[1], dict(zip(columns, words[2:]))))
    return rows


def wanted(cfa, where):
    """What the rule should be, as rules_dump prints it; None if readelf does not say enough."""
    if where.get("ra") == "u":
        return ["end"]
    register, _, offset = cfa.partition("+")
    if register not in NUMBERS or where.get("ra") != "c-8":
        return None
    saves = []
    for name in SAVED:
        place = where.get(name, "u")
        below = re.fullmatch(r"c-(\d+)", place)
        if place in ("u", "s"):
            saves.append(NONE)
        elif below and int(below[1]) % 8 == 0 and int(below[1]) // 8 < LOST:
            saves.append(int(below[1]) // 8)
        else:
            saves.append(LOST)
    kind = register if register in ("rsp", "rbp") and saves[0] != LOST else "base"
    if int(offset) == 0:
        kind = "base"
    return [kind, NUMBERS[register], int(offset)] + saves


def compare(dump, path):
    rows = [r for r in rows_of(path) if r[0] < r[1]]
    random.Random(1).shuffle(rows)
    asked = []
    for start, end, cfa, where in rows[:LIMIT // 2]:
        asked.append((start, cfa, where))
        asked.append((random.Random(start).randrange(start, end), cfa, where))
    out = subprocess.run([dump, path], input="".join(f"{a[0]:x}\n" for a in asked), text=True,
                         capture_output=True)
    got = out.stdout.splitlines()
    check(out.returncode == 0 and len(got) == len(asked), f"{path}: dumped: {out.stderr}")
    different = unsaid = lost = 0
    for (pc, cfa, where), line in zip(asked, got):
        want = wanted(cfa, where)
        if want is None:
            unsaid += 1
            continue
        if line.startswith("lost "):
            lost += 1
            continue
        if want == ["end"] and line.startswith("end ") or " ".join(map(str, want)) == line:
            continue
        different += 1
        if different < 5:
            print(f"{path} {pc:#x}: {line}, readelf has {cfa} {where}: {want}")
    check(len(rows) > 20 and different == 0, f"{path}: {different} of {len(asked)} differ")
    check(unsaid <= len(asked) * 0.02, f"{path}: {unsaid} of {len(asked)} rows are expressions")
    check(lost <= len(asked) * 0.005, f"{path}: {lost} of {len(asked)} rules are lost")
    print(f"{path}: {len(asked)} addresses, {unsaid} are expressions, {lost} lost")


def main():
    paths = sys.argv[2:]
    for name in LIBRARIES if not paths else []:
        found = [p for d in ("/lib64", "/lib/x86_64-linux-gnu", "/usr/lib64",
                             "/usr/lib/x86_64-linux-gnu") for p in glob.glob(f"{d}/{name}")]
        paths += found[:1]
    check(len(paths) >= 3, f"libraries found: {paths}")
    for path in paths:
        compare(sys.argv[1], path)
    return report()


sys.exit(main())
