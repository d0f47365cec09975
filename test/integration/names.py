#!/usr/bin/env python3
"""names.py - functions are called what c++filt, addr2line and llvm-symbolizer call them, and more.

    names.py NAMES_TOOL SYMBOLIZE_TOOL CXX_SOURCE

All symbols of large C++ programs of this machine are demangled by us and by c++filt. And in a
program of lambdas, local classes, templates and coroutines addresses are looked up: files and
lines are those of the others, names too, but with the scopes that they leave out. All programs, all
addresses and more ways to compile with PROF_TEST_LONG=1.
"""

import glob
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, have, run_all  # noqa: E402

NAMES, TOOL, SOURCE = (os.path.abspath(a) for a in sys.argv[1:4])

LONG = os.environ.get("PROF_TEST_LONG") == "1"
PROGRAMS = ["/usr/lib/x86_64-linux-gnu/libclang-cpp.so.*", "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
            "/usr/lib/x86_64-linux-gnu/libgrpc.so.*", "/usr/lib/x86_64-linux-gnu/libprotobuf.so.*",
            "/usr/bin/ld.lld-*"]
if LONG:
    PROGRAMS += ["/usr/bin/node", "/usr/lib/x86_64-linux-gnu/libLLVM-*.so.1",
                 "/usr/lib/jvm/*/lib/server/libjvm.so", "/usr/lib/x86_64-linux-gnu/libicui18n.so.*",
                 "/usr/lib/gcc/x86_64-linux-gnu/*/libstdc++.a"]


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, errors="replace",
                          **more).stdout


def linker_names(path):
    found = set()
    for flags in ("", "-D"):
        p = subprocess.run(["nm", *flags.split(), path], capture_output=True, text=True)
        found.update(line.split()[-1].partition("@")[0] for line in p.stdout.splitlines()
                     if re.search(r" (_Z|_R)\S+$", line))
    return sorted(found)


def without_warts(text):
    """What c++filt of binutils 2.40 is not consistent in: a space between brackets, and commas around
    the arguments of an empty pack."""
    text = text.replace("> >", ">>").replace("> >", ">>")
    text = re.sub(r"(?<=[<(]), |, (?=[>)])", "", text)
    return re.sub(r"(, )+", ", ", text)


# A function's signature whose T_ was first seen in the signature of another: c++filt prints what that
# one's T_ stands for when a reference is made to it, and our own when not. Ours is the function's own
# argument each time, as the ABI has it.
CXXFILT_IS_WRONG = re.compile(r"_ZN3fmt2v\d+6detail15do_parse_arg_id|_ZZN10napi_env__14CallIntoModule"
                              r"|_ZZNSt9once_flag18_Prepare_executionC")


def test_all_symbols_of_large_programs():
    if not have("c++filt"):
        return
    total, programs = 0, 0
    for pattern in PROGRAMS:
        for path in glob.glob(pattern)[:1]:
            names = linker_names(path)
            if len(names) < 1000:
                continue
            programs += 1
            total += len(names)
            text = "\n".join(names) + "\n"
            want = run("c++filt", "-i", input=text).splitlines()
            got = run(NAMES, "full", input=text).splitlines()
            short = run(NAMES, "short", input=text).splitlines()
            wrong = [(n, w, g) for n, w, g in zip(names, want, got)
                     if without_warts(w) != without_warts(g) and w != n
                     and not CXXFILT_IS_WRONG.match(n)]
            check(len(got) == len(want) == len(short) and not wrong,
                  f"{path}: {len(wrong)} of {len(names)}, first {wrong[:2]}")
            mangled = [n for n, w, s in zip(names, want, short) if w != n and s.startswith("_Z")]
            check(not mangled, f"{path}: short names that are mangled: {mangled[:2]}")
            more = sum(w == n and g != n for n, w, g in zip(names, want, got))
            print(f"{path}: {len(names)} names, {more} of them c++filt cannot read")
    print(f"{total} names of {programs} programs")
    check(programs >= 1 and total > 1000, f"{total} names of {programs} programs")


RUST = """
use std::collections::*; use std::fmt::Debug;
trait Shape<const N: usize> { fn area(&self) -> f64; }
struct Sq<T>(T);
impl<T: Into<f64> + Copy> Shape<3> for Sq<T> {
    #[inline(never)] fn area(&self) -> f64 { let v: f64 = self.0.into(); v * v }
}
#[inline(never)] fn gen<T: Debug, F: Fn(&T) -> bool>(t: T, f: F) -> String {
    if f(&t) { format!("{:?}", t) } else { String::new() }
}
#[inline(never)] fn size<'a>(x: &'a [u8; 4], z: extern "C" fn(i32) -> i32) -> i32 { z(x[0] as i32) }
extern "C" fn twice(i: i32) -> i32 { i * 2 }
fn main() {
    let mut m: HashMap<String, BTreeMap<u32, Box<dyn Debug + Send>>> = HashMap::new();
    m.entry("x".into()).or_default().insert(3, Box::new(5));
    println!("{} {} {} {:?}", Sq(3.0f32).area(), gen(vec![(1, "a")], |v| v.len() > 0),
             size(&[1, 2, 3, 4], twice), m);
}
"""


