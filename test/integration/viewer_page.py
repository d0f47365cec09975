#!/usr/bin/env python3
"""viewer_page.py - the viewer in a real browser: Debian's chromium, headless, driven by chromedriver.

    viewer_page.py page SERVICE SERVICE_CC   how it opens and is laid out, on a desk and on a phone
    viewer_page.py speed MANY_STACKS         how long 12,000 stacks take; a report, not a limit

VIEWER_SCREENSHOTS names a folder to leave pictures in. Exit status 77 if chromium, chromedriver or
what a part needs is not installed. Loopback only.
"""
import gzip
import os
import re
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import browser  # noqa: E402
from checks import check  # noqa: E402
from viewing import *  # noqa: E402,F403

# --- the page -----------------------------------------------------------------------------------

PACKED_MOST = 80 * 1024 # bytes of all files, as they travel


def files_of(root):
    """Every file of the viewer, by what it loads, from its page on."""
    todo, found = [""], {}
    while todo:
        name = todo.pop()
        if name in found:
            continue
        with urllib.request.urlopen(root + "ui/" + name) as a:
            found[name] = a.read()
        for path in re.findall(rb'(?:from|import) "(\./|\.\./)([\w./]+)"', found[name]):
            folder = os.path.dirname(name)
            todo.append(os.path.normpath(os.path.join(folder, path[0].decode(), path[1].decode())))
        if not name:
            todo += [m.decode() for m in re.findall(rb'(?:src|href)="([\w.]+)"', found[name])]
    at_once = re.findall(rb'modulepreload" href="([\w./]+)"', found[""])
    equal(sorted(m.decode() for m in at_once), sorted(
        name for name in found if name.endswith(".js") and name != "app.js"),
          "all modules are asked for at once")
    return found


def test_policy(root):
    """The headers that the page lives by, and that it fits its budget."""
    size = packed = 0
    for name, plain in sorted(files_of(root).items()):
        url = root + "ui/" + name
        with urllib.request.urlopen(url) as a:
            check(a.headers["Content-Encoding"] is None, name + ": plain for who cannot unpack")
            etag = a.headers["ETag"]
            policy = a.headers["Content-Security-Policy"]
            equal(a.headers["X-Content-Type-Options"], "nosniff", name + ": nosniff")
            equal(a.headers["Cache-Control"], "no-cache", name + ": Cache-Control")
            equal(a.headers["Referrer-Policy"], "no-referrer", name + ": Referrer-Policy")
        for part in ("default-src 'none'", "script-src 'self'", "base-uri 'none'",
                     "frame-ancestors 'none'", "require-trusted-types-for 'script'"):
            check(part in policy, "%s: policy has %s" % (name, part))
        check("unsafe" not in policy, name + ": nothing unsafe in the policy")
        request = urllib.request.Request(url, headers={"Accept-Encoding": "br, gzip;q=0.5"})
        with urllib.request.urlopen(request) as a:
            equal(a.headers["Content-Encoding"], "gzip", name + ": gzip for who can")
            body = a.read()
            equal(gzip.decompress(body), plain, name + ": the same, packed or not")
        request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip;q=0, *;q=1"})
        with urllib.request.urlopen(request) as a:
            equal(a.headers["Content-Encoding"], None, name + ": no gzip for who refuses it")
        request = urllib.request.Request(url, headers={"If-None-Match": etag})
        try:
            urllib.request.urlopen(request).close()
            check(False, name + ": 304 for who has it")
        except urllib.error.HTTPError as e:
            equal(e.code, 304, name + ": 304 for who has it")
        for sink in (b"innerHTML", b"outerHTML", b"insertAdjacentHTML", b"document.write", b"eval("):
            check(sink not in plain, "%s does not use %s" % (name, sink.decode()))
        size, packed = size + len(plain), packed + len(body)
    print("the viewer is %d bytes, %d packed" % (size, packed))
    check(packed <= PACKED_MOST, "the viewer travels in at most 80 KiB: %d" % packed)
    status, _ = get(root + "ui/../../../etc/passwd")
    equal(status, 404, "nothing else is served")
    status, _ = get(root + "ui/views/../../../../etc/passwd")
    equal(status, 404, "nor below its folder")


