#!/usr/bin/env python3
"""viewer_trace.py - the timeline's page: it records, shows, zooms and chooses; the numbers of a range
are those of the file; a convoy is named by sight; strangers' bytes are refused in a sentence.

    viewer_trace.py DEMO_SERVICE TRACE_TRUTH UI_FOLDER

Chromium, as in viewer_page.py; node for the bytes.
"""
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import browser  # noqa: E402
import perfetto  # noqa: E402
from checks import check, environment, have  # noqa: E402
from viewing import *  # noqa: E402,F403

# 600 files that are nearly the one given: each is shown, or refused in a sentence of the page's.
DAMAGE = """
import { readFileSync } from "node:fs";
import { decodeTrace } from "./perfetto.js";
import { boxes, layout, summary } from "./timeline.js";

const good = new Uint8Array(readFileSync(process.argv[2]));
let seed = 1, shown = 0, refused = 0;
const random = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
for (let i = 0; i < 600; i++) {
  const bytes = good.slice(0, random(10) ? good.length : random(good.length));
  for (let k = random(8); k >= 0; k--)
    bytes[random(bytes.length || 1)] = random(256);
  try {
    const t = await decodeTrace(bytes);
    layout(t);
    boxes(summary(t, t.from, t.to).waits);
    shown++;
  } catch (error) {
    if (!/^(This is no|The trace has)/.test(error.message))
      throw error;
    refused++;
  }
}
console.log(JSON.stringify([shown, refused]));
"""


def open_trace(b, root):
    b.open("about:blank")
    b.open(root + "ui/trace.html")
    b.wait("window.timeline", "the page")


def show(b, path):
    with open(path, "rb") as f:
        data = f.read()
    b.run("await timeline.show(Uint8Array.from(atob(a[0]), (c) => c.charCodeAt(0)));",
          base64.b64encode(data).decode())
    b.run("await new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(then)));")
    return perfetto.load(data)


def colours(b, selector):
    return b.run("""const shown = document.querySelector(a[0]);
        const c = new OffscreenCanvas(shown.width, shown.height);
        c.getContext("2d", {willReadFrequently: true}).drawImage(shown, 0, 0);
        const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        const seen = new Set();
        for (let i = 0; i < d.length; i += 4)
          seen.add(d[i] << 24 | d[i + 1] << 16 | d[i + 2] << 8 | d[i + 3]);
        return seen.size;""", selector)


def test_recording(b, service):
    with demo(service) as program:
        open_trace(b, program.root)
        enter(b, "#seconds", "1")
        b.click("#record")
        b.wait("timeline.at.trace", "a trace of a second")
        check(b.run("return timeline.at.trace.tracks.length;") >= 1, "rows")
        check("wake-ups" in text(b, "#trace-said"), "what was had: " + text(b, "#trace-said"))
        check(not b.run("return document.querySelector('#save').disabled;"), "it can be downloaded")
        picture(b, "trace_demo")
        b.click("#last")
        b.wait("document.querySelector('#trace-said.error')", "the recorder is off")
        check("LIBPROF_TRACE" in text(b, "#trace-said"), "and how it is switched on")
        b.run("await timeline.show(new Uint8Array([1, 2, 3])).catch((e) => { window.said = e.message; });")
        check(b.run("return window.said;").startswith("This is no"), "bytes that are no trace")
    open_is = [m["message"] for m in b.log() if "501" not in m["message"]]
    equal(open_is, [], "console")


def test_convoy(b, service, truth):
    subprocess.run([truth, "convoy", "convoy", "mutex"], check=True, env=environment(), timeout=60)
    with demo(service) as program:
        open_trace(b, program.root)
        t = show(b, "convoy")
        check(colours(b, "#lines") > 5, "it is drawn")
        waits = t.of(name="wait: mutex")
        equal(b.run("return timeline.at.trace.tracks.flatMap((t) => t.slices).filter("
                    "(s) => s.name === 'wait: mutex').length;"), len(waits), "the same slices")
        equal(b.run("return timeline.at.trace.flows.size;"),
              sum(len(s.flows_in) for s in t.slices), "the same flows")

        # A wheel's turn halves what shows; a drag over all of the width chooses it.
        before = b.run("return timeline.at.to - timeline.at.from;")
        b.run("""const lines = document.querySelector("#lines");
            lines.dispatchEvent(new WheelEvent("wheel", {deltaY: -100, clientX: 500, clientY: 200}));""")
        check(b.run("return timeline.at.to - timeline.at.from;") < before, "it zooms")
        b.click("#whole")
        equal(b.run("return timeline.at.to - timeline.at.from;"), before, "and back")
        b.run("""const lines = document.querySelector("#lines"), box = lines.getBoundingClientRect();
            const at = (type, x) => lines.dispatchEvent(new PointerEvent(type,
              {clientX: box.left + x, clientY: box.top + 60, pointerId: 1, bubbles: true}));
            lines.setPointerCapture = () => {};
            at("pointerdown", 170); at("pointermove", 400); at("pointermove", box.width - 1);
            at("pointerup", box.width - 1);""")
        check(visible(b, "#range"), "a range")
        said = text(b, "#range-causes")
        check("wait: mutex: " in said, "and its causes: " + said)
        low, high = b.run("return timeline.at.range;")
        want = sum(min(s.end, high) - max(s.begin, low) for s in waits if s.end > low and s.begin < high)
        got = b.run("const {summary} = await import(new URL('timeline.js', location));"
                    "return summary(timeline.at.trace, ...timeline.at.range).byCause.find("
                    "(c) => c[0] === 'wait: mutex')[1];")
        check(abs(got - want) <= 1e-6 * want, "waiting in the range: %d, in the file %d" % (got, want))
        check(colours(b, "#flames") > 3, "as a flame graph")
        picture(b, "trace_convoy")
        b.run("""const {sliceAt} = await import(new URL('timeline.js', location));
            const track = timeline.at.trace.tracks.find((t) => t.slices.some((s) => s.name === 'unlock'));
            const unlock = track.slices.find((s) => s.name === 'unlock' && s.out.length);
            if (sliceAt(track, unlock.begin, unlock.depth, 1) !== unlock)
              throw new Error("a moment is not found where it is");""")
    equal(b.log(), [], "console")


def test_damage(truth, ui):
    if not have("node"):
        return
    subprocess.run([truth, "regions", "regions", "json", "as"], check=True, env=environment(),
                   timeout=60)
    for name in os.listdir(ui):
        if name.endswith(".js"):
            shutil.copy(os.path.join(ui, name), name)
    with open("package.json", "w", encoding="utf-8") as f:
        f.write('{"type":"module"}')
    with open("damage.js", "w", encoding="utf-8") as f:
        f.write(DAMAGE)
    done = subprocess.run(["node", "damage.js", "regions"], capture_output=True, text=True, timeout=120)
    check(done.returncode == 0, "no other complaint: " + done.stderr[-500:])
    shown, refused = json.loads(done.stdout or "[0, 0]")
    check(shown > 50 and refused > 50, "%d shown, %d refused" % (shown, refused))


def main(service, truth, ui):
    truth, ui = os.path.abspath(truth), os.path.abspath(ui)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        test_damage(truth, ui)
        with browser.Browser(1440, 900) as b:
            test_recording(b, service)
            test_convoy(b, service, truth)
        os.chdir("/")


if __name__ == "__main__":
    sys.exit(run_parts({sys.argv[1]: lambda *rest: main(os.path.abspath(sys.argv[1]), *rest)}))
