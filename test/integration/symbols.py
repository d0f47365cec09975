#!/usr/bin/env python3
"""symbols.py - names out of symbol tables, and the forms that tables and debug information come in.

    symbols.py SYMBOLIZE_TOOL C_SOURCE

Each form is made with the tools that make it elsewhere; what is not installed is passed by, with a
word. Files, lines and inlined frames are for symbolize.py.
"""

import os
import re
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, have, run_all  # noqa: E402

TOOL, C_SOURCE = (os.path.abspath(a) for a in sys.argv[1:3])

ASSEMBLER = """
    .text
    .globl mix, stir_typed
mix:                       # neither a type nor a size, as codecs and ciphers often are
    xorl %eax, %eax
.Lloop:
    incl %eax
    cmpl $9, %eax
    jne .Lloop
    ret
    .p2align 4
    .type stir_typed, @function
stir_typed:                # a type without a size
    movl $3, %eax
    ret
    .p2align 4
    .globl sized
    .type sized, @function
sized:
    movl $5, %eax
    ret
    .size sized, . - sized
gap:
    .fill 32, 1, 0x90      # behind a function with a size; gap's own
    ret
    .section .codec, "ax", @progbits
    .fill 16, 1, 0x90      # no symbol of this section comes before
after:
    nop
    ret
    .section .note.GNU-stack, "", @progbits
"""
ALIASES = """
int __libc_thing(int n) { return n * 3; }
extern int __GI___libc_thing(int) __attribute__((alias("__libc_thing")));
extern int thing64(int) __attribute__((weak, alias("__libc_thing")));
extern int thing(int) __attribute__((weak, alias("__libc_thing")));
__asm__(".symver versioned_1, versioned@@V1");
int versioned_1(int n) { return n + 1; }
"""
STATIC = """
__attribute__((noinline)) static int sample_hidden(int n) { return n * 7 + n / 3; }
int sample_seen(int n) { return sample_hidden(n) + 1; }
"""
CALLS = """
#include <stdio.h>
#include <stdlib.h>
int main(void) { void *p = malloc(3); free(p); return puts("x") + getenv("A") != 0; }
"""


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


def ask(path, addresses, notes=False):
    """[(function, file:line), ...] for each address, innermost first; and the notes."""
    text = run(TOOL, *(["-n"] if notes else []), path,
               input="".join("%x\n" % a for a in addresses))
    answer, lines, said = [], None, {}
    for line in text.splitlines():
        note = re.match(r"(unread|wanted): (.*)", line)
        if note:
            said[note[1]] = note[2]
        elif re.fullmatch("0x[0-9a-f]{16}", line):
            lines = []
            answer.append(lines)
        else:
            lines.append(line)
    answer = [list(zip(x[::2], x[1::2])) for x in answer]
    return (answer, said) if notes else answer


def name_at(path, address):
    return ask(path, [address])[0][-1][0]


def symbols(path, *flags):
    """Where functions start, by name."""
    found = {}
    for line in run("nm", *flags, path).splitlines():
        field = line.split()
        if len(field) == 3 and field[1] in "tTwWi":
            found[field[2]] = int(field[0], 16)
    return found


def sections(path):
    found = {}
    for line in run("readelf", "-SW", path).splitlines():
        m = re.match(r"\s*\[ *\d+\] (\S+)\s+\S+\s+([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+)", line)
        if m:
            found[m[1]] = tuple(int(x, 16) for x in m.groups()[1:]) # address, offset, size
    return found


def test_symbols_without_a_size():
    with open("asm.s", "w") as f:
        f.write(ASSEMBLER)
    for flags in ("", "-g"):
        run("gcc", *flags.split(), "-shared", "-o", "asm.so", "asm.s")
        at = symbols("asm.so")
        for address, name in [(at["mix"], "mix"), (at["mix"] + 2, "mix"), (at["mix"] + 9, "mix"),
                              (at["stir_typed"] + 3, "stir_typed"), (at["sized"] + 2, "sized"),
                              (at["gap"], "gap"), (at["gap"] + 20, "gap"),
                              (at["after"] - 4, "??"), (at["after"] + 1, "after")]:
            got = name_at("asm.so", address)
            check(got == name, f"assembler {flags}: {address:#x} is {got}, not {name}")
    # Of the exported ones alone the next static function would be taken for the one before.
    run("strip", "asm.so")
    got = name_at("asm.so", at["mix"] + 9)
    check(got == "??", f"stripped assembler: {got}")


