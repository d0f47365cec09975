// trace.js - the timeline's page: a row for each thread, coloured by what it waits for; the arrow to who
// was woken under the pointer; a range, and what is in it.
//
// Wheel zooms, dragging chooses a range, shift and dragging moves, arrows and + and - do the same; a
// click on a slice tells all of it.
import { $, make, save, shorten } from "./dom.js";
import { decodeTrace } from "./perfetto.js";
import { GAP, ROW, before, boxes, colour, foldedOf, layout, sliceAt, summary } from "./timeline.js";
import { hideTip, showTip } from "./tip.js";

const LABELS = 170, AXIS = 20, NEAR = 4; // pixels

const at = { trace: null, bytes: null, rows: null, from: 0, to: 1, range: null, shown: "waits",
  hover: null, chosen: null, drag: null };
const lines = $("lines"), flames = $("flames");

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A time in three digits: "1.25 ms". */
function seconds(ns) {
  const [size, unit] = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]].find(([n]) => ns >= n) ||
    [1, "ns"];
  return `${Number((ns / size).toPrecision(3))} ${unit}`;
}

function say(text, isError = false) {
  $("trace-said").textContent = text;
  $("trace-said").classList.toggle("error", isError);
}

/** A canvas of that size, sharp on every screen. */
function prepare(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.max(width * ratio, 1);
  canvas.height = Math.max(Math.min(height * ratio, 16384), 1);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const c = canvas.getContext("2d");
  c.scale(ratio, ratio);
  c.font = "11px system-ui, sans-serif";
  c.textBaseline = "middle";
  return c;
}

const wide = () => Math.max($("trace-main").clientWidth - LABELS, 100);
const xOf = (ns) => LABELS + (ns - at.from) / (at.to - at.from) * wide();
const nsOf = (x) => at.from + (x - LABELS) / wide() * (at.to - at.from);

// --- drawing -----------------------------------------------------------------------------------------

function drawRow(c, row, ink) {
  const { track, y } = row, top = AXIS + y;
  const end = before(track.slices, at.to);
  const filled = []; // up to which pixel, by depth

  for (let i = 0; i < end; i++) {
    const s = track.slices[i];
    if (s.end < at.from)
      continue;
    const x = Math.max(xOf(s.begin), LABELS), right = Math.min(xOf(s.end), LABELS + wide());
    const line = top + s.depth * ROW;
    if (s.moment) {
      if (filled[s.depth + 100] === Math.round(x))
        continue;
      filled[s.depth + 100] = Math.round(x);
      c.fillStyle = colour(s);
      c.fillRect(x - 1, line, 2, ROW - 3);
      continue;
    }
    const width = Math.max(right - x, 1);
    if (width < 1.5 && filled[s.depth] >= Math.round(x)) // many in a pixel: one stands for them
      continue;
    filled[s.depth] = Math.round(x + width - 1);
    c.fillStyle = colour(s);
    c.globalAlpha = s === at.chosen || s === at.hover ? 1 : 0.8;
    c.fillRect(x, line, width, ROW - 2);
    c.globalAlpha = 1;
    if (width > 24) {
      c.save();
      c.beginPath();
      c.rect(x, line, width, ROW);
      c.clip();
      c.fillStyle = "#fff";
      c.fillText(s.name, x + 3, line + ROW / 2);
      c.restore();
    }
  }
  c.fillStyle = style("--back");
  c.fillRect(0, top - GAP / 2, LABELS - 2, row.height);
  c.fillStyle = ink;
  c.fillText(shorten(`${track.name}${track.tid ? ` ${track.tid}` : ""}`, 28), 6, top + ROW / 2);
}

