#!/usr/bin/env python3
"""viewer_differences.py - what has changed: windows and differences, with signs, rates and totals; and the
profiles that are of a span of time, or empty.

    viewer_differences.py SERVICE

Chromium, as in viewer_page.py.
"""
import os
import re
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import browser  # noqa: E402
from checks import check  # noqa: E402
from viewing import *  # noqa: E402,F403

def total(url):
    """Bytes allocated, as the text form of a heap profile sums it up."""
    with urllib.request.urlopen(url) as a:
        return int(re.search(rb"\[\d+: (\d+)\]", a.read()).group(1))


def differences(service):
    with demo(service) as program, browser.Browser(1440, 900) as b:
        root = program.root
        # A window is a difference: sign, rate, time, and the total beside it.
        open_page(b, root, "#heap")
        capture(b, "heap", watch=2)
        said = text(b, "#total")
        check(re.match(r"\+[\d.]+ MiB inuse_space in \d\.\d s \(\+[\d.]+ [KM]iB/s\) "
                       r"of [\d.]+ MiB now$", said), "a window: " + said)
        check(b.run("return app.page.selection.isSigned;"), "has signs")
        go(b, tab="top")
        check(rows(b, "#top-table")[0][0].startswith("▲ +"), "and arrows, not only colours")
        go(b, focus="no such thing|audit_remember")
        said = text(b, "#total")
        check(" of +" in said, "and is a part of the whole: " + said)
        go(b, focus="", tab="")
        picture(b, "window")
        check("seconds=2" in b.run("return location.hash;"), "the URL has the window")

        # The leak has grown, nothing else: heap now less heap then.
        capture(b, "heap")
        first = b.run("return app.page.shown.at;")
        start = total(root + "allocs?debug=1")
        while total(root + "allocs?debug=1") < start + (8 << 20):
            pass
        capture(b, "heap")
        options = b.run("return [...document.querySelector('#base').options].map((o) => o.text);")
        check(options[0] == "minus nothing" and all("in 2 s" not in o for o in options),
              "what can be subtracted: %r" % options)
        choose(b, "#base", 1)
        equal(b.run("return app.page.base.at;"), first, "a base is chosen")
        said = text(b, "#total")
        check(re.match(r"\+[\d.]+ [KM]iB inuse_space in .*/s\) of [\d.]+ MiB now$", said),
              "a difference says the same as a window: " + said)
        go(b, tab="top")
        grown = [r for r in rows(b, "#top-table") if r[-1].startswith("audit_remember")]
        check(grown and grown[0][0].startswith("▲ +"), "growth has a sign and a shape: %r" % grown)
        go(b, tab="")
        check(drawn(b) > 3, "the difference is drawn")
        picture(b, "difference")
        # The other way round it has shrunk.
        later = b.run("return app.page.shown.at;")
        go(b, at=first, base=later, tab="top")
        shrunk = [r for r in rows(b, "#top-table") if r[-1].startswith("audit_remember")]
        check(shrunk and shrunk[0][0].startswith("▼ −"), "shrinkage likewise: %r" % shrunk)
        go(b, tab="")
        picture(b, "shrinkage")
        # The larger the change, the stronger the colour.
        data = small_profile([(("main", "much"), [1000]), (("main", "little"), [100]),
                              (("main", "less"), [-500])])
        open_bytes(b, "shades.pb.gz", data)
        shade = b.run("""const { page, flameView } = app, f = flameView.flame, s = page.selection;
            f.draw(); const c = f.canvas.getContext("2d"), out = {};
            for (const box of f.boxes) if (box.node) {
              const d = c.getImageData(box.x + box.width - 3, f.top(box.row) + 2, 1, 1).data;
              out[f.name(box.node)] = [d[0], d[1], d[2]]; }
            return out;""")
        spread = {k: max(v) - min(v) for k, v in shade.items()}
        check(spread["much"] > spread["little"] + 20, "shaded by size: %r" % shade)
        check(shade["less"][2] > shade["less"][0] and shade["much"][0] > shade["much"][2],
              "red has grown, blue has shrunk: %r" % shade)
        picture(b, "shades")

        for name, frame in (("allocs", "parse"), ("threads", "work"), ("threadcreate", "main")):
            capture(b, name)
            check(frame in names(b), "%s shows %s: %r" % (name, frame, names(b)[:20]))
        for name in ("mutex", "block"):
            capture(b, name)
            said = text(b, "#empty")
            check("This profile is empty" in said, "%s says that it is empty: %s" % (name, said))
            check("%s profiling is off: set LIBPROF_" % name in said, "and why, and what to do")
        picture(b, "off")
        capture(b, "profile", watch=3)
        equal(b.run("return app.page.type;"), "cpu", "CPU time shows first")
        check("checksum" in names(b), "the work shows: %r" % names(b)[:20])
        check(re.match(r"[\d.]+ m?s cpu in \d\.\d s \([\d.]+ processors\)$", text(b, "#total")),
              "how long, and how many processors: " + text(b, "#total"))
        picture(b, "cpu")
        types = b.run("return [...document.querySelector('#type').options].map((o) => o.text);")
        equal(types, ["samples (count)", "cpu (nanoseconds)"], "every type can be chosen")
        choose(b, "#type", 0)
        equal(sum_of(b), b.run("return app.page.shown.profile.values[0].reduce((x, y) => x + y);"),
              "and its sum is that of the samples")
        no_complaints(b, "differences", "willReadFrequently") # of the test's own reading


if __name__ == "__main__":
    sys.exit(run_parts({sys.argv[1]: lambda *rest: differences(sys.argv[1])}))