def test_rust():
    if not have("rustc"):
        return
    with open("r.rs", "w") as f:
        f.write(RUST)
    for flags in ("", "-Csymbol-mangling-version=v0"):
        p = subprocess.run(["rustc", *flags.split(), "-o", "rust", "r.rs"], capture_output=True,
                           text=True)
        if p.returncode:
            print(f"skipped: rustc {flags}: {p.stderr[:200]}")
            continue
        names = linker_names("rust")
        text = "\n".join(names) + "\n"
        want = run("c++filt", "-i", input=text).splitlines()
        got = run(NAMES, "full", input=text).splitlines()
        wrong = [x for x in zip(names, want, got) if x[1] != x[2]]
        check(len(names) > 300 and not wrong, f"rustc {flags}: {len(names)} names, {wrong[:1]}")


# --- names with their scopes ---------------------------------------------------------------------

SCOPED = {
    "(anonymous namespace)::Hidden::twice<double>", "(anonymous namespace)::Hidden::twice<int>",
    "(anonymous namespace)::hidden_helper",
    "main::{lambda()#1}::operator()", "main::{lambda()#2}::operator()",
    "main::{lambda(int)#1}::operator()", "waiting::{lambda(int)#1}::operator()",
    "dispatch::Local::apply",
    "dispatch::{lambda(int)#1}::operator()", "dispatch::{lambda(int)#2}::operator()",
    "dispatch::{lambda(int)#3}::operator()", "dispatch::{lambda(int)#4}::operator()",
    "dispatch::{lambda(int)#3}::operator()::{lambda(int)#1}::operator()",
    "dispatch::{lambda(...)#1}::operator()", # net::v2::Request const&
    "dispatch::{lambda(auto:1, int)#1}::operator()<int>",
    "dispatch::{lambda(auto:1, int)#1}::operator()<double>",
    "net::v2::Server<int>::start::Local::apply",
    "net::v2::Server<int>::start::{lambda(int)#1}::operator()",
    "net::v2::Server<int>::start::{lambda(int)#2}::operator()",
    "net::v2::Server<int>::start::{lambda(auto:1)#1}::operator()<int>",
    "net::v2::Server<int>::start::{lambda(auto:1)#1}::operator()<double>",
    "net::v2::Server<int>::start::{lambda(int)#3}::operator()",
}


def unnumbered(name):
    return re.sub(r"#\d+}", "}", name)


def code_of(path):
    """Every instruction in the functions of the program's own source and of templates in it."""
    inside = []
    for line in run("readelf", "-sW", path).splitlines():
        field = line.split()
        if len(field) >= 8 and field[3] == "FUNC" and field[6] != "UND" and int(field[2], 0):
            if field[7].startswith(("_Z", "main")):
                inside.append((int(field[1], 16), int(field[1], 16) + int(field[2], 0)))
    code = [int(a, 16) for a in re.findall(r"^ +([0-9a-f]+):", run(
        "objdump", "-d", "--no-show-raw-insn", path), re.M)]
    inside.sort()
    at, found = 0, []
    for a in code:
        while at < len(inside) and inside[at][1] <= a:
            at += 1
        if at < len(inside) and inside[at][0] <= a:
            found.append(a)
    return found


def frames(text):
    answer, lines = [], None
    for line in text.splitlines():
        if re.fullmatch("0x[0-9a-f]{16}", line):
            lines = []
            answer.append(lines)
        elif line:
            lines.append(re.sub(r" \(discriminator \d+\)$", "", line))
    return [list(zip(x[::2], x[1::2])) for x in answer]


def ask(path, addresses, *flags):
    return frames(run(TOOL, *flags, path, input="".join("%x\n" % a for a in addresses)))


def addr2line(path, addresses):
    return frames(run("addr2line", "-a", "-i", "-f", "-C", "-e", path,
                      input="".join("%x\n" % a for a in addresses)))


def llvm(path, addresses):
    text = run("llvm-symbolizer", "-i", "-e", path,
               input="".join("%#x\n" % a for a in addresses))
    answer = []
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if lines:
            answer.append([(f, re.sub(r":0$", ":?", where.rpartition(":")[0]))
                           for f, where in zip(lines[::2], lines[1::2])])
    return answer


def readable(names):
    return run("c++filt", "-i", input="\n".join(names) + "\n").splitlines()


def normal(where):
    path, _, line = where.rpartition(":")
    return f"{os.path.normpath(path)}:{line}" if path.startswith("/") else where


def last_part(name):
    """What is left of a name without scopes, parameters and arguments."""
    if name.startswith("_Z"):
        return None # they could not read it
    name = re.sub(r" \[clone [^]]*\]| \(\.\w+(\.\d+)?\)$|\.(part|isra|constprop|cold)\b.*", "", name)
    name = name.replace("operator()", "operator@").replace("operator>", "operator^")
    name = name.replace("operator<", "operator%").replace("->", "@")
    depth, out = 0, ""
    for c in name.removesuffix(" const"):
        if c in "<({":
            depth += 1
        elif c in ">)}":
            depth -= 1
        elif depth == 0:
            out += c
    return out.strip().split("::")[-1].split(" ")[-1]