function drawFlows(c, slice) {
  const place = (s) => {
    const row = at.rows.rows.find((r) => r.track === s.track);
    return [xOf(s.moment || s !== slice || !s.into.length ? s.begin : s.end),
      AXIS + row.y + s.depth * ROW + ROW / 2];
  };
  for (const number of [...slice.out, ...slice.into]) {
    const flow = at.trace.flows.get(number);
    if (!flow)
      continue;
    const [x1, y1] = place(flow.from), row = at.rows.rows.find((r) => r.track === flow.to.track);
    const x2 = xOf(flow.to.end), y2 = AXIS + row.y + flow.to.depth * ROW + ROW / 2;
    c.strokeStyle = c.fillStyle = style("--mark");
    c.lineWidth = 1.5;
    c.beginPath();
    c.moveTo(x1, y1);
    c.bezierCurveTo(x1 + 30, y1, x2 - 30, y2, x2, y2);
    c.stroke();
    c.beginPath();
    c.arc(x2, y2, 3, 0, 7);
    c.fill();
  }
}

function drawAxis(c, ink, height) {
  const step = 10 ** Math.ceil(Math.log10((at.to - at.from) / (wide() / 80)));

  c.fillStyle = ink;
  for (let t = Math.ceil((at.from - at.trace.from) / step) * step; t + at.trace.from < at.to; t += step) {
    const x = xOf(t + at.trace.from);
    c.fillText(seconds(t), x + 3, AXIS / 2);
    c.globalAlpha = 0.15;
    c.fillRect(x, 0, 1, height);
    c.globalAlpha = 1;
  }
}

let asked = false;

function draw() {
  asked = false;
  if (!at.trace)
    return;
  const height = AXIS + at.rows.height, ink = style("--text");
  const c = prepare(lines, $("trace-main").clientWidth, height);
  for (const row of at.rows.rows)
    drawRow(c, row, ink);
  drawAxis(c, ink, height);
  if (at.range) {
    c.fillStyle = style("--mark");
    c.globalAlpha = 0.15;
    c.fillRect(xOf(at.range[0]), 0, xOf(at.range[1]) - xOf(at.range[0]), height);
    c.globalAlpha = 1;
  }
  for (const slice of new Set([at.chosen, at.hover]))
    if (slice)
      drawFlows(c, slice);
  $("whole").hidden = at.from <= at.trace.from && at.to >= at.trace.to;
}

function redraw() {
  if (!asked)
    requestAnimationFrame(draw);
  asked = true;
}

// --- a range -----------------------------------------------------------------------------------------

let shownBoxes = [];

function showRange() {
  $("range").hidden = !at.range;
  if (!at.range)
    return;
  const [from, to] = at.range, all = summary(at.trace, from, to), tree = all[at.shown];
  $("range-title").textContent = `${seconds(to - from)} from ${seconds(from - at.trace.from)} on`;
  $("range-causes").textContent = at.shown === "cpu" ? `CPU time sampled: ${seconds(tree.value)}`
    : all.byCause.map(([name, ns, times]) => `${name}: ${seconds(ns)} in ${times}`).join(" · ") ||
      "Nobody waited.";
  for (const [id, name] of [["range-waits", "waits"], ["range-cpu", "cpu"]])
    $(id).setAttribute("aria-pressed", String(at.shown === name));
  shownBoxes = boxes(tree);
  const width = $("range").clientWidth;
  const deepest = shownBoxes.reduce((most, b) => Math.max(most, b.depth + 1), 0);
  const c = prepare(flames, width, deepest * ROW + 4);
  for (const b of shownBoxes) {
    let hue = 0;
    for (const letter of b.name)
      hue = (hue * 31 + letter.codePointAt(0)) % 50;
    c.fillStyle = `hsl(${at.shown === "cpu" ? 20 + hue : 200 + hue} 70% 45%)`;
    c.fillRect(b.x * width, b.depth * ROW, Math.max(b.width * width - 1, 1), ROW - 1);
    if (b.width * width > 24) {
      c.save();
      c.beginPath();
      c.rect(b.x * width, b.depth * ROW, b.width * width - 2, ROW);
      c.clip();
      c.fillStyle = "#fff";
      c.fillText(b.name, b.x * width + 3, b.depth * ROW + ROW / 2);
      c.restore();
    }
  }
}