def test_aliases_by_the_name_that_people_call():
    with open("aliases.c", "w") as f:
        f.write(ALIASES)
    with open("aliases.map", "w") as f:
        f.write("V1 { global: *; };\n")
    for flags in ("-g0", "-g"):
        run("gcc", "-O1", flags, "-shared", "-fPIC", "-Wl,--version-script=aliases.map", "-o",
            "aliases.so", "aliases.c")
        at = symbols("aliases.so")
        got = name_at("aliases.so", at["thing"] + 1)
        check(got == "thing", f"aliases {flags}: {got}")
        got = name_at("aliases.so", [a for n, a in at.items() if n.startswith("versioned")][0] + 1)
        check(got in ("versioned", "versioned_1"), f"a version {flags}: {got}")


def test_stubs_of_the_linkage_table():
    with open("calls.c", "w") as f:
        f.write(CALLS)
    ways = ["", "-fcf-protection=full -Wl,-z,ibtplt", "-no-pie", "-Wl,-z,now", "-fno-plt",
            "-Wl,-z,lazy"]
    ways += ["-fuse-ld=" + ld for ld in ("gold", "lld", "mold") if have("ld." + ld)]
    for flags in ways:
        run("gcc", "-O1", *flags.split(), "-o", "calls", "calls.c")
        for stripped in (False, True):
            if stripped:
                run("strip", "calls")
            text = run("objdump", "-d", "--no-show-raw-insn", "calls")
            want = {int(a, 16): n for a, n in re.findall(r"^0*([0-9a-f]+) <(\w+@plt)>:$", text,
                                                         re.M)}
            check(want or flags == "-fno-plt", f"{flags}: objdump sees stubs")
            for address, name in want.items():
                got = name_at("calls", address + 1)
                if "mold" in flags: # which leaves symbols of its own there
                    got = got.replace("$pltgot", "@plt").replace("$plt", "@plt")
                check(got == name, f"stub {flags}, stripped {stripped}: {got}, not {name}")


def test_what_was_stripped_into_the_file_itself():
    """MiniDebugInfo, as Fedora's packages have it: only names, compressed by xz."""
    if not have("xz"):
        return
    with open("static.c", "w") as f:
        f.write(STATIC)
    run("gcc", "-O2", "-g", "-shared", "-fPIC", "-o", "full.so", "static.c")
    shutil.copy("full.so", "mini")
    run("strip", "--strip-debug", "mini")
    static = ["sample_hidden"]
    with open("static", "w") as f:
        f.write("\n".join(static))
    run("objcopy", "-S", "--keep-symbols=static", "mini", "kept")
    run("xz", "-f", "kept")
    shutil.copy("full.so", "stripped.so")
    run("strip", "stripped.so")
    run("objcopy", "--add-section", ".gnu_debugdata=kept.xz", "stripped.so", "mini.so")
    at = symbols("full.so")
    for name in static:
        check(name_at("stripped.so", at[name] + 1) == "??", f"{name} is not exported")
        (got,), said = ask("mini.so", [at[name] + 1], notes=True)
        if "liblzma" in said.get("unread", ""):
            print("skipped: built without liblzma")
            return
        check(got == [(name, "??:?")], f"in .gnu_debugdata: {got}, not {name}")
    for name in symbols("full.so", "-D"):
        if name.startswith("sample_"):
            check(name_at("mini.so", at[name] + 1) == name, f"{name} is exported and found")
    # Damaged: fewer names.
    with open("kept.xz", "r+b") as f:
        f.seek(40)
        f.write(b"\xff" * 40)
    run("objcopy", "--add-section", ".gnu_debugdata=kept.xz", "stripped.so", "mini.so")
    check(name_at("mini.so", at[static[0]] + 1) == "??", "a damaged .gnu_debugdata names nothing")


