#!/usr/bin/env python3
"""viewer_numbers.py - the viewer's numbers are those of `go tool pprof -top`, with and without filters;
its names, too; and what "my code" does to them, on programs that have allocators of their own.

    viewer_numbers.py demo SERVICE SERVICE_CC
    viewer_numbers.py redis PROFRUN

Chromium, as in viewer_page.py, and go.
"""
import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import browser  # noqa: E402
from checks import check  # noqa: E402
import pprof  # noqa: E402
from viewing import *  # noqa: E402,F403

UNIT = {"bytes": ("-unit=B", "B"), "nanoseconds": ("-unit=ns", "ns"), "count": ("", "")}


def pprof_top(path, kind, unit, *options):
    """{"name file": (flat, cum)} as go tool pprof has it."""
    flag, suffix = UNIT[unit]
    argv = ["go", "tool", "pprof", "-top", "-filefunctions", "-symbolize=remote", "-nodecount=1000000",
            "-nodefraction=0", "-edgefraction=0", "-sample_index=" + kind]
    run = subprocess.run(argv + ([flag] if flag else []) + list(options) + [path],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if run.returncode or "flat%" not in run.stdout: # nothing passed the filters
        check("no samples" in run.stderr or "matched no" in run.stderr or not run.returncode,
              "pprof %r: %s" % (options, run.stderr[-300:]))
        return {}
    table = {}
    for line in run.stdout.split("flat%", 1)[1].splitlines()[1:]:
        flat, _, _, cum, _, name = line.split(None, 5)
        name = re.sub(r" \((partial-)?inline\)$", "", name)
        table[name] = tuple(int(v[: len(v) - len(suffix)] if suffix and v.endswith(suffix) else v)
                            for v in (flat, cum))
    return {k: v for k, v in table.items() if v != (0, 0)}


def viewer_top(b):
    """The same, as the viewer has it. What pprof leaves out is left out: rows that are all zero, and
    stacks of which every frame is hidden."""
    table = b.run("""
        return app.page.top().map((r) => {
          const name = app.page.selection.keys[r.key], file = app.page.selection.frame[r.key].file;
          return [file ? name + " " + file : name, r.flat, r.cum];
        });""")
    return {name: (flat, cum) for name, flat, cum in table if (flat or cum) and name != "[hidden]"}


def shown_file(b, tmp, what):
    """The bytes that show, as a file."""
    path = os.path.join(tmp, re.sub(r"\W", "_", what) + ".pb.gz")
    with open(path, "wb") as f:
        f.write(base64.b64decode(b.run(
            "let s = ''; for (const x of app.page.shown.bytes) s += String.fromCharCode(x);"
            "return btoa(s);")))
    return path


def unmatched(got, want):
    """Rows of either that the other has not. A name may be spelt in two ways, since not every
    demangler reads every name: of such rows file and values must be the same."""
    differ = {k: (got.get(k), want.get(k)) for k in set(got) | set(want) if got.get(k) != want.get(k)}
    alone = [sorted((k.rsplit(" ", 1)[-1], side[k]) for k in differ if k in side and k not in other)
             for side, other in ((got, want), (want, got))]
    return {} if alone[0] == alone[1] and not (set(differ) & set(got) & set(want)) else differ


def compare(b, path, what, options=(), may_be_empty=False):
    """Every sample type of what shows, against pprof with those options."""
    for kind, unit in b.run("return app.page.shown.profile.types.map((t) => [t.type, t.unit]);"):
        go(b, type=kind)
        want = pprof_top(path, kind, unit, *options)
        got = viewer_top(b)
        check(want or may_be_empty, "%s: pprof has rows of %s" % (what, kind))
        equal(unmatched(got, want), {}, "%s: %s, the viewer against pprof" % (what, kind))
    go(b, type="")


# A filter of the page, and the same as pprof's options.
def filters(b):
    """With names that are there: the largest function and one in the middle."""
    found = sorted(((k, v) for k, v in top_rows(b).items() if re.match(r"[a-z][\w:]*$", k)),
                   key=lambda row: -row[1][1]) # names that everybody spells alike
    large, middle = found[0][0], found[len(found) // 2][0]
    exact = ["^%s$" % re.sub(r"([.*+?^${}()|[\]\\])", r"\\\1", n) for n in (large, middle)]
    yield {"focus": exact[1]}, ["-focus=" + exact[1]]
    yield {"ignore": exact[1]}, ["-ignore=" + exact[1]]
    yield {"hide": exact[0]}, ["-hide=" + exact[0]]
    yield {"hide": "libc|/usr/lib"}, ["-hide=(?i)libc|/usr/lib"]
    yield {"focus": "libc", "ignore": exact[1]}, ["-focus=(?i)libc", "-ignore=" + exact[1]]
    yield {"focus": "(?i)MAIN|START", "hide": "clone"}, ["-focus=(?i)MAIN|START",
                                                        "-hide=(?i)clone"]
    yield {"focus": "no such name"}, ["-focus=no such name"]


def compare_filtered(b, tmp, what, labels=()):
    path = shown_file(b, tmp, what + " to filter")
    for state, options in filters(b):
        go(b, **state)
        compare(b, path, "%s, %r" % (what, state), options, may_be_empty=True)
        go(b, focus="", ignore="", hide="")
    for key, value, option in labels:
        go(b, label={"key": key, "value": value})
        compare(b, path, "%s, %s=%s" % (what, key, value), ["-tagfocus=" + option])
        go(b, label={"key": key, "value": value}, focus="shop")
        compare(b, path, "%s, %s=%s, focus" % (what, key, value),
                ["-tagfocus=" + option, "-focus=(?i)shop"], may_be_empty=True)
        go(b, label=None, focus="")


def compare_program(b, program, tmp, what, load):
    open_page(b, program.root, "#heap?mine=0")
    first, at = shown_file(b, tmp, what + " heap"), b.run("return app.page.shown.at;")
    compare(b, first, what + " heap")
    load()
    capture(b, "heap")
    later = shown_file(b, tmp, what + " heap later")
    compare(b, later, what + " heap later")
    compare_filtered(b, tmp, what + " heap")
    go(b, base=at)
    compare(b, later, what + " difference", ["-base", first], may_be_empty=True)
    go(b, base=0)
    for name in ("allocs", "threads", "threadcreate"):
        capture(b, name)
        compare(b, shown_file(b, tmp, what + " " + name), "%s %s" % (what, name))
    b.run("window.got = app.page.take('profile', 1);")
    load()
    b.run("await window.got;")
    compare(b, shown_file(b, tmp, what + " cpu"), what + " cpu")
    compare_filtered(b, tmp, what + " cpu")
    b.run("window.got = app.page.take('heap', 1);")
    load()
    b.run("await window.got;")
    compare(b, shown_file(b, tmp, what + " window"), what + " window", may_be_empty=True)


def test_my_code(b, what, taken, own):
    """Rows of allocators are gone, `own` come first, and no value is lost."""
    total = sum_of(b)
    go(b, mine=None, tab="top")
    equal(sum_of(b), total, what + ": my code keeps the sum")
    first = [r[-1] for r in rows(b, "#top-table")][:3]
    # Releases differ in what is a function of its own: _sdsnewlen, _dictResize.
    check(any(name.lstrip("_").startswith(own) for name in first), "%s: its own first: %r" % (what, first))
    flat = [name for name, (f, _) in top_rows(b).items() if f]
    bad = [name for name in flat if re.search(taken, name)]
    equal(bad, [], what + ": nothing is charged to an allocator")
    go(b, mine=False, tab="")


def demo_numbers(service, service_cc):
    tmp = tempfile.mkdtemp()
    try:
        with browser.Browser() as b:
            with demo(service) as program:
                compare_program(b, program, tmp, "demo", lambda: time.sleep(0))
            with demo(service_cc) as program:
                compare_program(b, program, tmp, "demo in C++", lambda: time.sleep(0))
                open_page(b, program.root, "#heap?mine=0")
                compare_filtered(b, tmp, "labels", [("tenant", "acme", "tenant=^acme$")])
                size = b.run("return app.page.shown.profile.labels.flat().find("
                             "(l) => l.key === 'bytes' && l.number > 1000).number;")
                go(b, label={"key": "bytes", "value": str(size)})
                compare(b, shown_file(b, tmp, "sizes"), "by size", ["-tagfocus=bytes=%db" % size])
                go(b, label=None)
                test_my_code(b, "C++", r"^std::|^operator new|^malloc|^__", ("shop::Audit::remember",))
            test_mangled(b, tmp)
            test_same_name(b, tmp)
            no_complaints(b, "the demo's numbers")
    finally:
        shutil.rmtree(tmp)


def redis_numbers(profrun):
    if not shutil.which("redis-server") or not shutil.which("redis-benchmark"):
        skip("redis-server is not installed")
    tmp = tempfile.mkdtemp()
    try:
        with browser.Browser(1440, 900) as b:
            port = str(browser.free_port())
            redis = [profrun, "--http", "127.0.0.1:0", "--heap-rate", "4096", "--", "redis-server",
                     "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", tmp]
            bench = ["redis-benchmark", "-p", port, "-n", "20000", "-r", "10000", "-q", "-t",
                     "set,lpush,sadd"]

            def load():
                subprocess.run(bench, check=True, stdout=subprocess.DEVNULL)
            with Program(redis, r"http://([\w.:]+:\d+)", "stderr",
                         stdout=subprocess.DEVNULL) as program:
                compare_program(b, program, tmp, "redis", load)
                open_page(b, program.root, "#heap?mine=0")
                test_my_code(b, "redis", r"^z?(try)?(m|c|re)alloc|^je_|^libjemalloc", ("dict", "sds",
                             "createEmbeddedString", "createObject", "quicklist", "clusters", "lp"))
                go(b, mine=None)
                picture(b, "redis")
                go(b, tab="top")
                picture(b, "redis-top")
            no_complaints(b, "redis's numbers")
    finally:
        shutil.rmtree(tmp)


# Names as compilers make them, and what they must become here. Those with None stay as they are.
MANGLED = [
    ("_Z3foov", "foo"),
    ("_ZN3net6Server5serveERKSs", "net::Server::serve"),
    ("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector::push_back"),
    ("_ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE9_M_appendEPKcm",
     "std::__cxx11::basic_string::_M_append"),
    ("_ZN12_GLOBAL__N_15cacheEv", "(anonymous namespace)::cache"),
    ("_ZN6WidgetC2EOS_", "Widget::Widget"),
    ("_ZN6WidgetD0Ev", "Widget::~Widget"),
    ("_ZplRK1AS1_", "operator+"),
    ("_ZN1AixEm", "A::operator[]"),
    ("_ZNK1AcvbEv", "A::operator bool"),
    ("_ZSt4moveIRiEONSt16remove_referenceIT_E4typeEOS2_", "std::move"),
    ("_ZN1nL5innerEv", "n::inner"),
    ("_ZZ4mainE5local", None),  # local names are spelt in more than one way
    ("_ZN1x1yILi3ELb1EE1zEv", "x::y::z"),
    ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
    ("_Z", None), ("_ZN", None), ("_ZN3net", None), ("_ZNS5_3fooEv", None), ("_Z99foo", None),
    ("_ZN9__proto__E", "__proto__"), ("_Z11constructorv", "constructor"), ("main", "main"),
    ("_Z3barI" + "P" * 5000 + "iEvv", None), ("_Z" + "N" * 5000, None),
]


def mangled_profile():
    strings, p = [b"", b"samples", b"count", b"/usr/bin/cpp"], pprof.Profile()
    p.sample_type = [pprof.ValueType(type=1, unit=2)]
    p.mapping = [pprof.Mapping(id=1, memory_start=0x1000, memory_limit=0x100000, filename=3,
                               has_functions=1, has_filenames=1, has_line_numbers=1)]
    for i, (name, _) in enumerate(MANGLED):
        strings.append(name.encode())
        at = len(strings) - 1
        p.function.append(pprof.Function(id=i + 1, name=at, system_name=at))
        p.location.append(pprof.Location(id=i + 1, mapping_id=1, address=0x1000 + i, line=[
            pprof.Line(function_id=i + 1, line=1)]))
        p.sample.append(pprof.Sample(location_id=[i + 1], value=[1000 + i]))
    return encode(p, strings)


def test_mangled(b, tmp):
    """C++ and Rust names, against what is known and against pprof's own demangler."""
    data = mangled_profile()
    open_bytes(b, "mangled.pb.gz", data)
    got = {flat: name for name, (flat, _) in top_rows(b).items()}
    path = os.path.join(tmp, "mangled.pb.gz")
    with open(path, "wb") as f:
        f.write(data)
    out = subprocess.run(["go", "tool", "pprof", "-top", "-nodecount=10000", "-nodefraction=0", path],
                         check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                         env=dict(os.environ, PPROF_BINARY_PATH=tmp)).stdout
    theirs = {int(m.group(1)): m.group(2) for m in re.finditer(
        r"^ *(\d+) +[\d.]+% +[\d.]+% +\d+ +[\d.]+%  (.+)$", out, re.M)}
    for i, (name, want) in enumerate(MANGLED):
        if want is None:
            check(got.get(1000 + i, "") != "", "%.60s shows" % name)
            continue
        equal(got.get(1000 + i), want, name)
        equal(theirs.get(1000 + i), want, name + ", by pprof")


def test_same_name(b, tmp):
    """Two static functions of one name, in two files, are two."""
    data = small_profile([(("main", ("init", "/a.c")), [5]), (("main", ("init", "/b.c")), [7])])
    open_bytes(b, "same.pb.gz", data)
    path = os.path.join(tmp, "same.pb.gz")
    with open(path, "wb") as f:
        f.write(data)
    compare(b, path, "two of one name")
    equal(b.run("return app.page.selection.keys.filter((k) => k === 'init').length;"), 2, "two rows")
    for file in ("/a.c", "/b.c"):
        go(b, key="init\n" + file)
        equal(b.run("return app.page.selection.frame[app.page.chosen()].file;"), file,
              "each can be chosen: " + file)


if __name__ == "__main__":
    if not shutil.which("go"):
        skip("go is not installed")
    sys.exit(run_parts({"demo": demo_numbers, "redis": redis_numbers}))