function choose(slice) {
  at.chosen = slice;
  $("chosen").hidden = !slice;
  if (slice) {
    const who = (s) => `${s.track.name} ${s.track.tid || ""}`.trim();
    $("chosen").replaceChildren(
      make("strong", {}, `${slice.name} on ${who(slice)}`),
      ` at ${seconds(slice.begin - at.trace.from)}${slice.moment ? "" : `, for ${seconds(slice.end - slice.begin)}`}`,
      make("dl", {}, ...slice.notes.flatMap(([name, value]) =>
        [make("dt", {}, name), make("dd", {}, shorten(String(value)))])),
      slice.stack.length ? make("pre", {}, slice.stack.map((f) => shorten(f)).join("\n")) : "");
  }
  redraw();
}

// --- moving ------------------------------------------------------------------------------------------

function zoom(factor, around) {
  const whole = at.trace.to - at.trace.from || 1;
  const width = Math.min(Math.max((at.to - at.from) * factor, 100), whole);
  const share = (around - at.from) / (at.to - at.from);
  at.from = Math.min(Math.max(around - share * width, at.trace.from), at.trace.to - width);
  at.to = at.from + width;
  redraw();
}

function move(ns) {
  const width = at.to - at.from;
  at.from = Math.min(Math.max(at.from + ns, at.trace.from), Math.max(at.trace.to - width, at.trace.from));
  at.to = at.from + width;
  redraw();
}

function under(event) {
  const y = event.offsetY - AXIS, row = at.rows.rows.find((r) => y >= r.y && y < r.y + r.height);
  if (!row || event.offsetX < LABELS)
    return null;
  return sliceAt(row.track, nsOf(event.offsetX), Math.floor((y - row.y) / ROW),
    NEAR / wide() * (at.to - at.from));
}

function listen() {
  lines.addEventListener("wheel", (event) => {
    if (!at.trace || event.shiftKey)
      return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, nsOf(event.offsetX));
  }, { passive: false });
  lines.addEventListener("pointerdown", (event) => {
    if (!at.trace)
      return;
    lines.setPointerCapture(event.pointerId);
    at.drag = { x: event.offsetX, from: at.from, to: at.to, moves: event.shiftKey, far: false };
  });
  lines.addEventListener("pointermove", (event) => {
    if (!at.trace)
      return;
    if (at.drag) {
      at.drag.far ||= Math.abs(event.offsetX - at.drag.x) > 3;
      if (at.drag.moves) {
        move((at.drag.x - event.offsetX) / wide() * (at.to - at.from) - (at.from - at.drag.from));
      } else if (at.drag.far) {
        const a = nsOf(Math.max(at.drag.x, LABELS)), b = nsOf(Math.max(event.offsetX, LABELS));
        at.range = [Math.min(a, b), Math.max(a, b)];
        redraw();
      }
      return;
    }
    const slice = under(event);
    if (slice !== at.hover)
      redraw();
    at.hover = slice;
    if (slice)
      showTip([slice.name, slice.moment ? "" : seconds(slice.end - slice.begin),
        ...slice.notes.map(([name, value]) => `${name}: ${shorten(String(value), 80)}`),
        shorten(slice.stack.slice(0, 4).join(" ← "), 160)], event);
    else
      hideTip();
  });
  lines.addEventListener("pointerup", (event) => {
    const { drag } = at;
    at.drag = null;
    if (!drag || drag.moves)
      return;
    if (drag.far)
      showRange();
    else
      choose(under(event));
  });
  lines.addEventListener("pointerleave", hideTip);
  lines.addEventListener("keydown", (event) => {
    const width = at.to - at.from, middle = (at.from + at.to) / 2;
    const act = { ArrowLeft: () => move(-width / 5), ArrowRight: () => move(width / 5),
      "+": () => zoom(0.5, middle), "=": () => zoom(0.5, middle), "-": () => zoom(2, middle),
      Escape: () => { at.range = null; showRange(); choose(null); } }[event.key];
    if (act && at.trace) {
      event.preventDefault();
      act();
    }
  });
  flames.addEventListener("pointermove", (event) => {
    const width = $("range").clientWidth, depth = Math.floor(event.offsetY / ROW);
    const box = shownBoxes.find((b) => b.depth === depth && event.offsetX >= b.x * width &&
      event.offsetX < (b.x + b.width) * width);
    if (box)
      showTip([shorten(box.name), seconds(box.value)], event);
    else
      hideTip();
  });
  flames.addEventListener("pointerleave", hideTip);
  $("whole").addEventListener("click", () => {
    [at.from, at.to] = [at.trace.from, at.trace.to];
    redraw();
  });
  for (const [id, name] of [["range-waits", "waits"], ["range-cpu", "cpu"]])
    $(id).addEventListener("click", () => {
      at.shown = name;
      showRange();
    });
  $("range-save").addEventListener("click", () => save(`${at.shown}.folded`,
    foldedOf(summary(at.trace, ...at.range)[at.shown])));
  $("range-close").addEventListener("click", () => {
    at.range = null;
    showRange();
    redraw();
  });
  addEventListener("resize", () => {
    redraw();
    showRange();
  });
}

