#!/usr/bin/env python3
"""viewer_time.py - numbers over time in the viewer: drawn, in any light, on a desk and on a phone.

    viewer_time.py SERVICE

Chromium, as in viewer_page.py.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import browser  # noqa: E402
from checks import check  # noqa: E402
from viewing import *  # noqa: E402,F403

SCREENS = ((1440, 900, False, "desk"), (390, 844, True, "phone, dark"))

CHARTS = """return [...document.querySelectorAll("#time .chart")].map((c) => {
    const box = c.querySelector("svg").getBoundingClientRect();
    const line = c.querySelector("path.line0");
    return { title: c.querySelector("strong").textContent, text: c.textContent,
             path: line.getAttribute("d"), stroke: getComputedStyle(line).stroke,
             back: getComputedStyle(document.body).backgroundColor,
             left: box.left, right: box.right, height: box.height,
             label: c.querySelector("svg").getAttribute("aria-label") };
});"""


def test_screen(program, width, height, dark, what):
    with browser.Browser(width, height, dark) as b:
        open_page(b, program.root, "#heap")
        b.click("#tab-time")
        b.wait("document.querySelectorAll('#time .chart path.line0').length >= 4", "charts")
        charts = {c["title"]: c for c in b.run(CHARTS)}
        for title in ("Memory", "Allocated", "Processor", "Threads"):
            check(title in charts, "%s: %s is drawn, of %s" % (what, title, sorted(charts)))
        for title, c in charts.items():
            check(re.match(r"M\d+ [\d.]+(L|M)\d+", c["path"]), "%s: a line, %r" % (title, c["path"]))
            check(c["left"] >= 0 and c["right"] <= width and c["height"] > 50,
                  "%s, %s: within the screen, %r" % (what, title, c))
            check(c["stroke"] != c["back"] and c["stroke"] != "none", "%s can be seen" % title)
            check(re.match(title + r" of the last \d", c["label"]), "told in words: " + c["label"])
        check(re.search(r"RSS [\d.]+ [MG]iB.*heap in use [\d.]+ [KMG]iB.*0 to [\d.]+ [MG]iB",
                        charts["Memory"]["text"]), charts["Memory"]["text"])
        before = charts["Memory"]["path"]
        if not dark: # once will do
            b.wait("document.querySelector('#time .chart path.line0').getAttribute('d') !== %r" %
                   before, "it goes on by itself")
        press(b, "#view-tools", "24 h")
        equal(b.run("return document.querySelector('#view-tools [aria-pressed=true]').textContent;"),
              "24 h", "the other series")
        press(b, "#view-tools", "10 min")
        b.wait("document.querySelectorAll('#time .chart').length >= 4", "and back")
        picture(b, "time-" + what.split(",")[0])
        b.click("#tab-flame")
        check(drawn(b) > 3, "the profile is still there")
        no_complaints(b, what)


def main(service):
    with demo(service) as program:
        for screen in SCREENS:
            test_screen(program, *screen)


if __name__ == "__main__":
    sys.exit(run_parts({sys.argv[1]: lambda *rest: main(sys.argv[1], *rest)}))