# What can be pressed and is smaller than a finger. A label counts for what is in it.
SMALL = """
    const least = a[0], out = [];
    for (const e of document.querySelectorAll("button, a, select, input, textarea, summary, label")) {
      if (e.tagName === "LABEL" && !e.classList.contains("switch") && !e.classList.contains("button"))
        continue;
      if (/^(checkbox|file)$/.test(e.type))
        continue; // their labels are what is pressed
      const r = e.getBoundingClientRect();
      if (r.width > 0 && r.height > 0 && (r.height < least || r.width < least) &&
          getComputedStyle(e).visibility !== "hidden")
        out.push(`${e.tagName} ${e.id || e.textContent.slice(0, 30)} ${r.width}x${r.height}`);
    }
    return out;"""

# Text that is too faint on what is behind it: less than 4.5 to 1, as WCAG asks.
FAINT = """
    const parse = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
    const luminance = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92
      : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const over = (top, below) => { const x = top[3] ?? 1;
      return [0, 1, 2].map((i) => top[i] * x + below[i] * (1 - x)); };
    const behind = (e) => {
      const layers = [];
      for (; e; e = e.parentElement)
        layers.unshift(parse(getComputedStyle(e).backgroundColor));
      return layers.reduce((below, top) => over(top, below), [255, 255, 255]);
    };
    const out = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const e = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
      if (!text || !e.offsetWidth || e.disabled || e.closest(".unseen, script, option, [popover]"))
        continue;
      const back = behind(e), front = over(parse(getComputedStyle(e).color), back);
      const [x, y] = [luminance(front), luminance(back)].sort((p, q) => q - p);
      const ratio = (x + 0.05) / (y + 0.05);
      if (ratio < 4.5)
        out.push(`${ratio.toFixed(1)} ${e.tagName}.${e.className} ${text.slice(0, 30)}`);
    }
    return out;"""

# Controls that a screen reader could not name.
NAMELESS = """
    return [...document.querySelectorAll("button, select, input, textarea, canvas, a")].filter((e) =>
      !(e.textContent.trim() && e.tagName !== "SELECT") && !e.getAttribute("aria-label") &&
      !(e.labels && [...e.labels].some((l) => l.textContent.trim())) && !e.title)
      .map((e) => e.outerHTML.slice(0, 100));"""

# Text that is cut off in what should show it whole.
CUT = """
    return [...document.querySelectorAll("button, summary, label, th, #home, #found")].filter((e) =>
      e.offsetWidth > 0 && !e.closest(".unseen, td.name, tr.group") && e.scrollWidth > e.clientWidth + 1)
      .map((e) => `${e.tagName} ${e.id} ${e.textContent.slice(0, 30)} ${e.scrollWidth}>${e.clientWidth}`);
    """

TOP_OF_PICTURE = """
    const shown = [...document.querySelectorAll("main > section")].find((s) => s.offsetHeight > 0);
    return shown.getBoundingClientRect().top;"""


def tour(b, what, least_target=None):
    """Every tab: the page is not wider than the screen, the picture begins where it did, everything
    can be read, named and pressed."""
    top = b.run(TOP_OF_PICTURE)
    tabs = b.run("return [...document.querySelectorAll('#tabs button')].map((x) => x.dataset.id);")
    for tab in tabs:
        b.run("document.querySelector('#tab-' + a[0]).click();", tab)
        settled(b, tab)
        name = "%s, %s" % (what, tab)
        if tab == "source":
            b.wait("document.querySelector('#source').textContent", name)
        check(visible(b, "#" + tab) or visible(b, "#empty"), name + " shows")
        check(b.run("return document.documentElement.scrollWidth <= innerWidth &&"
                    " document.documentElement.scrollHeight <= innerHeight;"),
              name + " is as large as the screen")
        equal(b.run(TOP_OF_PICTURE), top, name + " begins where the others do")
        equal(b.run(FAINT), [], name + " can be read")
        equal(b.run(NAMELESS), [], name + ": every control has a name")
        equal(b.run(CUT), [], name + ": nothing is cut off")
        if least_target:
            equal(b.run(SMALL, least_target), [], name + " can be pressed with a finger")
        picture(b, "%s-%s" % (what, tab))
    return tabs


