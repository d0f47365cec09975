#!/usr/bin/env python3
"""symbolize.py - names, files, lines and inlined frames are those of addr2line -i -f.

    symbolize.py SYMBOLIZE_TOOL C_SOURCE CXX_SOURCE

Programs are compiled in the ways that debug information comes, and every second address of their
functions is looked up by both. Compilers and tools that are not installed are passed by, with a
word.
"""

import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, have, run_all  # noqa: E402

TOOL, C_SOURCE, CXX_SOURCE = (os.path.abspath(a) for a in sys.argv[1:4])

C_MAIN = """
#include <stdio.h>
int sample_enter(int depth);
__attribute__((noinline)) static int nested(int n)
{
    __attribute__((noinline)) int inner(int x) { n += x; return printf("%d", n) + x; }
    return inner(n) + inner(3);
}
int main(int argc, char **argv) { (void)argv; return sample_enter(argc) + nested(argc); }
"""
PLAIN_MAIN = "int sample_enter(int); int main(int argc, char **argv) { return sample_enter(argc); }\n"
RUST_MAIN = """
use std::collections::HashMap;
struct Tree<T> { left: Option<Box<Tree<T>>>, value: T }
impl<T: Copy + Into<u64>> Tree<T> {
    #[inline(never)]
    fn sum(&self) -> u64 { self.value.into() + self.left.as_ref().map_or(0, |l| l.sum()) }
}
#[inline(never)]
fn words(text: &str) -> usize {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for w in text.split(' ') { *seen.entry(w.to_string()).or_insert(0) += 1; }
    seen.values().copied().max().unwrap_or(0)
}
fn main() {
    let t = Tree { left: Some(Box::new(Tree { left: None, value: 7u32 })), value: 9u32 };
    println!("{} {}", t.sum(), words("a b a"));
}
"""


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