def test_ways_of_compression():
    run("gcc", "-O2", "-g", "-shared", "-fPIC", "-o", "whole.so", C_SOURCE)
    addresses = [a + 1 for n, a in symbols("whole.so").items() if n.startswith("sample_")]
    want = ask("whole.so", addresses)
    check(all(f[0][1] != "??:?" for f in want), "lines")
    for way in ("zlib", "zlib-gnu", "zstd"):
        path = f"{way}.so"
        try:
            run("objcopy", f"--compress-debug-sections={way}", "whole.so", path)
        except subprocess.CalledProcessError:
            print(f"skipped: objcopy knows no {way}")
            continue
        address, offset, size = sections(path).get(".debug_info") or sections(path)[".zdebug_info"]
        with open(path, "rb") as f:
            f.seek(offset)
            head = f.read(4)
        check(head == {"zlib": b"\1\0\0\0", "zlib-gnu": b"ZLIB", "zstd": b"\2\0\0\0"}[way],
              f"{way}: the head is {head}")
        got, said = ask(path, addresses, notes=True)
        if "zstd and not read" in said.get("unread", ""):
            check(all(f[0][1] == "??:?" for f in got), "unread zstd gives no lines")
            continue
        check(got == want, f"{way}: {got[:1]}, not {want[:1]}")
    # A way that nobody knows is told of.
    shutil.copy("zlib.so", "unknown.so")
    with open("unknown.so", "r+b") as f:
        for name, (_, offset, size) in sections("unknown.so").items():
            if name.startswith(".debug_") and size > 24:
                f.seek(offset)
                if f.read(4) == b"\1\0\0\0":
                    f.seek(offset)
                    f.write(struct.pack("<I", 77))
    got, said = ask("unknown.so", addresses, notes=True)
    check("unknown.so" in said.get("unread", ""), f"unknown compression: {said}")
    check(all(f[-1][0].startswith("sample_") and f[-1][1] == "??:?" for f in got),
          f"unknown compression: {got[:1]}")


def test_alternate_file_beside_the_debug_file():
    """.gnu_debugaltlink is relative to the file that has it, through links."""
    if not have("dwz"):
        return
    folder = os.path.abspath("package")
    os.makedirs(f"{folder}/usr", exist_ok=True)
    os.makedirs("elsewhere", exist_ok=True)
    for i in "ab":
        with open(f"{i}.c", "w") as f:
            f.write(f'#include "{C_SOURCE}"\nint main_{i}(int n) {{ return sample_enter(n); }}\n')
        run("gcc", "-O2", "-g", "-shared", "-fPIC", "-Wl,--build-id=sha1", "-o", f"shared-{i}.so",
            f"{i}.c")
    at = symbols("shared-a.so")
    addresses = [a + i for n, a in at.items() if n.startswith("sample_") for i in range(0, 120, 3)]
    want = ask("shared-a.so", addresses)
    check(any(f[0][0] == "sample_mix" for f in want), "something is inlined")
    for i in "ab":
        run("objcopy", "--only-keep-debug", f"shared-{i}.so", f"{folder}/usr/{i}.debug")
    try:
        run("dwz", "-m", f"{folder}/common", "-M", "../common", f"{folder}/usr/a.debug",
            f"{folder}/usr/b.debug")
    except subprocess.CalledProcessError as e:
        print("skipped: dwz -m:", e.stderr)
        return
    run("objcopy", "-O", "binary", "--only-section=.gnu_debugaltlink",
        "--set-section-flags", ".gnu_debugaltlink=alloc", f"{folder}/usr/a.debug", "link")
    with open("link", "rb") as f:
        check(f.read().startswith(b"../common\0"), "the link is relative")
    run("strip", "-o", "elsewhere/shared-a.so", "shared-a.so")
    os.symlink(f"{folder}/usr/a.debug", "elsewhere/a.debug")
    run("objcopy", "--add-gnu-debuglink=elsewhere/a.debug", "elsewhere/shared-a.so")
    got = ask("elsewhere/shared-a.so", addresses)
    check(got == want, f"alternate file: {got[:2]}, not {want[:2]}")


def test_a_debug_file_that_comes_later():
    run("gcc", "-O2", "-g", "-shared", "-fPIC", "-Wl,--build-id=sha1", "-o", "late-whole.so",
        C_SOURCE)
    run("objcopy", "--only-keep-debug", "late-whole.so", "late.debug.new")
    shutil.copy("late.debug.new", "late.debug")
    run("objcopy", "-S", "--add-gnu-debuglink=late.debug", "late-whole.so", "late.so")
    os.remove("late.debug")
    at = symbols("late-whole.so")["sample_walk"]
    with subprocess.Popen([TOOL, "-n", "late.so"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as tool:
        def again():
            tool.stdin.write("%x\n\n" % at)
            tool.stdin.flush()
            return [line for line in iter(tool.stdout.readline, "\n") if line]

        first, still = again(), again()
        check(not any("symbolize_sample.c:" in line for line in first), f"no file yet: {first}")
        wanted = [line for line in first if line.startswith("wanted: /")]
        check(wanted and "/.build-id/" in wanted[0], f"it is said what would help: {first}")
        check(still == first, "the same again")
        os.rename("late.debug.new", "late.debug")
        later = again()
        check(any("symbolize_sample.c:" in line for line in later), f"it has come: {later}")
        check(not any(line.startswith("wanted") for line in later), f"nothing is wanted: {later}")
        tool.stdin.close()


if __name__ == "__main__":
    sys.exit(run_all(globals(), "libprof-symbols-"))
