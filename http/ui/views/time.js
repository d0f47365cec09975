// views/time.js - the program's numbers over time: memory, allocation, processor, threads, waiting. Not of
// the profile that is shown but of the process that serves, so only while that is the same.
import { button, make } from "../dom.js";
import { count, format, span } from "../format.js";
import * as server from "../server.js";

const SPANS = [["seconds", "10 min"], ["minutes", "24 h"]];
const AGAIN_MS = 5000, WIDTH = 1000, HEIGHT = 160, GAP = 2.5; // steps without a point: a gap

const bytes = (v) => format(v, "bytes");
const share = (v) => `${(v * 100).toFixed(v < 0.1 ? 1 : 0)} %`;
const each = (v) => `${v < 10 ? v.toFixed(1) : count(v)}/s`;

/** A line is the states of a number, or with `rate` what a total grows by in a second, times that. */
const CHARTS = [
  { title: "Memory", text: bytes, least: 1 << 20, lines: [
    { name: "RSS", of: "rss_bytes" }, { name: "heap in use", of: "heap_bytes" },
    { name: "swap", of: "swap_bytes", unless: 0 }] },
  { title: "Allocated", text: (v) => `${bytes(v)}/s`, least: 1024, lines: [
    { name: "allocated", of: "alloc_bytes", rate: 1 }] },
  { title: "Processor", text: share, least: 0.1, lines: [
    { name: "processor", of: "cpu_ns", rate: 1e-9 }] },
  { title: "Threads", text: count, least: 4, lines: [{ name: "threads", of: "threads" }] },
  { title: "Waiting", text: share, least: 0.1, lines: [
    { name: "mutex", of: "mutex_wait_ns", rate: 1e-9 },
    { name: "block", of: "block_wait_ns", rate: 1e-9 }] },
  { title: "Lost samples", text: each, least: 1, lines: [
    { name: "lost", of: "lost", rate: 1, unless: 0 }] },
];

let series = "seconds", had = null, asking = false, timer = 0, trouble = "";

/** [time, value] of a line; null where nothing is known. */
function points(data, line) {
  const time = data.time_ms, value = data[line.of] || [];

  if (!line.rate)
    return time.map((t, i) => [t, value[i] ?? null]);
  return time.map((t, i) => {
    const known = i > 0 && value[i] !== null && value[i - 1] !== null && value[i] >= value[i - 1];
    return [t, known ? (value[i] - value[i - 1]) / (t - time[i - 1]) * 1000 * line.rate : null];
  });
}

/** The least of 1, 1.5, 2, 3, 4, 6, 8 ... times `least` that nothing is above. */
function scaleFor(most, least) {
  let scale = least;

  for (let i = 0; scale < most; i++)
    scale *= i % 2 ? 4 / 3 : 1.5;
  return scale;
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);

  for (const [name, value] of Object.entries(attributes))
    element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function pathOf(all, from, to, scale, stepMs) {
  const x = (t) => Math.round((t - from) / (to - from) * WIDTH);
  const y = (v) => (HEIGHT - v / scale * HEIGHT).toFixed(1);
  let path = "", last = -Infinity;

  for (const [t, v] of all) {
    if (v === null || t < from)
      continue;
    path += `${t - last > stepMs * GAP ? "M" : "L"}${x(t)} ${y(v)}`;
    last = t;
  }
  return path;
}

function last(all) {
  return all.reduceRight((found, [, v]) => found ?? v, null);
}

function chart(data, { title, lines, text, least }) {
  const drawn = lines.map((line) => ({ ...line, all: points(data, line) }))
    .filter((line) => line.all.some(([, v]) => v !== null && v !== line.unless));

  if (!drawn.length)
    return null;
  const time = data.time_ms, to = time[time.length - 1];
  const from = Math.min(time[0], to - 60000), stepMs = data.step_s * 1000;
  const values = drawn.flatMap((line) => line.all.map(([, v]) => v ?? 0));
  const scale = scaleFor(values.reduce((a, b) => Math.max(a, b), 0), least);
  const grid = [1, 2, 3].map((i) => `M0 ${i * HEIGHT / 4}H${WIDTH}M${i * WIDTH / 4} 0V${HEIGHT}`);

  return make("figure", { class: "chart" },
    make("figcaption", {}, make("strong", {}, title),
      ...drawn.map((line, i) => make("span", {}, make("b", { class: `line${i}`, "aria-hidden": "true" },
        i ? "┅ " : "━ "), `${line.name} ${text(last(line.all) ?? 0)}`)),
      make("span", { class: "soft" }, `0 to ${text(scale)}`)),
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
      "aria-label": `${title} of the last ${span((to - from) / 1000)}` },
    svg("path", { class: "grid", d: grid.join("") }),
    ...drawn.map((line, i) => svg("path", { class: `line${i}`,
      d: pathOf(line.all, from, to, scale, stepMs) }))),
    make("div", { class: "ends soft" }, make("span", {}, `${span((to - from) / 1000)} ago`),
      make("span", {}, "now")));
}

async function ask(panel, page) {
  if (asking)
    return;
  asking = true;
  try {
    had = await server.vars();
    trouble = "";
  } catch (error) {
    trouble = error.message;
  }
  asking = false;
  if (!panel.hidden)
    draw(panel, page);
}

function draw(panel, page) {
  const data = had && had[series], words = trouble || (had && had.status) || "";

  clearTimeout(timer);
  panel.replaceChildren(words ? make("p", { class: "reason" }, words) : "",
    ...(data && data.time_ms.length > 1 ? CHARTS.map((c) => chart(data, c)).filter(Boolean)
      : had ? [make("p", {}, "Nothing has been noted yet.")] : []));
  timer = setTimeout(() => {
    if (!panel.hidden && !document.hidden)
      ask(panel, page);
    else
      timer = 0;
  }, AGAIN_MS);
}

export const timeView = {
  id: "time",
  title: "Over time",
  plain: true,
  applies: (page) => page.isHere(),

  show(panel, page) {
    draw(panel, page);
    ask(panel, page);
  },

  tools(page) {
    return SPANS.map(([name, title]) => button(title, () => {
      series = name;
      page.onchange();
    }, { class: "toggle", "aria-pressed": String(series === name) }));
  },

  keys: {},
};
