#!/usr/bin/env python3
"""viewer_state.py - what the page shows is in its URL, and survives Back, reload and a colleague; and
what can be taken away from it: links, files, commands, folded stacks.

    viewer_state.py url SERVICE_CC
    viewer_state.py take_away SERVICE_CC

Chromium, as in viewer_page.py.
"""
import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import browser  # noqa: E402
from checks import check  # noqa: E402
import pprof  # noqa: E402
from viewing import *  # noqa: E402,F403

# Each field of the state, with a value that is not the usual one.
CHANGES = {
    "query": "site=^a b$&x=%25", "type": "alloc_space", "group": "file", "tab": "top", "mine": False, "inverted": True,
    "flipped": True, "focus": "sho(p)|%&=#", "ignore": "c=a&d", "hide": "^std::", "search": "a b+c",
    "label": {"key": "ten=ant", "value": "a&b=c"}, "root": "tenant", "labelKey": "bytes",
    "key": "shop::f(int)\n/a/b c.cc", "zoom": ["main", "…3"], "sort": "-cum",
}


def state(b):
    return b.run("return app.state;")


def test_every_state_is_in_the_url(b, root):
    open_page(b, root, "#heap")
    usual = state(b)
    # viewer_captures has "less", which becomes a base as the page opens.
    equal(set(usual) - set(CHANGES), {"name", "seconds", "at", "base", "file", "less"}, "fields with a test")
    for field, value in CHANGES.items():
        change = {field: value}
        there = b.run("""
            const { fromHash, toHash } = await import(new URL("state.js", location));
            return fromHash(toHash({ ...app.state, ...a[0] }))[a[1]];""", change, field)
        equal(there, value, field + " by way of the URL")
    for field in ("label", "zoom", "at", "base", "seconds"):
        for junk in ("%zz", "[", "{}", "-1", "1e99", "__proto__", "=", "%25zz"):
            read = b.run("const { fromHash } = await import(new URL('state.js', location));"
                         "return fromHash('#heap?' + a[0] + '=' + a[1])[a[0]];", field, junk)
            check(isinstance(read, type(usual[field])) or read is None or isinstance(read, dict),
                  "%s=%s is read as %r" % (field, junk, read))


def test_back_and_reload(b, root):
    open_page(b, root, "#heap")
    first, kept = state(b)["at"], b.run("return app.captures.length;")
    b.click("#tab-top")
    b.click("#filter")
    enter(b, "#focus", "shop")
    b.keys(ESCAPE)
    b.run("document.querySelector('#top-table td.name button').click();")
    chosen = state(b)["key"]
    check(chosen.startswith("shop::"), "a function is chosen: " + chosen)
    capture(b, "allocs")
    equal(b.run("return app.page.type;"), "alloc_space", "another profile, with its own type")
    second = state(b)["at"]
    for want in ({"name": "heap", "key": chosen, "focus": "shop", "tab": "top"},
                 {"key": "", "focus": "shop"}, {"focus": "", "tab": "top"}, {"tab": ""}):
        b.run("history.back();")
        b.wait("Object.entries(%s).every(([k, v]) => app.state[k] === v)" % json.dumps(want),
               "Back to %r" % want)
        settled(b)
    equal(b.run("return [app.page.shown.at, app.captures.length];"), [first, kept + 1],
          "Back shows what was there, and takes nothing anew")
    for _ in range(4):
        b.run("history.forward();")
    b.wait("app.state.at === %d && app.page.shown.at === app.state.at" % second, "Forward again")
    b.run("history.go(-2);")
    b.wait("app.state.name === 'heap' && app.state.focus === 'shop'", "two steps at once")
    settled(b)
    before = state(b)
    sum_before = sum_of(b)
    b.command("/refresh")
    settled(b, "the page, loaded again")
    equal(state(b), before, "a reload keeps every field")
    equal(sum_of(b), sum_before, "and the very capture, though the program has gone on")
    equal(b.run("return app.captures.map((c) => c.at).slice(0, 2);"), [second, first],
          "all captures are there")
    check(text(b, "#chips") == "focus: shop✕", "the chips too")
    # A zoom is a step, too.
    go(b, tab="", focus="")
    point = ("const c = document.querySelector('#flame canvas'), r = c.getBoundingClientRect();"
             "c.dispatchEvent(new MouseEvent('click', {clientX: r.left + 20, clientY: r.top + 30,"
             "bubbles: true}));")
    b.run(point)
    b.wait("app.state.zoom.length === 1", "a zoom")
    b.run("history.back();")
    b.wait("app.state.zoom.length === 0 && app.flameView.flame.root === 0", "and back from it")


def test_link(b, other, root):
    """A colleague has not the capture, and sees the same of a new one."""
    open_page(b, root, "#heap?tab=top&focus=shop&mine=0&type=inuse_objects")
    link = b.run("return location.href;")
    check("at=" in link, "the link names the capture: " + link)
    other.open(link)
    settled(other, "the link, elsewhere")
    equal({k: v for k, v in state(other).items() if k != "at"},
          {k: v for k, v in state(b).items() if k != "at"}, "the same in everything else")
    check(state(other)["at"] != state(b)["at"], "but a capture of its own")
    check(visible(other, "#top-table"), "and the same view")


