#!/usr/bin/env python3
"""viewer_strangers.py - what comes from elsewhere: names that try to become markup, files that are odd
or broken, a program that ends.

    viewer_strangers.py hostile HOSTILE   names of a program, and of a file, stay text
    viewer_strangers.py files SERVICE     profiles from files: large, odd, folded, broken
    viewer_strangers.py errors SERVICE    what is said when something does not work

Chromium, as in viewer_page.py.
"""
import gzip
import os
import random
import re
import struct
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import browser  # noqa: E402
from checks import check  # noqa: E402
import pprof  # noqa: E402
from viewing import *  # noqa: E402,F403

# --- hostile names ------------------------------------------------------------------------------

# Every tag in the page; more than these, or an attribute that is a handler, is a hole. Our own
# charts are there from the second second on.
INTRUDERS = """
    const bad = [...document.querySelectorAll("*")].filter((e) =>
      [...e.attributes].some((x) => x.name.startsWith("on")) ||
      /^(IFRAME|OBJECT|EMBED|IMG|SVG|B|I|BASE|STYLE|FORM)$/i.test(e.tagName) &&
        !(/^(SVG|B)$/i.test(e.tagName) && e.closest("figure.chart")));
    const scripts = [...document.querySelectorAll("script")].map((s) => s.getAttribute("src"));
    return [bad.map((e) => e.outerHTML.slice(0, 200)), scripts, typeof window.hits];"""


def no_intruders(b, what):
    equal(b.run(INTRUDERS), [[], ["app.js"], "undefined"], "page of " + what)


def tour(b, what):
    tabs = b.run("return [...document.querySelectorAll('#tabs button')].map((x) => x.dataset.id);")
    for tab in tabs:
        if tab == "source" and b.run("return app.page.isHere();"):
            continue # it is not allowed, and says so in the log
        go(b, tab=tab)
        no_intruders(b, "%s, %s" % (what, tab))
    go(b, tab="flame")
    b.run("""
        const { describe } = await import(new URL("views/graph.js", location));
        const { showTip } = await import(new URL("tip.js", location)), f = app.flameView.flame;
        for (const box of f.boxes.slice(0, 200)) {
          showTip(describe(f, box), { clientX: 10, clientY: 10 });
          await app.page.go({ key: box.node ? app.page.selection.ids[f.tree.key[box.node]] : "" },
                            "replaceState");
        }""")
    no_intruders(b, what + ", every box pointed at and chosen")
    for menu in ("take", "filter", "more"):
        b.click("#" + menu)
        no_intruders(b, "%s, the menu of %s" % (what, menu))
        b.keys(ESCAPE)


def nasty_profile():
    """A profile by a stranger: markup, quotes, controls, invalid UTF-8, 64 KiB, in every name."""
    p = pprof.Profile()
    strings = [b""]

    def text(value):
        if value not in strings:
            strings.append(value)
        return strings.index(value)

    nasty = [b"<script>window.hits=1</script>", b"<img src=x onerror=window.hits=1>",
             b"\"'><svg/onload=window.hits=1>", b"\xff\xfe\xc0\xaf<b>\xed\xa0\x80", b"a" * 65536,
             b"\xe2\x80\xaegnp.exe\x00\x07\x1b[31m", b"javascript:window.hits=1", b"${window.hits=1}",
             b"__proto__", b"constructor", b"toString", b"&lt;b&gt;&amp;", b"</textarea></title>"]
    p.sample_type = [pprof.ValueType(type=text(n), unit=text(m))
                     for n, m in ((nasty[0], nasty[1]), (b"space", b"bytes"))]
    p.mapping = [pprof.Mapping(id=1, memory_start=0x1000, memory_limit=0x100000,
                               filename=text(nasty[1]), build_id=text(nasty[2]))]
    for i, name in enumerate(nasty):
        p.function.append(pprof.Function(id=i + 1, name=text(name), system_name=text(name),
                                         filename=text(nasty[-1 - i])))
        p.location.append(pprof.Location(id=i + 1, mapping_id=1, address=0x1000 + i, line=[
            pprof.Line(function_id=i + 1, line=i)]))
        p.sample.append(pprof.Sample(location_id=[i + 1, 1], value=[i + 1, 100 * (i + 1)], label=[
            pprof.Label(key=text(name), str=text(nasty[-1 - i]))]))
    p.comment = [text(n) for n in nasty]
    p.default_sample_type = text(b"space")
    p.period_type = pprof.ValueType(type=text(nasty[3]), unit=text(nasty[4]))
    p.period = 1
    return encode(p, strings)