def addresses_of(path, step=2, most=6000, like=""):
    """Addresses in functions, of those whose name has `like` in it."""
    found = set()
    for line in run("readelf", "-sW", path).splitlines():
        field = line.split()
        # crt files have no debug information, and symbols without a size.
        if len(field) >= 8 and field[3] == "FUNC" and field[6] != "UND" and like in field[7]:
            start, size = int(field[1], 16), int(field[2], 0)
            if size and not field[7].startswith("_start"):
                found.update(range(start, start + size, step))
    found = sorted(found)
    return found[::len(found) // most + 1]


def frames(text):
    """{address: [(function, file:line), ...]} of the output of either."""
    answer, lines = {}, None
    for line in text.splitlines():
        if re.fullmatch("0x[0-9a-f]{16}", line):
            lines = answer.setdefault(int(line, 16), [])
        else:
            lines.append(re.sub(r" \(discriminator \d+\)$", "", line))
    return {a: list(zip(l[::2], l[1::2])) for a, l in answer.items()}


def ask(command, addresses):
    return frames(run(*command, input="".join("%x\n" % a for a in addresses)))


def ours(path, addresses, **more):
    return frames(run(TOOL, path, input="".join("%x\n" % a for a in addresses), **more))


def theirs(path, addresses):
    return ask(["addr2line", "-a", "-i", "-f", "-e", path], addresses)


def llvm(path, addresses):
    text = run("llvm-symbolizer", "--no-demangle", "-i", "-e", path,
               input="".join("%#x\n" % a for a in addresses))
    answers = [block.splitlines() for block in text.split("\n\n") if block]
    return {a: [(f, re.sub(r":0$", ":?", where.rpartition(":")[0]))
                for f, where in zip(lines[::2], lines[1::2])]
            for a, lines in zip(addresses, answers)}


def same_place(want, got):
    """Or where they say nothing of the place, ours is the file in which the function is declared;
    paths of ours have no detours."""
    path, _, line = want.rpartition(":")
    return got == f"{os.path.normpath(path)}:{line}" or (want == "??:?" and got.endswith(":?"))


def same_name(want, got):
    """Ours may have the scopes around it."""
    return got == want or ("_Z" not in got and got.endswith("::" + want))


def same(want, got):
    """The outermost name apart, for which llvm-symbolizer prefers the symbol, suffix and all."""
    return len(want) == len(got) and all(same_place(w[1], g[1]) for w, g in zip(want, got)) and \
        all(same_name(w[0], g[0]) for w, g in zip(want[:-1], got[:-1]))


def same_all(want, got):
    return same(want, got) and same_name(want[-1][0], got[-1][0])


def undecided(path, want, got):
    """Where addr2line does not agree. That of binutils 2.40 takes the wrong file from some tables
    of DWARF 5, and calls inlined functions without a name for the linker by the symbol around
    them; that of 2.44 misses what is inlined at a quarter of the addresses of some programs of
    clang's. So llvm-symbolizer is asked too."""
    wrong = [a for a in want if not same_all(want[a], got[a])]
    if not wrong or not have("llvm-symbolizer"):
        return wrong
    opinion = llvm(path, wrong)
    return [a for a in wrong if not same(opinion[a], got[a])]


def compare(name, path, reference=None, inlined=True, like="", step=2, oracle=theirs):
    """All that is said of `reference` is what we say of `path`."""
    reference = reference or path
    addresses = addresses_of(reference, step, like=like)
    want, got = oracle(reference, addresses), ours(path, addresses)
    check(len(addresses) > 25, f"{name}: {len(addresses)} addresses")
    if inlined:
        check(any(len(f) > 1 for f in want.values()), f"{name}: something is inlined")
    if oracle == theirs:
        wrong = undecided(reference, want, got)
    else:
        wrong = [a for a in addresses if not same(want[a], got[a])]
    check(not wrong, f"{name}: {len(wrong)} of {len(addresses)} differ, first "
          + "".join(f"{a:#x}\n  want {want[a]}\n  got  {got.get(a)}" for a in wrong[:1]))
    return addresses, got


def functions_only(name, path, like):
    """There is no debug information that can be read: the symbol, and nothing else."""
    addresses = addresses_of(path, like=like)
    want, got = theirs(path, addresses), ours(path, addresses)
    check(len(addresses) > 20, f"{name}: {len(addresses)} addresses")
    wrong = [a for a in addresses
             if len(got[a]) != 1 or got[a][0][0] != want[a][-1][0].replace(".localalias", "")]
    check(not wrong, f"{name}: {[(got[a], want[a]) for a in wrong[:1]]}")
    return got


def test_c_compilers():
    ways = [
        ("gcc", "-O2 -gdwarf-5"), ("gcc", "-O2 -gdwarf-4"), ("gcc", "-O0 -g"), ("gcc", "-O3 -g"),
        ("gcc", "-O2 -g -no-pie"), ("gcc", "-O2 -g -static"),
        ("gcc", "-O2 -g -ffunction-sections -Wl,--gc-sections"), ("gcc", "-O2 -g -gz=zlib"),
        ("gcc", "-O2 -g -freorder-blocks-and-partition"),
        ("clang", "-O2 -gdwarf-5"), ("clang", "-O2 -gdwarf-4"), ("clang", "-O0 -g"),
        ("clang", "-O2 -g -no-pie"),
    ]
    for i, (compiler, flags) in enumerate(ways):
        if have(compiler):
            run(compiler, *flags.split(), "-o", f"c{i}", C_SOURCE, "plain.c")
            compare(f"{compiler} {flags}", f"c{i}", inlined="-O0" not in flags, like="sample_")


def test_what_addr2line_cannot_read():
    """Of binutils 2.40: 64-bit DWARF, some files of LTO's units, clang's indexed ranges."""
    run("gcc", "-O2", "-gdwarf-5", "-o", "bits32", C_SOURCE, "plain.c")
    run("gcc", "-O2", "-gdwarf-5", "-gdwarf64", "-o", "bits64", C_SOURCE, "plain.c")
    compare("-gdwarf64", "bits64", reference="bits32", like="sample_")
    if have("llvm-symbolizer"):
        run("gcc", "-O2", "-g", "-flto", "-o", "lto", C_SOURCE, "plain.c")
        compare("-flto", "lto", like="sample_", oracle=llvm)
        if have("clang++"):
            run("clang++", "-O2", "-gdwarf-5", "-o", "ranges", CXX_SOURCE)
            compare("clang++ -gdwarf-5", "ranges", like="_Z", oracle=llvm)


def test_cxx_compilers():
    for i, way in enumerate(["g++ -O2 -gdwarf-5", "g++ -O2 -gdwarf-4", "g++ -O0 -g",
                             "clang++ -O2 -gdwarf-4", "clang++ -O0 -g"]):
        compiler, *flags = way.split()
        if have(compiler):
            run(compiler, *flags, "-o", f"cxx{i}", CXX_SOURCE)
            compare(way, f"cxx{i}", inlined="-O0" not in flags, like="_Z")


def test_functions_in_functions():
    with open("nested.c", "w") as f:
        f.write(C_MAIN)
    run("gcc", "-O1", "-g", "-o", "nested", C_SOURCE, "nested.c")
    compare("nested functions", "nested", inlined=False, like="inner", step=1)


def test_rust():
    if have("rustc"):
        with open("words.rs", "w") as f:
            f.write(RUST_MAIN)
        try:
            run("rustc", "-C", "opt-level=3", "-g", "-o", "words", "words.rs")
        except subprocess.CalledProcessError:
            print("skipped: rustc does not work here")
            return
        addresses, got = compare("rustc", "words", like="words")
        check(any("HashMap" in f or "hashbrown" in f for a in addresses for f, _ in got[a]),
              "rustc: the standard library is inlined")


def test_files_are_absolute():
    os.makedirs("src", exist_ok=True)
    shutil.copy(C_SOURCE, "src/relative.c")
    for dwarf in ("-gdwarf-4", "-gdwarf-5"):
        run("gcc", "-O2", dwarf, "-shared", "-fPIC", "-o", "relative.so", "src/relative.c")
        _, got = compare(f"relative source {dwarf}", "relative.so", like="sample_")
        check(all(where.startswith("/") for f in got.values() for _, where in f),
              f"{dwarf}: files are absolute")
    # As build systems compile, from a folder beside the source.
    os.makedirs("out/deep", exist_ok=True)
    run("gcc", "-O2", "-g", "-shared", "-fPIC", "-o", "../../detour.so", "../.././src/./relative.c",
        cwd="out/deep")
    _, got = compare("detours", "detour.so", like="sample_")
    want = os.path.realpath("src/relative.c")
    check({where.rpartition(":")[0] for f in got.values() for _, where in f} == {want},
          f"detours are taken out: {list(got.values())[0]}")
    run("gcc", "-O2", "-g", f"-fdebug-prefix-map={os.getcwd()}=.", "-shared", "-fPIC", "-o",
        "mapped.so", "src/relative.c")
    compare("mapped away source", "mapped.so", like="sample_")


def test_separate_debug_files():
    run("gcc", "-O2", "-g", "-Wl,--build-id=sha1", "-o", "whole", C_SOURCE, "plain.c")
    run("gcc", "-O2", "-g", "-Wl,--build-id=none", "-o", "whole-noid", C_SOURCE, "plain.c")
    os.makedirs(".debug", exist_ok=True)
    for whole in ("whole", "whole-noid"):
        for place in ("", ".debug/"):
            stripped = f"stripped-{whole}-{place.strip('./')}"
            debug = f"{place}{stripped}.dbg"
            run("objcopy", "--only-keep-debug", whole, debug)
            run("objcopy", "--strip-all", f"--add-gnu-debuglink={debug}", whole, stripped)
            compare(f"{whole}, debug file in ./{place}", stripped, reference=whole, like="sample_")

            # Another file of that name: its build id, or else its checksum, tells.
            shutil.copy(stripped, "victim-" + stripped)
            other = "whole-noid" if whole == "whole" else "whole"
            run("objcopy", "--only-keep-debug", other, debug)
            got = ours("victim-" + stripped, addresses_of(whole, like="sample_"))
            check(all(f == [("??", "??:?")] for f in got.values()), f"{debug}: a stranger is used")

    # A debug file of the right content may not be picked up from the working directory.
    os.makedirs("elsewhere", exist_ok=True)
    run("objcopy", "--only-keep-debug", "whole", "cwd.dbg")
    run("objcopy", "--strip-all", "--add-gnu-debuglink=cwd.dbg", "whole", "elsewhere/stripped")
    got = ours("elsewhere/stripped", addresses_of("whole", like="sample_"))
    check(all(f == [("??", "??:?")] for f in got.values()), "debug file of the working directory")


def test_stripped():
    run("gcc", "-O2", "-g", "-shared", "-fPIC", "-o", "full.so", C_SOURCE)
    shutil.copy("full.so", "symbols.so")
    run("strip", "--strip-debug", "symbols.so")
    functions_only("strip --strip-debug", "symbols.so", "sample_")
    shutil.copy("full.so", "stripped.so")
    run("strip", "stripped.so")
    addresses = addresses_of("full.so", like="sample_")
    want, got = ours("symbols.so", addresses), ours("stripped.so", addresses)
    named = [a for a in addresses if got[a][0][0] != "??"]
    check(named and all(got[a][0][0] == want[a][0][0] for a in named), "stripped: exported names")
    exported = {line.split()[2] for line in run("nm", "-D", "full.so").splitlines()
                if len(line.split()) == 3}
    check(all(got[a][0][0] == "??" for a in addresses if want[a][0][0] not in exported),
          "stripped: no exported name for what is not exported")


def notes(path, addresses):
    """What stood in the way, by the program's own words."""
    text = run(TOOL, "-n", path, input="".join("%x\n" % a for a in addresses))
    return dict(re.findall(r"^(unread|wanted): (.*)$", text, re.M))


def test_split_dwarf():
    """What is in .dwo files and in packages is read from there, as if it had never been split."""
    ways = [("gcc", "-gdwarf-5"), ("gcc", "-gdwarf-4"), ("clang", "-gdwarf-5"), ("clang", "-gdwarf-4")]
    for compiler, dwarf in ways:
        if not have(compiler):
            continue
        way, where = f"{compiler} {dwarf} -gsplit-dwarf", f"split-{compiler}{dwarf}"
        os.makedirs(where + "/sub", exist_ok=True)
        for name, flags in (("unsplit", ""), ("split", "-gsplit-dwarf")):
            for source in (C_SOURCE, os.path.abspath("plain.c")):
                unit = os.path.splitext(os.path.basename(source))[0]
                run(compiler, "-O2", dwarf, *flags.split(), "-c", "-o", f"sub/{name}-{unit}.o", source,
                    cwd=where)
            run(compiler, "-o", name, f"sub/{name}-symbolize_sample.o", f"sub/{name}-plain.o",
                cwd=where)
        split, unsplit = f"{where}/split", f"{where}/unsplit"
        check(addresses_of(split, like="sample_") == addresses_of(unsplit, like="sample_"),
              f"{way}: the code is the same")
        addresses, _ = compare(way, split, reference=unsplit, like="sample_")
        check(not notes(split, addresses), f"{way}: {notes(split, addresses)}")

        # A package of them all, once their own are gone; llvm-dwp makes what llvm and gdb read.
        packer = "dwp" if dwarf == "-gdwarf-4" and compiler == "gcc" else "llvm-dwp"
        halves = [f"{where}/sub/{f}" for f in os.listdir(where + "/sub") if f.endswith(".dwo")]
        packed = False
        if have(packer):
            try:
                run(packer, "-e", "split", "-o", "split.dwp", cwd=where, timeout=5)
                packed = True
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as e:
                # llvm-dwp 14 does not come back from some of gcc's
                print(f"skipped: {packer} on {way}: {e} {(e.stderr or '')[:200]}")
                if os.path.exists(split + ".dwp"):
                    os.unlink(split + ".dwp")
        for half in halves:
            os.rename(half, half + ".away")
        if packed:
            compare(f"{way}, {packer}", split, reference=unsplit, like="sample_")
            os.rename(split + ".dwp", split + ".away")

        # Nowhere: no line that may be of another function, and a word on what is missed.
        got = ours(split, addresses)
        check(all(len(f) == 1 and f[0][0].startswith("sample_") and f[0][1] == "??:?"
                  for f in got.values()), f"{way}, no .dwo: {list(got.items())[:1]}")
        said = notes(split, addresses).get("unread", "")
        check("split" in said and ".dwo" in said and "split.dwp" in said, f"{way}, no .dwo: {said}")

        # Beside the program, as where it was built is not where it runs.
        os.makedirs(where + "/installed", exist_ok=True)
        shutil.copy(split, where + "/installed/split")
        for half in halves:
            shutil.copy(half + ".away", f"{where}/installed/{os.path.basename(half)}")
        compare(f"{way}, beside", f"{where}/installed/split", reference=unsplit, like="sample_")

        # Of another compilation: its number tells.
        for half in halves:
            shutil.copy(half + ".away", half)
        run(compiler, "-O1", dwarf, "-gsplit-dwarf", "-Dsample_mix=sample_other", "-c", "-o",
            "sub/split-symbolize_sample.o", C_SOURCE, cwd=where)
        got = ours(split, addresses)
        check(all(w == "??:?" for f in got.values() for _, w in f), f"{way}: a stranger is believed")


def test_dwz():
    if not have("dwz"):
        return
    for name, flags in (("dwz4", "-gdwarf-4"), ("dwz5", "-gdwarf-5")):
        run("g++", "-O2", flags, "-o", name, CXX_SOURCE)
        shutil.copy(name, name + "-packed")
        run("dwz", name + "-packed")
        compare(f"dwz {flags}", name + "-packed", reference=name, like="_Z")
    # Several files that share a third.
    for i in "ab":
        shutil.copy("dwz5", f"multi-{i}")
    try:
        run("dwz", "-m", os.path.abspath("common"), "multi-a", "multi-b")
    except subprocess.CalledProcessError:
        print("skipped: dwz -m finds nothing to share")
        return
    compare("dwz -m", "multi-a", reference="dwz5", like="_Z")


def test_no_network_and_no_path_from_the_environment():
    if not have("strace"):
        return
    run("gcc", "-O2", "-g", "-o", "traced", C_SOURCE, "plain.c")
    addresses = addresses_of("traced", like="sample_")
    run("strip", "traced")
    environment = dict(os.environ, DEBUGINFOD_URLS="http://127.0.0.1:9/")
    subprocess.run(["strace", "-f", "-o", "trace", "-e", "trace=openat,open,socket,connect", TOOL,
                    "traced"], env=environment, check=True, capture_output=True, text=True,
                   input="".join("%x\n" % a for a in addresses))
    with open("trace") as f:
        trace = f.read()
    check("traced" in trace, "strace saw the file opened")
    check("socket(" not in trace and "connect(" not in trace and "debuginfod" not in trace,
          "no network")
    opened = re.findall(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]*)"', trace)
    check(all(p.startswith("/") for p in opened), f"only absolute paths: {opened}")


def begin():
    with open("plain.c", "w") as f:
        f.write(PLAIN_MAIN)


if __name__ == "__main__":
    sys.exit(run_all(globals(), "libprof-symbolize-", begin))
