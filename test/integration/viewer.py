#!/usr/bin/env python3
"""viewer.py - the viewer in a real browser: Debian's chromium, headless, driven by chromedriver.

    viewer.py views SERVICE              each view on the demo service, with keys, in dark, on a phone
    viewer.py numbers SERVICE PROFRUN    its numbers are those of `go tool pprof -top`
    viewer.py hostile HOSTILE            names that try to become markup stay text
    viewer.py source SERVICE             source files beside values, and only where allowed
    viewer.py files SERVICE              profiles from files: large, odd, broken

VIEWER_SCREENSHOTS names a folder to leave pictures in. Exit status 77 if chromium, chromedriver or
what a part needs is not installed. Loopback only.
"""
import base64
import gzip
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import browser  # noqa: E402
from checks import check, report  # noqa: E402
import pprof  # noqa: E402

PICTURES = os.environ.get("VIEWER_SCREENSHOTS")
LIMIT_S = 280


def equal(got, want, what):
    check(got == want, "%s: got %.600r, want %.600r" % (what, got, want))


def skip(why):
    print("skipped: " + why)
    sys.exit(77)


class Program:
    """A program that prints where it serves; ended by its process id."""

    def __init__(self, argv, pattern=r"([\w.:]+:\d+)$", stream="stdout", **options):
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, text=True,
                                        **{stream: subprocess.PIPE}, **options)
        while True:
            line = getattr(self.process, stream).readline()
            if not line:
                raise RuntimeError("%s has ended" % argv[0])
            found = re.search(pattern, line.strip())
            if found:
                break
        self.root = "http://%s/debug/pprof/" % found.group(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def picture(b, name):
    if PICTURES:
        time.sleep(0.2) # for the eye only: the next frame is drawn
        b.screenshot(os.path.join(PICTURES, name + ".png"))


def no_complaints(b, what):
    equal([m["message"] for m in b.log()], [], "console of " + what)


def capture(b, selector):
    """Press a capture button, wait until its profile shows."""
    before = b.run("return app.state.captures.length;")
    b.click(selector)
    b.wait("app.state.captures.length > %d && document.querySelector('#progress').hidden" % before,
           "a capture by " + selector)


def rows(b, selector):
    """The text of each row of a table, by cell."""
    return b.run("return [...document.querySelectorAll(a[0] + ' tbody tr')].map("
                 "(row) => [...row.cells].map((cell) => cell.textContent));", selector)


def notice(b):
    return b.run("return document.querySelector('#notice').textContent;")


def choose(b, selector, index):
    b.run("const e = document.querySelector(a[0]); e.selectedIndex = a[1];"
          "e.dispatchEvent(new Event('change'));", selector, index)


def enter(b, selector, text):
    b.run("const e = document.querySelector(a[0]); e.value = a[1];"
          "e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change'));",
          selector, text)


def visible(b, selector):
    return b.run("const e = document.querySelector(a[0]);"
                 "return e !== null && e.offsetWidth > 0 && e.offsetHeight > 0;", selector)


def drawn(b):
    """How many colours the flame graph has; an empty one has one."""
    return b.run("""
        app.flame.draw();
        const shown = document.querySelector("#flame-canvas");
        const c = new OffscreenCanvas(shown.width, shown.height);
        c.getContext("2d", {willReadFrequently: true}).drawImage(shown, 0, 0);
        const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        const seen = new Set();
        for (let i = 0; i < d.length; i += 4)
          seen.add(d[i] << 24 | d[i + 1] << 16 | d[i + 2] << 8 | d[i + 3]);
        return seen.size;""")


def names(b):
    return b.run("return app.state.selection.keys;")


def used(b):
    """The keys that are in the tree."""
    return set(b.run("return [...app.state.tree.key.slice(1, app.state.tree.size)];"))


def demo(service, **variables):
    """The demo service, when it has done enough for each of its functions to have samples: 64 are
    expected of the smallest, so that none would be seen once in e^64."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("LIBPROF_")}
    program = Program([service, "127.0.0.1:0"],
                      env=dict(env, LIBPROF_HEAP_RATE="65536", **variables))
    while not program.process.stdout.readline().startswith("handled 2000 "):
        pass
    return program


# --- views --------------------------------------------------------------------------------------


def test_policy(root):
    """The headers that the page lives by, and that it fits its budget."""
    size = packed = 0
    for name in ("", "app.js", "demangle.js", "flame.js", "model.js", "pprof.js", "style.css",
                 "icon.svg"):
        url = root + "ui/" + name
        with urllib.request.urlopen(url) as a:
            plain = a.read()
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
    check(size <= 80 * 1024, "the viewer is at most 80 KiB: %d" % size)
    try:
        urllib.request.urlopen(root + "ui/../../../etc/passwd").close()
        check(False, "nothing else is served")
    except urllib.error.HTTPError as e:
        equal(e.code, 404, "nothing else is served")


def test_flame(b, root):
    b.open(root)
    b.click("a[href='ui/#heap']") # one click from the index
    b.wait("document.querySelector('script[src=\"app.js\"]') && app.state.shown", "heap")
    check("audit_remember" in names(b), "the leak has a name: %r" % names(b))
    inlined = b.run("return app.state.selection.frame.filter((f) => f.inlined).map((f) => f.name);")
    check("buffer_new" in inlined, "inlined frames are told apart: %r" % inlined)
    check(b.run("return app.flame.describe(a[0]);", b.run(
        "return [...app.state.tree.key].indexOf(app.state.selection.keys.indexOf('buffer_new'));")
        ).find(", inlined, in ") > 0, "and described as such")
    check(drawn(b) > 3, "the flame graph is drawn")
    picture(b, "flame")

    # By keys alone: down to the leak, zoom, out again.
    b.run("document.querySelector('#flame-canvas').focus();")
    b.keys("\ue015") # down
    first = b.run("return app.flame.marked;")
    check(first > 0, "down marks a frame")
    b.keys("\ue015", "\ue007") # down, Enter
    zoomed = b.run("return app.flame.root;")
    check(zoomed > 0 and zoomed == b.run("return app.flame.marked;"), "Enter zooms")
    check("Zoom out" in b.run("return document.querySelector('#detail-buttons').textContent;"),
          "the zoom can be left by a button too")
    b.keys("\ue00c") # Escape
    check(b.run("return app.flame.root;") < zoomed, "Escape zooms out")
    b.keys("f")
    check(b.run("return app.flame.flipped;"), "f flips")
    check(drawn(b) > 3, "the flipped graph is drawn")
    picture(b, "flipped")
    b.keys("f", "c")
    check(visible(b, "#peek"), "c leads to callers and callees")
    b.keys("2")
    check(visible(b, "#top-table"), "2 is the table")
    b.keys("1")
    check(visible(b, "#flame-canvas"), "1 is the flame graph")
    b.keys("/")
    equal(b.run("return document.activeElement.id;"), "search", "/ is the search")
    b.run("document.activeElement.blur();")
    b.keys("?")
    check(visible(b, "#help"), "? is help")
    b.click("#help-close")
    # By mouse: the row of the root's first child, the second from the top.
    b.run("""const c = document.querySelector("#flame-canvas"), at = c.getBoundingClientRect();
        const where = {clientX: at.left + 20, clientY: at.top + 30, bubbles: true};
        c.dispatchEvent(new MouseEvent("mousemove", where));
        c.dispatchEvent(new MouseEvent("click", where));""")
    equal(b.run("return app.flame.root;"), b.run("return app.state.tree.children(0)[0];"),
          "a click zooms to the frame under it")
    b.run("app.flame.zoom(0);")


def test_tables(b):
    b.click("#tab-top")
    table = rows(b, "#top-table")
    check(any(r[4].startswith("audit_remember") for r in table), "top has the leak: %r" % table[:3])
    check(any("buffer_new(inlined)" in r[4] for r in table), "top marks what is inlined")
    for column, key in ((0, "flat"), (2, "cum")):
        b.run("document.querySelectorAll('#top-table th button')[a[0]].click();", 0 if column == 0
              else 1)
        if column == 0: # it was sorted so already: twice, to be so again
            b.run("document.querySelectorAll('#top-table th button')[0].click();")
        values = b.run("return [...document.querySelectorAll('#top-table tbody tr')].map("
                       "(r) => Number(r.cells[a[0]].dataset.value));", column)
        equal(values, sorted(values, reverse=True), "top sorts by " + key)
    b.run("document.querySelectorAll('#top-table th button')[2].click();")
    listed = [r[4] for r in rows(b, "#top-table")]
    equal(b.run("return document.querySelectorAll('#top-table th')[4].getAttribute('aria-sort');"),
          "ascending", "the order is told")
    check(len(listed) > 3 and listed[0] < listed[-1], "top sorts by name")
    picture(b, "top")
    for i, (group, wanted) in enumerate([("function", "work"), ("line", "service.c:"),
                                         ("file", "service.c"), ("module", "/service")]):
        choose(b, "#group", i)
        check(any(wanted in name for name in names(b)), "by %s: %r" % (group, names(b)[:5]))
    choose(b, "#group", 0)

    # Callers and callees, from the table.
    b.run("[...document.querySelectorAll('#top-table td.name button')]"
          ".find((x) => x.textContent === 'handle_request').click();")
    equal(b.run("return document.querySelector('#peek-name').textContent;"), "handle_request",
          "a name in the table leads to its callers")
    check("work" in rows(b, "#callers")[0][2], "callers: %r" % rows(b, "#callers"))
    check(any("audit_remember" in r[2] for r in rows(b, "#callees")),
          "callees: %r" % rows(b, "#callees"))
    picture(b, "peek")
    b.click("#tab-about")
    check("inuse_space" in b.run("return document.querySelector('#about').textContent;"),
          "about tells the types")


def test_filters(b):
    b.click("#tab-flame")
    everything = b.run("return app.state.tree.weight[0];")
    enter(b, "#focus", "cache_fill")
    part = b.run("return app.state.tree.weight[0];")
    check(0 < part < everything, "focus keeps a part")
    check("audit_remember" not in [n for i, n in enumerate(names(b))
          if i in used(b)], "focus drops what has no match")
    enter(b, "#focus", "")
    enter(b, "#ignore", "cache_fill")
    equal(b.run("return app.state.tree.weight[0];"), everything - part, "ignore drops that part")
    enter(b, "#ignore", "")
    enter(b, "#hide", "^libc|/libc")
    check("start_thread" not in [n for i, n in enumerate(names(b))
          if i in used(b)], "hide leaves frames out")
    equal(b.run("return app.state.tree.weight[0];"), everything, "but no value")
    enter(b, "#hide", "")
    enter(b, "#search", "audit")
    check("Search: " in b.run("return document.querySelector('#detail-text').textContent;"),
          "a search tells how much it found")
    check(b.run("return app.flame.matches.filter(Boolean).length;") >= 1, "and marks it")
    enter(b, "#search", "(")
    equal(b.run("return app.flame.matches.filter(Boolean).length;"), 0,
          "what is no regular expression is looked for as it is")
    enter(b, "#search", "")
    enter(b, "#focus", "no such name")
    check("Nothing to show" in notice(b), "filters that leave nothing say so: " + notice(b))
    enter(b, "#focus", "")


def test_captures(b, root):
    types = b.run("return [...document.querySelector('#type').options].map((o) => o.textContent);")
    equal(types, ["alloc_objects (count)", "alloc_space (bytes)", "inuse_objects (count)",
                  "inuse_space (bytes)"], "every type can be chosen")
    choose(b, "#type", 0)
    check(b.run("return app.state.tree.total[0];") ==
          b.run("return app.state.shown.profile.values[0].reduce((x, y) => x + y);"),
          "and its sum is that of the samples")

    # The leak has grown, nothing else: heap now less heap then.
    first = b.run("return app.state.captures[0].title;")
    url = root + "allocs?debug=1"
    start = total(url)
    while total(url) < start + (8 << 20):
        pass
    capture(b, "[data-name=heap]")
    choose(b, "#base", 1)
    check(b.run("return app.state.base.title;") == first, "a base is chosen")
    check(b.run("return app.state.selection.isSigned;"), "a difference has signs")
    b.click("#tab-top")
    grown = [r for r in rows(b, "#top-table") if r[4].startswith("audit_remember")]
    check(grown and grown[0][0].startswith("▲ +"), "growth has a sign and a shape: %r" % grown)
    b.click("#tab-flame")
    check(drawn(b) > 3, "the difference is drawn")
    picture(b, "difference")
    # The other way round it has shrunk.
    choose(b, "#shown", 1)
    choose(b, "#base", 1)
    b.click("#tab-top")
    shrunk = [r for r in rows(b, "#top-table") if r[4].startswith("audit_remember")]
    check(shrunk and shrunk[0][0].startswith("▼ −"), "shrinkage likewise: %r" % shrunk)
    b.click("#tab-flame")
    picture(b, "shrinkage")
    choose(b, "#base", 0)
    check(not b.run("return app.state.selection.isSigned;"), "and back")

    for name, frame in (("allocs", "parse"), ("threads", "work"), ("threadcreate", "main")):
        capture(b, "[data-name=%s]" % name)
        check(frame in names(b), "%s shows %s: %r" % (name, frame, names(b)[:20]))
    for name in ("mutex", "block"):
        capture(b, "[data-name=%s]" % name)
        text = notice(b)
        check("This profile is empty" in text, "%s says that it is empty: %s" % (name, text))
        check("%s profiling is off: set LIBPROF_" % name in text, "and why, and what to do")
    picture(b, "off")

    # CPU: a bar meanwhile, and it can be given up.
    count = b.run("return app.state.captures.length;")
    b.click("[data-name=cpu30]")
    b.wait("document.querySelector('#progress-bar').value > 0", "the bar moves")
    check(visible(b, "#progress"), "a capture that takes its time shows a bar")
    picture(b, "progress")
    b.click("#cancel")
    b.wait("document.querySelector('#progress').hidden", "the end of what was cancelled")
    check("cancelled" in notice(b), "cancelled: " + notice(b))
    equal(b.run("return app.state.captures.length;"), count, "and nothing was added")
    capture(b, "[data-name=cpu5]")
    equal(b.run("return app.state.type;"), "cpu", "CPU time shows first")
    check("checksum" in names(b), "the work shows: %r" % names(b)[:20])
    check(4 < b.run("return app.state.shown.profile.durationS;") < 60, "watched for 5 s")
    picture(b, "cpu")


def total(url):
    """Bytes allocated, as the text form of a heap profile sums it up."""
    with urllib.request.urlopen(url) as a:
        return int(re.search(rb"\[\d+: (\d+)\]", a.read()).group(1))


def test_download(b):
    want = base64.b64decode(b.run(
        "return btoa(String.fromCharCode(...app.state.shown.bytes));"))
    b.click("#download")
    path = os.path.join(b.downloads, "profile.pb.gz")
    end = time.monotonic() + 30
    while not os.path.exists(path) and time.monotonic() < end:
        time.sleep(0.05)
    check(os.path.exists(path), "a download arrives: %r" % os.listdir(b.downloads))
    with open(path, "rb") as f:
        equal(f.read(), want, "and is what the server sent")
    b.type("#file", path)
    b.wait("app.state.shown.title.startsWith('profile.pb.gz')", "the file, opened again")
    check("checksum" in names(b), "a local file shows like a capture")


def views(service):
    with demo(service) as program:
        test_policy(program.root)
        with browser.Browser() as b:
            test_flame(b, program.root)
            test_tables(b)
            test_filters(b)
            test_captures(b, program.root)
            test_download(b)
            no_complaints(b, "the views")
        with browser.Browser(width=360, height=740, dark=True) as b:
            b.open(program.root + "ui/#heap")
            b.wait("app.state.shown", "heap")
            check(b.run("return matchMedia('(prefers-color-scheme: dark)').matches;"),
                  "the browser asks for dark")
            check(b.run("return getComputedStyle(document.body).backgroundColor;") ==
                  "rgb(23, 24, 26)", "and gets it")
            for tab in ("flame", "top", "peek", "about"):
                b.click("#tab-" + tab)
                check(b.run("return document.documentElement.scrollWidth <= innerWidth;"),
                      "%s is not wider than a phone" % tab)
                check(visible(b, "#" + tab), "%s shows on a phone" % tab)
                picture(b, "phone-" + tab)
            b.click("#tab-flame")
            check(drawn(b) > 3, "the flame graph is drawn on a phone, in the dark")
            no_complaints(b, "the phone")


# --- source ---------------------------------------------------------------------------------------


def status_of(url):
    try:
        with urllib.request.urlopen(url) as a:
            return a.status, a.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def source(service):
    with browser.Browser() as b:
        with demo(service) as program:
            status, text = status_of(program.root + "ui/source?address=0x1000&depth=0")
            equal(status, 403, "source is off at first")
            b.open(program.root + "ui/#heap")
            b.wait("app.state.shown", "heap")
            b.click("#tab-source")
            b.wait("document.querySelector('#source').textContent.includes('LIBPROF_UI_SOURCE')",
                   "the tab says how to switch it on")
            b.log() # the 403
        with demo(service, LIBPROF_UI_SOURCE="1") as program:
            b.open("about:blank")
            b.open(program.root + "ui/#heap")
            b.wait("app.state.shown", "heap")
            for function, line in (("audit_remember", "malloc(sizeof(*a))"),
                                   ("buffer_new", "malloc(size)")): # the second one is inlined
                b.run("app.state.key = a[0];", function)
                b.click("#tab-source")
                b.wait("document.querySelector('#source table') && document.querySelector("
                       "'#source').textContent.includes('buffer_new')", "the source")
                found = [r for r in rows(b, "#source") if r[1] and line in r[3]]
                check(found and "iB" in found[0][0], "bytes beside %s: %r" % (line, found))
            picture(b, "source")
            no_complaints(b, "source")
            for query in ("", "?address=0", "?address=0x1&depth=0", "?address=/etc/passwd&depth=0",
                          "?address=0x1&depth=-1", "?address=0x1&depth=99999999999999999999",
                          "?file=/etc/passwd", "?address=&depth=&file=/etc/passwd",
                          "/etc/passwd", "%2f..%2f..%2fetc%2fpasswd"):
                status, text = status_of(program.root + "ui/source" + query)
                check(status in (400, 404) and "root:" not in text,
                      "no file is served by %r: %d" % (query, status))


# --- numbers ------------------------------------------------------------------------------------

UNIT = {"bytes": ("-unit=B", "B"), "nanoseconds": ("-unit=ns", "ns"), "count": ("", "")}


def pprof_top(path, kind, unit, *options):
    """{name: (flat, cum)} as go tool pprof has it."""
    flag, suffix = UNIT[unit]
    argv = ["go", "tool", "pprof", "-top", "-symbolize=none", "-nodecount=1000000",
            "-nodefraction=0", "-edgefraction=0", "-sample_index=" + kind]
    out = subprocess.run(argv + ([flag] if flag else []) + list(options) + [path], check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True).stdout
    table = {}
    for line in out.split("flat%", 1)[1].splitlines()[1:]:
        flat, _, _, cum, _, name = line.split(None, 5)
        name = re.sub(r" \((partial-)?inline\)$", "", name)
        table[name] = tuple(int(v[: len(v) - len(suffix)] if suffix and v.endswith(suffix) else v)
                            for v in (flat, cum))
    return table


def viewer_top(b):
    """The same, as the viewer has it; what is all zero pprof leaves out."""
    table = b.run("""
        const { top } = await import(new URL("model.js", location));
        return top(app.state.selection).map((r) => [app.state.selection.keys[r.key], r.flat, r.cum]);
        """)
    return {name: (flat, cum) for name, flat, cum in table if flat or cum}


def compare(b, tmp, what, base=None):
    """Every sample type of the profile that shows. Returns the file it was written to."""
    path = os.path.join(tmp, re.sub(r"\W", "_", what) + ".pb.gz")
    with open(path, "wb") as f:
        f.write(base64.b64decode(b.run(
            "let s = ''; for (const x of app.state.shown.bytes) s += String.fromCharCode(x);"
            "return btoa(s);")))
    for i, (kind, unit) in enumerate(b.run(
            "return app.state.shown.profile.types.map((t) => [t.type, t.unit]);")):
        choose(b, "#type", i)
        options = ["-base", base] if base else []
        want = {k: v for k, v in pprof_top(path, kind, unit, *options).items() if v != (0, 0)}
        got = viewer_top(b)
        differ = {k: (got.get(k), want.get(k)) for k in set(got) | set(want)
                  if got.get(k) != want.get(k)}
        check(want or base, "%s: pprof has rows of %s" % (what, kind))
        equal(differ, {}, "%s: %s, the viewer against pprof" % (what, kind))
    return path


def compare_program(b, program, tmp, what, load):
    b.open("about:blank") # or only the fragment would change, and captures stay
    b.open(program.root + "ui/#heap")
    b.wait("app.state.shown", "heap of " + what)
    first = compare(b, tmp, what + " heap")
    load()
    capture(b, "[data-name=heap]")
    compare(b, tmp, what + " heap later")
    choose(b, "#base", 1)
    compare(b, tmp, what + " difference", first)
    choose(b, "#base", 0)
    for name in ("allocs", "threads", "threadcreate"):
        capture(b, "[data-name=%s]" % name)
        compare(b, tmp, "%s %s" % (what, name))
    b.run("window.got = app.capture('profile', 1);")
    load()
    b.run("await window.got;")
    compare(b, tmp, what + " cpu")


def numbers(service, profrun):
    if not shutil.which("go"):
        skip("go is not installed")
    tmp = tempfile.mkdtemp()
    try:
        with browser.Browser() as b:
            with demo(service) as program:
                compare_program(b, program, tmp, "demo", lambda: time.sleep(0))
                test_mangled(b, tmp)
            no_complaints(b, "the demo's numbers")
            if not shutil.which("redis-server") or not shutil.which("redis-benchmark"):
                skip("redis-server is not installed")
            port = str(browser.free_port())
            redis = [profrun, "--http", "127.0.0.1:0", "--heap-rate", "4096", "--", "redis-server",
                     "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", tmp]
            bench = ["redis-benchmark", "-p", port, "-n", "20000", "-r", "10000", "-q", "-t",
                     "set,lpush,sadd"]
            with Program(redis, r"http://([\w.:]+:\d+)", "stderr",
                         stdout=subprocess.DEVNULL) as program:
                compare_program(b, program, tmp, "redis", lambda: subprocess.run(
                    bench, check=True, stdout=subprocess.DEVNULL))
                picture(b, "redis")
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
    got = {flat: name for name, (flat, _) in viewer_top(b).items()}
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


# --- hostile names ------------------------------------------------------------------------------

# Every tag in the page; more than these, or an attribute that is a handler, is a hole.
INTRUDERS = """
    const bad = [...document.querySelectorAll("*")].filter((e) =>
      [...e.attributes].some((x) => x.name.startsWith("on")) ||
      /^(IFRAME|OBJECT|EMBED|IMG|SVG|B|I|BASE|STYLE|FORM)$/i.test(e.tagName));
    const scripts = [...document.querySelectorAll("script")].map((s) => s.getAttribute("src"));
    return [bad.map((e) => e.outerHTML.slice(0, 200)), scripts, typeof window.hits];"""


def no_intruders(b, what):
    equal(b.run(INTRUDERS), [[], ["app.js"], "undefined"], "page of " + what)


def tour(b, what):
    for tab in ("flame", "top", "peek", "source", "about"):
        if tab != "source" or not b.run("return app.state.shown.here;"):
            b.click("#tab-" + tab)
            no_intruders(b, "%s, %s" % (what, tab))
    b.click("#tab-flame")
    b.run("for (let i = 0; i < app.state.tree.size && i < 200; i++) app.flame.mark(i);")
    no_intruders(b, what + ", every frame marked")


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


def encode(p, strings):
    """`p` with these bytes as its string table, valid or not."""
    def field(data):
        size, out = len(data), b""
        while size >= 128:
            out, size = out + bytes([size & 127 | 128]), size >> 7
        return b"\x32" + out + bytes([size]) + data

    p.string_table = []
    return gzip.compress(p.encode() + b"".join(field(s) for s in strings), mtime=0)


def open_bytes(b, name, data):
    path = os.path.join(b.folder, name)
    with open(path, "wb") as f:
        f.write(data)
    b.run("document.querySelector('#notice').replaceChildren();")
    b.type("#file", path)
    b.wait("document.querySelector('#notice').textContent !== '' ||"
           " app.state.shown?.name === %r" % name, "the file " + name)


def hostile(program):
    with Program([program], r"^(\S+)$") as p, browser.Browser() as b:
        b.open(p.root)
        equal(b.run("return document.querySelectorAll('script, img, svg, b, i').length;"), 0,
              "the index has no tag of a stranger")
        b.open(p.root + "ui/#heap")
        b.wait("app.state.shown", "heap")
        check(any("<script>hit('symbol')</script>" in n for n in names(b)),
              "the symbol is there, as it is: %r" % names(b))
        check(any("<svg onload=" in f for f in b.run(
            "return app.state.selection.frame.map((f) => f.file);")), "so is the file")
        check(b.run("return app.state.labels.length;") > 1, "so is the label")
        tour(b, "a hostile program's heap")
        choose(b, "#label", 1)
        check(b.run("return app.state.selection.stacks.length;") > 0, "and can be chosen")
        picture(b, "hostile")
        custom = "<img/src=x/onerror=hit(7)>&#39;"
        check(b.run("return [...document.querySelectorAll('#sources button')].some("
                    "(x) => x.dataset.name === a[0]);", custom), "the custom profile has a button")
        b.run("[...document.querySelectorAll('#sources button')].find("
              "(x) => x.dataset.name === a[0]).click();", custom)
        b.wait("app.state.shown.name === %r" % custom, "the custom profile")
        tour(b, "a custom profile")
        capture(b, "[data-name=threads]")
        tour(b, "its threads")

        open_bytes(b, "nasty.pb.gz", nasty_profile())
        equal(b.run("return app.state.shown.name;"), "nasty.pb.gz", "a nasty file opens")
        tour(b, "a nasty file")
        picture(b, "nasty")
        check(b.run("return document.documentElement.scrollWidth <= innerWidth;"),
              "64 KiB of a name do not push the page apart")
        b.open("about:blank")
        for fragment in ("<script>hit(1)</script>", "../../metrics", "javascript:hit(1)", "%00",
                         "%zz", "heap/../../x", "__proto__"):
            b.open(p.root + "ui/#" + fragment)
            b.run("await new Promise((done) => setTimeout(done, 0));")
            b.wait("document.querySelector('#progress').hidden", "fragment " + fragment)
            no_intruders(b, "fragment " + fragment)
        # A name that is no profile's is asked for and refused: the only thing that may be logged.
        said = [m["message"] for m in b.log() if not re.search("status of 40[04]", m["message"])]
        equal(said, [], "console of hostile names")


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
    with demo(service) as program, browser.Browser() as b:
        b.open(program.root + "ui/")
        check("Take a profile" in notice(b), "an empty page says what to do: " + notice(b))
        open_bytes(b, "large.pb.gz", data)
        equal(b.run("return app.state.tree.total[0];"), total, "16000 samples add up")
        equal(b.run("return app.state.selection.stacks.length;"), 16000, "none is missing")
        took = b.run("""
            const { decode } = await import(new URL("pprof.js", location));
            const begin = performance.now();
            const profile = await decode(app.state.shown.bytes);
            const decoded = performance.now();
            app.state.shown.profile = profile;
            app.refresh();
            app.flame.draw();
            return [decoded - begin, performance.now() - decoded];""")
        print("16000 samples: decoded in %d ms, shown in %d ms" % tuple(took))
        b.click("#tab-top")
        equal(len(rows(b, "#top-table")), 500, "a long table begins with a part")
        b.run("[...document.querySelectorAll('#top button')].pop().click();")
        check(len(rows(b, "#top-table")) > 5000, "and shows all when asked")
        b.click("#tab-flame")

        open_bytes(b, "bare.pb.gz", unsymbolized_profile())
        for name in ("libx.so+0x274", "0xffffffffff600000", "again"):
            check(name in names(b), "a frame without a name shows as %s: %r" % (name, names(b)))
        b.click("#tab-top")
        table = {r[4].split("(")[0]: (r[0], r[2]) for r in rows(b, "#top-table")}
        equal(table["again"], ("▼ −4 B", "▼ −4 B"), "recursion counts once, with its sign")
        equal(table["0xffffffffff600000"], ("0 B", "▲ +6 B"), "a sum of both signs")
        b.click("#tab-flame")
        check(drawn(b) > 3, "frames without names are drawn")
        picture(b, "bare")

        good = gzip.decompress(unsymbolized_profile())
        broken = {"empty": b"", "text": b"heap profile: 1: 2 [3: 4] @ heap/5\n",
                  "zip": b"\x1f\x8b" + b"\x00" * 40, "cut": gzip.compress(good)[:-12],
                  "page": b"<!DOCTYPE html><p>sign in", "key": b"\xff" * 64,
                  "length": good + struct.pack("BBBB", 0x12, 0xff, 0xff, 0x7f)}
        for name, content in broken.items():
            open_bytes(b, name, content)
            check(name in notice(b) and "profile" in notice(b),
                  "%s is told to be no profile: %s" % (name, notice(b)))
            equal(b.run("return app.state.shown.name;"), "bare.pb.gz", "what showed stays")
        no_complaints(b, "the files")


def main():
    part = sys.argv[1]
    if browser.missing():
        skip(browser.missing() + " is not installed")
    signal.alarm(LIMIT_S)
    if PICTURES:
        os.makedirs(PICTURES, exist_ok=True)
    {"views": views, "source": source, "numbers": numbers, "hostile": hostile, "files": files}[part](*sys.argv[2:])
    return report()


if __name__ == "__main__":
    sys.exit(main())