def test_opening(b, program, service):
    b.open(program.root)
    b.click("a.view") # the button of the index
    settled(b, "the viewer, opened with no word of what")
    equal(b.run("return app.state.name;"), "heap", "it opens with the heap")
    check("audit_remember" in names(b), "and shows it: %r" % names(b))
    check(drawn(b) > 3, "the flame graph is drawn")
    head = text(b, "#program")
    for part in (os.path.basename(service), "pid %d" % program.pid, os.uname().nodename, "up "):
        check(part in head, "the header tells %s: %s" % (part, head))
    equal(b.run("return document.querySelectorAll('#toolbar').length;"), 1, "one toolbar")
    check(b.run("return !document.querySelector('#tabs').contains(document.querySelector('#take'));"),
          "the capture menu is apart from the tabs")
    b.open(program.root)
    b.click("a[href='ui/#allocs']") # a profile's name
    settled(b, "allocs")
    equal(b.run("return [app.state.name, app.page.type];"), ["allocs", "alloc_space"],
          "a name of the index leads to that profile")


WHERE = """
    return ["#home", "#shown", "#take", "#tabs", "#search", "#total", "main", "#flame canvas", "footer"]
      .map((s) => { const r = document.querySelector(s).getBoundingClientRect();
        return [s, r.left, r.top, r.width, r.height]; });"""


def test_no_jump(b, root):
    """A capture that takes its time: a bar, a way out, and everything stays in its place."""
    open_page(b, root, "#heap")
    before = b.run(WHERE)
    count = b.run("return app.captures.length;")
    b.click("#take")
    enter(b, "#window-seconds", "60")
    press(b, "#take-list", "Watch 60 s")
    b.wait("document.querySelector('#progress-bar').value > 0", "the bar moves")
    check(visible(b, "#progress") and "s to go" in text(b, "#progress"),
          "it says how long it will take: " + text(b, "#progress"))
    equal(b.run(WHERE), before, "nothing jumps when the bar appears")
    picture(b, "progress")
    b.click("#cancel")
    b.wait("document.querySelector('#progress').hidden", "the end of what was cancelled")
    check("given up" in text(b, "#toast"), "cancelled: " + text(b, "#toast"))
    equal(b.run("return app.captures.length;"), count, "and nothing was added")
    equal(b.run(WHERE), before, "nor when it goes")


def test_keys(b, root):
    """Everything by keys alone."""
    open_page(b, root, "#heap")
    b.run("document.querySelector('#flame canvas').focus();")
    b.keys(DOWN)
    first = b.run("return app.flameView.flame.marked;")
    check(first > 0, "down marks a box")
    b.keys(DOWN, ENTER)
    zoomed = b.run("return app.flameView.flame.root;")
    check(zoomed > 0 and zoomed == b.run("return app.flameView.flame.marked;"), "Enter zooms")
    check(visible(b, "#zoom-out"), "the zoom can be left by a button too")
    b.keys(ESCAPE)
    check(b.run("return app.flameView.flame.root;") < zoomed, "Escape zooms out")
    b.keys("f")
    check(b.run("return app.flameView.flame.up;"), "f flips")
    check(drawn(b) > 3, "the flipped graph is drawn")
    b.keys("f", "i")
    check(b.run("return app.state.inverted;"), "i inverts")
    b.keys("i", "c")
    check(visible(b, "#callers"), "c leads to the callers")
    b.keys("2")
    check(visible(b, "#top-table"), "2 is the second tab")
    b.keys("1")
    check(visible(b, "#flame canvas"), "1 is the first")
    b.keys("/")
    equal(b.run("return document.activeElement.id;"), "search", "/ is the search")
    b.keys("a", "u", "d", "i", "t", ENTER)
    check(b.run("return app.page.selection.keys[app.page.chosen()];").startswith("audit"),
          "Enter goes to the first match")
    b.keys(ESCAPE)
    equal(b.run("return app.state.search;"), "", "Escape ends the search")
    before = b.run("return app.page.selection.charged;")
    b.keys("m")
    equal(b.run("return app.state.mine;"), False if before else None, "m switches my code")
    b.keys("m", "t")
    check(visible(b, "#take-menu"), "t opens the capture menu")
    b.keys(ESCAPE)
    check(not visible(b, "#take-menu"), "Escape closes it")
    b.keys("?")
    check(visible(b, "#help"), "? is help")
    b.click("#help-close")
    b.run("document.querySelector('#tab-flame').focus();")
    b.keys(RIGHT)
    check(visible(b, "#top-table"), "arrows move between tabs")


