"""viewing.py - what the browser tests of the viewer have in common.

`b` is a browser.Browser whose page is the viewer; `app` in its scripts is the page's app.js.
VIEWER_SCREENSHOTS names a folder to leave pictures in.
"""
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import browser
from checks import check, report
import pprof
import gzip

PICTURES = os.environ.get("VIEWER_SCREENSHOTS")
LIMIT_S = 280

UP, DOWN, LEFT, RIGHT = "\ue013", "\ue015", "\ue012", "\ue014"
ENTER, ESCAPE, TAB = "\ue007", "\ue00c", "\ue004"


def equal(got, want, what):
    check(got == want, "%s: got %.600r, want %.600r" % (what, got, want))


def skip(why):
    print("skipped: " + why)
    sys.exit(77)


def run_parts(parts):
    """The main program of a test: its first argument names the part, the others are for that."""
    if browser.missing():
        skip(browser.missing() + " is not installed")
    signal.alarm(LIMIT_S)
    if PICTURES:
        os.makedirs(PICTURES, exist_ok=True)
    parts[sys.argv[1]](*sys.argv[2:])
    return report()


class Program:
    """A program that prints where it serves; ended by its process id."""

    def __init__(self, argv, pattern=r"([\w.:]+:\d+)$", stream="stdout", **options):
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, text=True,
                                        **{stream: subprocess.PIPE}, **options)
        self.pid = self.process.pid
        while True:
            line = getattr(self.process, stream).readline()
            if not line:
                raise RuntimeError("%s has ended" % argv[0])
            found = re.search(pattern, line.strip())
            if found:
                break
        self.where = found.group(1)
        self.root = "http://%s/debug/pprof/" % self.where

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def quiet_environment(**variables):
    env = {k: v for k, v in os.environ.items() if not k.startswith("LIBPROF_")}
    return dict(env, **variables)


def demo(service, address="127.0.0.1:0", rate="65536", **variables):
    """A demo service, when it has done enough for each of its functions to have samples: 64 are
    expected of the smallest, so that none would be seen once in e^64."""
    program = Program([service, address],
                      env=quiet_environment(LIBPROF_HEAP_RATE=rate, **variables))
    while not program.process.stdout.readline().startswith("handled 2000 "):
        pass
    return program


def get(url):
    """(status, text) of an answer."""
    try:
        with urllib.request.urlopen(url) as a:
            return a.status, a.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


# --- the page -----------------------------------------------------------------------------------


def open_page(b, root, fragment="", what="the page"):
    """A fresh visit, until its capture shows."""
    b.open("about:blank") # or only the fragment would change, and no page be loaded
    b.open(root + "ui/" + fragment)
    settled(b, what)


def settled(b, what="the page"):
    b.wait("app.page.shown && !app.page.busy && !document.querySelector('#summary').hidden", what)


def picture(b, name):
    if PICTURES:
        time.sleep(0.2) # for the eye only: the next frame is drawn
        b.screenshot(os.path.join(PICTURES, name + ".png"))


def no_complaints(b, what, allowed="^$"):
    said = [m["message"] for m in b.log() if not re.search(allowed, m["message"])]
    equal(said, [], "console of " + what)


def capture(b, name, watch=None):
    """Take a profile with the menu, as a person does; wait until it shows."""
    before = b.run("return app.page.shown ? app.page.shown.at : 0;")
    b.click("#take")
    if watch:
        enter(b, "#window-seconds", str(watch))
    b.run("[...document.querySelectorAll('#take-list button')].find((x) => x.dataset.take === a[0] &&"
          " x.dataset.window === String(a[1])).click();", name, bool(watch))
    b.wait("app.page.shown && app.page.shown.at !== %d && !app.page.busy" % before,
           "a capture of " + name)


def go(b, **change):
    """Change the state as any control does."""
    b.run("await app.page.go(a[0]);", change)


def rows(b, selector):
    """The text of each row of a table, by cell."""
    return b.run("return [...document.querySelectorAll(a[0] + ' tbody tr')].map("
                 "(row) => [...row.cells].map((cell) => cell.textContent));", selector)


def text(b, selector):
    return b.run("const e = document.querySelector(a[0]);"
                 "return e && e.offsetWidth > 0 ? e.textContent : '';", selector)


def choose(b, selector, index):
    b.run("const e = document.querySelector(a[0]); e.selectedIndex = a[1];"
          "e.dispatchEvent(new Event('change'));", selector, index)
    settled(b)