// --- having one --------------------------------------------------------------------------------------

async function show(bytes) {
  const trace = await decodeTrace(bytes);
  if (!(trace.to > trace.from))
    [trace.from, trace.to] = [trace.from === Infinity ? 0 : trace.from, (trace.from || 0) + 1];
  Object.assign(at, { trace, bytes, rows: layout(trace), from: trace.from, to: trace.to, range: null,
    hover: null });
  $("program-name").textContent = shorten(trace.process || "timeline", 60);
  $("program-more").textContent = trace.pid ? `process ${trace.pid}` : "";
  $("trace-notes").hidden = !trace.notes.length;
  $("trace-notes").textContent = trace.notes.map((n) => shorten(n)).join(" · ");
  $("save").disabled = false;
  const slices = trace.tracks.reduce((n, t) => n + t.slices.length, 0);
  say(`${seconds(trace.to - trace.from)}, ${trace.tracks.length} rows, ${slices} slices, ` +
    `${trace.flows.size} wake-ups. Wheel zooms, dragging chooses a range.`);
  choose(null);
  showRange();
  redraw();
}

async function have(get, doing) {
  const buttons = ["record", "last"].map($);
  say(doing);
  for (const b of buttons)
    b.disabled = true;
  try {
    await show(new Uint8Array(await get()));
  } catch (error) {
    say(error.message, true);
  }
  for (const b of buttons)
    b.disabled = false;
}

const fetchTrace = (query) => fetchFrom(`../trace?${query}`);

async function fetchFrom(where) {
  const response = await fetch(where, { cache: "no-store" }).catch(() => {
    throw new Error("The program cannot be reached.");
  });
  if (!response.ok)
    throw new Error((await response.text()).trim().split("\n")[0] ||
      `The program answered ${response.status}.`);
  return response.arrayBuffer();
}

const record = () => {
  const n = Math.min(Math.max(Number($("seconds").value) || 1, 1), 3600);
  return have(() => fetchTrace(`seconds=${n}&gzip=1${["io", "sched"].map((id) => $(id).checked ? `&${id}=1` : "").join("")}`), `Recording ${n} s …`);
};
$("record").addEventListener("click", record);
$("last").addEventListener("click", () => have(() => fetchTrace("last=1&gzip=1"), "Asking …"));
$("save").addEventListener("click", () => save(at.bytes[0] === 0x1f ? "trace.pftrace.gz"
  : "trace.pftrace", at.bytes));
$("trace-file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (file)
    have(() => file.arrayBuffer(), `Reading ${shorten(file.name, 60)} …`);
});
listen();
const kept = /^#(captures\/[^/?]+\.pftrace\.gz)$/.exec(location.hash); // a link of the list of captures
if (kept)
  have(() => fetchFrom(`../${kept[1]}`), "Asking …");
globalThis.timeline = { at, show }; // for tests and the console