def page(service, service_cc):
    with demo(service) as program:
        test_policy(program.root)
        with browser.Browser(1440, 900) as b:
            test_opening(b, program, service)
            test_no_jump(b, program.root)
            test_keys(b, program.root)
            no_complaints(b, "the page")
    with demo(service_cc) as program:
        for width, height, dark, most, what in (
                (1440, 900, False, 96, "desk"), (900, 700, True, 96, "small-dark"),
                (390, 844, False, 132, "phone"), (390, 844, True, 132, "phone-dark")):
            with browser.Browser(width, height, dark) as b:
                if width < 500:
                    b.touch()
                open_page(b, program.root, "#heap", what)
                equal(b.run("return matchMedia('(prefers-color-scheme: dark)').matches;"), dark,
                      what + ": light or dark")
                top = b.run(TOP_OF_PICTURE)
                check(top <= most, "%s: %g px above the picture, at most %d" % (what, top, most))
                b.run("app.page.go({focus: 'shop', hide: 'clone', key: app.page.selection.ids["
                      "app.page.main()]});")
                equal(b.run(TOP_OF_PICTURE), top, what + ": filters take no room from it")
                least = 44 if width < 500 else None
                if least:
                    equal(b.run(SMALL, least), [], what + ": chips and buttons for fingers")
                picture(b, what + "-filtered")
                go(b, focus="", hide="")
                tabs = tour(b, what, least)
                check({"flame", "top", "callers", "source", "sizes", "labels"} <= set(tabs),
                      "%s: all tabs: %r" % (what, tabs))
                capture(b, "threads")
                tour(b, what + "-threads", least)
                for menu in ("take", "more", "filter"):
                    b.click("#" + menu)
                    check(b.run("""const r = document.querySelector(":popover-open")
                        .getBoundingClientRect(); return r.left >= 0 && r.top >= 0 &&
                        r.right <= innerWidth && r.bottom <= innerHeight;"""),
                          "%s: the menu of %s is inside" % (what, menu))
                    if least:
                        equal(b.run(SMALL, least), [], "%s: the menu of %s" % (what, menu))
                    picture(b, "%s-menu-%s" % (what, menu))
                    b.keys(ESCAPE)
                no_complaints(b, what, "ui/source.* 403") # it was not allowed
        with browser.Browser(390, 844) as b: # the index, for fingers
            b.touch()
            b.open(program.root)
            equal(b.run(SMALL, 44), [], "the index can be pressed with a finger")
            check(b.run("return document.documentElement.scrollWidth <= innerWidth;"),
                  "and is not wider than a phone")
            picture(b, "index")


# --- speed --------------------------------------------------------------------------------------


def speed(many_stacks):
    """Processor time of the page's own thread, in ms, so that a busy machine does not matter much."""
    with Program([many_stacks], env=quiet_environment(LIBPROF_HEAP_RATE="1")) as program, \
            browser.Browser(1440, 900) as b:
        b.cdp("Performance.enable", {"timeDomain": "threadTicks"})

        def spent():
            numbers = b.cdp("Performance.getMetrics", {})["metrics"]
            return 1000 * next(m["value"] for m in numbers if m["name"] == "TaskDuration")

        for visit in (1, 2):
            open_page(b, program.root, "#heap")
            print("visit %d: page ready in %d ms" % (visit, spent()))
        equal(b.run("return app.page.selection.count;") >= 12000, True, "12,000 stacks are there")
        for what, change in (("filter", {"focus": "step_7"}), ("another", {"focus": "step_[1-3]."}),
                             ("none", {"focus": ""}), ("top", {"tab": "top"}),
                             ("filtered", {"focus": "step_7"}), ("callers", {"tab": "callers"})):
            before = spent()
            go(b, **change)
            b.run("app.flameView.flame.draw();")
            print("%s: %d ms" % (what, spent() - before))
        check(0 < sum_of(b) < b.run("return app.page.whole.total;"), "and the filter does filter")
        picture(b, "many-stacks")
        no_complaints(b, "12,000 stacks")


if __name__ == "__main__":
    sys.exit(run_parts({"page": page, "speed": speed}))