def hostile(program):
    with Program([program], r"^(\S+)$") as p, browser.Browser(1440, 900) as b:
        b.open(p.root)
        # Our own chart is there from the second second on.
        equal(b.run("return document.querySelectorAll("
                    "'script, img, i, svg:not(.chart svg), b:not(.chart b)').length;"), 0,
              "the index has no tag of a stranger")
        open_page(b, p.root, "#heap?mine=0")
        check(any("<script>hit('symbol')</script>" in n for n in names(b)),
              "the symbol is there, as it is: %r" % names(b))
        check(any("<svg onload=" in f for f in b.run(
            "return app.page.selection.frame.map((f) => f.file);")), "so is the file")
        tour(b, "a hostile program's heap")
        go(b, tab="labels")
        table = rows(b, "#labels-table")
        check(len(table) > 1, "so is the label: %r" % table)
        press(b, "#labels", "Only this")
        check(b.run("return app.page.selection.count;") > 0, "and can be chosen")
        press(b, "#view-tools", "Group graphs by it")
        go(b, tab="flame")
        no_intruders(b, "a hostile label")
        picture(b, "hostile")
        custom = "<img/src=x/onerror=hit(7)>&#39;"
        capture(b, custom)
        equal(b.run("return app.page.shown.name;"), custom, "the custom profile has a row in the menu")
        tour(b, "a custom profile")
        capture(b, "threads")
        tour(b, "its threads")

        open_bytes(b, "nasty.pb.gz", nasty_profile())
        equal(b.run("return app.page.shown.name;"), "nasty.pb.gz", "a nasty file opens")
        tour(b, "a nasty file")
        picture(b, "nasty")
        check(b.run("return document.documentElement.scrollWidth <= innerWidth;"),
              "64 KiB of a name do not push the page apart")
        open_bytes(b, "nasty.folded", b"<script>window.hits=1</script>;<img/src=x> 5\n__proto__;x 1\n")
        equal(b.run("return app.page.selection.count;"), 2, "nasty folded stacks open")
        tour(b, "nasty folded stacks")
        for fragment in ("<script>hit(1)</script>", "../../metrics", "javascript:hit(1)", "%00",
                         "%zz", "heap/../../x", "__proto__", "heap?focus=<script>hit(1)</script>",
                         "heap?function=<img src=x onerror=hit(1)>&label=<b>=<b>&tab=<b>",
                         "heap?zoom=[\"<b>\"]&at=<b>&type=__proto__&sort=constructor"):
            b.open("about:blank")
            b.open(p.root + "ui/#" + fragment)
            b.run("await app.page.ready;")
            b.wait("document.querySelector('#progress').hidden", "fragment " + fragment)
            no_intruders(b, "fragment " + fragment)
        # A name that is no profile's is asked for and refused: the only thing that may be logged.
        no_complaints(b, "hostile names", "status of 40[04]")


# --- files --------------------------------------------------------------------------------------