def test_scopes():
    ways = [("g++", "-O2 -gdwarf-5"), ("g++", "-O1 -g -gsplit-dwarf"), ("clang++", "-O2 -gdwarf-4")]
    if LONG:
        ways += [("g++", "-O2 -gdwarf-4"), ("g++", "-O2 -g -fdebug-types-section"),
                 ("clang++", "-O1 -gdwarf-5")]
    for compiler, flags in ways:
        if not have(compiler):
            continue
        way = f"{compiler} {flags}"
        run(compiler, "-std=c++20", *flags.split(), "-pthread", "-o", "sample", SOURCE)
        addresses = code_of("sample")
        raw, short = ask("sample", addresses), ask("sample", addresses, "-s")
        seen = {f for answer in short for f, _ in answer}
        if compiler == "g++": # how lambdas are counted differs; that is for the test below
            missing = {unnumbered(f) for f in SCOPED} - {unnumbered(f) for f in seen}
            check(not missing, f"{way}: missing {sorted(missing)}")
        loose = {f for f in seen if re.match(r"operator\(\)|apply$|twice|hidden_helper", f)}
        check(not loose, f"{way}: without a scope: {loose}")
        check(not any("_Z" in f for f in seen), f"{way}: mangled {[f for f in seen if '_Z' in f][:2]}")
        by_name = {}
        for answer in short:
            for f, where in answer:
                if "operator()" in f and "names_sample" in where:
                    by_name.setdefault(f, set()).add(int(where.rpartition(":")[2].replace("?", "0")))
        spread = {f: max(lines) - min(lines - {0} or {0}) for f, lines in by_name.items()}
        check(max(spread.values()) < 6, f"{way}: lambdas taken for one another: {spread}")

        oracles = [("llvm-symbolizer", llvm)]
        if flags != "-O1 -gdwarf-5" and "split" not in flags and "types" not in flags:
            oracles.append(("addr2line", addr2line)) # that of binutils 2.40 cannot read the others
        for name, oracle in oracles:
            if have(name): # theirs take a while
                some = slice(None, None, 1 if LONG else 5)
                compare(way, name, addresses[some], raw[some], oracle("sample", addresses[some]))


def compare(way, name, addresses, raw, theirs):
    """Files and lines are the same for each; and names, but for their scopes. addr2line calls a
    function without a name for the linker by the function around it."""
    names = dict.fromkeys(f for answer in raw for f, _ in answer)
    names = dict(zip(names, readable(names)))
    lines, other, taken = [], [], 0
    for a, ours, their in zip(addresses, raw, theirs):
        if [normal(w) for _, w in ours] != [normal(w) for _, w in their]:
            lines.append((hex(a), ours, their))
            continue
        for (f, _), (g, _) in zip(ours, their):
            mine = last_part(names[f]) # by c++filt, which cannot read all of C++20's
            if last_part(g) and mine and mine != last_part(g):
                if name == "addr2line" and last_part(g) == last_part(their[-1][0]):
                    taken += 1
                elif "__uniq_ptr_data" not in g: # whose constructor is inherited
                    other.append((hex(a), names[f], g))
    check(len(addresses) > 200, f"{way}: {len(addresses)} addresses")
    check(not lines, f"{way}: {len(lines)} of {len(addresses)} lines not {name}'s: {lines[:1]}")
    check(not other, f"{way}: {len(other)} names are not those of {name}: {other[:1]}")
    print(f"{way}, {name}: {len(addresses)} addresses, {taken} names of the function around")


def test_scopes_are_those_that_the_linker_has():
    """The same names from debug information alone as from symbols alone."""
    for compiler in ("g++", "clang++")[:2 if LONG else 1]:
        if not have(compiler):
            continue
        run(compiler, "-std=c++20", "-O1", "-g", "-DOUT_OF_LINE", "-pthread", "-o", "whole", SOURCE)
        shutil.copy("whole", "dwarf")
        run("objcopy", "--strip-all", "--keep-section=.debug_*", "whole", "dwarf")
        starts = {int(a, 16): n for a, n in re.findall(
            r"^([0-9a-f]+) [tTwW] (_Z\S+)$", run("nm", "whole"), re.M)}
        addresses = sorted(starts)
        names = readable([starts[a] for a in addresses])
        short = run(NAMES, "short", input="\n".join(starts[a] for a in addresses) + "\n").splitlines()
        got = ask("dwarf", addresses, "-s")
        compared = 0
        for a, full, want, answer in zip(addresses, names, short, got):
            mine = answer[-1][0]
            # Of GLOBAL__ functions and clones there are several; of the library's, arguments of
            # templates are written in another way.
            if mine == "??" or "_GLOBAL_" in full or full.startswith("std::"):
                continue
            compared += 1
            check(mine == want or "<" in want, f"{compiler} {full}: {mine}, not {want}")
        check(compared > 20, f"{compiler}: {compared} names compared")


if __name__ == "__main__":
    sys.exit(run_all(globals(), "libprof-names-"))