def url(service_cc):
    with browser.Browser(1440, 900) as b:
        with demo(service_cc) as program:
            test_every_state_is_in_the_url(b, program.root)
            test_back_and_reload(b, program.root)
            with browser.Browser(900, 700) as other:
                test_link(b, other, program.root)
                # A window in a link is watched anew.
                other.open("about:blank")
                other.open(program.root + "ui/#heap?seconds=1")
                settled(other)
                check("in 1" in text(other, "#total"), "a window by URL: " + text(other, "#total"))
                no_complaints(other, "the colleague")
            open_page(b, program.root, "#heap")
            old, pid = state(b)["at"], program.pid
            where = program.where
        # It is started again at the same place.
        with demo(service_cc, where) as program:
            open_page(b, program.root, "#heap")
            titles = b.run("return [...document.querySelector('#shown').options].map((o) => o.text);")
            check(any("service-cc %d)" % pid in t for t in titles),
                  "captures of its predecessor are there, and named: %r" % titles)
            go(b, base=old)
            check(text(b, "#total").startswith(("+", "−")) and "in " in text(b, "#total"),
                  "and can be compared with: " + text(b, "#total"))
            go(b, base=0, at=old, tab="source")
            b.wait("document.querySelector('#source').textContent.includes('that has ended')",
                   "its addresses mean nothing to its successor")
            # Only the newest are kept.
            at = state(b)["at"]
            for _ in range(22):
                b.run("await app.page.take('threadcreate');")
            equal(b.run("return app.captures.length;"), 20, "at most 20")
            b.command("/refresh")
            settled(b)
            equal(b.run("await app.page.loading; return app.captures.length;"), 20, "nor later")
            check(at not in b.run("return app.captures.map((c) => c.at);"), "the oldest went")
            no_complaints(b, "the URL", "ui/source.* 403")


def clipboard(b):
    b.wait("document.querySelector('#toast-text').textContent.startsWith('Copied')", "a copy")
    return b.run("return navigator.clipboard.readText();")


def more(b, id_):
    b.run("document.querySelector('#toast-text').textContent = '';")
    b.click("#more")
    b.click("#" + id_)


def take_away(service_cc):
    with demo(service_cc) as program, browser.Browser(1440, 900) as b:
        root = program.root
        b.cdp("Browser.grantPermissions", {"permissions": ["clipboardReadWrite",
                                                           "clipboardSanitizedWrite"]})
        open_page(b, root, "#heap?mine=0&focus=shop&ignore=Cache")
        more(b, "copy-link")
        equal(clipboard(b), b.run("return location.href;"), "a link")
        more(b, "copy-folded")
        lines = clipboard(b).splitlines()
        check(all(re.match(r"[^;]+(;[^;]+)* -?\d+$", line) for line in lines), "folded: %r" % lines[:2])
        equal(sum(int(line.rsplit(" ", 1)[1]) for line in lines), sum_of(b), "its sum is what shows")
        check(all("Cache" not in line for line in lines), "and what is filtered is not in it")
        b.run("await app.page.go({key: app.page.selection.ids[app.page.main()]});")
        b.run("document.querySelector('#toast-text').textContent = '';")
        press(b, "#detail", "Copy name")
        equal(clipboard(b), b.run("return app.page.selection.keys[app.page.chosen()];"), "a name")

        # A file, named after what it is.
        want = b.run("return [...app.page.shown.bytes];")
        more(b, "download")
        end = time.monotonic() + 30
        name = None
        while not name and time.monotonic() < end:
            name = next((n for n in os.listdir(b.downloads) if n.endswith(".pb.gz")), None)
            time.sleep(0.05)
        check(re.match(r"service-cc\.%d\.heap\.\d{8}-\d{6}\.pb\.gz$" % program.pid, name or ""),
              "program.pid.profile.time: %r" % name)
        path = os.path.join(b.downloads, name)
        with open(path, "rb") as f:
            data = f.read()
        equal(list(data), want, "and is what the server sent")
        before, at = sum_of(b), state(b)["at"]
        b.type("#file", path)
        b.wait("app.state.file && app.page.shown.at !== %d" % at, "the file, opened again")
        check("shop::Audit::remember" in names(b), "a local file shows like a capture")
        go(b, focus="shop", ignore="Cache", mine=False)
        equal(sum_of(b), before, "with the same numbers")
        b.command("/refresh")
        settled(b)
        equal((state(b)["name"], sum_of(b)), (name, before), "and survives a reload")

        # The command gives the numbers that are shown.
        if shutil.which("go"):
            more(b, "copy-pprof")
            words = shlex.split(clipboard(b))
            equal(words[:3], ["go", "tool", "pprof"], "a command: %r" % words)
            check("-focus=(?i)shop" in words and "-ignore=Cache" in words, "with filters: %r" % words)
            words = [w for w in words if not w.startswith("-http")]
            out = subprocess.run(words[:3] + ["-top", "-unit=B", "-symbolize=none",
                                              "-nodefraction=0", "-nodecount=100000"] + words[3:],
                                 cwd=b.downloads, check=True, capture_output=True, text=True).stdout
            total = int(re.search(r"for (\d+)B?,", out).group(1))
            equal(total, sum_of(b), "and shows the same sum")
        go(b, name="heap", at=at, file=False)
        more(b, "copy-pprof")
        check("%sheap" % root in clipboard(b), "of a capture, with the program's URL")
        with open(path, "rb") as f:
            pprof.parse(gzip.decompress(f.read()))
        no_complaints(b, "what is taken away")


if __name__ == "__main__":
    sys.exit(run_parts({"url": url, "take_away": take_away}))