def large_profile(samples=16000, functions=6000, seed=7):
    rng = random.Random(seed)
    strings, p = [b"", b"space", b"bytes", b"/usr/bin/large", b"f.c"], pprof.Profile()
    p.sample_type = [pprof.ValueType(type=1, unit=2)]
    p.mapping = [pprof.Mapping(id=1, memory_start=0x1000, memory_limit=0x1000000, filename=3)]
    for i in range(functions):
        strings.append(b"function_%d" % i)
        p.function.append(pprof.Function(id=i + 1, name=i + 5, system_name=i + 5, filename=4))
        p.location.append(pprof.Location(id=i + 1, mapping_id=1, address=0x1000 + i,
                                         line=[pprof.Line(function_id=i + 1, line=1)]))
    for _ in range(samples):
        depth = rng.randint(10, 40)
        p.sample.append(pprof.Sample(
            location_id=[rng.randint(1, functions) for _ in range(depth // 2)] +
            list(range(depth - depth // 2, 0, -1)), value=[rng.randint(1, 1 << 20)]))
    return encode(p, strings), sum(s.value[0] for s in p.sample)


def unsymbolized_profile():
    """Locations without lines, as ?symbolize=0 and other writers have them; a negative value; a
    frame without a mapping; recursion; an address in the upper half."""
    strings = [b"", b"space", b"bytes", b"/usr/lib/libx.so", b"again"]
    p = pprof.Profile()
    p.sample_type = [pprof.ValueType(type=1, unit=2)]
    p.mapping = [pprof.Mapping(id=1, memory_start=0x1000, memory_limit=0x2000, file_offset=0x40,
                               filename=3)]
    p.function = [pprof.Function(id=1, name=4)]
    p.location = [pprof.Location(id=1, mapping_id=1, address=0x1234),
                  pprof.Location(id=2, address=0xffffffffff600000),
                  pprof.Location(id=3, mapping_id=1, address=0x1300,
                                 line=[pprof.Line(function_id=1, line=5)])]
    p.sample = [pprof.Sample(location_id=[1, 2], value=[10]),
                pprof.Sample(location_id=[3, 3, 2], value=[-4])]
    return encode(p, strings)


def files(service):
    data, total = large_profile()
    with demo(service) as program, browser.Browser(1440, 900) as b:
        open_page(b, program.root)
        open_bytes(b, "large.pb.gz", data)
        equal(sum_of(b), total, "16000 samples add up")
        equal(b.run("return app.page.selection.count;"), 16000, "none is missing")
        go(b, tab="top")
        equal(len(rows(b, "#top-table")), 200, "a long table begins with a part")
        b.run("[...document.querySelectorAll('#top button')].pop().click();")
        check(len(rows(b, "#top-table")) > 5000, "and shows all when asked")
        go(b, tab="")

        open_bytes(b, "bare.pb.gz", unsymbolized_profile())
        for name in ("libx.so+0x274", "0xffffffffff600000", "again"):
            check(name in names(b), "a frame without a name shows as %s: %r" % (name, names(b)))
        go(b, tab="top", mine=False)
        table = {r[-1].split("/usr")[0].split("[")[0]: (r[0], r[2]) for r in rows(b, "#top-table")}
        equal(table["again"], ("▼ −4 B", "▼ −4 B"), "recursion counts once, with its sign")
        equal(table["0xffffffffff600000"], ("0 B", "▲ +6 B"), "a sum of both signs")
        go(b, tab="", mine=None)
        check(drawn(b) > 3, "frames without names are drawn")
        picture(b, "bare")

        # Folded stacks: ours, and by others' hands.
        with urllib.request.urlopen(program.root + "heap?format=folded&type=alloc_space") as a:
            ours = a.read()
        open_bytes(b, "ours.folded", ours)
        equal(sum_of(b), sum(int(line.rsplit(None, 1)[1]) for line in ours.splitlines()),
              "folded stacks of ours add up")
        check("audit_remember" in names(b), "with their names: %r" % names(b)[:9])
        open_bytes(b, "others.txt", b"main;a b;c 3\r\n\nmain;a b 4\nmain 1.5\n")
        go(b, mine=False)
        equal(top_rows(b), {"main": (1.5, 8.5), "a b": (4, 7), "c": (3, 3)}, "so do others'")
        equal(b.run("return app.page.tree('calls', null).size;"), 4, "as one tree")
        go(b, mine=None)

        good = gzip.decompress(unsymbolized_profile())
        broken = {"empty": b"", "text": b"heap profile: 1: 2 [3: 4] @ heap/5\n",
                  "zip": b"\x1f\x8b" + b"\x00" * 40, "cut": gzip.compress(good)[:-12],
                  "page": b"<!DOCTYPE html><p>sign in", "key": b"\xff" * 64,
                  "length": good + struct.pack("BBBB", 0x12, 0xff, 0xff, 0x7f),
                  "half.folded": b"main;a 3\n" * 9000 + b"main;b\n"}
        for name, content in broken.items():
            open_bytes(b, name, content)
            said = text(b, "#toast")
            check(name in said and ("profile" in said or "folded" in said),
                  "%s is told to be no profile: %s" % (name, said))
            equal(b.run("return app.page.shown.name;"), "others.txt", "what showed stays")
        no_complaints(b, "the files")


# --- errors -------------------------------------------------------------------------------------


def errors(service):
    with browser.Browser(1440, 900) as b:
        with demo(service) as program:
            open_page(b, program.root, "#heap")
            b.run("await app.page.take('haep');")
            said = text(b, "#toast")
            check("Unknown profile" in said and "allocs, " in said and "heap, " in said,
                  "an unknown profile lists those that exist: " + said)
            picture(b, "unknown")
            equal(b.run("return [app.state.name, app.page.shown.name];"), ["heap", "heap"],
                  "and what showed stays")
            check(b.run("return document.querySelector('#toast').getAttribute('role');") == "alert",
                  "who cannot see it is told")
            b.click("#toast-close")
            check(not visible(b, "#toast"), "it can be clicked away")
            b.run("await app.page.take('../../metrics');")
            check("not the name of a profile" in text(b, "#toast"), "no path leads elsewhere")
            b.log()
            b.run("window.got = app.page.take('heap', 60);")
            b.wait("!document.querySelector('#progress').hidden", "a capture under way")
            program.process.kill()
        # It has ended, in the middle of a capture.
        b.run("await window.got;")
        said = text(b, "#toast")
        check(re.search(r"The program (has )?ended", said) and re.search(r"\d\d:\d\d:\d\d", said),
              "the program has ended, and when: " + said)
        equal(b.run("return [app.page.busy, app.page.shown.name];"), [None, "heap"],
              "and what was there is still there")
        b.run("await app.page.take('heap');")
        said = text(b, "#toast")
        check(re.search(r"has ended, or cannot be reached any more \(it answered until \d\d:\d\d:\d\d\)",
                        said) and "fetch" not in said, "a sentence, not a browser's: " + said)
        picture(b, "ended")
        go(b, tab="top")
        check("audit_remember" in " ".join(r[-1] for r in rows(b, "#top-table")),
              "what was taken can be looked at all the same")
        no_complaints(b, "errors", "ERR_|status of 404")


if __name__ == "__main__":
    sys.exit(run_parts({"hostile": hostile, "files": files, "errors": errors}))