def enter(b, selector, value):
    b.run("const e = document.querySelector(a[0]); e.value = a[1];"
          "e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change'));",
          selector, value)


def visible(b, selector):
    return b.run("const e = document.querySelector(a[0]);"
                 "return e !== null && e.offsetWidth > 0 && e.offsetHeight > 0;", selector)


def press(b, selector, words):
    """Click the button with these words below selector."""
    b.run("const found = [...document.querySelectorAll(a[0] + ' button')].find("
          "(x) => x.textContent === a[1]); if (!found) throw new Error('no button ' + a[1]);"
          "found.click();", selector, words)


def drawn(b):
    """How many colours the flame graph has; an empty one has one."""
    return b.run("""
        app.flameView.flame.draw();
        const shown = document.querySelector("#flame canvas");
        const c = new OffscreenCanvas(shown.width, shown.height);
        c.getContext("2d", {willReadFrequently: true}).drawImage(shown, 0, 0);
        const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        const seen = new Set();
        for (let i = 0; i < d.length; i += 4)
          seen.add(d[i] << 24 | d[i + 1] << 16 | d[i + 2] << 8 | d[i + 3]);
        return seen.size;""")


def names(b):
    """Of the functions that stacks of the selection have."""
    return b.run("return app.page.top().map((row) => app.page.selection.keys[row.key]);")


def top_rows(b):
    """{name: (flat, cum)}, as the page has them; what is all zero pprof leaves out."""
    table = b.run("return app.page.top().map("
                  "(r) => [app.page.selection.keys[r.key], r.flat, r.cum]);")
    return {name: (flat, cum) for name, flat, cum in table if flat or cum}


def sum_of(b):
    return b.run("return app.page.selection.values.reduce((x, y) => x + y, 0);")


# --- files --------------------------------------------------------------------------------------


def encode(p, strings):
    """`p` with these bytes as its string table, valid or not."""
    def field(data):
        size, out = len(data), b""
        while size >= 128:
            out, size = out + bytes([size & 127 | 128]), size >> 7
        return b"\x32" + out + bytes([size]) + data

    p.string_table = []
    return gzip.compress(p.encode() + b"".join(field(s) for s in strings), mtime=0)


def small_profile(stacks, types=(("space", "bytes"),), labels=(), **fields):
    """A profile of [(functions root first, values)]; labels: one {key: text or number} a stack.
    A function is a name, or (name, file)."""
    strings, p, numbers = [b""], pprof.Profile(), {}

    def text_of(value):
        value = value.encode() if isinstance(value, str) else value
        if value not in strings:
            strings.append(value)
        return strings.index(value)

    p.sample_type = [pprof.ValueType(type=text_of(t), unit=text_of(u)) for t, u in types]
    p.mapping = [pprof.Mapping(id=1, memory_start=0x1000, memory_limit=0x1000000,
                               filename=text_of("/usr/bin/program"), has_functions=1,
                               has_filenames=1, has_line_numbers=1, has_inline_frames=1)]
    for i, (stack, values) in enumerate(stacks):
        for name in stack:
            if name in numbers:
                continue
            n = numbers[name] = len(numbers) + 1
            function, file = name if isinstance(name, tuple) else (name, "/src/%s.c" % name)
            at = text_of(function)
            p.function.append(pprof.Function(id=n, name=at, system_name=at, filename=text_of(file)))
            p.location.append(pprof.Location(id=n, mapping_id=1, address=0x1000 + n, line=[
                pprof.Line(function_id=n, line=n)]))
        p.sample.append(pprof.Sample(
            location_id=[numbers[name] for name in reversed(stack)], value=list(values),
            label=[pprof.Label(key=text_of(k), **({"num": v} if isinstance(v, int)
                                                  else {"str": text_of(v)}))
                   for k, v in (labels[i] if labels else {}).items()]))
    for name, value in fields.items():
        setattr(p, name, value)
    return encode(p, strings)


def open_bytes(b, name, data):
    """Open a file; wait until it shows, or a message does."""
    path = os.path.join(b.folder, name)
    with open(path, "wb") as f:
        f.write(data)
    before = b.run("document.querySelector('#toast').hidden = true;"
                   "return app.page.shown ? app.page.shown.at : 0;")
    b.type("#file", path)
    b.wait("!document.querySelector('#toast').hidden || app.page.shown && app.page.shown.at !== %d"
           % before, "the file " + name)
