#!/usr/bin/env python3
"""viewer_captures.py - what the program has kept opens in the viewer, by itself and less its baseline,
in two clicks; and one more is kept from there.

    viewer_captures.py SERVICE

Chromium, as in viewer_page.py.
"""
import os
import signal
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import browser  # noqa: E402
from checks import check, report  # noqa: E402
from viewing import *  # noqa: E402,F403


def captures(service):
    with tempfile.TemporaryDirectory(prefix="libprof-test-") as folder:
        rules = "rss>1 -> heap; baseline 0s; dir " + folder
        with demo(service, LIBPROF_CAPTURE=rules) as program, browser.Browser(1440, 900) as b:
            look(program, b)


def look(program, b):
    root = program.root
    # From the list: one click on what was captured, less the baseline.
    b.open(root + "captures")
    links = b.run("return [...document.querySelectorAll('a')].filter((x) => "
                  "x.textContent === 'less the baseline').map((x) => x.href);")
    check(len(links) == 1, "one capture, and its difference: %r" % links)
    picture(b, "captures")
    b.open("about:blank")
    b.open(links[0])
    b.wait("app.page.shown && app.page.base && !app.page.busy", "the difference")
    check(b.run("return app.page.base.name;").startswith("captures/"), "less what was kept first")
    check(b.run("return app.page.selection.isSigned;"), "with signs")
    check("less=" not in b.run("return location.hash;"), "the URL has the two as any other")
    check("Kept heap" in b.run("return app.page.shown.title;"), "a title for people")
    check(b.run("return app.page.isHere();"), "of this process: addresses mean the same")
    picture(b, "kept_difference")

    # By itself, and after a reload it is had from the browser.
    name = b.run("return app.page.shown.name;")
    open_page(b, root, "#" + name, "a capture")
    check(not b.run("return Boolean(app.page.base);"), "nothing is subtracted")
    before = b.run("return app.page.whole.total;")
    b.command("/refresh")
    settled(b)
    check(b.run("return app.page.whole.total;") == before, "the same numbers")
    # One of now less one that was kept: they are of one kind.
    capture(b, "heap")
    options = b.run("return [...document.querySelector('#base').options].map((o) => o.text);")
    check(any("Kept heap" in o for o in options), "it can be subtracted from one of now: %r" % options)

    # Keeping one more is refused without a token over loopback, and it is said why.
    b.click("#more")
    b.click("#keep")
    b.wait("/with the token/.test(document.querySelector('#toast-text').textContent)", "why not")
    b.open("about:blank")
    b.open(root + "ui/#captures/no.1.20250101T000000Z.001.x.y.heap.pb.gz")
    b.wait("/no such capture/.test(document.querySelector('#toast-text').textContent)", "not there")


if __name__ == "__main__":
    if browser.missing():
        skip(browser.missing() + " is not installed")
    signal.alarm(LIMIT_S)
    captures(sys.argv[1])
    sys.exit(report())
